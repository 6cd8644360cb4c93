"""One exchange: choose a backend, attempt, relay both bodies, account. The heart of the program.

Until the head of the answer has gone to the client, a failed attempt may be followed by another one
(`lb.core.retry`); afterwards there is nothing to do but break off. A request body that came whole with its
head travels with it; any other is uploaded by a second task, which lives exactly as long as it is of use:
a backend may answer early, and its answer is passed on at once (RFC 9112 section 9.3).
"""

from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from lb.core.backend import Backend
from lb.core.exchange_record import Attempt, ExchangeRecord, PassedOver
from lb.core.pool import Pool, Turn
from lb.core.retry import IDEMPOTENT, may_retry, pause
from lb.errors import (
    AnswerRefused,
    BackendError,
    BadRequest,
    ConnectionTerminated,
    ConnectTimeout,
    LBError,
    LoopDetected,
    QueueFull,
    Reason,
    ResponseTimeout,
    Unavailable,
)
from lb.http1.fields import cookie_in, field_in
from lb.http1.head import RequestHead, ResponseHead
from lb.net.wire import Wire
from lb.proxy.backend.connections import Connections
from lb.proxy.exchange.beside import beside
from lb.proxy.exchange.download import Relay
from lb.proxy.exchange.hedge import Race, Runner
from lb.proxy.exchange.upload import Upload

if TYPE_CHECKING:
    from lb.proxy.client.connection import Client


SLOW = ResponseTimeout, ConnectTimeout
"""Failures that are a matter of how long one waits."""


