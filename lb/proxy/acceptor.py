"""Accepting: one task per listener takes connections and gives each a task of its own.

The listeners end first at a shutdown, the connections when they are done; that is why they live in two
nurseries. At the connection limit we stop accepting and the kernel's backlog holds the rest; when the
process is out of descriptors we rest instead of spinning, and say so.
"""

import errno
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
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
from lb.proxy.places import Places

BURST = 64
REST_SECONDS = 0.1
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
"""Errors of one connection, not of the listener: accept(2) says to go on as if it had never been there."""
LAST_WORDS_SECONDS = 1.0
LOOK_SECONDS = 0.5
"""How often we look whether a client that waits for its answer has left."""

log = structlog.get_logger()


class Server:
    """The data plane of one balancer, from its listeners to the last connection."""

    def __init__(self, context: Context, listeners: Sequence[Listener], places: Places) -> None:
        self._context = context
        self._listeners = listeners
        self._places = places
        self._stop = trio.Event()
        self.cut = 0

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`; then end the idle, wait for the live at most the grace, and cut the rest."""
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
        """Begin the end; `serve` returns when the last connection has."""
        self._context.closing = True
        self._stop.set()

    async def _let_finish(self, grace: float) -> None:
        """Idle connections end, live ones have the grace; then the rest is cut, and told so if it can be."""
        for client in self._places.clients():
            client.close_soon()
        with trio.move_on_after(grace):
            await self._places.wait_until_empty()
        self.cut = sum(client.record is not None for client in self._places.clients())
        for client in self._places.clients():
            client.cut("the balancer was stopped, and the grace was over")

    def _close_listeners(self, connections: trio.Nursery) -> None:
        """Whoever the kernel has let in already is served before the door closes."""
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
                counts.rejected["file_descriptors" if lacks_descriptors else "accept_failed"] += 1
                if lacks_descriptors:
                    self._places.close_idle()
                if not is_resting:
                    log.warning("accepting rests", listener=listener.name, why=exc.strerror or str(exc))
                is_resting = True
                await trio.sleep(REST_SECONDS)

    def _start(self, sock: socket.socket, peer: object, listener: Listener, nursery: trio.Nursery) -> None:
        address, name = (str(peer[0]), name_of(peer)) if isinstance(peer, tuple) else ("unix", "unix")
        most = self._context.limits.connections_per_address
        if most is not None and self._places.of(address) >= most:
            self._context.metrics.listener(listener.name).rejected["address_limit"] += 1
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

    async def _serve_one(self, client: ClientConnection) -> None:
        """The boundary: a bug in one connection ends that connection only."""
        try:
            await client.serve()
        except Exception:
            log.exception("a connection failed", client=client.peer, listener=client.listener)
        finally:
            client.counts.open -= 1
            self._places.give_back(client)

    async def look_after(self, idle: Connections) -> None:
        """The janitor: end exchanges whose clients have left, and idle connections that are too old."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            idle.close_old()
            self._places.limit(self._context.most_clients)
            for client, gone in _leaving(self._places.clients(), trio.current_time() - LOOK_SECONDS):
                if gone:
                    client.gone()
                else:
                    client.ask_whether_there()


def _waiting(sock: socket.socket, most: int = BURST) -> Iterator[tuple[socket.socket, object]]:
    """The connections that wait to be accepted, `most` of them."""
    for _ in range(most):
        try:
            yield sock.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno not in GONE_BEFORE_ACCEPTED:
                raise


def _leaving(clients: Iterable[ClientConnection], since: float) -> list[tuple[ClientConnection, bool]]:
    """Who, in an exchange since then, has ended its side; True for those that are gone for good.

    One system call for all: nothing is spent on a connection while its exchange is quick.
    """
    waiting = {c.wire.sock.fileno(): c for c in clients if c.is_waiting_since(since)}
    if not waiting:
        return []
    poll = select.poll()
    half_closed = getattr(select, "POLLRDHUP", 0)
    for fd in waiting:
        poll.register(fd, half_closed)
    return [(waiting[fd], bool(events & (select.POLLHUP | select.POLLERR))) for fd, events in poll.poll(0)]
