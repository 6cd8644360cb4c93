"""Accepting: one task per listener accepts connections; each starts a task of its own once it needs one.

At a shutdown the listeners end first and the connections when they are done, so there are two nurseries. At
the connection limit nothing is accepted, and the kernel's backlog holds what arrives. Where the process is
out of descriptors, accepting pauses for a moment instead of spinning, and one warning is logged.
"""

import errno
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import structlog
import trio
from trio.lowlevel import wait_readable

from lb.core.client_address import UNIX, peer_of
from lb.core.secured import Secured
from lb.net.connect import OUT_OF_DESCRIPTORS
from lb.net.listener import BACKLOG, Listener
from lb.net.plain_wire import PlainWire
from lb.net.wire import Wire
from lb.observe.counters import ListenerCounts
from lb.proxy.backend_side.connections import Connections
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.client_side.connection_task import ConnectionTask
from lb.proxy.context import Context
from lb.proxy.incoming import Incoming, Peer
from lb.proxy.places import Places, subject_of
from lb.slices import sliced

BURST = 64
"""Connections accepted in a row before other tasks run."""
REST_SECONDS = 0.1
"""Pause of a listener when the process is out of descriptors."""
GONE_BEFORE_ACCEPTED = frozenset(
    (
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    )
)
"""Errors of the connection and not of the listener: accept(2) says to treat them like EAGAIN."""
LAST_WORDS_SECONDS = 1.0
"""How long connections may take, after the grace, to send their error answers."""
LOOK_SECONDS = 0.5
"""Interval of checking whether clients that wait for a response have left."""

PATIENCE_SECONDS = 0.01
"""How long a process that is ahead of the others leaves a connection to them."""
TURN_SECONDS = 0.001

log = structlog.get_logger()


class Evenness(Protocol):
    """How the processes that accept from the same sockets share the connections."""

    def allowance(self, count: int) -> int:
        """How many more this process, which has `count` open, may accept now; 0 if it is ahead of others."""
        ...

    def show(self, count: int) -> None:
        """This process has so many open."""
        ...


class Front(Protocol):
    """Opens connections that do not begin with HTTP (`lb.proxy.client_side`)."""

    def begin(self, sock: socket.socket, listener: Listener, accepted: Peer) -> bool:
        """Open a connection that was accepted. The socket is its own, unless it raises; it calls nothing.

        False where it has refused the peer, and closed the socket.
        """
        ...

    async def wait_for_room(self, listener: Listener) -> int:
        """Wait until another one of this listener may begin. How many may, until others run."""
        ...

    async def run(self) -> None:
        """Its task, which ends after `close`."""
        ...

    def close(self) -> None:
        """End all that are not open."""
        ...


