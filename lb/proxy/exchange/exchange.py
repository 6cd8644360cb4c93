"""One exchange: its state, and every step that it can take, as plain calls. The heart of the program.

Two drivers call these steps, never at the same time. `lb.proxy.exchange.run` is the task, which waits where
there is something to wait for; its parts are `gather`, `upload`,
`download`, `read_ahead` and `hedge`. The fast path
(`lb.proxy.client_side.fast_path`) calls some of the same steps while that task sleeps; where it stops, `run`
goes on. So the state of an exchange is here and not in a coroutine. The steps, in their order:

    begin            the request's head is accepted
    take             a backend has been chosen                  -> `attempt`
    send_over        the request is being sent                  -> `attempt.connection`
    request_sent     it has been sent whole
    respond          the final head has gone to the client      -> `response`
    let_go           connection and place are given back        -> `attempt` is None

Until `respond`, a failed attempt may be followed by another one (`lb.proxy.exchange.failure`): after
`let_go`, `take` may come again.
"""

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import PassedOver
from lb.core.pool import Pool
from lb.core.retry import IDEMPOTENT, may_retry
from lb.errors import (
    AnswerRefused,
    AttemptCut,
    BackendError,
    BadRequest,
    LoopDetected,
    Reason,
    ResponseTimeout,
    Unavailable,
)
from lb.http1.response_head import ResponseHead
from lb.proxy.context import Context
from lb.proxy.exchange.asking import AskedFor
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.client_waits import ClientWaits
from lb.proxy.exchange.holding import Holding
from lb.proxy.exchange.replay import Replay
from lb.proxy.guard import Guard
from lb.proxy.sides import BackendSide, ClientSide

CUT = "the backend was taken out while the request ran on it"


