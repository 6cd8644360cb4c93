"""From the ClientHello to the first byte of HTTP: the choice of a context, and the handshake.

There is no task for it: as on the fast path, a step is a plain call on an edge. But a handshake holds the
event loop for half a millisecond, so steps are not taken where the edge is seen: they have turns, a few in
each pass of the loop (`Openings.run`). Where the key takes longer, the steps of the handshake are taken in a
thread; what is dear is the first one, which signs, so the context is chosen by a step of its own.

The context is chosen from the ClientHello before there is an SSL object. `ssl` has a callback for it, which
is a trap: a context that is set there does not bring along what it asks of clients, so who has no certificate
would walk in where one is required.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from lb.core.secured import Secured
from lb.net.epoll import Readiness
from lb.net.listener import Listener
from lb.net.secure_accept import agreed, known
from lb.net.timers import Deadlines, Timer
from lb.net.tls_memory import TlsMemory
from lb.net.tls_wire import TlsWire
from lb.net.wire import Wire
from lb.net.wire_errors import Truncated
from lb.proxy.client_side.anteroom import Acceptor, Anteroom
from lb.proxy.incoming import Incoming, Peer
from lb.tls.client_hello import ClientHello, HelloRefused, PlainHttp, check_protocols, read_client_hello
from lb.tls.raw_answers import ANSWER, UNRECOGNIZED_NAME, UnknownName
from lb.tls.refusal import HandshakeReason, Known, Refusal, alert_of, refusal, refused
from lb.tls.table import Served

A_TURN = 8
"""Openings that take a step before other tasks run."""

log = structlog.get_logger()


class Handshakes(Protocol):
    """Counts handshakes, and remembers those that were refused."""

    def succeeded(self, listener: str, version: str, is_resumed: bool, seconds: float) -> None: ...

    def refused(self, refusal: Refusal) -> None: ...


def never_ordered(_hello: ClientHello) -> str | None:
    """No certificate is ordered."""
    return None


class Opening:
    """One connection until it is open. `Openings` owns it, and closes its wire unless it gives it away."""

    __slots__ = (
        "_data",
        "_openings",
        "began",
        "has_news",
        "hello",
        "incoming",
        "is_busy",
        "is_queued",
        "sending",
        "served",
        "timer",
        "waiting",
        "wire",
    )

    def __init__(
        self, openings: "Openings", wire: TlsWire, incoming: Incoming, began: float, received: bytes
    ) -> None:
        self._openings = openings
        self._data = received
        self.wire = wire
        self.incoming = incoming
        self.began = began
        self.hello: ClientHello | None = None
        self.served: Served | None = None
        self.is_queued = self.is_busy = self.has_news = False
        self.waiting: trio.CancelScope | None = None
        self.sending: trio.CancelScope | None = None
        """Set while our part of the handshake is sent on. A thread takes no step meanwhile."""
        self.timer = Timer(openings.deadlines, self)
        self.timer.move(self.began + openings.longest())
        wire.watcher = self

    def came(self, wire: Wire) -> None:
        """Something has come (`lb.net.wire.Watcher`)."""
        self._openings.want_turn(self)

    def cancel(self) -> None:
        """Its time is over (`lb.net.timers.Cancellable`)."""
        self._openings.refuse(self, TimeoutError())

    def make_room(self) -> None:
        self._openings.make_room(self)

    @property
    def is_slow(self) -> bool:
        """A step of its handshake holds the event loop for long."""
        return self.served is not None and any(each.is_slow for each in self.served.certificates)

    def step(self) -> bool:
        """Go on with what has come. True once the connection is open.

        What is slow is not begun by the step that finds it out. Raises an `ssl.SSLError`, an OSError,
        HelloRefused or UnknownName where that cannot be.
        """
        if self.served is None and (not self._choose() or self.is_slow):
            return False
        is_done = self.wire.handshake_now()
        if is_done and self.wire.tls.session_reused:
            self._check_days()
        return is_done

    def _check_days(self) -> None:
        """A session of TLS 1.2 may be taken up after the client's certificate has ended: OpenSSL lets it."""
        shown = self.wire.tls.getpeercert()
        if shown and ssl.cert_time_to_seconds(str(shown["notAfter"])) <= time.time():
            raise ssl.SSLCertVerificationError(
                ssl.SSL_ERROR_SSL, "certificate has expired, and its session with it"
            )

    def _choose(self) -> bool:
        """Read the ClientHello, and begin with what its server name gets. False while it is not whole."""
        self.hello = read_client_hello(self._data) if self._data else None
        while self.hello is None:
            data = self.wire.receive_raw_now()
            if data is None:
                return False
            if not data:
                raise Truncated
            self._data += data
            self.hello = read_client_hello(self._data)
        self.served = self._openings.choose(
            self.hello, self.incoming.destination or self.wire.local_address()
        )
        if self.served is None:
            self.wire.send_raw_now(UNRECOGNIZED_NAME)
            raise UnknownName(self._openings.why_none(self.hello))
        if not self.served.is_challenge:
            check_protocols(self.hello)
        self._data, received = b"", self._data
        memory = None if self.is_slow else self._openings.memory  # a thread has one of its own
        self.wire.begin(self.served.context, received, memory=memory)
        return True

    def secured(self) -> Secured:
        """What was agreed on. Once it is open."""
        assert self.hello is not None
        assert self.served is not None
        return agreed(self.wire, self.hello, self.served)

    def end(self) -> None:
        """It is watched and timed no more."""
        self.wire.watcher = None
        for scope in (self.waiting, self.sending):
            if scope is not None:
                scope.cancel()
        self.timer.cancel()


