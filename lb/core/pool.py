"""A pool: its backends, which of them takes the next request, and the queue when all are full.

These rules hold after every function here. Caps are hard: no backend is ever above its `max_in_flight`. No
request waits while a backend that it may have is available. The queue is served in its order
(`lb.core.request_queue`), and no newcomer overtakes: what is available while there is a queue has been tried
by every request in it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from lb.core.backend import Backend
from lb.core.health.ejection import Standing
from lb.core.passed_over import NAMED, TRIED, PassedOver
from lb.core.policies.base import Policy
from lb.core.policies.round_robin import hand_over
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
        "_choose_one",
        "_is_choosy",
        "_learn",
        "_leavers",
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
        self._roster: Roster | None = None
        self._leavers: list[Backend] = []
        self.configure(settings, policy)

    def configure(self, settings: PoolSettings, policy: Policy) -> None:
        """Take on other settings; requests that run or wait stay where they are."""
        self.settings = self.health.settings = settings
        self._roster = None
        self.policy = policy
        self.cap = settings.max_in_flight
        self.budget.respec(settings.retry.budget, settings.retry.floor)
        self.retried_codes = codes(settings.retry.statuses)
        self.failing_codes = codes(settings.ejection.statuses)
        self._choose_one = policy.choose
        self._learn: Callable[[Backend, float], None] | None = getattr(policy, "ended", None)
        self.sticky = policy if isinstance(policy, Sticky) else None
        self._is_choosy = self.cap is not None or self.sticky is not None
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

    def leave(self, backend: Backend) -> None:
        """Take out a backend; `reconsider` follows."""
        self.backends.remove(backend)
        self.health.leave(backend)
        self._leavers.append(backend)

    # -- taking and giving back ------------------------------------------------------------------------

    def take(self, holder: Holder, tried: Collection[Backend] = ()) -> tuple[Backend | None, PassedOver]:
        """Choose a backend and count `holder` on it, or (None, why each was passed over).

        A backend that was taken must be given back with `release`, whatever happens. Where an open backend
        has a cap, this looks at each of the open ones.
        """
        roster = self._roster or self._look_again()
        candidates, passed_over = roster.open, roster.out
        if roster.has_caps:
            candidates = [b for b in candidates if not (b.cap and len(b.running) >= b.cap)]
        if tried or roster.has_backups or self._is_choosy:
            candidates = self._narrowed(roster, candidates, holder, tried)
        if tried or len(candidates) != len(roster.open) or (self.sticky is not None and roster.draining):
            passed_over = self._left_out(roster, tried, candidates)
        if not candidates:
            return None, passed_over
        backend = self._choose_one(candidates, holder)
        backend.running.add(holder)
        self.in_flight += 1
        return backend, passed_over

    def _look_again(self) -> Roster:
        """The backends have changed since the last request: what held of them is worked out anew, once."""
        if self._leavers:
            hand_over(self._leavers, self.backends)
            self._leavers = []
        self._roster = Roster(self.backends)
        return self._roster

    def _narrowed(
        self, roster: Roster, candidates: list[Backend], holder: Holder, tried: Collection[Backend]
    ) -> list[Backend]:
        """The candidates that the pool's own cap, earlier attempts, backups and cookies leave."""
        if self.is_full:
            return []
        if self.sticky is not None and roster.draining and (kept := self._kept(roster, holder, tried)):
            return kept
        left = [backend for backend in candidates if backend not in tried] if tried else candidates
        if not roster.has_backups:
            return left
        return [backend for backend in left if not backend.spec.backup] or left

    def _kept(self, roster: Roster, holder: Holder, tried: Collection[Backend]) -> list[Backend]:
        """The draining backend that this client was on last, while it may still keep it."""
        for named in self.sticky.names(holder) if self.sticky is not None else ():
            for backend in roster.draining:
                if backend.id == named and backend not in tried and backend.keeps_its_clients:
                    return [backend]
            if any(backend.id == named for backend in roster.open):
                return []
        return []

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
        if self.request_queue.waiting:
            # What is available besides has been tried by all that wait, unless the pool itself was full.
            self._serve_queue(self.backends if was_full else (backend,))
        if not backend.running and backend.drain is not None:
            self.on_idle(backend)

    def queue(self, holder: Holder, tried: Collection[Backend], wake: Callable[[], None]) -> Ticket:
        """Wait in the queue. Raises `Unavailable` or `QueueFull` where waiting would be in vain."""
        if all(backend in tried for backend in self._worth_waiting_for()):
            roster = self._roster or self._look_again()
            raise Unavailable(self.explain(self._left_out(roster, tried, ())))
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
        self._roster = None
        if not self.request_queue.waiting:
            return
        self._serve_queue(self.backends)
        for ticket in self.request_queue.hopeless([*self._worth_waiting_for()]):
            ticket.passed_over = self._left_out(self._roster or self._look_again(), ticket.tried, ())
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

    def _left_out(
        self, roster: Roster, tried: Collection[Backend], candidates: Sequence[Backend]
    ) -> PassedOver:
        """All but these candidates: what is out for every request, and of the rest the first by name."""
        chosen = set(candidates)
        others = [backend for backend in roster.open if backend not in chosen]
        named = [(backend.id, self._reason(backend, backend in tried)) for backend in others[:NAMED]]
        kept = candidates[0].id if candidates and not candidates[0].is_open else ""
        if not (others or tried or kept):
            return roster.out
        ids = [backend.id for backend in tried]
        return PassedOver(roster.out.out, named, len(others) - len(named), ids, kept)

    def _reason(self, backend: Backend, is_tried: bool) -> str:
        if is_tried:
            return TRIED
        if (why := backend.why_not()) is not None:
            return why
        return f"pool full {self.in_flight}/{self.cap}" if self.is_full else "not needed"
