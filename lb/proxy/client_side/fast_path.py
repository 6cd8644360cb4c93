"""The fast path: plain exchanges served by plain calls, while the task that owns them sleeps.

Waking a task twice for each exchange, and resuming a dozen coroutines each time, costs as much as the rest of
the exchange. So while a client connection's task waits for the next request, its wire is watched. A plain
request that arrives whole, or is there before the task sleeps, is sent at once, if there is an idle
connection to its backend. A plain response is passed on when it arrives. In every other case the task is
woken and goes on from there: the bytes are put back, and the `Exchange` knows how far it has come. Nothing is
decided here. The steps are the exchange's own, and an error in a step is raised in the task, which owns the
exchange. `ConnectionTask._next_request` enters the fast path whenever it waits for a request.

A connection begins on the fast path before it has a task, and one on which all is plain never gets one. It is
started at the first thing that it has to do, and takes over as if it had slept.

A cancellation of the task (a deadline, a cut, a shutdown) ends the exchange wherever it is, as it does when
the task itself drives the exchange. `just bench` guards what this saves.
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
    """The client connection, as the fast path uses it (`lb.proxy.client_side.connection`)."""

    context: Context
    exchange: Exchange | None
    host: bytes

    @property
    def wire(self) -> Wire: ...

    def answer_of_ours(self, head: RequestHead) -> object: ...

    def begin(self, head: RequestHead, behind: bytes) -> Exchange: ...

    def finish(self, error: None) -> None: ...

    def become_idle(self) -> None: ...

    def call_task(self) -> None: ...

    def close_now(self) -> bool: ...


class FastPath:
    """One wait of a client connection for a request, and the exchanges served meanwhile.

    Made by the connection at its beginning, and by its task later; `serve` is called once. `_watched` is the
    wire that is waited on: the client's for a request, the backend's for a response.
    """

    __slots__ = (
        "_connection",
        "_error",
        "_is_needed",
        "_is_over",
        "_is_stopped",
        "_task",
        "_watched",
        "_wire",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wire = connection.wire
        self._task: Task | None = None
        self._watched: Wire | None = None
        self._error: Exception | None = None
        self._is_over = self._is_needed = self._is_stopped = False

    def attend(self, received: bytes = b"") -> None:
        """Begin without a task; what has come already is served at once, and may call one.

        `received` has come before all that is there to be received.
        """
        self._watch(self._wire)
        if received:
            self._go_on(self._begun_with(received))
        elif self._wire.is_ready:
            self.came(self._wire)

    def _begun_with(self, received: bytes) -> Wire | None:
        """As `_step`."""
        try:
            return self._asked(received)
        except Exception as exc:
            self._error = exc
            return None

    def begin(self) -> None:
        """Wait for a request. The task is woken, or called where there is none, once it is needed.

        The wire must be one that `can_be_watched`.
        """
        next_wire = self._step(self._wire) if self._wire.is_ready else self._wire
        self._is_needed = next_wire is None
        self._watch(next_wire)

    async def serve(self) -> bool:
        """Serve plain exchanges until there is something that the task has to do. After `begin`.

        The connection's `exchange` is to be run then, from wherever it is. Without one, there are bytes, or
        the end, to receive. False where the last response said that the connection ends. Raises the error of
        a request for which there is no exchange.
        """
        connection = self._connection
        if not self._is_needed:
            self._task = current_task()
            try:
                await wait_task_rescheduled(self._stop)
            except BaseException:  # Cancelled: the attempt ends as it does in `run`
                if connection.exchange is not None:
                    connection.exchange.let_go(connection.exchange.attempt)
                raise
        error, self._error = self._error, None
        if error is not None and connection.exchange is None:
            raise error
        if connection.exchange is not None:
            connection.exchange.trouble = error
        return not self._is_over

    def _stop(self, _raise_cancel: object) -> Abort:
        self.stop()
        return Abort.SUCCEEDED

    def stop(self) -> None:
        """Take no further step: the connection was cancelled."""
        self._is_stopped = True
        self._watch(None)

    def _watch(self, wire: Wire | None) -> None:
        if self._watched is not None:
            self._watched.watcher = None
        self._watched = wire
        if wire is not None:
            wire.watcher = self

    def came(self, wire: Wire) -> None:
        """There is something to receive on the watched wire: called on an edge (`lb.net.wire.Watcher`)."""
        self._go_on(self._step(wire))

    def _go_on(self, next_wire: Wire | None) -> None:
        """Watch this wire, or let the task go on."""
        if self._is_stopped:
            return  # this step has cancelled the task, which is scheduled already
        if next_wire is not self._watched:
            self._watch(next_wire)
        if next_wire is None:
            self._need_task()

    def _need_task(self) -> None:
        self._is_needed = True
        if self._task is not None:
            reschedule(self._task)
        elif not (self._is_over and self._connection.close_now()):
            self._connection.call_task()

    def _step(self, wire: Wire) -> Wire | None:
        """Receive, and do what follows. Returns the wire to watch, or None to wake the task."""
        try:
            if wire is not self._wire:
                return wire if (data := wire.receive_now()) is None else self._answered(wire, data)
            # no more than a head may be long, so that few bytes of later requests are held
            data = wire.receive_now(self._connection.context.limits.request_head)
            return wire if data is None else self._asked(data)
        except Exception as exc:
            self._error = exc
            return None

    def _asked(self, data: bytes) -> Wire | None:
        """Bytes from the client. Returns the wire to watch for the response, or None to wake the task."""
        connection = self._connection
        limits = connection.context.limits
        found = recognise_whole_request(
            data, connection.host, limits.request_head, limits.target, limits.fields
        )
        if (
            found is None
            or len(found[1]) != (found[0].length or 0)
            or (
                connection.context.front_rules is not None and connection.answer_of_ours(found[0]) is not None
            )
        ):
            self._wire.unread(data)
            return None
        backend = connection.begin(*found).set_out()
        return None if backend is None else backend.wire

    def _answered(self, wire: Wire, data: bytes) -> Wire | None:
        """Bytes from the backend.

        Returns the wire to watch for the next request, or None to wake the task.
        """
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
        if not exchange.respond(attempt, head):
            return None
        exchange.let_go(attempt)
        connection.finish(None)
        if not exchange.client.stays:
            self._is_over = True
            return None
        connection.become_idle()
        return None if self._wire.is_ready else self._wire
