"""Accepting: one task per listener accepts connections and starts a task for each.

At a shutdown the listeners end first and the connections when they are done, so there are two nurseries. At
the connection limit nothing is accepted, and the kernel's backlog holds what arrives. Where the process is
out of descriptors, accepting pauses for a moment instead of spinning, and one warning is logged.
"""

import errno
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import structlog
import trio
from trio.lowlevel import wait_readable

from lb.core.client_address import UNIX, peer_of
from lb.net.connect import OUT_OF_DESCRIPTORS
from lb.net.listener import BACKLOG, Listener
from lb.net.wire import Wire
from lb.proxy.backend_side.connections import Connections
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.context import Context
from lb.proxy.places import Places

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

log = structlog.get_logger()


class Server:
    """The data plane of one balancer, from its listeners to the last connection.

    `serve` is its task; it closes the listeners. `cut` counts the exchanges that were cut when the grace was
    over.
    """

    def __init__(self, context: Context, listeners: Sequence[Listener], places: Places) -> None:
        self._context = context
        self._listeners = listeners
        self._places = places
        self._stop = trio.Event()
        self.cut = 0

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`. Then end idle connections, give busy ones the grace, and cut what is left."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in self._listeners:
                    accepting.start_soon(self._accept, listener, connections)
                task_status.started()
                await self._stop.wait()
                accepting.cancel_scope.cancel()
            self._close_listeners(connections)
            await self._let_finish(self._context.timeouts.grace)
            connections.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS

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

    def _close_listeners(self, connections: trio.Nursery) -> None:
        """Serve the connections in the backlog, which closing would reset, and close the listeners."""
        for listener in self._listeners:
            with suppress(OSError):
                for sock, peer in _waiting(listener.sock, BACKLOG):
                    self._start(sock, peer, listener, connections)
            listener.close()

    async def _accept(self, listener: Listener, connections: trio.Nursery) -> None:
        """Accept until cancelled. An error ends the connection that it came with, never the listener."""
        counts = self._context.metrics.listener(listener.name)
        is_resting = False
        while True:
            await wait_readable(listener.sock)
            await self._places.wait_for_room()
            try:
                for sock, peer in _waiting(listener.sock, min(BURST, self._places.free)):
                    self._start(sock, peer, listener, connections)
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

    def _start(self, sock: socket.socket, peer: object, listener: Listener, nursery: trio.Nursery) -> None:
        address, name = peer_of(peer)
        most = self._context.limits.connections_per_address
        if most is not None and self._places.of(address) >= most and self._is_one_client(address):
            self._context.metrics.listener(listener.name).rejected["address_limit"] += 1
            self._places.refused(address)
            sock.close()
            return
        try:
            wire = Wire(sock, readiness=self._context.readiness)
        except BaseException:
            sock.close()
            raise
        client = ClientConnection(self._context, wire, listener.name, (address, name), listener.host)
        self._places.take(client)
        client.counts.accepted += 1
        client.counts.open += 1
        nursery.start_soon(self._serve_one, client)

    def _is_one_client(self, address: str) -> bool:
        """Whether all connections from there are one client's: not on a Unix socket, and not a proxy's."""
        return address != UNIX and not self._context.identity(address).is_trusted

    async def _serve_one(self, client: ClientConnection) -> None:
        """Error boundary: a bug in one connection is logged and ends that connection only."""
        try:
            await client.serve()
        except Exception:
            log.exception("a connection failed", client=client.peer, listener=client.listener)
        finally:
            client.counts.open -= 1
            self._places.give_back(client)

    async def look_after(self, idle: Connections) -> None:
        """Regularly end exchanges whose clients have left, and close old idle connections to backends.

        A task beside `serve`, which runs until it is cancelled.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            idle.close_old()
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


def _leaving(clients: Iterable[ClientConnection], since: float) -> list[tuple[ClientConnection, bool]]:
    """The clients, in an exchange since before then, that have ended their side; True where both sides ended.

    One poll(2) for all of them, and none for exchanges that are quick.
    """
    waiting = {c.wire.sock.fileno(): c for c in clients if c.is_waiting_since(since)}
    if not waiting:
        return []
    poll = select.poll()
    half_closed = getattr(select, "POLLRDHUP", 0)
    for fd in waiting:
        poll.register(fd, half_closed)
    return [(waiting[fd], bool(events & (select.POLLHUP | select.POLLERR))) for fd, events in poll.poll(0)]
