"""Connections to backends: opened, lent to one attempt at a time, kept idle for the next one.

The newest idle connection is lent first, so the others grow old and are closed when there is little traffic.
Before it is lent, a connection is checked: if a byte or an end came without a request, it is closed (RFC 9112
section 9.2). For a request that can be sent again, what the last look at all connections has shown is enough;
for any other the kernel is asked. Every connection is either idle, and owned here, or lent to one attempt.

A backend closes what is idle for too long, and a request that meets its end may be lost. So a connection is
kept for less time than servers keep it, and in the last quarter of that time it is lent only to requests that
can be sent again.

A connection that began with a PROXY header says for all its requests who the client is. It is never kept, not
for the same client either: which client may have it would be one more rule on the way of every request, and a
mistake in it would give the one's identity to the other. Such pools pay with a connection for each request.
"""

import socket
from collections.abc import Generator
from math import inf
from typing import TYPE_CHECKING, Literal

import trio

from lb.core.backend import AdminState, Backend
from lb.core.registry import Event, Registry
from lb.errors import (
    ConfigError,
    ConnectFailed,
    ConnectTimeout,
    LBError,
    NameUnanswered,
    NoPortLeft,
    TlsFailed,
    TooManyDescriptors,
)
from lb.net.addresses import Address, peer_of
from lb.net.connect import NO_PORT_LEFT, OUT_OF_DESCRIPTORS, begin_with, connect
from lb.net.descriptors import Spare, soft_limit
from lb.net.epoll import Readiness
from lb.net.plain_wire import PlainWire
from lb.net.proxy_header_writer import proxy_header
from lb.net.resolver import Names
from lb.net.wire import Wire
from lb.proxy.backend_side.http1_backend import Http1Backend
from lb.proxy.backend_side.terms import Terms
from lb.proxy.sides import BackendSide, Borrower
from lb.settings.backend_spec import is_tls
from lb.settings.balancer_settings import Limits, Timeouts

if TYPE_CHECKING:
    from lb.proxy.backend_side.backend_tls import TlsToBackends

FIRST_PART = 0.75
"""The part of the time that a connection may be idle in which any request may have it."""
IDLE_SHARE = 4
"""Idle connections have at most one in this many of the descriptors that this process may open."""
UNWATCHED = "this balancer cannot watch another connection"
LET_GO = frozenset(("changed", "draining", "maintenance", "removed", "down", "ejected"))
"""Events after which the idle connections of a backend are closed."""


Idle = tuple[Http1Backend, float, float]
"""An idle connection, since when it is idle, and for how many seconds it may be."""


class Place:
    """The idle connections of one backend. It gets another place when its URL or its addresses change."""

    __slots__ = ("stack",)

    def __init__(self) -> None:
        self.stack: list[Idle] = []


