"""From accept to the end of the PROXY header, on listeners that take one; then TLS or HTTP begins.

Who may send a header is a setting, `proxy_protocol_from`, since a header is believed: whoever could send one
could take any client's address. Every other peer is refused before a byte is read, and a peer that may send
one has to: without, its own address would stand for all its clients. The protocol says the same (proxy-
protocol.txt section 2: a receiver must not guess whether there is a header).

A step costs little, so it is taken on the edge, unlike a step of a handshake. Nothing of TLS is imported.
"""

import socket
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from lb.core.client_address import UNIX, peer_of
from lb.core.exchange_record import Announced
from lb.net.listener import Listener
from lb.net.plain_wire import PlainWire
from lb.net.proxy_header import LONGEST_BLOCK, ProxyHeader, ProxyHeaderRefused, read_proxy_header
from lb.net.timers import Timer
from lb.net.wire import Wire
from lb.proxy.client_side.anteroom import Acceptor, Anteroom
from lb.proxy.client_side.refused_headers import RefusedHeaders
from lb.proxy.context import Context
from lb.proxy.incoming import Incoming, Peer

if TYPE_CHECKING:
    from lb.net.tls_wire import TlsWire

ENDED_AT_ONCE = "the peer closed the connection without a byte, as a health check that only connects does"
ENDED = "the peer closed the connection within the PROXY header"
NOT_IN_TIME = "no whole PROXY header came within timeouts.handshake"
TOO_MANY = "no whole PROXY header came for a while, and others needed the room (limits.handshakes)"

log = structlog.get_logger()


class Behind(Protocol):
    """Opens connections with TLS, from the ClientHello on (`lb.proxy.client_side.opening`)."""

    def begin(self, sock: socket.socket, listener: Listener, accepted: Peer) -> bool: ...

    def wire(self, sock: socket.socket) -> "TlsWire":
        """A wire on which TLS has not begun."""
        ...

    def go_on(self, wire: "TlsWire", incoming: Incoming, began: float, received: bytes) -> None:
        """Open a connection that was accepted at `began`, and on which this has come of the handshake."""
        ...

    async def wait_for_room(self, listener: Listener) -> int: ...

    async def run(self) -> None: ...

    def close(self) -> None: ...


class ProxyOpening:
    """One connection until its header is whole. `ProxyOpenings` owns it and its wire."""

    __slots__ = (
        "_data",
        "_openings",
        "accepted",
        "began",
        "listener",
        "timer",
        "tls_wire",
        "waiting",
        "wire",
    )

    def __init__(
        self,
        openings: "ProxyOpenings",
        wire: Wire,
        listener: Listener,
        accepted: Peer,
        tls_wire: "TlsWire | None",
    ) -> None:
        context = openings.context
        self._openings = openings
        self._data = b""
        self.wire = wire
        self.tls_wire = tls_wire
        """The same, where TLS follows."""
        self.listener = listener
        self.accepted = accepted
        self.began = context.now()
        self.timer = Timer(context.deadlines, self)
        self.timer.move(self.began + context.timeouts.handshake)
        self.waiting: trio.CancelScope | None = None
        """Where there are no edges, a task waits in it."""
        wire.watcher = self

    def came(self, wire: Wire) -> None:
        """Something has come (`lb.net.wire.Watcher`)."""
        self._openings.step(self)

    def cancel(self) -> None:
        """Its time is over (`lb.net.timers.Cancellable`)."""
        self._openings.refuse(self, NOT_IN_TIME)

    def make_room(self) -> None:
        self._openings.refuse(self, TOO_MANY)

    def read(self) -> tuple[ProxyHeader, bytes] | None:
        """The header and the bytes behind it; None while it is not whole. Raises ProxyHeaderRefused."""
        while (data := self.wire.receive_raw_now(LONGEST_BLOCK)) is not None:
            if not data:
                raise ProxyHeaderRefused(ENDED if self._data else ENDED_AT_ONCE)
            self._data += data
            if (found := read_proxy_header(self._data)) is not None:
                header, length = found
                return header, self._data[length:]
        return None

    def end(self) -> None:
        """It is watched and timed no more."""
        self.wire.watcher = None
        self.timer.cancel()
        if self.waiting is not None:
            self.waiting.cancel()


