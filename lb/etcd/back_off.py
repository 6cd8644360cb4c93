"""How long to pause after failures in a row: ever longer, and of a length that is left to chance. Pure."""

from collections.abc import Callable

SHORTEST = 0.05
LONGEST = 5.0


class BackOff:
    """`chance` gives a number from 0 until 1. Who fails together comes again at different times."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._next = SHORTEST

    def pause(self) -> float:
        """How many seconds to wait after this failure: half of what it would be at most, or more."""
        most, self._next = self._next, min(2 * self._next, LONGEST)
        return most * (0.5 + 0.5 * self._chance())

    def well(self) -> None:
        """It went well, so that the next failure is the first one again."""
        self._next = SHORTEST
