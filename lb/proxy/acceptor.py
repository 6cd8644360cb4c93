"""Accepting: one task per listener accepts connections and starts a task for each.

At a shutdown the listeners end first and the connections when they are done, so there are two nurseries. At
the connection limit nothing is accepted, and the kernel's backlog holds what arrives. Where the process is
out of descriptors, accepting pauses for a moment instead of spinning, and one warning is logged.
"""

import errno
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import structlog
import trio
from trio.lowlevel import wait_readable

from lb.net.connect import OUT_OF_DESCRIPTORS
from lb.net.listener import BACKLOG, Listener, name_of
from lb.net.wire import Wire
from lb.proxy.backend_side.connections import Connections
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.context import Context

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

    `serve` is its task; it closes the listeners. `clients` holds the connections that are open, and is shared
    with the parts that look at them. `cut` counts the exchanges that were cut when the grace was over.
    """

    def __init__(
        self, context: Context, listeners: Sequence[Listener], clients: set[ClientConnection]
    ) -> None:
        self._context = context
        self._listeners = listeners
        self._stop = trio.Event()
        self._room = trio.Event()
        self._clients = clients
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
        clients = self._clients
        for client in list(clients):
            client.close_soon()
        with trio.move_on_after(grace):
            while clients:
                self._room = trio.Event()
                await self._room.wait()
        self.cut = sum(client.record is not None for client in clients)
        for client in list(clients):
            client.cut("the balancer was stopped, and the grace was over")

    def _close_listeners(self, connections: trio.Nursery) -> None:
        """Serve the connections in the backlog, which closing would reset, and close the listeners."""
        for listener in self._listeners:
            with suppress(OSError):
                for sock, peer in _waiting(listener.sock, BACKLOG):
                    self._start(sock, peer, listener, connections)
            listener.close()

    async def _accept(self, listener: Listener, connections: trio.Nursery) -> None:
        counts = self._context.metrics.listener(listener.name)
        is_resting = False
        while True:
            await wait_readable(listener.sock)
            try:
                for sock, peer in _waiting(listener.sock):
                    self._start(sock, peer, listener, connections)
                    if len(self._clients) >= self._context.most_clients:
                        counts.rejected["connection_limit"] += 1
                        await self._wait_for_room()
                is_resting = False
            except OSError as exc:
                if exc.errno not in OUT_OF_DESCRIPTORS:
                    raise
                counts.rejected["file_descriptors"] += 1
                if not is_resting:
                    log.warning("accepting rests", listener=listener.name, why=exc.strerror)
                is_resting = True
                await trio.sleep(REST_SECONDS)

    async def _wait_for_room(self) -> None:
        """Until the number of connections is below the limit, which a reload may change."""
        while len(self._clients) >= self._context.most_clients:
            self._room = trio.Event()
            await self._room.wait()

    def _start(self, sock: socket.socket, peer: object, listener: Listener, nursery: trio.Nursery) -> None:
        address, name = (str(peer[0]), name_of(peer)) if isinstance(peer, tuple) else ("unix", "unix")
        client = ClientConnection(
            self._context,
            Wire(sock, readiness=self._context.readiness),
            listener.name,
            (address, name),
            listener.host,
        )
        self._clients.add(client)
        client.counts.accepted += 1
        client.counts.open += 1
        nursery.start_soon(self._serve_one, client)

    async def _serve_one(self, client: ClientConnection) -> None:
        """Error boundary: a bug in one connection is logged and ends that connection only."""
        try:
            await client.serve()
        except Exception:
            log.exception("a connection failed", client=client.peer, listener=client.listener)
        finally:
            client.counts.open -= 1
            self._clients.discard(client)
            self._room.set()

    async def look_after(self, idle: Connections) -> None:
        """Regularly end exchanges whose clients have left, and close old idle connections to backends.

        A task beside `serve`, which runs until it is cancelled.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            idle.close_old()
            self._room.set()  # the limit may have been raised while all places were taken
            for client, gone in _leaving(self._clients, trio.current_time() - LOOK_SECONDS):
                if gone:
                    client.gone()
                else:
                    client.ask_whether_there()


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


def _leaving(clients: set[ClientConnection], since: float) -> list[tuple[ClientConnection, bool]]:
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
