"""Connections to backends: opened, lent to one attempt at a time, kept idle for the next one.

The newest idle connection is lent first, so the others grow old and are closed when there is little traffic.
Before it is lent, a connection is checked: if a byte or an end came without a request, it is closed (RFC 9112
section 9.2). Every connection is either idle, and owned here, or lent to one attempt.
"""

import socket
from math import inf

import trio

from lb.core.backend import AdminState, Backend
from lb.core.registry import Event, Registry
from lb.errors import ConnectFailed, ConnectTimeout, TooManyDescriptors
from lb.net.connect import OUT_OF_DESCRIPTORS, connect
from lb.net.epoll import Readiness
from lb.net.resolver import Names
from lb.net.wire import Wire
from lb.proxy.backend_side.http1_backend import Http1Backend
from lb.proxy.sides import BackendSide
from lb.settings.balancer_settings import Limits, Timeouts

PER_BACKEND = 32
"""Most idle connections to one backend."""
MAX_AGE_SECONDS = 30.0
"""Longest time that a connection is idle."""
LET_GO = frozenset(("changed", "draining", "maintenance", "removed", "down", "ejected"))
"""Events after which the idle connections of a backend are closed."""


class Connections:
    """All connections to all backends (`lb.proxy.sides.BackendConnections`). Made inside `trio.run`.

    `take` and `open` lend a connection; its borrower has to `give` it back. `timeouts` and `limits` may be
    replaced, and apply to what is opened or lent from then on.
    """

    def __init__(
        self, registry: Registry, names: Names, readiness: Readiness, timeouts: Timeouts, limits: Limits
    ) -> None:
        self._names = names
        self._readiness = readiness
        self.timeouts = timeouts
        self.limits = limits
        self._now = trio.lowlevel.current_clock().current_time
        self._idle: dict[Backend, list[tuple[BackendSide, float]]] = {}
        registry.subscribe(self._on_event)

    def take(self, backend: Backend) -> BackendSide | None:
        """Lend the newest idle connection that is still open, or None."""
        stack = self._idle.get(backend)
        while stack:
            connection, since = stack.pop()
            backend.idle_connections -= 1
            if self._now() - since < MAX_AGE_SECONDS and connection.wire.is_quiet():
                backend.connections_reused += 1
                connection.limits = self.limits
                return connection
            _close(backend, connection)
        return None

    async def open(self, backend: Backend, within: float = inf) -> BackendSide:
        """Lend a new connection. Takes at most the connect timeout, and `within` seconds.

        Raises ConnectFailed, or a subclass, and lends nothing then; nor where it is cancelled.
        """
        url, host, port = backend.spec.url, backend.host, backend.port  # a reload may change them meanwhile
        longest = min(self.timeouts.connect, within)
        try:
            with trio.fail_after(longest):
                addresses = await self._names.addresses(host, port)
                wire = self._wired(await connect(addresses), url)
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
        return Http1Backend(wire, backend.id, self.limits, self._now)

    def _wired(self, sock: socket.socket, url: str) -> Wire:
        """The wire of a connected socket, which is closed where it cannot be registered."""
        try:
            return Wire(sock, url, self._readiness)
        except BaseException:
            sock.close()
            raise

    def give(self, backend: Backend, connection: BackendSide, keep: bool) -> None:
        """Take back what was lent. It is closed unless `keep` is set and its backend takes requests."""
        fit = backend.admin_state is AdminState.READY and not backend.removed
        stack = self._idle.setdefault(backend, []) if keep and fit else None
        if stack is None or len(stack) >= PER_BACKEND or connection.wire.origin != backend.spec.url:
            _close(backend, connection)
            return
        stack.append((connection, self._now()))
        backend.idle_connections += 1

    def close_old(self) -> None:
        """Close connections that were idle too long, or that their backends have ended.

        A wire that is registered for edges knows of its end already, so most checks cost no system call.
        """
        now = self._now()
        for backend, stack in self._idle.items():
            good = []
            for connection, since in stack:
                wire = connection.wire
                if now - since < MAX_AGE_SECONDS and (wire.can_be_watched or wire.is_quiet()):
                    good.append((connection, since))
                else:
                    _close(backend, connection)
            stack[:] = good
            backend.idle_connections = len(good)

    def close(self) -> None:
        """Close all idle connections. Those that are lent stay with their borrowers."""
        for backend in list(self._idle):
            self._close_idle_of(backend)

    def _on_event(self, event: Event) -> None:
        if event.kind in LET_GO:
            self._close_idle_of(event.backend)

    def _close_idle_of(self, backend: Backend) -> None:
        for connection, _ in self._idle.pop(backend, ()):
            _close(backend, connection)
        backend.idle_connections = 0


def _close(backend: Backend, connection: BackendSide) -> None:
    connection.wire.close()
    backend.connections -= 1