class Server:
    """The data plane of one balancer, from its listeners to the last connection.

    `serve` is its task; it closes the listeners. `cut` counts the exchanges that were cut when the grace was
    over. `front` has to be set where a listener is not plain.
    """

    def __init__(
        self,
        context: Context,
        listeners: Sequence[Listener],
        places: Places,
        evenness: Evenness | None = None,
    ) -> None:
        self._context = context
        self._listeners = listeners
        self._places = places
        self._evenness = evenness
        self._stop = trio.Event()
        self._connections: trio.Nursery | None = None
        self.cut = 0
        self.front: Front | None = None

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`. Then end idle connections, give busy ones the grace, and cut what is left."""
        async with trio.open_nursery() as self._connections:
            if self.front is not None:
                self._connections.start_soon(self.front.run)
            try:
                await self._accept_until_stopped(task_status)
                self._close_listeners()
                await self._let_finish(self._context.timeouts.grace)
            finally:  # while the nursery is open: after it, none could start a task
                if self.front is not None:
                    self.front.close()
                for client in self._places.clients():
                    client.abandon()
            self._connections.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS

    async def _accept_until_stopped(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as accepting:
            for listener in self._listeners:
                accepting.start_soon(self._accept, listener)
            task_status.started()
            await self._stop.wait()
            accepting.cancel_scope.cancel()

    def stop(self) -> None:
        """Begin the shutdown. `serve` returns when the last connection has ended.

        May be called from any task.
        """
        self._context.closing = True
        self._stop.set()

    async def _let_finish(self, grace: float) -> None:
        """End idle connections, wait up to `grace` seconds for busy ones, and cut the rest with an answer."""
        for client in self._places.clients():
            client.close_soon()
        with trio.move_on_after(grace):
            await self._places.wait_until_empty()
        self.cut = sum(client.record is not None for client in self._places.clients())
        for client in self._places.clients():
            client.cut("the balancer was stopped, and the grace was over")

    def _close_listeners(self) -> None:
        """Serve the connections in the backlog, which closing would reset, and close the listeners.

        Where another program listens on the same socket the backlog is its own.
        """
        for listener in self._listeners:
            if not listener.is_handed_over:
                with suppress(OSError):
                    for sock, peer in _waiting(listener.sock, BACKLOG):
                        self._start(sock, peer, listener)
            listener.close()

    async def _accept(self, listener: Listener) -> None:
        """Accept until cancelled. An error ends the connection that it came with, never the listener."""
        counts = self._counts(listener)
        is_resting = False
        while True:
            await wait_readable(listener.sock)
            await self._places.wait_for_room()
            try:
                most = BURST if self._evenness is None else await self._turn(self._evenness, listener.sock)
                if self.front is not None and not listener.is_plain:
                    most = min(most, await self.front.wait_for_room(listener))
                for sock, peer in _waiting(listener.sock, min(most, self._places.free)):
                    self._start(sock, peer, listener)
                is_resting = False
            except OSError as exc:
                lacks_descriptors = exc.errno in OUT_OF_DESCRIPTORS
                if lacks_descriptors and self._context.spare.give_up(leaving=1):
                    continue  # one is left, since a client is of no use without a connection to a backend
                counts.rejected["file_descriptors" if lacks_descriptors else "accept_failed"] += 1
                if lacks_descriptors:
                    self._places.close_idle()
                if not is_resting:
                    log.warning("accepting rests", listener=listener.name, why=exc.strerror or str(exc))
                is_resting = True
                await trio.sleep(REST_SECONDS)

    async def _turn(self, evenness: Evenness, sock: socket.socket) -> int:
        """How many to accept now. Where others have fewer connections they have a moment to be quicker.

        It ends when one of them was.
        """
        until = trio.current_time() + PATIENCE_SECONDS
        count = evenness.allowance(self._places.taken)
        while not count and trio.current_time() < until and _has_waiting(sock):
            await trio.sleep(TURN_SECONDS)
            count = evenness.allowance(self._places.taken)
        return max(1, min(BURST, count))

    def _start(self, sock: socket.socket, peer: object, listener: Listener) -> None:
        address, name = peer_of(peer)
        counts = self._counts(listener)
        # who sends a PROXY header has many clients, whose own addresses count (`opened`)
        if not listener.takes_proxy_header and self._is_one_too_many(address, counts):
            sock.close()
            return
        try:
            if self.front is not None and not listener.is_plain:
                if not self.front.begin(sock, listener, (address, name)):
                    return
                wire = None
            else:
                wire = PlainWire(sock, self._context.readiness)
        except BaseException:
            sock.close()
            raise
        counts.accepted += 1
        counts.open += 1
        if wire is None:
            self._places.reserve(address)
            self._show()
        else:
            self._attend(wire, Incoming(listener, (address, name), (address, name)), None)

    def opened(self, wire: Wire, incoming: Incoming, secured: Secured | None, received: bytes = b"") -> None:
        """A connection is open, on which this has come: `front` gives its wire away."""
        self._places.release(incoming.accepted[0])
        self._attend(wire, incoming, secured, received)

    def refused(self, listener: Listener, accepted: Peer) -> None:
        """A connection could not be opened: `front` closes its wire."""
        self._places.release(accepted[0])
        self._counts(listener).open -= 1
        self._show()

    def _attend(self, wire: Wire, incoming: Incoming, secured: Secured | None, received: bytes = b"") -> None:
        """Error boundary: a bug in the beginning of a connection is logged and ends that one only."""
        listener, _, peer, announced = incoming
        client: ClientConnection | None = None
        try:
            if not self._is_full_for(incoming, secured):
                client = ClientConnection(
                    self._context, wire, listener.name, peer, listener.host, self, secured, announced
                )
                self._places.take(client)
                self._show()
                client.attend(received)
        except Exception:
            log.exception("a connection failed", client=peer[1], listener=listener.name)
            if client is not None:
                client.abandon()
        if client is None:
            self._counts(listener).open -= 1
            wire.close()
            self._show()

    def _counts(self, listener: Listener) -> ListenerCounts:
        return self._context.metrics.listener(listener.name)

    def _show(self) -> None:
        if self._evenness is not None:
            self._evenness.show(self._places.taken)

    def _is_full_for(self, incoming: Incoming, secured: Secured | None) -> bool:
        """Whether its client has every place that one may have; by address where that was announced late."""
        counts, address = self._counts(incoming.listener), incoming.peer[0]
        if incoming.announced is not None and self._is_one_too_many(address, counts):
            return True
        return self._has_all_places(address, secured, counts)

    def _is_one_too_many(self, address: str, counts: ListenerCounts) -> bool:
        """Whether this address has every place that one may have."""
        most = self._context.limits.connections_per_address
        if most is None or self._places.of(address) < most or not self._is_one_client(address):
            return False
        counts.rejected["address_limit"] += 1
        self._places.refused(address)
        return True

    def _has_all_places(self, address: str, secured: Secured | None, counts: ListenerCounts) -> bool:
        """Whether the owner of this certificate has every place that one may have; proxies may have more."""
        most = self._context.limits.connections_per_certificate
        subject = None if most is None else subject_of(secured)
        if most is None or subject is None or self._places.with_certificate(subject) < most:
            return False
        if address != UNIX and self._context.identity(address).is_trusted:
            return False
        counts.rejected["certificate_limit"] += 1
        self._places.refused_certificate(subject)
        return True

    def start_task(self, client: ClientConnection) -> None:
        assert self._connections is not None
        self._connections.start_soon(self._serve_one, client)

    def ended(self, client: ClientConnection) -> None:
        client.counts.open -= 1
        self._places.give_back(client)
        self._show()

    def _is_one_client(self, address: str) -> bool:
        """Whether all connections from there are one client's: not on a Unix socket, and not a proxy's."""
        return address != UNIX and not self._context.identity(address).is_trusted

    async def _serve_one(self, client: ClientConnection) -> None:
        """Error boundary: a bug in one connection is logged and ends that connection only."""
        try:
            await ConnectionTask(client).serve()
        except Exception:
            log.exception("a connection failed", client=client.peer, listener=client.listener)
        finally:
            self.ended(client)

    async def look_after(self, idle: Connections) -> None:
        """Regularly end exchanges whose clients have left, and close old idle connections to backends.

        A limit of connections that a reload has changed holds from the next look on. A task beside `serve`,
        which runs until it is cancelled.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            await sliced(idle.closing_old(), self._context.now)
            self._places.limit(self._context.most_clients)
            for client, gone in _leaving(self._places.clients(), trio.current_time() - LOOK_SECONDS):
                if gone:
                    client.gone()
                else:
                    client.has_ended_its_side()


def _waiting(sock: socket.socket, most: int = BURST) -> Iterator[tuple[socket.socket, object]]:
    """Accept connections from the backlog, at most `most`. Raises OSError where the listener fails."""
    for _ in range(most):
        try:
            yield sock.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno not in GONE_BEFORE_ACCEPTED:
                raise


def _has_waiting(sock: socket.socket) -> bool:
    """Whether there is a connection in the backlog."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _leaving(clients: Iterable[ClientConnection], since: float) -> list[tuple[ClientConnection, bool]]:
    """The clients, in an exchange since before then, that have ended their side; True where both sides ended.

    One poll(2) for all of them, and none for exchanges that are quick.
    """
    waiting = {c.wire.fileno(): c for c in clients if c.is_waiting_since(since)}
    if not waiting:
        return []
    poll = select.poll()
    half_closed = getattr(select, "POLLRDHUP", 0)
    for fd in waiting:
        poll.register(fd, half_closed)
    return [(waiting[fd], bool(events & (select.POLLHUP | select.POLLERR))) for fd, events in poll.poll(0)]