class Exchange(AskedFor):
    """One request and its response, made when the request's head has been received.

    The owner of `client` and `guard` (a client connection) makes the exchange, calls `begin` once, and has a
    driver call the other steps. Both drivers call `let_go` on every way out, even when cancelled. To policies
    the exchange is the request to choose for (`lb.core.policies.base.Asking`).
    """

    __slots__ = (
        "attempt",
        "body",
        "client",
        "context",
        "guard",
        "head",
        "holding",
        "last_sent",
        "pool",
        "record",
        "response",
        "since",
        "tried",
        "trouble",
        "waits",
    )

    def __init__(self, context: Context, client: ClientSide, record: ExchangeRecord, guard: Guard) -> None:
        self.context = context
        self.client = client
        self.head = client.head
        self.record = record
        self.guard = guard
        self.pool = self._route()
        self.tried: tuple[Backend, ...] = ()
        self.attempt: Attempt | None = None
        self.body: Replay | None = None
        """The content of the request that is kept for another attempt; None where it has no body."""
        self.response: ResponseHead | None = None
        """The final head that was sent to the client. Once it is set, there is no further attempt."""
        self.waits: ClientWaits | None = None
        """How long the client has let bytes of the response wait; None before any were sent by `download`."""
        self.holding: Holding | None = None
        """What is held so that a slow client does not hold a backend; None where nothing was."""
        self.since = record.started
        """From when on `time_left` counts: the time in which the body was gathered does not."""
        self.last_sent = 0.0
        """When content of the request was last sent to the backend; 0.0 if never."""
        self.trouble: Exception | None = None
        """The exception of a step on the fast path. `run` raises it, in the task that owns the exchange."""

    def _route(self) -> Pool:
        name = self.context.routes.pool_for(self.head.host, self.head.target)
        self.record.pool = name
        try:
            return self.context.pools[name]
        except KeyError:
            raise Unavailable(f"no route matches, and there is no pool {name!r}") from None

    def cut(self, why: str = CUT) -> None:
        """Cancel the exchange: 503 if no response has begun. May be called from any task, at any time."""
        self.client.end(AttemptCut(why))

    # -- the request ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Check the request, and keep the content that came with its head. The first step, once.

        Called by the client connection. Raises an LBError where the request is refused; no other step
        follows.
        """
        head, limit = self.head, self.context.limits.request_body
        if head.via and self.context.via in head.via:
            raise LoopDetected("the request came through this balancer before", status=508)
        if limit is not None and head.length is not None and head.length > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)
        if (claimed := self.client.identity.request_id(head.claims)) is not None:
            self.record.id = claimed
        self.pool.budget.request(self.record.started)
        if head.length:
            content = self.client.take_content()
            self.body = Replay(self.pool.settings.retry.body if self.is_idempotent else 0, content)
            self.count_request(len(content))

    def count_request(self, count: int) -> None:
        """Count received bytes of the body, whoever receives them; raises BadRequest above the limit."""
        self.record.request_bytes += count
        limit = self.context.limits.request_body
        if limit is not None and self.record.request_bytes > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)

    @property
    def is_idempotent(self) -> bool:
        """The request may be sent twice: by its method, or by the field that the pool's settings name."""
        if self.head.method in IDEMPOTENT:
            return True
        mark = self.pool.settings.retry.marked_by
        return mark is not None and self.field(mark.lower().encode()) is not None

    @property
    def is_replayable(self) -> bool:
        """All content of the request that was received is kept, so it can be sent again."""
        return self.body is None or self.body.is_whole_so_far

    @property
    def can_be_sent_again(self) -> bool:
        if self.body is None:
            return self.is_idempotent
        return self.client.has_received_all and self.body.is_whole_so_far and self.is_idempotent

    # -- attempts ---------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Choose a backend and begin an attempt on it; False if none may take the request now.

        Called by either driver, while there is no `attempt`.
        """
        attempt = Attempt(self)
        backend, passed_over = self.pool.take(attempt, self.tried)
        if backend is None:
            self.record.passed_over = passed_over
            return False
        self.begin_attempt(attempt, backend, passed_over)
        return True

    def begin_attempt(self, attempt: Attempt, backend: Backend, passed_over: PassedOver) -> None:
        """The pool has counted the attempt on this backend.

        Called by `take`, and by `run` after the queue.
        """
        self.tried = (*self.tried, backend)
        self.attempt = attempt
        self.record.leader = self._record(attempt, backend, passed_over)

    def begin_beside(self) -> Attempt | None:
        """Begin a second attempt, if a backend can take it now and the retry budget has room; None if not.

        Called by `hedge`, while its first attempt has no response. The first one stays `attempt`.
        """
        assert self.attempt is not None
        assert self.response is None
        others = (backend for backend in self.pool.backends if backend not in self.tried)
        if all(backend.why_not() is not None for backend in others) or not self._spend():
            return None
        attempt = Attempt(self)
        backend, passed_over = self.pool.take(attempt, self.tried)
        if backend is None:
            return None
        self.tried = (*self.tried, backend)
        self.pool.hedged += 1
        self._record(attempt, backend, passed_over)
        return attempt

    def begin_again(self, attempt: Attempt, reason: Reason) -> None:
        """Give back a stale idle connection: a new record begins, and a connection is opened next.

        Called by `run` and `hedge`, after `use_idle_connection` and before any byte of a response.
        """
        assert attempt.connection is not None
        assert self.response is None
        self._give_back(attempt)
        self.end_record(attempt.record, reason)
        is_leading = self.record.leader is attempt.record
        self._record(attempt, attempt.backend, attempt.record.passed_over)
        if is_leading:
            self.lead(attempt)

    def _record(self, attempt: Attempt, backend: Backend, passed_over: PassedOver) -> AttemptRecord:
        attempt.backend = backend
        record = attempt.record = AttemptRecord(backend, passed_over, self.context.now())
        self.record.attempts.append(record)
        return record

    def lead(self, attempt: Attempt) -> None:
        """This attempt is the one that the exchange ends with. Called by `hedge` when the race is decided."""
        self.attempt = attempt
        self.record.leader = attempt.record

    def use_idle_connection(self, attempt: Attempt) -> bool:
        """Send the request over an idle connection to the attempt's backend; False if there is none.

        Called by either driver after `take`, while the attempt has no connection.
        """
        connection = self.context.connections.take(attempt.backend, self)
        if connection is None:
            return False
        self.send_over(attempt, connection, is_reused=True)
        return True

    def send_over(self, attempt: Attempt, connection: BackendSide, *, is_reused: bool) -> None:
        """Send the head and the content that is kept, over a connection that was just lent.

        Called by either driver, while the attempt has no connection. The attempt holds it until `let_go`.
        """
        record, client, head = attempt.record, self.client, self.head
        assert self.body is None or self.body.is_whole_so_far, "content was sent before and is not kept"
        attempt.connection = connection
        record.reused = is_reused
        now = record.connected = record.started if is_reused else self.context.now()
        added = client.identity.lines(head.host, self.record.id, head.claims, head.is_1_0)
        connection.request_now(head, added, b"" if self.body is None else self.body.content, client)
        if connection.unsent is None and (self.body is None or client.has_received_all):
            self.request_sent(attempt, now)

    def request_sent(self, attempt: Attempt, now: float) -> None:
        """The request has been sent whole, or the backend takes no more: its response is awaited from now on.

        Called by `send_over`, or later by `upload` and `hedge`, once for each connection.
        """
        attempt.record.sent = now
        if self.response is None and attempt is self.attempt:
            self.await_head()

    def await_head(self) -> None:
        """Set the deadline of the response head. Called while there is no `response`.

        While the client is taking an interim head, the deadline is its own; `download` calls this behind it.
        """
        if self.client.unsent is not None:
            return
        longest = self.context.timeouts.response_head
        if self.pool.settings.retry.deadline is not None or len(self.tried) > 1:
            longest = min(longest, self.time_left())
        self.guard.down.expect(longest, ResponseTimeout)

    # -- by plain calls, for the fast path ----------------------------------------------------------------

    def set_out(self) -> BackendSide | None:
        """Send the whole request over an idle connection, which is returned; None if `run` is needed.

        Called by the fast path after `begin`. After None the exchange may have an attempt, which `run` goes
        on with.
        """
        if self.pool.settings.hedge is not None or not self.take():
            return None
        attempt = self.attempt
        assert attempt is not None
        if not self.use_idle_connection(attempt) or attempt.record.sent is None:
            return None
        return attempt.connection

    # -- the response -----------------------------------------------------------------------------------

    def respond(self, attempt: Attempt, head: ResponseHead) -> bool:
        """Send the final head to the client, with the content that came with it. True if that was everything.

        Called by either driver, once. Raises AnswerRefused where another attempt is to be made instead, and
        ClientGone.
        """
        connection = attempt.connection
        assert connection is not None
        added = self.answered(attempt, head.status)
        content = connection.take_content()
        self.record.response_bytes += len(content)
        if self.context.tells_id:
            head = head.with_request_id(self.record.id)
        self.response = head
        self.record.status = head.status
        self.client.respond_now(head, added, content, connection)
        return connection.has_received_all and self.client.unsent is None

    def answered(self, attempt: Attempt, status: int) -> bytes:
        """Tell the pool of this status, and return the field lines to add to the response.

        Called by `respond`, and for a 101 by `download`. Raises AnswerRefused.
        """
        record, pool = attempt.record, self.pool
        assert attempt.connection is not None
        record.first_byte = attempt.connection.first_byte
        assert record.first_byte is not None
        now = record.first_byte if self.body is None else self.context.now()
        if record.sent is not None or status not in pool.failing_codes:
            # A failing status before the request was whole may be what the client's slowness has earned.
            pool.answered(attempt.backend, status, max(0.0, now - self._awaited_since(record)), now)
        if pool.retried_codes and status in pool.retried_codes:
            refused = AnswerRefused(f"{attempt.backend.id} answered {status}")
            if self.may_go_elsewhere(refused):
                raise refused
        return b"" if pool.sticky is None else pool.sticky.cookie_line(self, attempt.backend)

    def _awaited_since(self, record: AttemptRecord) -> float:
        """When waiting for the backend began: time in which the client sent its body does not count."""
        if self.body is None:
            return record.started
        return max(record.started, self.last_sent) if record.sent is None else record.sent

    # -- another attempt ---------------------------------------------------------------------------------

    def may_go_elsewhere(self, error: BackendError) -> bool:
        """Another backend may be tried after this failure. True spends from the pool's retry budget.

        Called once for each failure, by `answered` or `lb.proxy.exchange.failure`, before there is a
        response.
        """
        assert self.response is None
        further = self.pool.settings.retry.attempts
        if max(len(self.tried), self.record.sends) > further or not self.time_left():
            return False
        return (
            may_retry(error, self.is_idempotent, self.is_replayable)
            and self._is_any_left()
            and (error.is_free or self._spend())
        )

    def _is_any_left(self) -> bool:
        return any(
            backend not in self.tried and (backend.why_not() is None or backend.is_worth_waiting_for)
            for backend in self.pool.backends
        )

    def _spend(self) -> bool:
        return self.pool.budget.spend(self.context.now())

    # -- time -------------------------------------------------------------------------------------------

    def time_left(self) -> float:
        """Seconds until the deadline of the exchange: it covers the queue, all attempts and pauses."""
        timeouts = self.context.timeouts
        deadline = self.pool.settings.retry.deadline or timeouts.queue + timeouts.response_head
        return max(0.0, self.since + deadline - self.context.now())

    # -- the end ----------------------------------------------------------------------------------------

    def end_record(self, record: AttemptRecord, reason: Reason | None = None) -> None:
        """The attempt of this record has ended; `reason` is why it failed. The first of each stays."""
        record.reason = record.reason or reason
        if record.ended is None:
            record.ended = self.context.now()

    def let_go(self, attempt: Attempt | None) -> None:
        """End an attempt: give back its connection and its place on the backend. The last step.

        Called by either driver, once for each attempt, also when cancelled; does nothing for None.
        """
        if attempt is None:
            return
        self._give_back(attempt)
        self.end_record(attempt.record)
        if attempt is self.attempt:
            self.attempt = None
        self.pool.release(attempt.backend, attempt)

    def _give_back(self, attempt: Attempt) -> None:
        """Give back the connection, to be kept if request and response are complete."""
        connection, attempt.connection = attempt.connection, None
        if connection is not None:
            attempt.record.first_byte = connection.first_byte
            is_sent = attempt.record.sent is not None
            keep = is_sent and self.client.has_received_all and connection.can_be_kept
            self.context.connections.give(attempt.backend, connection, keep)
