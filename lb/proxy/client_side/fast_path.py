"""The fast path: plain exchanges served by plain calls, while the task that owns them sleeps.

Waking a task twice for each exchange, and resuming a dozen coroutines each time, costs as much as the
exchange itself. So while a client connection's task waits for the next request, its wire is watched: a
request that is plain and came whole is sent at once, if a connection to its backend is idle, and a plain
response is passed on when it comes. Whatever else comes up, the task is woken and goes on from there: bytes
that were not for the fast path are put back, and the `Exchange` knows how far it has come. Nothing is decided
here. The steps are the exchange's own, and what they raise is raised in the task, where the exchange is.

The task stays the owner of all. Whatever ends it in the meantime (a deadline, a cut, a shutdown) finds the
exchange where it is, and ends it as if the task had got there by itself. `just bench` guards this.
"""

from typing import Protocol

from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from lb.http1.head_reader import recognise_whole_request
from lb.http1.request_head import RequestHead
from lb.net.wire import Wire
from lb.proxy.backend_side.http1_backend import Http1Backend
from lb.proxy.context import Context
from lb.proxy.exchange.exchange import Exchange


class Connection(Protocol):
    """The client connection, as the fast path sees it."""

    context: Context
    exchange: Exchange | None

    @property
    def wire(self) -> Wire: ...

    def begin(self, head: RequestHead, behind: bytes) -> Exchange: ...

    def finish(self, error: None) -> None: ...

    def become_idle(self) -> None: ...


class FastPath:
    """The time of one client connection on the fast path: while its task waits for a request."""

    __slots__ = ("_connection", "_error", "_task", "_watched", "_wire")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wire = connection.wire
        self._task: Task | None = current_task()
        self._watched: Wire | None = None
        self._error: Exception | None = None

    async def serve(self) -> None:
        """Serve until something is for the task: the connection's `exchange`, or without one, what came."""
        connection = self._connection
        self._watch(self._wire)
        try:
            await wait_task_rescheduled(self._stop)
        except BaseException:  # cancelled: the attempt ends as it would in `run`
            if connection.exchange is not None:
                connection.exchange.let_go(connection.exchange.attempt)
            raise
        error, self._error = self._error, None
        if error is not None and connection.exchange is None:
            raise error
        if connection.exchange is not None:
            connection.exchange.trouble = error

    def _stop(self, _raise_cancel: object) -> Abort:
        self._task = None
        self._watch(None)
        return Abort.SUCCEEDED

    def _watch(self, wire: Wire | None) -> None:
        if self._watched is not None:
            self._watched.watcher = None
        self._watched = wire
        if wire is not None:
            wire.watcher = self

    def came(self, wire: Wire) -> None:
        """There is something to receive on the watched wire (`lb.net.wire.Watcher`)."""
        try:
            data = wire.receive_now()
            if data is None:
                return
            next_wire = self._asked(data) if wire is self._wire else self._answered(wire, data)
        except Exception as exc:
            next_wire, self._error = None, exc
        if self._task is None:
            return  # what was just done has ended the task's wait
        self._watch(next_wire)
        if next_wire is None:
            reschedule(self._task)

    def _asked(self, data: bytes) -> Wire | None:
        """The client has said something: the wire to wait on for an answer, or None."""
        connection = self._connection
        limits = connection.context.limits
        found = recognise_whole_request(data, limits.request_head, limits.target, limits.fields)
        if found is None or len(found[1]) != (found[0].length or 0):
            self._wire.unread(data)
            return None
        backend = connection.begin(*found).set_out()
        return None if backend is None else backend.wire

    def _answered(self, wire: Wire, data: bytes) -> Wire | None:
        """The backend has said something: the wire to wait on for the next request, or None."""
        connection, exchange = self._connection, self._connection.exchange
        assert exchange is not None
        attempt = exchange.attempt
        assert attempt is not None
        backend = attempt.connection
        assert isinstance(backend, Http1Backend)
        head = backend.recognise(data)
        if head is None:
            wire.unread(data)
            return None
        if not exchange.respond(attempt, head) or not exchange.client.stays:
            return None
        exchange.let_go(attempt)
        connection.finish(None)
        connection.become_idle()
        return None if self._wire.is_ready else self._wire
