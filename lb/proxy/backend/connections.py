"""Connections to backends: opened, lent to one exchange at a time, kept a while for the next.

The newest idle one is taken first, so that a quiet pool lets the rest grow old and close. A connection is
looked at before it is lent: a byte or an end that nobody asked for makes it useless (RFC 9112 section 9.2).
In a pool or lent, every connection has exactly one owner.
"""

from math import inf

import trio

from lb.core.backend import AdminState, Backend
from lb.core.registry import Event, Registry
from lb.errors import ConnectFailed, ConnectTimeout, TooManyDescriptors
from lb.net.connect import OUT_OF_DESCRIPTORS, connect
from lb.net.epoll import Readiness
from lb.net.resolver import Names
from lb.net.wire import Wire

PER_BACKEND = 32
MAX_AGE_SECONDS = 30.0
LET_GO = frozenset(("changed", "draining", "maintenance", "removed", "down", "ejected"))
"""Events after which the idle connections of a backend are of no use."""


class Connections:
    """All connections to all backends. `take` and `open` lend one; `give` takes it back.

    `timeout` is for each attempt to connect, in seconds; it may be changed.
    """

    def __init__(
        self, registry: Registry, names: Names, readiness: Readiness, connect_timeout: float
    ) -> None:
        self._names = names
        self._readiness = readiness
        self.timeout = connect_timeout
        self._now = trio.lowlevel.current_clock().current_time
        self._idle: dict[Backend, list[tuple[Wire, float]]] = {}
        registry.subscribe(self._on_event)

    def take(self, backend: Backend) -> Wire | None:
        """The newest idle connection that is still good, or None."""
        stack = self._idle.get(backend)
        while stack:
            wire, since = stack.pop()
            backend.idle_connections -= 1
            if self._now() - since < MAX_AGE_SECONDS and wire.is_quiet():
                backend.connections_reused += 1
                return wire
            _close(backend, wire)
        return None

    async def open(self, backend: Backend, within: float = inf) -> Wire:
        """A new connection, in the connect timeout and `within` seconds.

        Raises ConnectFailed or one of its kinds, and lends nothing then.
        """
        url, host, port = backend.spec.url, backend.host, backend.port  # they may change while we connect
        longest = min(self.timeout, within)
        try:
            with trio.fail_after(longest):
                addresses = await self._names.addresses(host, port)
                sock = await connect(addresses)
        except trio.TooSlowError as exc:
            self._names.refresh()
            raise ConnectTimeout(f"{backend.id} took no connection in {longest:g} s") from exc
        except OSError as exc:
            self._names.refresh()
            if exc.errno in OUT_OF_DESCRIPTORS:
                raise TooManyDescriptors("this balancer is out of file descriptors") from exc
            raise ConnectFailed(f"{backend.id} at {url}: {exc.strerror or exc}") from exc
        backend.connections += 1
        backend.connections_opened += 1
        return Wire(sock, url, self._readiness)

    def give(self, backend: Backend, wire: Wire, keep: bool) -> None:
        """Take back what was lent; `keep` says that the next exchange may use it."""
        fit = backend.admin_state is AdminState.READY and not backend.removed
        stack = self._idle.setdefault(backend, []) if keep and fit else None
        if stack is None or len(stack) >= PER_BACKEND or wire.origin != backend.spec.url:
            _close(backend, wire)
            return
        stack.append((wire, self._now()))
        backend.idle_connections += 1

    def close_old(self) -> None:
        """Close what has been idle too long, and what the backend has closed meanwhile.

        Who is told of every edge has been told of that, too; so thousands cost no system call.
        """
        now = self._now()
        for backend, stack in self._idle.items():
            good = []
            for wire, since in stack:
                if now - since < MAX_AGE_SECONDS and (wire.can_be_watched or wire.is_quiet()):
                    good.append((wire, since))
                else:
                    _close(backend, wire)
            stack[:] = good
            backend.idle_connections = len(good)

    def close(self) -> None:
        for backend in list(self._idle):
            self._close_idle_of(backend)

    def _on_event(self, event: Event) -> None:
        if event.kind in LET_GO:
            self._close_idle_of(event.backend)

    def _close_idle_of(self, backend: Backend) -> None:
        for wire, _ in self._idle.pop(backend, ()):
            _close(backend, wire)
        backend.idle_connections = 0


def _close(backend: Backend, wire: Wire) -> None:
    wire.close()
    backend.connections -= 1
