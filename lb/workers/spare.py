"""Processes that are ready to be workers, so that one that dies is missed for a moment only.

The start of an interpreter and its imports take half a second of CPU, and so several seconds where the
machine is busy, as it is when its balancer is. A spare process has them behind it, and waits for its first
message. A program that replaces another has all of its workers so far before it takes over.
"""

from collections.abc import Awaitable, Callable

import structlog
import trio

from lb.workers.killing import kill
from lb.workers.process_start import Begun

log = structlog.get_logger()


class Spare:
    """Processes that `begin` starts; `run` has one ready from when somebody says `want`."""

    def __init__(self, begin: Callable[[], Awaitable[Begun]]) -> None:
        self._begin = begin
        self._there: list[Begun] = []
        self._wanted = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    def want(self) -> None:
        """Have one ready soon; nothing where there is one."""
        self._wanted.set()

    def take(self) -> Begun | None:
        """A process, which is no spare one any more; None where none lives."""
        while self._there:
            process, channel = self._there.pop()
            if process.poll() is None:
                return process, channel
            log.warning("spare worker had ended", pid=process.pid, code=process.returncode)
            channel.close()
        return None

    async def have(self, count: int) -> None:
        """Start so many, and return when each has its start behind it; one that cannot start is left out."""
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self._have_one)

    async def _have_one(self) -> None:
        begun = await self._started()
        if begun is not None:
            self._there.append(begun)
            await begun[1].first()  # or it has ended, which `take` sees

    def dismiss(self) -> None:
        """None will be needed any more."""
        self._scope.cancel()

    async def dismissed(self) -> None:
        """Wait until there is no process any more, after `dismiss`."""
        await self._ended.wait()

    async def run(self) -> None:
        """Until cancelled or dismissed; then the spare process ends."""
        with self._scope:
            try:
                while True:
                    await self._wanted.wait()
                    self._wanted = trio.Event()
                    await self._prepare()
            finally:
                while (there := self.take()) is not None:
                    process, channel = there
                    channel.close()
                    await kill(process)
                self._ended.set()

    async def _prepare(self) -> None:
        if not self._there and (begun := await self._started()) is not None:
            self._there.append(begun)

    async def _started(self) -> Begun | None:
        try:
            return await self._begin()
        except OSError as exc:
            log.warning("spare worker not started", why=str(exc))
            return None
