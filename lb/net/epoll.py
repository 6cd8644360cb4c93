"""One edge-triggered epoll for all connections, watched by one task.

Trio's own epoll is armed and disarmed for every wait. Here each connection is registered once, when it opens,
and the kernel drops it when its descriptor is closed. The kernel reports an edge only once, so the wire
remembers it until it has read everything that was there. `just bench` guards what this saves. Where the
platform has no epoll, or `Readiness.run` is not running, wires wait through Trio.
"""

import select
from typing import Protocol

from trio.lowlevel import wait_readable

MOST_EVENTS = 64
"""Events handled before other tasks run: the fast path (`lb.proxy.client_side.fast_path`) serves a whole
request or response within one event."""


class Waiting(Protocol):
    """What is registered for a descriptor: `wake` is called on every edge, by the task of `Readiness.run`.

    `ended` is True where the peer has ended its side or the connection broke. `wake` must not raise: an
    exception would end `Readiness.run`, and all connections with it.
    """

    def wake(self, ended: bool) -> None: ...


class Readiness:
    """The epoll of one balancer. Descriptors can be registered only while `run`, its task, is running."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._waiting: dict[int, Waiting] = {}

    def register(self, fd: int, waiting: Waiting) -> bool:
        """Call `waiting.wake` on every edge of the descriptor; False if the caller must wait through Trio.

        The first call follows soon if there is something to read already. Raises the OSError of epoll_ctl(2).
        """
        if self._epoll is None:
            return False
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._waiting[fd] = waiting
        return True

    def forget(self, fd: int) -> None:
        """Call `wake` no more; to be called just before the descriptor is closed."""
        self._waiting.pop(fd, None)

    async def run(self) -> None:
        """Watch until cancelled; returns at once where there is no epoll. Connections must end before it."""
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
            if (registered := waiting.get(fd)) is not None:  # an earlier `wake` may have closed it
                registered.wake(event != select.EPOLLIN)
