"""Running a source of backends, and waiting for what it tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from lb.core.announced import Announced, Announcement
from lb.discovery.backend_source import Source, SourceFailed

PATIENCE = 1000.0


class Told:
    """What one run of a source has told, and how it has failed."""

    def __init__(self) -> None:
        self.sets: list[Announced] = []
        self.failure: str | None = None
        self._news = trio.Event()

    def tell(self, announced: Announced) -> None:
        self.sets.append(announced)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    @property
    def last(self) -> Announced:
        return self.sets[-1]

    @property
    def here(self) -> dict[str, str]:
        """The last set: each id with its notice."""
        return {each.id: each.notice.value for each in self.last.backends}

    def __getitem__(self, id: str) -> Announcement:
        return next(each for each in self.last.backends if each.id == id)

    async def until(self, count: int) -> None:
        """Wait for so many sets."""
        with trio.fail_after(PATIENCE):
            while len(self.sets) < count:
                assert self.failure is None, self.failure
                await self._news.wait()

    async def until_here(self, **expected: str) -> None:
        """Wait until the last set is this; names have _ for -."""
        wanted = {name.replace("_", "-"): notice for name, notice in expected.items()}
        with trio.fail_after(PATIENCE):
            while not self.sets or self.here != wanted:
                assert self.failure is None, self.failure
                await self._news.wait()

    async def until_failed(self) -> str:
        with trio.fail_after(PATIENCE):
            while self.failure is None:
                await self._news.wait()
        return self.failure

    async def run(self, source: Source) -> None:
        try:
            await source.run(self.tell)
        except SourceFailed as exc:
            self.failure = str(exc)
            self._wake()


@asynccontextmanager
async def running_source(source: Source) -> AsyncIterator[Told]:
    """The source runs once, until it fails or the block ends."""
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run, source)
        yield told
        nursery.cancel_scope.cancel()
