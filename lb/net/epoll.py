"""Waiting for bytes on many sockets with one epoll, edge-triggered, that one task watches for all.

Trio arms and disarms its own epoll for every wait, which is right for a library and a tenth of our time. Here
each connection is registered once, when it opens, and the kernel forgets it when it closes. What an edge
tells is kept by the wire until it has read all there was. `just bench` says what it saves; where there is
no epoll, or nobody runs this, wires ask Trio.
"""

import select
from typing import Protocol

from trio.lowlevel import wait_readable

MOST_EVENTS = 64
"""At a time: the fast path (`lb.proxy.client_side.fast_path`) takes about a millisecond for so many."""


class Waiting(Protocol):
    """Who is told of an edge; `ended` says that the peer has sent its last, or the connection broke."""

    def wake(self, ended: bool) -> None: ...


class Readiness:
    """One per balancer; `run` is the task, and only while it runs are wires registered."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._waiting: dict[int, Waiting] = {}

    def register(self, fd: int, who: Waiting) -> bool:
        """Tell `who` of every edge on the descriptor from now on; False if it must wait by itself."""
        if self._epoll is None:
            return False
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._waiting[fd] = who
        return True

    def forget(self, fd: int) -> None:
        """The descriptor is about to be closed, which takes it out of the epoll."""
        self._waiting.pop(fd, None)

    async def run(self) -> None:
        if not hasattr(select, "epoll"):
            return
        with select.epoll() as self._epoll:
            try:
                while True:
                    await wait_readable(self._epoll.fileno())
                    self._tell(self._epoll.poll(0, MOST_EVENTS))
            finally:
                self._epoll = None

    def _tell(self, events: list[tuple[int, int]]) -> None:
        waiting = self._waiting
        for fd, event in events:
            if (who := waiting.get(fd)) is not None:
                who.wake(event != select.EPOLLIN)
