"""What a worker was told last and could not apply: the keeper knows of it, and it is tried again."""

from collections.abc import Awaitable, Callable

import trio

from lb.errors import ConfigError
from lb.workers.messages import NotApplied

AGAIN_SECONDS = 5.0


class SecondTry:
    """Whether a worker is behind with one thing, such as its settings. `say` sends to the keeper."""

    def __init__(self, what: str, say: Callable[[object], None]) -> None:
        self._what = what
        self._say = say
        self._is_behind = trio.Event()

    def failed(self, why: str) -> None:
        """What was told last could not be applied."""
        self._say(NotApplied(self._what, why))
        self._is_behind.set()

    def done(self) -> bool:
        """It is applied; whether that could not be done before."""
        was_behind = self._is_behind.is_set()
        if was_behind:
            self._is_behind = trio.Event()
            self._say(NotApplied(self._what, ""))
        return was_behind

    async def run(self, apply: Callable[[], Awaitable[None]]) -> None:
        """Call `apply` every AGAIN_SECONDS while behind, until cancelled.

        It calls `done`, or raises ConfigError.
        """
        while True:
            await self._is_behind.wait()
            await trio.sleep(AGAIN_SECONDS)
            try:
                await apply()
            except ConfigError:
                continue  # it was told
