"""How a blocking query of Consul goes on from its last answer. It is pure.

Consul answers at once where its index is another one than that of the question, and otherwise when something
has changed or the wait is over. It has rules for clients. An index that goes back begins anew. One that is no
number above zero is none. What changes very often is asked for less often.
"""

DIGITS = 21
"""A number with as many is none."""
BURST = 2.0
"""Answers that may follow each other at once."""
SECONDS_EACH = 1.0
"""How often answers are followed beyond that."""


class BlockingIndex:
    """The `index` of the next question, and for how long to wait before it."""

    def __init__(self) -> None:
        self.index = 0
        self._allowed = BURST
        self._since: float | None = None

    def answered(self, said: str, now: float) -> float:
        """An answer with this index came; returns the seconds to wait before the next question."""
        index = int(said) if said.isascii() and said.isdecimal() and len(said) < DIGITS else 0
        self.index = 0 if index < self.index else max(index, 1)
        if self._since is not None:
            self._allowed = min(BURST, self._allowed + (now - self._since) / SECONDS_EACH)
        self._since = now
        self._allowed -= 1
        return max(0.0, -self._allowed * SECONDS_EACH)
