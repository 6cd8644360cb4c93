"""The accept loop of the admin service, and the descriptors that it has in reserve.

Traffic may use up every descriptor of the process, and then an operator must still be able to look and to
act. So a few descriptors are held open from the start; each is given up when a connection can be accepted no
other way, and taken again when that has ended.
"""

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from admin.transport.admission import Admission

IN_RESERVE = 8
"""Descriptors: an operator, a page, a few probes at a time."""
REST_SECONDS = 0.1
QUIET_SECONDS = 5.0
OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

log = logging.getLogger(__name__)


class Reserve:
    """Descriptors that are open for nothing but to be given up. The owner closes it."""

    def __init__(self, most: int = IN_RESERVE) -> None:
        self._most = most
        self._spare: list[int] = []
        self.refill()

    @property
    def is_whole(self) -> bool:
        return len(self._spare) == self._most

    def refill(self) -> None:
        """Open what is missing, as far as the process may."""
        with suppress(OSError):
            while not self.is_whole:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def give_up(self) -> bool:
        """Close one, so that another can be opened in its place. False if none is left."""
        if not self._spare:
            return False
        os.close(self._spare.pop())
        return True

    def close(self) -> None:
        self._most = 0
        while self.give_up():
            pass


class Accepting:
    """Accepts connections, and starts a task with `serve` for each; it closes their streams."""

    def __init__(
        self,
        reserve: Reserve,
        admission: Admission,
        connections: trio.Nursery,
        serve: Callable[[trio.SocketStream], Awaitable[None]],
    ) -> None:
        self._reserve = reserve
        self._admission = admission
        self._connections = connections
        self._serve = serve
        self._why = ""
        self._failed_at = 0.0

    async def run(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled. An error ends the connection that it came with, never the listener.

        Out of descriptors it goes on with those in reserve, and without any it closes connections that have
        no whole request. The first failure is logged, and the first success behind it.
        """
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:
                self._failed(exc)
                is_out = exc.errno in OUT_OF_DESCRIPTORS
                if not (is_out and self._reserve.give_up()):
                    if is_out:
                        self._admission.make_room()
                    await trio.sleep(REST_SECONDS)
            else:
                self._connections.start_soon(self._serve_one, stream)
                self._accepted()

    def _failed(self, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno else str(error)
        if not self._why:
            log.warning("the admin service cannot accept as usual: %s", why)
        self._why = self._why or why
        self._failed_at = trio.current_time()

    def _accepted(self) -> None:
        """The trouble is over when the reserve is whole again, and nothing has failed for a while."""
        if not self._why:
            return
        self._reserve.refill()
        if self._reserve.is_whole and trio.current_time() - self._failed_at >= QUIET_SECONDS:
            log.warning("the admin service accepts as usual again; it was: %s", self._why)
            self._why = ""
        self._failed_at = 0.0

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream)
        finally:
            await trio.aclose_forcefully(stream)
            self._reserve.refill()
