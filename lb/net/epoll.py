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
SEVERAL = 2
"""Where so many events are found together, others have most likely come when these are handled. To look again
costs less than a turn of the event loop."""


class Waiting(Protocol):
    """What is registered for a descriptor: `wake` is called on every edge, by the task of `Readiness.run`.

    `is_ready` is set before. Of all edges that are found together it is set before the first `wake`, so that
    none takes a connection for quiet on which something has come. `ended` is True where the peer has ended
    its side or the connection broke. `wake` must not raise: an exception would end `Readiness.run`, and all
    connections with it.
    """

    is_ready: bool

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
                    self._tell_all(self._epoll)
            finally:
                self._epoll = None

    def _tell_all(self, epoll: "select.epoll") -> None:
        """Handle what has happened, and, where that was several events, what has happened meanwhile."""
        left = MOST_EVENTS
        while left > 0:
            events = epoll.poll(0, left)
            self._tell(events)
            left = left - len(events) if len(events) >= SEVERAL else 0

    def _tell(self, events: list[tuple[int, int]]) -> None:
        waiting = self._waiting
        for fd, _ in events:
            if (registered := waiting.get(fd)) is not None:
                registered.is_ready = True
        for fd, event in events:
            if (registered := waiting.get(fd)) is not None:  # an earlier `wake` may have closed it
                registered.wake(event != select.EPOLLIN)