class Connections:
    """All connections to all backends (`lb.proxy.sides.BackendConnections`). Made inside `trio.run`.

    `take` and `open` lend a connection; its borrower has to `give` it back. `timeouts` and `limits` may be
    replaced, and apply to what is opened, lent or given back from then on.
    """

    def __init__(
        self,
        registry: Registry,
        names: Names,
        readiness: Readiness,
        timeouts: Timeouts,
        limits: Limits,
        spare: Spare,
    ) -> None:
        self._names = names
        self._readiness = readiness
        self._spare = spare
        self.timeouts = timeouts
        self.limits = limits
        self._now = trio.lowlevel.current_clock().current_time
        self._places: dict[Backend, Place] = {}
        self._pools = registry.pools
        self._backend_tls: TlsToBackends | None = None
        self._has_tls = trio.Event()
        self._most_idle = limits.idle_per_backend
        spare.add(self.give_up)
        names.subscribe(self._on_addresses)
        registry.subscribe(self._on_event)

    # -- lending ---------------------------------------------------------------------------------------

    def take(self, backend: Backend, borrower: Borrower) -> BackendSide | None:
        """Lend the newest idle connection that is still open, or None."""
        place = self._places.get(backend)
        if place is not None and self._proxy_protocol(backend):
            return None  # these were made before the setting was
        while place is not None and place.stack:
            connection, since, seconds = place.stack[-1]
            part = (self._now() - since) / seconds
            if FIRST_PART <= part < 1.0 and not borrower.can_be_sent_again:
                return None  # the others are older
            place.stack.pop()
            backend.idle_connections -= 1
            wire = connection.wire
            if part < 1.0 and ((wire.is_known_quiet and borrower.can_be_sent_again) or wire.is_quiet()):
                backend.connections_reused += 1
                connection.limits = self.limits
                return connection
            _close(backend, connection)
        return None

    async def open(
        self, backend: Backend, within: float = inf, borrower: Borrower | None = None
    ) -> BackendSide:
        """Lend a new connection, which may begin with what the borrower says of its client's one.

        Takes at most the connect timeout, and `within` seconds.

        Raises ConnectFailed, or a subclass, and lends nothing then; nor where it is cancelled.
        TooManyDescriptors where this process is out of them, though all that are spare were given up.
        """
        url, host, port = backend.spec.url, backend.host, backend.port  # a reload may change them meanwhile
        self.keep_to_the_cap(backend)
        longest = min(self.timeouts.connect, within)
        until = self._now() + longest
        addresses: list[Address] | None = None
        header = self._proxy_header(backend, borrower)
        try:
            with trio.fail_after(longest):
                addresses = await self._names.addresses(host, port)
                sock = await self._connect(addresses)
            if header:
                begin_with(sock, header)
        except trio.TooSlowError as exc:
            self._names.refresh(host)
            if addresses is None:
                raise NameUnanswered(f"{host} is not resolved yet: no answer in {longest:g} s") from exc
            raise ConnectTimeout(f"{backend.id} took no connection in {longest:g} s") from exc
        except OSError as exc:
            self._names.refresh(host)
            raise _failure(exc, f"{backend.id} at {url}") from exc
        self._names.worked(host, port, sock)
        address = peer_of(sock)
        if is_tls(url):
            wire = await self._secured(sock, backend, until, header)
        else:
            wire = self._wired(sock)
        backend.connections += 1
        backend.connections_opened += 1
        expires = self._now() + self.timeouts.backend_age
        terms = Terms(url, address, expires, self.limits.requests_per_backend_connection)
        terms.has_new_session, terms.is_private = is_tls(url), bool(header)
        return Http1Backend(wire, backend.id, self.limits, self._now, terms)

    def _proxy_protocol(self, backend: Backend) -> Literal[0, 1, 2]:
        pool = self._pools.get(backend.pool)
        return 0 if pool is None else pool.settings.proxy_protocol

    def _proxy_header(self, backend: Backend, borrower: Borrower | None) -> bytes:
        """What a connection to this backend begins with; without a borrower it is for no client."""
        version = self._proxy_protocol(backend)
        if version == 0:
            return b""
        return proxy_header(version, *((None, None) if borrower is None else borrower.ends()))

    async def _connect(self, addresses: list[Address]) -> socket.socket:
        """Connect; where descriptors are short, those that are spare are given up first."""
        while True:
            try:
                return await connect(addresses)
            except OSError as exc:
                if exc.errno not in OUT_OF_DESCRIPTORS or not self._spare.give_up():
                    raise

    def backend_tls(self) -> "TlsToBackends":
        """What TLS with backends needs. It is made, with its imports, when it is first asked for.

        ConfigError where the package for it is missing.
        """
        if self._backend_tls is None:
            from lb.tls.requirement import check_installed

            check_installed("url")
            from lb.proxy.backend_side.backend_tls import TlsToBackends

            self._backend_tls = TlsToBackends(self._readiness, self._pools)
            self._has_tls.set()
        return self._backend_tls

    async def watch_files(self) -> None:
        """Swap what files hold for TLS with backends, until cancelled."""
        await self._has_tls.wait()
        await self.backend_tls().contexts.run()

    async def _secured(self, sock: socket.socket, backend: Backend, until: float, header: bytes) -> Wire:
        """The same with TLS on it, until then. TlsFailed where there is none; the socket is closed then."""
        try:
            tls = self.backend_tls()
        except ConfigError as exc:
            sock.close()
            raise TlsFailed(f"{backend.id} at {backend.spec.url}: {exc}") from exc
        try:
            with trio.fail_at(until):
                return await tls.secure(sock, backend, header)
        except trio.TooSlowError as exc:
            raise ConnectTimeout(f"{backend.id} did not end the TLS handshake in time") from exc
        except OSError as exc:
            raise TooManyDescriptors(f"{UNWATCHED}: {exc}") from exc

    def _wired(self, sock: socket.socket) -> Wire:
        """The wire of a connected socket, which is closed where it cannot be registered."""
        try:
            return PlainWire(sock, self._readiness)
        except OSError as exc:
            sock.close()
            raise TooManyDescriptors(f"{UNWATCHED}: {exc}") from exc
        except BaseException:
            sock.close()
            raise

    def keep_to_the_cap(self, backend: Backend) -> None:
        """Close the oldest idle connections that are more than `max_connections` beside what runs.

        With several workers each connection has one of the places that are here.
        """
        most, place, running = backend.spec.max_connections, self._places.get(backend), len(backend.running)
        if most is not None and place is not None:
            if backend.lender is not None:
                most = max(running, backend.cap or 0)
            excess = running + backend.idle_connections - most
            self._close_oldest(backend, place, max(0, excess))

    def give(self, backend: Backend, connection: BackendSide, keep: bool) -> None:
        """Take back what was lent. It is closed unless `keep` is set and its backend takes requests."""
        assert isinstance(connection, Http1Backend)
        terms, now = connection.terms, self._now()
        terms.requests_left -= 1
        if terms.has_new_session and self._backend_tls is not None:
            terms.has_new_session = False
            self._backend_tls.remember(backend, connection.wire)
        seconds = self.timeouts.backend_idle
        if terms.idle < seconds:
            seconds, keep = terms.idle, keep and terms.idle > 0
        fit = backend.admin_state is AdminState.READY and not backend.drains and not backend.removed
        if keep and fit and terms.requests_left > 0 and now < terms.expires and not terms.is_private:
            place = self._places.get(backend) or self._begin(backend)
            if terms.place is not place and self._still_leads_to(backend, terms):
                terms.place = place
            if terms.place is place and len(place.stack) < self._most_idle:
                place.stack.append((connection, now, seconds))
                backend.idle_connections += 1
                return
        _close(backend, connection)

    def _begin(self, backend: Backend) -> Place:
        place = self._places[backend] = Place()
        self._share_out()
        return place

    def _share_out(self) -> None:
        """How many idle connections each backend may have, so that descriptors are left for clients."""
        share = soft_limit() // IDLE_SHARE // max(1, len(self._places))
        self._most_idle = min(self.limits.idle_per_backend, max(1, share))

    def _still_leads_to(self, backend: Backend, terms: Terms) -> bool:
        return terms.url == backend.spec.url and self._names.has(backend.host, terms.address)

    # -- closing ---------------------------------------------------------------------------------------

    def closing_old(self) -> Generator[None, None, None]:
        """Close connections that were idle too long, or that their backends have ended; a backend a step.

        A wire that is registered for edges knows of its end already, so most checks cost no system call. Who
        has other connections by the time of its step is left for the next time.
        """
        for backend, place in list(self._places.items()):
            if self._places.get(backend) is place:
                self._close_old_of(backend, place)
                yield
        self._share_out()

    def _close_old_of(self, backend: Backend, place: Place) -> None:
        now, good = self._now(), []
        for idle in place.stack:
            connection, since, seconds = idle
            if now - since < seconds and (connection.wire.is_known_quiet or connection.wire.is_quiet()):
                good.append(idle)
            else:
                _close(backend, connection)
        place.stack[:] = good
        backend.idle_connections = len(good)
        if not good:
            del self._places[backend]

    def give_up(self, leaving: int) -> bool:
        """Close the older half of each backend's idle connections, but leave so many in all.

        False if there were no more than that.
        """
        spare = sum(len(place.stack) for place in self._places.values()) - leaving
        if spare <= 0:
            return False
        for backend, place in self._places.items():
            count = min(spare, (len(place.stack) + 1) // 2)
            self._close_oldest(backend, place, count)
            spare -= count
        return True

    def _close_oldest(self, backend: Backend, place: Place, count: int) -> None:
        for connection, *_ in place.stack[:count]:
            _close(backend, connection)
        del place.stack[:count]
        backend.idle_connections = len(place.stack)

    def close(self) -> None:
        """Close all idle connections. Those that are lent stay with their borrowers."""
        for backend in list(self._places):
            self._close_idle_of(backend)

    def _on_event(self, event: Event) -> None:
        if event.kind in LET_GO:
            self._close_idle_of(event.backend)
            if self._backend_tls is not None:
                self._backend_tls.forget(event.backend)

    def _close_idle_of(self, backend: Backend) -> None:
        place = self._places.pop(backend, None)
        if place is not None:
            self._close_oldest(backend, place, len(place.stack))

    def _on_addresses(self, backends: list[Backend]) -> None:
        """Their name has lost an address: close the idle connections that lead there.

        Those that are lent are looked at when they are given back, because the place is another one.
        """
        for backend in backends:
            if (before := self._places.pop(backend, None)) is None:
                continue
            place = self._places[backend] = Place()
            for idle in before.stack:
                connection = idle[0]
                if self._still_leads_to(backend, connection.terms):
                    connection.terms.place = place
                    place.stack.append(idle)
                else:
                    _close(backend, connection)
            backend.idle_connections = len(place.stack)


def _failure(exc: OSError, where: str) -> LBError:
    """The error of an attempt to connect that failed with this one."""
    if exc.errno in OUT_OF_DESCRIPTORS:
        return TooManyDescriptors("this balancer is out of file descriptors")
    if exc.errno == NO_PORT_LEFT:
        return NoPortLeft(f"{where}: no local port is left to connect from")
    return ConnectFailed(f"{where}: {exc.strerror or exc}")


def _close(backend: Backend, connection: BackendSide) -> None:
    connection.wire.close()
    backend.connections -= 1