class Forwarding:
    """One request on its way: `begin`, then `go_on`, and the exchange's record is complete but for its end.

    How far it has come stands here and not in a coroutine. So it can be begun by plain calls (`set_out`, then
    `pass_on`; see `lb.proxy.client.fast_path`), and `go_on` goes on from wherever it is. Whoever ends it from
    outside (a timeout of the client's) may ask `may_go_on` and then `go_on` again. It is the holder of its
    places in the pool, and what a policy sees of the request (`lb.core.pool.Holder`).
    """

    __slots__ = (
        "_attempt",
        "_backend",
        "_context",
        "_keeps",
        "_left",
        "_relay",
        "_tried",
        "_upload",
        "_wire",
        "client",
        "exchange",
        "head",
        "pool",
        "trouble",
    )

    def __init__(self, client: "Client", head: RequestHead, exchange: ExchangeRecord) -> None:
        self._context = client.context
        self.client = client
        self.head = head
        self.exchange = exchange
        self.pool = self._route()
        self._tried: tuple[Backend, ...] = ()
        self._backend: Backend | None = None  # taken, and not yet released
        self._wire: Wire | None = None  # lent to us, and not yet given back
        self._relay: Relay | None = None  # holds us, so it is let go as soon as it can be
        self._keeps = False
        self.trouble: BaseException | None = None
        """What came up while nobody ran this; `go_on` raises it, where the exchange is."""

    def _route(self) -> Pool:
        name = self._context.routes.pool_for(self.head.host, self.head.target)
        self.exchange.pool = name
        try:
            return self._context.pools[name]
        except KeyError:
            raise Unavailable(f"no route matches, and there is no pool {name!r}") from None

    def begin(self) -> None:
        """Look at the request before anything is done for it; raises an LBError where nothing will be."""
        self._admit()
        self.pool.budget.request(self.exchange.started)
        keep = self.pool.settings.retry.body if self.head.length and self.is_idempotent else 0
        self._upload = Upload(self.client, self.head, self.exchange, keep)

    async def go_on(self) -> bool:
        """Make attempts until an answer has gone to the client, or none may be made.

        True if the client connection can go on behind it.
        """
        while True:
            try:
                return await self._attempt_on_one()
            except BackendError as error:
                if not self.may_go_on(error):
                    raise
            finally:
                self._let_go()
            await self._pause()

    # -- what others see of it -------------------------------------------------------------------------

    def cut(self) -> None:
        """A drain or an operator ends what runs on a backend (`lb.core.backend.Running`)."""
        self.client.cut()

    @property
    def address(self) -> str:
        return self.client.address

    @property
    def target(self) -> bytes:
        return self.head.target

    def field(self, name: bytes) -> bytes | None:
        return field_in(self.head.lines, name)

    def cookie(self, name: bytes) -> bytes | None:
        return cookie_in(self.head.lines, name)

    @property
    def is_idempotent(self) -> bool:
        """By its method, or because its client says so in the field that the pool's settings name."""
        if self.head.method in IDEMPOTENT:
            return True
        mark = self.pool.settings.retry.marked_by
        return mark is not None and self.field(mark.lower().encode()) is not None

    # -- by plain calls --------------------------------------------------------------------------------

    def set_out(self) -> Wire | None:
        """Send the request over an idle connection; the answer is to come from there. If None: `go_on`."""
        if self.pool.settings.hedge is not None:
            return None
        backend, passed_over = self.pool.take(self)
        if backend is None:
            return None
        self._has_taken(backend)
        self._begin_on(backend, passed_over)
        return self._wire if self._has_sent_all else None

    def pass_on(self, head: ResponseHead, data: bytes) -> bool:
        """Pass on the final answer, as far as it has come. True if that was all; otherwise `go_on`."""
        relay = self._relay
        assert relay is not None
        relay.note_first_byte()
        relay.begin(head, data)
        if not relay.send_now():
            return False
        self._keeps = relay.wire_stays
        self._let_go()
        return True

    # -- before anything is sent -----------------------------------------------------------------------

    def _admit(self) -> None:
        head, limit = self.head, self._context.limits.request_body
        if head.via and self._context.via in head.via:
            raise LoopDetected("the request came through this balancer before", status=508)
        if limit is not None and head.length is not None and head.length > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)
        if (id := self.client.identity.request_id(head.claims)) is not None:
            self.exchange.id = id

    async def _choose(self) -> tuple[Backend, PassedOver]:
        backend, passed_over = self.pool.take(self, self._tried)
        if backend is None:
            return await self._queue()
        return backend, passed_over

    async def _queue(self) -> tuple[Backend, PassedOver]:
        granted, began, settings = trio.Event(), self._context.now(), self.pool.settings
        longest = min(settings.queue_timeout or self._context.timeouts.queue, self._time_left())
        ticket = self.pool.queue(self, self._tried, granted.set)
        self.client.expect(inf, None)
        try:
            with trio.move_on_after(longest):
                await granted.wait()
            if ticket.turn is Turn.REFUSED:
                raise Unavailable(self.pool.explain(ticket.passed_over))
            if ticket.backend is None:  # a grant in the very moment of the timeout still counts
                raise QueueFull(f"no backend came free in {longest:g} s")
        except BaseException:
            self.pool.leave(ticket)
            raise
        finally:
            self.exchange.queued += self._context.now() - began
        ticket.turn = Turn.LEFT
        return ticket.backend, ticket.passed_over

    def _time_left(self) -> float:
        """Until the one deadline over queue, attempts and pauses."""
        return max(0.0, self.exchange.started + self._deadline() - self._context.now())

    def _deadline(self) -> float:
        """Seconds from the start; where none is set, the timeouts together are enough."""
        timeouts = self._context.timeouts
        return self.pool.settings.retry.deadline or timeouts.queue + timeouts.response_head

    # -- after a failure -------------------------------------------------------------------------------

    def may_go_on(self, error: BackendError) -> bool:
        """Hold the failure against the backend; whether another one may be tried. Once for each failure."""
        self.hold_against(self._attempt, error)
        if isinstance(error, AnswerRefused):  # the rest was asked when the answer was refused
            return self._upload.is_replayable
        is_clean = not (self.client.head_sent or self.client.is_sending)
        return is_clean and self._may_go_elsewhere(error)

    def hold_against(self, attempt: Attempt, error: LBError) -> None:
        """The attempt has failed so; its backend is blamed if it is to blame, and had its time."""
        self.end_attempt(attempt, error.reason)
        now = self._context.now()
        if isinstance(error, AnswerRefused) or (isinstance(error, SLOW) and self._was_hurried(attempt, now)):
            return
        if isinstance(error, BackendError):
            self.pool.failed(attempt.backend, str(error), now - attempt.started, now)

    def _was_hurried(self, attempt: Attempt, now: float) -> bool:
        """It was our deadline that had come, before the timeout that is the backend's own."""
        timeouts = self._context.timeouts
        if attempt.connected is None:
            return now - attempt.started < timeouts.connect
        return now - attempt.connected < timeouts.response_head

    def interrupted(self) -> None:
        """A timeout struck in the moment in which it had lost its meaning: as if the attempt had not been."""
        attempt = self.exchange.deciding
        if attempt is not None and attempt.reason is None:
            attempt.is_beaten = True
            self._tried = self._tried[:-1]

    def _may_go_elsewhere(self, error: BackendError) -> bool:
        if len(self._tried) > self.pool.settings.retry.attempts or not self._time_left():
            return False
        return (
            may_retry(error, self.is_idempotent, self._upload.is_replayable)
            and self._is_anybody_left()
            and self.pool.budget.spend(self._context.now())
        )

    def _is_anybody_left(self) -> bool:
        return any(
            backend not in self._tried and (backend.why_not() is None or backend.is_worth_waiting_for)
            for backend in self.pool.backends
        )

    async def _pause(self) -> None:
        seconds = pause(self.pool.settings.retry, len(self._tried), self._context.chance())
        if seconds:
            self.client.expect(inf, None)
            await trio.sleep(min(seconds, self._time_left()))

    def answered(self, status: int) -> bytes:
        """The head of an answer has come: what it says of its backend, and the field lines to add to it.

        Raises AnswerRefused where another attempt is wanted instead, and may be made.
        """
        attempt, pool = self._attempt, self.pool
        assert attempt.first_byte is not None
        pool.answered(attempt.backend, status, attempt.first_byte - attempt.started, attempt.first_byte)
        if pool.retried_codes and status in pool.retried_codes:
            refused = AnswerRefused(f"{attempt.backend.id} answered {status}")
            if self._may_go_elsewhere(refused):
                raise refused
        return b"" if pool.sticky is None else pool.cookie_line(pool.sticky, attempt.backend, self)

    # -- attempts --------------------------------------------------------------------------------------

    async def _attempt_on_one(self) -> bool:
        """One backend: on an idle connection if there is one; if that had gone stale, on a new one."""
        self._raise_trouble()
        if self._backend is None:
            backend, passed_over = await self._choose()
            self._has_taken(backend)
            if self.pool.settings.hedge is not None and (delay := self._hedge_after(backend)) is not None:
                return await self._race(backend, passed_over, delay)
            self._begin_on(backend, passed_over)
        if self._wire is not None:
            try:
                return await self._relay_answer(self._wire)
            except ConnectionTerminated as error:
                if not may_retry(error, self.is_idempotent, self._upload.is_replayable):
                    raise
                self._begin_again(error)
        self.client.expect(inf, None)
        wire = await self.connect(self._taken)
        self._send_over(wire, reused=False)
        return await self._relay_answer(wire)

    def _raise_trouble(self) -> None:
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble

    def _has_taken(self, backend: Backend) -> None:
        self._backend, self._tried = backend, (*self._tried, backend)

    @property
    def _taken(self) -> Backend:
        assert self._backend is not None
        return self._backend

    def _begin_on(self, backend: Backend, passed_over: PassedOver) -> None:
        """The attempt on a backend that was taken; its request sets out if there is an idle connection."""
        self.begin_attempt(backend, passed_over)
        if (wire := self._context.connections.take(backend)) is not None:
            self._send_over(wire, reused=True)

    def _begin_again(self, error: ConnectionTerminated) -> None:
        """The idle connection had gone stale, which is nobody's failure."""
        self._give_back()
        self.end_attempt(self._attempt, error.reason)
        self.begin_attempt(self._taken, self._attempt.passed_over)

    @property
    def connections(self) -> Connections:
        return self._context.connections

    async def connect(self, backend: Backend) -> Wire:
        return await self.connections.open(backend, self._time_left())

    def begin_attempt(self, backend: Backend, passed_over: PassedOver, leads: bool = True) -> Attempt:
        """Of the one that `leads` the end of the exchange is told."""
        attempt = Attempt(backend, passed_over, self._context.now())
        self.exchange.attempts.append(attempt)
        if leads:
            self.lead(attempt)
        return attempt

    def lead(self, attempt: Attempt) -> None:
        """What happens from now on is about this attempt."""
        self._attempt = self.exchange.leader = attempt

    def end_attempt(self, attempt: Attempt, reason: Reason | None = None) -> None:
        """Once; `reason` is why it failed, by the backend's doing."""
        attempt.reason = attempt.reason or reason
        if attempt.ended is None:
            attempt.ended = self._context.now()

    def relay_over(self, wire: Wire, attempt: Attempt, reused: bool) -> Relay:
        """The attempt has a connection, which is lent to whoever asks for this."""
        attempt.reused, attempt.connected = reused, attempt.started if reused else self._context.now()
        return Relay(self, self._upload, attempt, wire)

    def _send_over(self, wire: Wire, reused: bool) -> None:
        """Send what there is of the request over a connection that is lent to us from now on."""
        self._wire, upload = wire, self._upload
        self._relay = self.relay_over(wire, self._attempt, reused)
        self._left = upload.send_now(wire, self.head_for_backend() + upload.first)
        if self._has_sent_all:
            self.expect_a_head()

    @property
    def _has_sent_all(self) -> bool:
        return self._wire is not None and self._left is None and self.client.request_done

    async def _relay_answer(self, wire: Wire) -> bool:
        """The rest of an attempt whose request has set out."""
        relay, upload = self._relay, self._upload
        assert relay is not None
        if self._has_sent_all:
            self._keeps = await relay.run()
        else:
            self._keeps = await beside(relay.run, partial(upload.send_all_of_it, wire, self._left))
        return relay.client_stays and self.client.request_done

    def _give_back(self) -> None:
        """The connection goes back whatever happened; another exchange may have it if all went well."""
        wire, self._wire = self._wire, None
        if wire is not None:
            keep = self._keeps and self.client.request_done and not self._upload.owes
            self._context.connections.give(self._taken, wire, keep)

    def _let_go(self) -> None:
        """The attempt is over: what was lent goes back, and so does the place on the backend."""
        self._give_back()
        self._relay = None
        if self.exchange.attempts:
            self.end_attempt(self._attempt)
        backend, self._backend = self._backend, None
        if backend is not None:
            self.pool.release(backend, self)

    def expect_a_head(self) -> None:
        longest = self._context.timeouts.response_head
        if self.pool.settings.retry.deadline is not None or len(self._tried) > 1:
            longest = min(longest, self._time_left())
        self.client.expect(longest, ResponseTimeout)

    def head_for_backend(self) -> bytes:
        head = self.head
        lines = self.client.identity.lines(head.host, self.exchange.id, head.claims, head.is_1_0)
        return head.to_backend(lines)

    # -- two at a time ---------------------------------------------------------------------------------

    def _hedge_after(self, backend: Backend) -> float | None:
        """After how many seconds a second backend may be asked too, if this request may be asked twice."""
        if not self.is_idempotent or self.head.length or self.head.upgrade:
            return None
        return self.pool.hedge_after(backend, self, self._context.now())

    async def _race(self, backend: Backend, passed_over: PassedOver, delay: float) -> bool:
        """Let a second backend run beside this one if that is slow; whoever is good first is passed on."""
        first = Runner(self)
        self._backend = None
        self.pool.hand_on(backend, self, first)
        first.begin(backend, passed_over, leads=True)
        self.expect_a_head()
        return await Race(self).run(first, delay)

    def second_runner(self) -> Runner | None:
        """Another backend's, if there is one that can take it now and the budget has room."""
        others = (b for b in self.pool.backends if b not in self._tried)
        if all(b.why_not() is not None for b in others) or not self.pool.budget.spend(self._context.now()):
            return None
        runner = Runner(self)
        backend, passed_over = self.pool.take(runner, self._tried)
        if backend is None:
            return None
        self._tried = (*self._tried, backend)
        self.pool.hedged += 1
        runner.begin(backend, passed_over, leads=False)
        return runner