class ProxyOpenings:
    """All connections of one process whose header has not come yet (`lb.proxy.acceptor.Front`).

    `behind` opens those on which TLS follows, and those of listeners that take no header; None where no
    listener speaks TLS.
    """

    def __init__(self, context: Context, acceptor: Acceptor, behind: Behind | None) -> None:
        self.context = context
        self._acceptor = acceptor
        self._behind = behind
        self._refused = RefusedHeaders(context.metrics)
        self._room = Anteroom(lambda: context.limits.handshakes)
        self._nursery: trio.Nursery | None = None
        self._is_closed = trio.Event()

    def begin(self, sock: socket.socket, listener: Listener, accepted: Peer) -> bool:
        """Open a connection that was accepted. False where this peer may send no header: it is closed."""
        if not listener.takes_proxy_header:
            assert self._behind is not None
            return self._behind.begin(sock, listener, accepted)
        if accepted[0] not in self.context.header_senders:
            sock.close()
            why = f"{accepted[0]} is not in proxy_protocol_from"
            self._refused.add(listener.name, accepted, why, self.context.now())
            return False
        opening = self._opening(sock, listener, accepted)
        self._room.enter(opening)
        if not opening.wire.can_be_watched:
            assert self._nursery is not None
            opening.waiting = trio.CancelScope()
            self._nursery.start_soon(self._wait, opening)
        return True

    def _opening(self, sock: socket.socket, listener: Listener, accepted: Peer) -> ProxyOpening:
        if not listener.is_tls:
            return ProxyOpening(self, PlainWire(sock, self.context.readiness), listener, accepted, None)
        assert self._behind is not None
        wire = self._behind.wire(sock)
        return ProxyOpening(self, wire, listener, accepted, wire)

    async def _wait(self, opening: ProxyOpening) -> None:
        """In place of edges, where there are none."""
        assert opening.waiting is not None
        with opening.waiting:
            while True:
                await opening.wire.readable()
                self.step(opening)
                await trio.lowlevel.checkpoint()

    async def wait_for_room(self, listener: Listener) -> int:
        """Wait until another may begin. How many may.

        Those that shake hands are not counted among those whose headers have not come, nor the other way.
        """
        if listener.takes_proxy_header:
            return await self._room.wait_for_room()
        assert self._behind is not None
        return await self._behind.wait_for_room(listener)

    async def run(self) -> None:
        """Run what is behind, until `close`."""
        async with trio.open_nursery() as self._nursery:
            if self._behind is None:
                await self._is_closed.wait()
            else:
                await self._behind.run()
            self._nursery.cancel_scope.cancel()

    def step(self, opening: ProxyOpening) -> None:
        """Go on with what has come.

        Error boundary: it is called on an edge, where an exception would end all connections.
        """
        try:
            if (found := opening.read()) is not None:
                self._go_on(opening, *found)
        except ProxyHeaderRefused as exc:
            self.refuse(opening, str(exc))
        except Exception:
            log.exception("a connection could not be opened", client=opening.accepted[1])
            if opening in self._room:
                self._drop(opening)
            opening.wire.close()

    def _go_on(self, opening: ProxyOpening, header: ProxyHeader, rest: bytes) -> None:
        incoming = _incoming(opening, header)
        self._end(opening)
        if opening.tls_wire is not None:
            self._begin_tls(opening, opening.tls_wire, incoming, rest)
        else:
            self._acceptor.opened(opening.wire, incoming, None, rest)

    def _begin_tls(self, opening: ProxyOpening, wire: "TlsWire", incoming: Incoming, received: bytes) -> None:
        assert self._behind is not None
        try:
            self._behind.go_on(wire, incoming, opening.began, received)
        except Exception:
            self._acceptor.refused(opening.listener, opening.accepted)
            raise

    def refuse(self, opening: ProxyOpening, why: str) -> None:
        """End one that cannot be opened."""
        self._drop(opening)
        self._refused.add(opening.listener.name, opening.accepted, why, self.context.now())

    def _drop(self, opening: ProxyOpening) -> None:
        self._end(opening)
        self._acceptor.refused(opening.listener, opening.accepted)
        opening.wire.close()

    def _end(self, opening: ProxyOpening) -> None:
        self._room.leave(opening)
        opening.end()

    def close(self) -> None:
        """End all, and `run`: the process ends, which is no peer's fault."""
        self._is_closed.set()
        for opening in self._room.all():
            assert isinstance(opening, ProxyOpening)
            self._drop(opening)
        if self._behind is not None:
            self._behind.close()


def _incoming(opening: ProxyOpening, header: ProxyHeader) -> Incoming:
    """Whose connection it is by this header."""
    listener, accepted = opening.listener, opening.accepted
    if header.source is None or header.destination is None:
        return Incoming(listener, accepted, accepted)
    destination = header.destination, header.destination_port
    peer = peer_of(None if header.source == UNIX else (header.source, header.source_port))
    return Incoming(listener, accepted, peer, Announced(accepted[1], destination, header.tlvs))
