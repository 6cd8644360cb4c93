"""A pool: its backends, which of them takes the next request, and the queue when all are full.

These rules hold after every function here. Caps are hard: no backend is ever above its `max_in_flight`. No
request waits while a backend that it may have is available. The queue is served in its order
(`lb.core.request_queue`), and no newcomer overtakes: what is available while there is a queue has been tried
by every request in it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from lb.core.backend import Backend
from lb.core.health.ejection import Standing
from lb.core.passed_over import PassedOver
from lb.core.policies.base import Policy
from lb.core.policies.sticky import Sticky
from lb.core.pool_health import PoolHealth
from lb.core.request_queue import Holder, RequestQueue, Ticket, Turn, urgency
from lb.core.retry_budget import RetryBudget
from lb.core.roster import Roster
from lb.errors import QueueFull, Unavailable
from lb.settings.pool_settings import PoolSettings, codes

__all__ = ["Holder", "Pool", "Ticket", "Turn"]

FAILURE_SECONDS = 1.0
"""A failure counts as slow as this at least for a policy that looks at latency: a refusal is quick."""


class Pool:
    """A named group of backends with one policy. Only the registry adds and removes backends.

    `in_flight` and `hedged` count requests and hedges that run. After a status of `retried_codes` a request
    may be tried again; one of `failing_codes` counts as a failure. `on_idle` is told when the last request on
    a draining backend has ended.
    """

    __slots__ = (
        "_learn",
        "_roster",
        "backends",
        "budget",
        "cap",
        "failing_codes",
        "health",
        "hedged",
        "in_flight",
        "name",
        "on_idle",
        "policy",
        "request_queue",
        "retried_codes",
        "settings",
        "sticky",
    )

    def __init__(self, name: str, settings: PoolSettings, policy: Policy) -> None:
        self.name = name
        self.backends: list[Backend] = []
        self.health = PoolHealth(self.backends, settings)
        self.request_queue = RequestQueue()
        self.in_flight = 0
        self.hedged = 0
        self.budget = RetryBudget(settings.retry.budget, settings.retry.floor)
        self.on_idle: Callable[[Backend], None] = lambda _backend: None
        self._roster = Roster(policy)
        self.configure(settings, policy)

    def configure(self, settings: PoolSettings, policy: Policy) -> None:
        """Take on other settings; requests that run or wait stay where they are."""
        self.settings = self.health.settings = settings
        self.policy = policy
        self.cap = settings.max_in_flight
        self.budget.respec(settings.retry.budget, settings.retry.floor)
        self.retried_codes = codes(settings.retry.statuses)
        self.failing_codes = codes(settings.ejection.statuses)
        self._learn: Callable[[Backend, float], None] | None = getattr(policy, "ended", None)
        self.sticky = policy if isinstance(policy, Sticky) else None
        is_choosy = self.cap is not None or self.sticky is not None
        self._roster.respec(policy, policy if self.sticky is None else self.sticky.inner, is_choosy)
        self.request_queue.tie(None if self.sticky is None else self.sticky.newest)

    @property
    def is_full(self) -> bool:
        """The pool as a whole is at its cap."""
        return self.cap is not None and self.in_flight >= self.cap

    @property
    def waiting(self) -> int:
        """How many requests are in the queue."""
        return self.request_queue.waiting

    @property
    def is_panicking(self) -> bool:
        """Too few backends are fit, so all that are ready are used."""
        return self.health.is_panicking

    def enter(self, backend: Backend) -> None:
        """Add a backend; `reconsider` follows."""
        self.backends.append(backend)
        self.health.enter(backend)
        self._roster.enter(backend)

    def leave(self, backend: Backend) -> None:
        """Take out a backend; `reconsider` follows."""
        self.backends.remove(backend)
        self.health.leave(backend)
        self._roster.leave(backend)

    # -- taking and giving back ------------------------------------------------------------------------

    def take(self, holder: Holder, tried: Collection[Backend] = ()) -> tuple[Backend | None, PassedOver]:
        """Choose a backend and count `holder` on it, or (None, why each was passed over).

        A backend that was taken must be given back with `release`, whatever happens.
        """
        roster = self._roster
        if roster.is_stale:
            roster.catch_up(self.backends)
        if roster.pick is None or tried:
            backend = self._choose_narrowed(holder, tried)
            passed_over = self._left_out(backend, tried)
            if backend is None:
                return None, passed_over
        else:
            backend, passed_over = roster.pick(holder), roster.out
        backend.running.add(holder)
        self.in_flight += 1
        if backend.cap is not None or roster.counter is not None:
            roster.moved(backend)
        return backend, passed_over

    def _choose_narrowed(self, holder: Holder, tried: Collection[Backend]) -> Backend | None:
        """Choose one that the pool's own cap, earlier attempts, backups and cookies leave."""
        if self.is_full:
            return None
        if self.sticky is not None and (names := self.sticky.names(holder)):
            backend = self._kept(names, tried) or self._roster.free_one(names, tried)
            if backend is not None:
                return backend
        return self._roster.choose(holder, tried)

    def _kept(self, names: Sequence[str], tried: Collection[Backend]) -> Backend | None:
        """The draining backend that this client was on last, while it may still keep it."""
        for named in names:
            backend = self._roster.draining.get(named)
            if backend is not None and backend not in tried and backend.keeps_its_clients:
                return backend
            if named in self._roster.open:
                return None
        return None

    def _left_out(self, chosen: Backend | None, tried: Collection[Backend]) -> PassedOver:
        """All that were left out, with reasons: of those that are out for this request alone the first."""
        if self._roster.is_stale:
            self._roster.catch_up(self.backends)
        reason = f"pool full {self.in_flight}/{self.cap}" if self.is_full else "not needed"
        return self._roster.passed_over(chosen, tried, reason)

    def cookie_line(self, sticky: Sticky, backend: Backend, holder: Holder) -> bytes:
        """The field line that ties this client to the backend; none where it is tied for long enough."""
        if sticky.is_tied(holder, backend):
            return b""
        return b"Set-Cookie: %b\r\n" % sticky.cookie_for(backend)

    def release(self, backend: Backend, holder: Holder) -> None:
        """Give back what `take` or a granted ticket took; the place goes to the queue."""
        was_full = self.is_full
        if holder in backend.running:
            backend.running.remove(holder)
            self.in_flight -= 1
            if backend.cap is not None or self._roster.counter is not None:
                self._roster.moved(backend)
        if self.request_queue.waiting:
            # What is available besides has been tried by all that wait, unless the pool itself was full.
            self._serve_queue(self.backends if was_full else (backend,))
        if not backend.running and backend.drain is not None:
            self.on_idle(backend)

    def queue(self, holder: Holder, tried: Collection[Backend], wake: Callable[[], None]) -> Ticket:
        """Wait in the queue. Raises `Unavailable` or `QueueFull` where waiting would be in vain."""
        if all(backend in tried for backend in self._worth_waiting_for()):
            raise Unavailable(self.explain(self._left_out(None, tried)))
        if self.request_queue.waiting >= self.settings.queue:
            raise QueueFull(f"{self.waiting} requests wait already for pool {self.name!r}")
        name = self.settings.priority_field
        value = None if name is None else holder.field(name.lower().encode())
        return self.request_queue.add(holder, tried, wake, urgency(value))

    def leave_queue(self, ticket: Ticket) -> None:
        """Give up a wait; a backend that was granted meanwhile is released."""
        if ticket.turn is Turn.WAITING:
            self.request_queue.remove(ticket, Turn.LEFT)
        elif ticket.turn is Turn.GRANTED and ticket.backend is not None:
            self.release(ticket.backend, ticket.holder)
        ticket.turn = Turn.LEFT

    def reconsider(self) -> None:
        """Backends or settings have changed: serve the queue.

        Requests that have no backend left to wait for are told so now instead of at their timeout.
        """
        self.health.reconsider()
        if not self.request_queue.waiting:
            return
        self._serve_queue(self.backends)
        for ticket in self.request_queue.hopeless([*self._worth_waiting_for()]):
            ticket.passed_over = self._left_out(None, ticket.tried)
            self.request_queue.call(ticket, Turn.REFUSED)

    def _serve_queue(self, among: Sequence[Backend]) -> None:
        """Give what is free among these backends to those that wait."""
        while not self.is_full:
            free = [backend for backend in among if backend.is_open and not backend.is_full]
            keeping = [backend for backend in among if backend.keeps_its_clients]
            ticket = self.request_queue.first(free, keeping)
            if ticket is None:
                return
            backend, passed_over = self.take(ticket.holder, ticket.tried)
            if backend is None:
                return
            ticket.backend, ticket.passed_over = backend, passed_over
            self.request_queue.call(ticket, Turn.GRANTED)

    def _worth_waiting_for(self) -> Iterator[Backend]:
        is_full = self.is_full
        return (b for b in self.backends if b.is_worth_waiting_for or (is_full and b.is_open))

    # -- what attempts show ----------------------------------------------------------------------------

    def answered(self, backend: Backend, status: int, seconds: float, now: float) -> None:
        """A response head has come after so many seconds: a success, unless its status counts as a failure.

        Called at most once for each attempt; a response that breaks off later is told by `failed`.
        """
        if self.failing_codes and status in self.failing_codes:
            self.failed(backend, f"status {status}", seconds, now)
            return
        outcomes = backend.outcomes
        outcomes.succeeded(now)
        if outcomes.standing is Standing.TRIAL and self.health.passed_trial(backend, now - seconds, now):
            self.reconsider()
        if self._learn is not None:
            self._learn(backend, seconds)
        if self.settings.hedge is not None:
            backend.recent.observe(seconds, now)

    def failed(self, backend: Backend, why: str, seconds: float, now: float) -> None:
        """An attempt has failed by the backend's doing, `why` in words, after so many seconds."""
        if self._learn is not None:
            self._learn(backend, max(seconds, FAILURE_SECONDS))
        if self.health.failed(backend, why, now - seconds, now):
            self.reconsider()

    def hedge_after(self, backend: Backend, holder: Holder, now: float) -> float | None:
        """Seconds without a response from this backend after which another one may be asked too, or None.

        Never for a client that is tied to the backend: only that backend has its session.
        """
        hedge = self.settings.hedge
        if hedge is None or len(self.backends) < 2:
            return None
        if self.sticky is not None and backend.id in self.sticky.names(holder):
            return None
        usual = backend.recent.quantile(hedge.after, now)
        return None if usual is None else max(usual, hedge.at_least)

    def pass_time(self, now: float) -> float | None:
        """Begin the trials that are due, and let shares grow; when there will be something to do again."""
        if self.health.begin_due_trials(now):
            self.reconsider()
        ramps = [backend.ramp(now) for backend in [*self.health.tally.ramping]]
        times = [*self.health.next_times(), *(ends for ends in ramps if ends is not None)]
        return min(times, default=None)

    # -- in words --------------------------------------------------------------------------------------

    def explain(self, passed_over: PassedOver) -> str:
        """Why there is no backend, in one sentence for people."""
        if not self.backends:
            return f"pool {self.name!r} has no backends"
        return f"no backend is available: {passed_over.in_words()}"
