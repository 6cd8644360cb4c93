"""A pool: its backends, who takes the next request, and the queue when all are full.

These rules hold after every function here. Caps are hard: nobody is ever above `max_in_flight`. Nobody waits
while a backend that may take the request is available; those who wait are served first come, first served,
the more urgent before the less. And no more than its share of a pool is ejected at a time,
but for those that probes say are down as well.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from typing import Protocol

from lb.core.backend import Backend, Running
from lb.core.exchange_record import PassedOver
from lb.core.health.ejection import Cause, Standing, may_eject
from lb.core.health.probe_verdict import Verdict
from lb.core.policies.catalogue import Asking, Policy
from lb.core.policies.sticky import Sticky
from lb.core.retry_budget import RetryBudget
from lb.errors import QueueFull, Unavailable
from lb.settings.pool_settings import PoolSettings, codes

NOBODY: PassedOver = ()
URGENCIES = 8
USUAL_URGENCY = 3  # RFC 9218 section 4.1
MOST_ON_TRIAL = 10
FAILURE_SECONDS = 1.0
"""As slow as this at least is a failure to a policy that looks at latency: to refuse is quick."""


class Holder(Running, Asking, Protocol):
    """A request that runs on a backend, or wants to: a policy may look at it, and it can be told to stop."""


class Turn(Enum):
    """What became of a wait in the queue."""

    WAITING = 0
    GRANTED = 1
    LEFT = 2
    REFUSED = 3


class Ticket:
    """A place in the queue. `wake` is called once: `backend` was taken for its holder, or none will be."""

    __slots__ = ("backend", "holder", "line", "passed_over", "tried", "turn", "wake")

    def __init__(
        self,
        holder: Holder,
        tried: Collection[Backend],
        wake: Callable[[], None],
        line: "deque[Ticket]",
    ) -> None:
        self.holder = holder
        self.tried = tried
        self.wake = wake
        self.line = line
        self.turn = Turn.WAITING
        self.backend: Backend | None = None
        self.passed_over: PassedOver = NOBODY


class Pool:
    """A named group of backends with one policy. Only the registry adds and removes backends.

    `waiting` is how many stand in the queue. `on_idle` is told when the last request on a draining backend
    has ended, `on_flip` (kind, backend, detail) when outcomes have changed what a backend may take,
    `on_panic` when the pool begins or ends to panic.
    """

    __slots__ = (
        "_choose_one",
        "_is_choosy",
        "_learn",
        "_lines",
        "backends",
        "budget",
        "cap",
        "failing_codes",
        "hedged",
        "in_flight",
        "is_panicking",
        "name",
        "on_flip",
        "on_idle",
        "on_panic",
        "policy",
        "retried_codes",
        "settings",
        "sticky",
        "waiting",
    )

    def __init__(self, name: str, settings: PoolSettings, policy: Policy) -> None:
        self.name = name
        self.backends: list[Backend] = []
        self.in_flight = 0
        self.hedged = 0
        self.waiting = 0
        self.is_panicking = False
        self.budget = RetryBudget(settings.retry.budget, settings.retry.floor)
        self.on_idle: Callable[[Backend], None] = lambda _backend: None
        self.on_flip: Callable[[str, Backend, str], None] = lambda _kind, _backend, _detail: None
        self.on_panic: Callable[[bool], None] = lambda _begins: None
        self._lines: list[deque[Ticket]] = [deque() for _ in range(URGENCIES)]
        self.configure(settings, policy)

    def configure(self, settings: PoolSettings, policy: Policy) -> None:
        """Take on other settings; what runs and who waits stay as they are."""
        self.settings = settings
        self.policy = policy
        self.cap = settings.max_in_flight
        self.budget.respec(settings.retry.budget, settings.retry.floor)
        self.retried_codes = codes(settings.retry.statuses)
        self.failing_codes = codes(settings.ejection.statuses)
        self._choose_one = policy.choose
        self._learn: Callable[[Backend, float], None] | None = getattr(policy, "ended", None)
        self.sticky = policy if isinstance(policy, Sticky) else None
        self._derive()

    def _derive(self) -> None:
        """`_is_choosy`: is there more to look at than who is open and below its cap?"""
        has_backups = any(backend.spec.backup for backend in self.backends)
        self._is_choosy = has_backups or self.cap is not None or self.sticky is not None

    @property
    def is_full(self) -> bool:
        """The pool as a whole is at its cap."""
        return self.cap is not None and self.in_flight >= self.cap

    # -- taking and giving back ------------------------------------------------------------------------

    def take(self, holder: Holder, tried: Collection[Backend] = ()) -> tuple[Backend | None, PassedOver]:
        """Choose a backend and count `holder` on it, or (None, why each was passed over).

        Whoever takes one gives it back with `release`, whatever happens. Nobody who waits is overtaken: what
        is available while there is a queue has been tried by everybody in it.
        """
        candidates = [b for b in self.backends if b.is_open and not (b.cap and len(b.running) >= b.cap)]
        if tried or self._is_choosy:
            candidates = self._narrowed(candidates, holder, tried)
        everybody = len(candidates) == len(self.backends)
        passed_over = NOBODY if everybody else self._reasons(tried, candidates)
        if not candidates:
            return None, passed_over
        backend = self._choose_one(candidates, holder)
        backend.running.add(holder)
        self.in_flight += 1
        return backend, passed_over

    def _narrowed(
        self, candidates: list[Backend], holder: Holder, tried: Collection[Backend]
    ) -> list[Backend]:
        """Whom the pool's own cap, earlier attempts, backups and cookies leave of them."""
        if self.is_full:
            return []
        left = [backend for backend in candidates if backend not in tried]
        primary = [backend for backend in left if not backend.spec.backup] or left
        return self._kept(holder, tried) or primary

    def _kept(self, holder: Holder, tried: Collection[Backend]) -> list[Backend]:
        """The draining backend that this client was on before, while it may still keep it."""
        id = self.sticky.names(holder) if self.sticky is not None else None
        if id is None:
            return []
        return [b for b in self.backends if b.id == id and b.keeps_its_clients and b not in tried]

    def cookie_line(self, sticky: Sticky, backend: Backend, holder: Holder) -> bytes:
        """The field line that ties this client to the backend; none where it is tied already."""
        if sticky.names(holder) == backend.id:
            return b""
        return b"Set-Cookie: %b\r\n" % sticky.cookie_for(backend)

    def _reasons(self, tried: Collection[Backend], candidates: Sequence[Backend]) -> PassedOver:
        chosen = set(candidates)
        out = (backend for backend in self.backends if backend not in chosen)
        return tuple((b.id, self._reason(b, b in tried)) for b in out)

    def _reason(self, backend: Backend, is_tried: bool) -> str:
        if is_tried:
            return "tried already"
        if (why := backend.why_not()) is not None:
            return why
        return f"pool full {self.in_flight}/{self.cap}" if self.is_full else "not needed"

    def release(self, backend: Backend, holder: Holder) -> None:
        """Give back what `take` or a granted ticket took; the next in the queue gets the place."""
        if holder in backend.running:
            backend.running.remove(holder)
            self.in_flight -= 1
        if self.waiting:
            self.serve_queue()
        if not backend.running and backend.drain is not None:
            self.on_idle(backend)

    def hand_on(self, backend: Backend, holder: Holder, to: Holder) -> None:
        """The place that one holds is from now on another's."""
        backend.running.remove(holder)
        backend.running.add(to)

    # -- the queue -------------------------------------------------------------------------------------

    def queue(self, holder: Holder, tried: Collection[Backend], wake: Callable[[], None]) -> Ticket:
        """Stand in the queue. Raises `Unavailable` or `QueueFull` where waiting would be in vain."""
        if not self._is_worth_waiting(tried):
            raise Unavailable(self.explain(self._reasons(tried, ())))
        if self.waiting >= self.settings.queue:
            raise QueueFull(f"{self.waiting} requests wait already for pool {self.name!r}")
        line = self._lines[self._urgency(holder)]
        ticket = Ticket(holder, tried, wake, line)
        line.append(ticket)
        self.waiting += 1
        return ticket

    def _call(self, ticket: Ticket, turn: Turn) -> None:
        self._take_out(ticket, turn)
        ticket.wake()

    def _take_out(self, ticket: Ticket, turn: Turn) -> None:
        ticket.line.remove(ticket)
        self.waiting -= 1
        ticket.turn = turn

    def _urgency(self, holder: Holder) -> int:
        """0 is served first. The value is a number, or RFC 9218's `u=N` among other things."""
        name = self.settings.priority_field
        value = holder.field(name.lower().encode()) if name is not None else None
        for part in (value or b"").split(b","):
            number = part.strip().removeprefix(b"u=")
            if len(number) == 1 and b"0" <= number <= b"7":
                return int(number)
        return USUAL_URGENCY

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the queue; a backend that was granted meanwhile is released."""
        if ticket.turn is Turn.WAITING:
            self._take_out(ticket, Turn.LEFT)
        elif ticket.turn is Turn.GRANTED and ticket.backend is not None:
            self.release(ticket.backend, ticket.holder)
        ticket.turn = Turn.LEFT

    def _is_worth_waiting(self, tried: Collection[Backend]) -> bool:
        return any(backend not in tried for backend in self._hopes())

    def _hopes(self) -> list[Backend]:
        """Whom somebody may wait for."""
        is_full = self.is_full
        return [b for b in self.backends if b.is_worth_waiting_for or (is_full and b.is_open)]

    def _free(self) -> list[Backend]:
        """Who would take a request now, of anybody or of somebody."""
        if self.is_full:
            return []
        return [b for b in self.backends if (b.is_open and not b.is_full) or b.keeps_its_clients]

    def _in_line(self) -> Iterator[Ticket]:
        """Everybody who waits, in the order in which they are served."""
        for line in self._lines:
            if line:
                yield from list(line)

    def serve_queue(self) -> None:
        """Hand what is available to those who wait, in their order."""
        free = self._free()
        for ticket in self._in_line():
            if not free:
                return
            if all(backend in ticket.tried for backend in free):
                continue
            backend, passed_over = self.take(ticket.holder, ticket.tried)
            if backend is not None:
                ticket.backend, ticket.passed_over = backend, passed_over
                self._call(ticket, Turn.GRANTED)
                free = self._free()

    def reconsider(self) -> None:
        """Something has changed: who waits may be served, or wait for nobody any more.

        The latter are told so now instead of at their timeout.
        """
        self._derive()
        self._keep_to_the_share()
        self._look_for_panic()
        self.serve_queue()
        hopes = self._hopes()
        for ticket in self._in_line():
            if all(backend in ticket.tried for backend in hopes):
                ticket.passed_over = self._reasons(ticket.tried, ())
                self._call(ticket, Turn.REFUSED)

    # -- what exchanges show ---------------------------------------------------------------------------

    def answered(self, backend: Backend, status: int, seconds: float, now: float) -> None:
        """The head of an answer has come, after so many seconds: a success, unless its status counts as none.

        Each attempt is told once at most by this; what breaks off later is told by `failed`.
        """
        if self.failing_codes and status in self.failing_codes:
            self.failed(backend, f"status {status}", seconds, now)
            return
        outcomes = backend.outcomes
        outcomes.succeeded(now)
        if outcomes.standing is Standing.TRIAL and now - seconds >= outcomes.since:
            outcomes.admit(now)
            self._flipped("admitted", backend, "its trial went well", now)
        if self._learn is not None:
            self._learn(backend, seconds)
        if self.settings.hedge is not None:
            backend.recent.observe(seconds, now)

    def hedge_after(self, backend: Backend, holder: Holder, now: float) -> float | None:
        """Seconds without an answer from this backend after which another one may be asked too, or None.

        A client that is tied to a backend has its session there, and nobody else has.
        """
        hedge = self.settings.hedge
        if hedge is None or len(self.backends) < 2:
            return None
        if self.sticky is not None and self.sticky.names(holder) == backend.id:
            return None
        usual = backend.recent.quantile(hedge.after, now)
        return None if usual is None else max(usual, hedge.at_least)

    def failed(self, backend: Backend, why: str, seconds: float, now: float) -> None:
        """An attempt has failed by the backend's doing, `why` in words, after so many seconds.

        What began before a trial says nothing about it.
        """
        if self._learn is not None:
            self._learn(backend, max(seconds, FAILURE_SECONDS))
        if backend.outcomes.standing is Standing.TRIAL and now - seconds < backend.outcomes.since:
            return
        cause = backend.outcomes.failed(now)
        if cause is None or not self._may_be_ejected(backend, cause):
            return
        until = backend.outcomes.eject(cause, now, why)
        self._flipped("ejected", backend, f"{why} ({cause.value}); for {until - now:g} s", now)

    def _may_be_ejected(self, backend: Backend, cause: Cause) -> bool:
        if cause is Cause.TRIAL:  # it was out already
            return True
        ready = [each for each in self.backends if each.is_ready]
        out = sum(b.outcomes.standing is not Standing.ADMITTED for b in ready if b is not backend)
        return backend in ready and may_eject(len(ready), out, self.settings.ejection.share)

    def _flipped(self, kind: str, backend: Backend, detail: str, now: float) -> None:
        if backend.removed:  # the last of its requests have outlived it
            return
        backend.derive()
        if kind == "admitted":
            backend.begin_ramp(now)
        self.on_flip(kind, backend, detail)
        self.reconsider()

    def _keep_to_the_share(self) -> None:
        """Where others have left, those that were ejected first are tried before their time.

        But not those that probes say are down: nothing can go to them, however few are left.
        """
        ready = [each for each in self.backends if each.is_ready]
        out = [each for each in ready if each.outcomes.standing is Standing.EJECTED]
        out.sort(key=lambda each: each.outcomes.until, reverse=True)
        left, triable = len(out), [each for each in out if _is_up(each)]
        while triable and left / len(ready) > self.settings.ejection.share:
            backend = triable.pop()
            left -= 1
            self._begin_trial(backend, backend.outcomes.since)

    def _begin_trial(self, backend: Backend, now: float) -> None:
        backend.outcomes.begin_trial(now)
        backend.trial_places = 1
        backend.derive()
        self.on_flip("trial", backend, "one request at a time, until one goes well")

    def try_early(self, backend: Backend, now: float) -> None:
        """Probes say that it is well again, so what exchanges showed before need not run its course."""
        if backend.outcomes.standing is Standing.EJECTED:
            self._begin_trial(backend, now)

    def _look_for_panic(self) -> None:
        ready = [each for each in self.backends if each.is_ready]
        fit = sum(each.is_fit for each in ready)
        begins = bool(ready) and fit < self.settings.panic * len(ready)
        if begins is not self.is_panicking:
            self.is_panicking = begins
            for each in self.backends:
                each.trust_blindly(begins)
            self.on_panic(begins)

    def pass_time(self, now: float) -> float | None:
        """Begin the trials that are due, and let shares grow; when there will be something to do again."""
        due = [each for each in self.backends if self._is_to_be_tried(each) and each.outcomes.until <= now]
        for backend in due:
            self._begin_trial(backend, now)
        longer = [each for each in self.backends if self._is_long_on_trial(each, now)]
        for backend in longer:
            self._let_one_more_in(backend, now)
        if due or longer:
            self.reconsider()
        return min(self._next_times(now), default=None)

    def _is_to_be_tried(self, backend: Backend) -> bool:
        """When its ejection is over; while probes say that it is down, `try_early` waits for them instead."""
        return backend.outcomes.standing is Standing.EJECTED and _is_up(backend)

    def _is_long_on_trial(self, backend: Backend, now: float) -> bool:
        until = self._trial_until(backend)
        return until is not None and until <= now

    def _trial_until(self, backend: Backend) -> float | None:
        """When one more is let in, if what was let in has shown nothing by then: its client may be slow."""
        if backend.outcomes.standing is not Standing.TRIAL or backend.trial_places >= MOST_ON_TRIAL:
            return None
        return backend.outcomes.since + self.settings.ejection.base * backend.trial_places

    def _let_one_more_in(self, backend: Backend, now: float) -> None:
        while self._is_long_on_trial(backend, now):
            backend.trial_places += 1
        backend.derive()

    def _next_times(self, now: float) -> Iterator[float]:
        for backend in self.backends:
            if self._is_to_be_tried(backend):
                yield backend.outcomes.until
            if (then := self._trial_until(backend)) is not None:
                yield then
            if backend.ramp_until and (full_at := backend.ramp(now)) is not None:
                yield full_at

    def explain(self, passed_over: PassedOver) -> str:
        """Why there is no backend, in one sentence for people."""
        if not self.backends:
            return f"pool {self.name!r} has no backends"
        return "no backend is available: " + ", ".join(f"{id} ({why})" for id, why in passed_over)


def _is_up(backend: Backend) -> bool:
    """No probe speaks against it, so a trial of it can begin."""
    return backend.health is None or backend.health.verdict is Verdict.UP