class Openings:
    """All openings of one process. `run` is its task, which has to be running while there are any.

    `choose` says what a ClientHello gets that came to this address of ours. `longest` (seconds) and `most`
    are asked each time, since the settings may change. The `acceptor` and `handshakes` are told how each
    opening ends. `why_none` says why a certificate that is ordered is not there; None where none is.
    """

    def __init__(
        self,
        choose: Callable[[ClientHello, str], Served | None],
        acceptor: Acceptor,
        handshakes: Handshakes,
        readiness: Readiness,
        deadlines: Deadlines,
        longest: Callable[[], float],
        most: Callable[[], int],
        why_none: Callable[[ClientHello], str | None] = never_ordered,
    ) -> None:
        self.choose, self.why_none = choose, why_none
        self._acceptor = acceptor
        self._handshakes = handshakes
        self._readiness = readiness
        self.memory = TlsMemory()
        """Of all wires that no thread uses."""
        self.deadlines = deadlines
        self.longest = longest
        self._room = Anteroom(most)
        self.now = trio.lowlevel.current_clock().current_time
        self._turns: deque[Opening] = deque()
        self._has_turns = trio.Event()
        self._is_closed = False
        self._nursery: trio.Nursery | None = None

    def begin(self, sock: socket.socket, listener: Listener, accepted: Peer) -> bool:
        """Open a connection that was accepted; it takes its first step when its turn comes."""
        self.go_on(self.wire(sock), Incoming(listener, accepted, accepted), self.now(), b"")
        return True

    def wire(self, sock: socket.socket) -> TlsWire:
        """A wire on which TLS has not begun, for `go_on`."""
        return TlsWire(sock, self._readiness)

    def go_on(self, wire: TlsWire, incoming: Incoming, began: float, received: bytes) -> None:
        """Open a connection that was accepted at `began`, and on which this has come of the handshake."""
        opening = Opening(self, wire, incoming, began, received)
        self._room.enter(opening)
        if received or wire.is_ready:
            self.want_turn(opening)
        if not opening.wire.can_be_watched:
            assert self._nursery is not None
            opening.waiting = trio.CancelScope()
            self._nursery.start_soon(self._wait, opening)

    async def _wait(self, opening: Opening) -> None:
        """In place of edges, where there are none."""
        assert opening.waiting is not None
        with opening.waiting:
            while True:
                await opening.wire.readable()
                self.want_turn(opening)
                await trio.lowlevel.checkpoint()

    async def wait_for_room(self, listener: Listener) -> int:
        """Wait until another may begin. How many may."""
        return await self._room.wait_for_room()

    def make_room(self, opening: Opening) -> None:
        self._tell(opening, HandshakeReason.TOO_MANY)
        self._drop(opening)

    def want_turn(self, opening: Opening) -> None:
        """Something has come for it."""
        opening.has_news = True
        if not opening.is_queued:
            opening.is_queued = True
            self._turns.append(opening)
            self._has_turns.set()

    async def run(self) -> None:
        """Let openings take their steps, until `close`."""
        async with trio.open_nursery() as self._nursery:
            while not self._is_closed:
                await self._has_turns.wait()
                for _ in range(min(A_TURN, len(self._turns))):
                    self._take_turn(self._turns.popleft())
                if self._turns:
                    await trio.lowlevel.checkpoint()
                elif not self._is_closed:
                    self._has_turns = trio.Event()
            self._nursery.cancel_scope.cancel()

    def _take_turn(self, opening: Opening) -> None:
        opening.is_queued = False
        if opening not in self._room or opening.is_busy:
            return
        if not opening.is_slow:
            self._conclude(opening, *_outcome(opening))
        if opening.is_slow and opening.sending is None and opening in self._room:
            assert self._nursery is not None
            opening.is_busy = True  # from now on, so that it is not closed under the thread
            self._nursery.start_soon(self._step_in_thread, opening)

    async def _step_in_thread(self, opening: Opening) -> None:
        """Meanwhile the wire is the thread's, and what comes has its turn afterwards.

        An edge that came while the thread was emptying the wire may be lost on it, so it is noted here too.
        """
        opening.has_news = False
        outcome = await self._outcome_in_thread(opening)
        if opening not in self._room:
            return
        if opening.has_news:
            opening.wire.is_ready = True
        self._conclude(opening, *outcome)
        if opening in self._room and opening.wire.is_ready:
            self.want_turn(opening)

    async def _outcome_in_thread(self, opening: Opening) -> tuple[bool, Exception | None]:
        try:
            return await trio.to_thread.run_sync(_outcome, opening)
        finally:
            opening.is_busy = False
            if opening not in self._room:
                opening.wire.close()  # it was refused meanwhile

    def _conclude(self, opening: Opening, is_done: bool, error: Exception | None) -> None:
        if error is not None:
            self.refuse(opening, error)
        elif is_done:
            self._succeed(opening)
        elif opening.wire.unsent is not None and opening.sending is None:
            assert self._nursery is not None
            opening.sending = trio.CancelScope()
            self._nursery.start_soon(self._send_on, opening, opening.sending)

    async def _send_on(self, opening: Opening, scope: trio.CancelScope) -> None:
        """Send what the kernel did not take of our part of the handshake, as the client reads it."""
        with scope:
            try:
                await opening.wire.flush()
            except OSError as exc:
                self.refuse(opening, exc)
        if not scope.cancelled_caught and opening in self._room:
            opening.sending = None
            self.want_turn(opening)

    def _succeed(self, opening: Opening) -> None:
        """Error boundary: a bug in what is told of one opening is logged and ends that one only."""
        assert opening.served is not None
        try:
            secured = opening.secured()
            seconds = self.now() - opening.began
            name = opening.incoming.listener.name
            self._handshakes.succeeded(name, secured.version, secured.is_resumed, seconds)
        except Exception:
            log.exception("a connection could not be opened", client=opening.incoming.peer[1])
            self._drop(opening)
            return
        if opening.served.is_challenge:  # nothing follows it: RFC 8737 section 3
            self._drop(opening)
        else:
            self._end(opening)
            self._acceptor.opened(opening.wire, opening.incoming, secured)

    def refuse(self, opening: Opening, error: Exception) -> None:
        """End one that cannot be opened, for this error."""
        opening.wire.send_raw_now(ANSWER if isinstance(error, PlainHttp) else alert_of(error))
        self._tell(opening, error)
        self._drop(opening)

    def _tell(self, opening: Opening, error: Exception | HandshakeReason) -> None:
        """Error boundary: a bug in the words is logged, and the opening ends all the same."""
        try:
            self._handshakes.refused(_refusal(opening, error))
        except Exception:
            log.exception("a refused handshake could not be told", client=opening.incoming.peer[1])

    def _drop(self, opening: Opening) -> None:
        self._end(opening)
        self._acceptor.refused(opening.incoming.listener, opening.incoming.accepted)
        if not opening.is_busy:
            opening.wire.close()

    def _end(self, opening: Opening) -> None:
        self._room.leave(opening)
        opening.end()

    def close(self) -> None:
        """End all, and `run`: the process ends."""
        self._is_closed = True
        for opening in self._room.all():
            assert isinstance(opening, Opening)
            self.refuse(opening, TimeoutError())
        self._has_turns.set()


def _outcome(opening: Opening) -> tuple[bool, Exception | None]:
    """Whether a step has opened the connection, or what was wrong; a bug is logged, and refuses this one."""
    try:
        return opening.step(), None
    except (ssl.SSLError, OSError, HelloRefused, UnknownName) as exc:
        return False, exc
    except Exception as exc:
        log.exception("bug in a handshake", client=opening.incoming.peer[1])
        return False, exc


def _refusal(opening: Opening, error: Exception | HandshakeReason) -> Refusal:
    if isinstance(error, UnknownName):
        return refusal(_known(opening, error.ordered), HandshakeReason.UNKNOWN_NAME)
    known = _known(opening, None)
    return refused(known, error) if isinstance(error, Exception) else refusal(known, error)


def _known(opening: Opening, ordered: str | None) -> Known:
    incoming = opening.incoming
    return known(incoming.peer[1], incoming.listener.name, opening.hello, opening.served, ordered)
