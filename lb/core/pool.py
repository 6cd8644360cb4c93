"""A pool: its backends, which of them takes the next request, and the queue when all are full.

These rules hold after every function here. Caps are hard: no backend is ever above its `max_in_flight`. No
request waits while a backend that it may have is available. The queue is served in its order
(`lb.core.request_queue`), and no newcomer overtakes: what is available while there is a queue has been tried
by every request in it.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from math import inf

from lb.core.backend import Backend, Running
from lb.core.health.ejection import Standing
from lb.core.lender import Lender
from lb.core.passed_over import PassedOver
from lb.core.policies.base import Looks, Policy
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

    `backends` has them in the order in which they came, as keys, so that one of many leaves without a search.
    `in_flight` counts requests that run, `hedged` hedges since the start, `waiting_elsewhere` those in queues
    of other processes; `lender` and `row` are as a backend's. After a status of `retried_codes` a request may
    be tried again; one of `failing_codes` is a failure. `on_idle` hears of the end of a draining one's last.
    """

    __slots__ = (
        "_learn",
        "_rests",
        "_roster",
        "backends",
        "budget",
        "cap",
        "failing_codes",
        "health",
        "hedged",
        "in_flight",
        "lender",
        "name",
        "on_idle",
        "policy",
        "request_queue",
        "retried_codes",
        "row",
        "settings",
        "sticky",
        "waiting_elsewhere",
    )

    def __init__(self, name: str, settings: PoolSettings, policy: Policy) -> None:
        self.name = name
        self.backends: dict[Backend, None] = {}
        self.health = PoolHealth(settings)
        self.request_queue = RequestQueue()
        self.in_flight = 0
        self.hedged = 0
        self.waiting_elsewhere = 0
        self.lender: Lender | None = None
        self.row = 0
        self.budget = RetryBudget(settings.retry.budget, settings.retry.floor)
        self.on_idle: Callable[[Backend], None] = lambda _backend: None
        self._roster = Roster(policy)
        self._rests = False
        self.configure(settings, policy)

    def configure(self, settings: PoolSettings, policy: Policy) -> None:
        """Take on other settings; requests that run or wait stay where they are."""
        self.settings = self.health.settings = settings
        self.policy = policy
        self.budget.respec(settings.retry.budget, settings.retry.floor)
        self.retried_codes = codes(settings.retry.statuses)
        self.failing_codes = codes(settings.ejection.statuses)
        self._learn: Callable[[Backend, float], None] | None = getattr(policy, "ended", None)
        self.sticky = policy if isinstance(policy, Sticky) else None
        self._size()
        self.request_queue.tie(None if self.sticky is None else self.sticky.newest)

    def _size(self) -> None:
        inner = self.policy if self.sticky is None else self.sticky.inner
        self.cap = self.settings.max_in_flight
        if self.lender is not None:
            self.cap = self.lender.pool_cap(self, self.cap)
            if isinstance(inner, Looks):
                inner.see(self.lender.look)
        self._roster.respec(self.policy, inner, self.cap is not None or self.sticky is not None)

    @property
    def is_full(self) -> bool:
        return self.cap is not None and self.in_flight >= self.cap

    @property
    def waiting(self) -> int:
        """How many requests are in the queue, here and elsewhere."""
        return self.request_queue.waiting + self.waiting_elsewhere

    @property
    def is_panicking(self) -> bool:
        return self.health.is_panicking

    # -- places that several processes share -----------------------------------------------------------

    def share(self, lender: Lender) -> None:
        """From now on the lender says how many places are here."""
        self.lender = lender
        self.request_queue.on_change = partial(lender.waits, self)
        for backend in self.backends:
            backend.lender = lender
            backend.derive()
        self.resize()

    def resize(self) -> None:
        """The lender has another number of places of the pool."""
        self._size()
        self._serve_queue(None)

    def resize_backend(self, backend: Backend) -> None:
        """The lender has another number of places of the backend."""
        had_cap = backend.cap is not None
        backend.resize()
        if had_cap is (backend.cap is not None) and not self._roster.is_late(backend):
            self._roster.moved(backend)
            self._serve_queue(backend)
        else:
            backend.derive()
            self.reconsider()

    def full_here(self) -> Iterator[Backend]:
        """Those that only the lack of places keeps from taking more."""
        return (backend for backend in self._worth_waiting_for() if backend.is_full)

    def rest(self) -> None:
        """Tell the policy of nobody from now on: of a copy it is that of the original, and follows others."""
        self._rests = True

    def enter(self, backend: Backend) -> None:
        """Add a backend; `reconsider` follows."""
        self.backends[backend] = None
        backend.lender = self.lender
        self.health.enter(backend)
        if self.lender is not None:
            backend.derive()
        if not self._rests:
            self._roster.enter(backend)

    def leave(self, backend: Backend) -> None:
        """Take out a backend; `reconsider` follows."""
        del self.backends[backend]
        backend.lender = None
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
        if self.lender is not None:
            self.lender.moved(self, backend)
        return backend, passed_over

    def occupy(self, backend: Backend, holder: Running) -> None:
        """Count on this backend, until `release`, what runs there although nothing here has taken it."""
        backend.running.add(holder)
        self.in_flight += 1
        if backend.cap is not None or self._roster.counter is not None:
            self._roster.moved(backend)

    def _choose_narrowed(self, holder: Holder, tried: Collection[Backend]) -> Backend | None:
        """Choose one that the pool's own cap, earlier attempts, backups and cookies leave."""
        if self.is_full:
            return None
        if self.sticky is not None and (names := self.sticky.names(holder)):
            self._roster.place_late(names)
            backend = self._kept(names, tried) or self._roster.free_one(names, tried)
            if backend is not None:
                return backend
            if self.lender is not None:
                self.lender.missed(self, self._roster.full_ones(names))
        return self._choose(holder, tried)

    def _choose(self, holder: Holder, tried: Collection[Backend]) -> Backend | None:
        """As the roster does. While it is behind who is chosen gets its place first, until one stays."""
        roster = self._roster
        chosen = roster.choose(holder, tried)
        while roster.is_stale and (chosen is None or roster.is_late(chosen)):
            if chosen is None:
                roster.catch_up(self.backends)
            elif roster.place(chosen):
                return chosen
            chosen = roster.choose(holder, tried)
        return chosen

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
        self._catch_up()
        reason = f"pool full {self.in_flight}/{self.cap}" if self.is_full else "not needed"
        return self._roster.passed_over(chosen, tried, reason)

    def release(self, backend: Backend, holder: Running) -> None:
        """Give back what `take` or a granted ticket took; the place goes to the queue."""
        was_full = self.is_full
        if holder in backend.running:
            backend.running.remove(holder)
            self.in_flight -= 1
            if backend.cap is not None or self._roster.counter is not None:
                self._roster.moved(backend)
            if self.lender is not None:
                self.lender.moved(self, backend)
        if self.request_queue.waiting:
            # What is available besides has been tried by all that wait, unless the pool itself was full.
            self._serve_queue(None if was_full else backend)
        if not backend.running and backend.drain is not None:
            self.on_idle(backend)

    def queue(self, holder: Holder, tried: Collection[Backend], wake: Callable[[], None]) -> Ticket:
        """Wait in the queue. Raises `Unavailable` or `QueueFull` where waiting would be in vain."""
        if all(backend in tried for backend in self._worth_waiting_for()):
            raise Unavailable(self.explain(self._left_out(None, tried)))
        lender, queue = self.lender, self.settings.queue
        is_beyond = self.waiting >= queue
        if is_beyond and (lender is None or self.waiting >= queue + lender.on_their_way(self)):
            raise QueueFull(f"{self.waiting} requests wait already for pool {self.name!r}")
        name = self.settings.priority_field
        value = None if name is None else holder.field(name.lower().encode())
        return self.request_queue.add(holder, tried, wake, urgency(value), is_beyond)

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
        has_turned = self.health.reconsider()
        if self._rests:
            for backend in self.backends if has_turned else ():
                backend.heed_trust()
            return
        if has_turned:
            self._roster.all_changed(self.backends)
        self._catch_up()
        if not self.request_queue.waiting:
            return
        self._serve_queue(None)
        enough = self.request_queue.most_tried + 1
        for ticket in self.request_queue.hopeless([*islice(self._worth_waiting_for(), enough)]):
            ticket.passed_over = self._left_out(None, ticket.tried)
            self.request_queue.call(ticket, Turn.REFUSED)

    def settling(self) -> Iterator[None]:
        """Try those that are too many out, and place all that have changed, some with each step."""
        while self.health.has_too_many_out or (self._roster.is_stale and not self._rests):
            self.reconsider()
            yield

    def _catch_up(self) -> None:
        if self._roster.is_stale:
            self._roster.catch_up(self.backends)

    def _serve_queue(self, only: Backend | None) -> None:
        """Give what is free to those that wait, of this backend, or of all."""
        while not self.is_full:
            among = self._available() if only is None else (only,)
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

    def _available(self) -> Sequence[Backend]:
        """Enough of those with room that a ticket has tried all of them only if there are no others.

        With these are those that keep their clients.
        """
        self._catch_up()
        keeping = [] if self.sticky is None else self._roster.draining.values()
        return [*self._roster.some_with_room(self.request_queue.most_tried + 1), *keeping]

    def _worth_waiting_for(self) -> Iterator[Backend]:
        while self._roster.is_stale:
            self._roster.catch_up(self.backends)
        return self._roster.worth_waiting_for(self.is_full)

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

    def passing_time(self, now: float) -> Generator[None, None, float | None]:
        """Begin the trials that are due, and let shares grow, of one backend with each step.

        Returns when there will be something to do again.
        """
        tally, health, next_time = self.health.tally, self.health, inf
        for backend in [*tally.unsettled]:
            if backend.tally is tally:
                if health.pass_time(backend, now):
                    self.reconsider()
                next_time = min(next_time, health.next_time(backend) or inf)
                yield
        for backend in [*tally.ramping]:
            if backend.tally is tally:
                next_time = min(next_time, backend.ramp(now) or inf)
                yield
        yield from self.settling()
        return None if next_time == inf else next_time

    # -- in words --------------------------------------------------------------------------------------

    def explain(self, passed_over: PassedOver) -> str:
        """Why there is no backend, in one sentence for people."""
        if not self.backends:
            return f"pool {self.name!r} has no backends"
        return f"no backend is available: {passed_over.in_words()}"
