"""How drains begin, go on and end: by themselves, at their deadline, or because they are taken back.

An operator begins them, or the source of a backend that was found. A drain of the source leaves the
operator's wish as it is.

Nothing here waits. A drain is a fact with a deadline; its end comes with the release of the last request
(`went_idle`), or when the task that keeps the time runs `expiring`.
"""

from collections.abc import Generator, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.measures.histogram import Histogram
from lb.core.membership import Membership
from lb.settings.balancer_settings import Timeouts

DRAIN_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0)
USUAL_TIMEOUT = Timeouts().drain
FEW = 16
"""With no more drains than this the heap keeps those that have ended until they would have been due."""


class DrainControl:
    """The drains of all backends; `durations` are of those that ended, by pool and outcome."""

    __slots__ = ("_begun", "_due", "_members", "_numbers", "_running", "durations")

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._running: dict[Backend, None] = {}
        self._due: list[tuple[float, int, Backend]] = []
        self._numbers = count()
        self._begun = count(1)
        self.durations: dict[tuple[str, Outcome], Histogram] = {}

    @property
    def running(self) -> list[Backend]:
        """The backends whose drain goes on."""
        return [*self._running]

    def begin(
        self, backend: Backend, timeout: float | None, then: Then | None, keeps_clients: bool | None = None
    ) -> Drain:
        """No new request from now on; the drain that runs, with another timeout or end, if there is one.

        `keeps_clients` is None where the pool's settings say it.
        """
        running = backend.drain
        if running is not None and running.outcome is None:
            return self._extend(backend, running, timeout, then)
        drain = self._new(backend, timeout, then, keeps_clients)
        detail = f"{drain.started_with} in flight"
        if backend.admin_state is AdminState.DRAINING:  # another drain of a backend that has drained before
            self._members.subscribers.tell("draining", backend, detail)
        self._members.wish(backend, AdminState.DRAINING, detail)
        self._end_if_idle(backend)
        return drain

    def leave(
        self, backend: Backend, timeout: float, *, leaves: bool, keeps_clients: bool | None = None
    ) -> Drain:
        """Its source says that it goes: no new request from now on, and removed then if it `leaves`."""
        drain = backend.drain
        if drain is None or drain.outcome is not None:
            drain = self._new(backend, timeout, None, keeps_clients)
            drain.is_sources = True
        drain.leaves = leaves
        backend.notice = Notice.LEAVING
        self._members.subscribers.tell("leaving", backend, f"{backend.in_flight} in flight")
        self._members.reconsider(self._members.pools[backend.pool])
        self._end_if_idle(backend)
        return drain

    def stay(self, backend: Backend) -> None:
        """Its source does not say any more that it goes. What the operator has begun goes on."""
        drain = backend.drain
        if drain is None:
            return
        drain.leaves = False
        if drain.is_sources:
            self.end(backend, Outcome.CANCELLED)
            backend.drain = None

    def take_back(self, backend: Backend) -> None:
        """The operator wishes something else. The drain of one that leaves is its source's from now on."""
        drain = backend.drain
        if drain is not None and drain.outcome is None and (drain.is_sources or drain.leaves):
            drain.is_sources, drain.then = True, Then.KEEP
        else:
            self.end(backend, Outcome.CANCELLED)

    def _new(
        self, backend: Backend, timeout: float | None, then: Then | None, keeps_clients: bool | None
    ) -> Drain:
        now = self._members.now()
        left = USUAL_TIMEOUT if timeout is None else timeout
        drain = Drain(now, backend.in_flight, now + left, then or Then.KEEP)
        drain.number = next(self._begun)
        is_sticky = self._members.pools[backend.pool].settings.sticky is not None
        drain.keeps_clients = (is_sticky if keeps_clients is None else keeps_clients) and left > 0
        backend.drain = drain
        self._running[backend] = None
        self._watch(backend)
        return drain

    def _extend(self, backend: Backend, drain: Drain, timeout: float | None, then: Then | None) -> Drain:
        if timeout is not None:
            drain.deadline = self._members.now() + timeout
            self._watch(backend)
        drain.then = then or drain.then
        detail = f"{backend.in_flight} in flight"
        self._members.subscribers.tell("draining", backend, detail)
        if drain.is_sources:
            drain.is_sources = False
            self._members.wish(backend, AdminState.DRAINING, detail)
        return drain

    def expiring(self, now: float) -> Generator[None, None, float | None]:
        """Do what is due for the drains that run, of one with each step; when something will be due again."""
        while self._due and self._due[0][0] <= now:
            *_, backend = heappop(self._due)
            if self._expire(backend, now) is not None:
                self._watch(backend)
            yield
        while self._due and _due_of(self._due[0][2]) != self._due[0][0]:
            *_, backend = heappop(self._due)
        return self._due[0][0] if self._due else None

    def emptying(self) -> Iterator[None]:
        """Forget all drains, one with each step; none of them ends."""
        self._running.clear()
        while self._due:
            self._due.pop()
            yield

    def _watch(self, backend: Backend) -> None:
        """Put it in the heap of what will be due. What has ended, or has another time, stays."""
        if len(self._due) > FEW + 2 * len(self._running):
            self._due = [entry for each in self._running if (entry := self._entry(each)) is not None]
            heapify(self._due)
        elif (entry := self._entry(backend)) is not None:
            heappush(self._due, entry)

    def _entry(self, backend: Backend) -> tuple[float, int, Backend] | None:
        due = _due_of(backend)
        return None if due is None else (due, next(self._numbers), backend)

    def _expire(self, backend: Backend, now: float) -> float | None:
        drain = backend.drain
        if drain is None:
            return None
        self._end_half(backend, drain, now)
        self._cut_late(backend, drain, now)
        if drain.outcome is not None:
            return None
        return _due_of(backend)

    def _end_half(self, backend: Backend, drain: Drain, now: float) -> None:
        """From half of its time on not even the backend's own clients come any more."""
        if drain.outcome is None and drain.keeps_clients and drain.half_time <= now:
            drain.keeps_clients = False
            self._members.subscribers.tell(
                "draining", backend, "its own clients too go elsewhere from now on"
            )
            self._end_if_idle(backend)

    def _cut_late(self, backend: Backend, drain: Drain, now: float) -> None:
        if drain.outcome is None and drain.deadline <= now:
            drain.deadline = inf
            self._cut_rest(backend, drain)

    def went_idle(self, backend: Backend) -> None:
        """The last request on the backend has ended, and so has its drain."""
        if backend.drain is None or backend.drain.keeps_clients:
            return
        self.end(backend, Outcome.TIMEOUT if backend.drain.aborted else Outcome.COMPLETED)

    def _end_if_idle(self, backend: Backend) -> None:
        if backend.is_idle:
            self.went_idle(backend)

    def cut_short(self, backend: Backend, drain: Drain) -> int:
        """End a running drain at once: what is left is cut. How many requests were cut in all."""
        self._cut_rest(backend, drain)
        self.end(backend, Outcome.TIMEOUT if drain.aborted else Outcome.COMPLETED)
        return drain.aborted

    def cut(self, backend: Backend) -> None:
        """Cut what runs on a backend; if a drain goes on there it counts what was cut."""
        drain = backend.drain
        if drain is not None and drain.outcome is None:
            self._cut_rest(backend, drain)
        else:
            self._members.cut(backend)

    def _cut_rest(self, backend: Backend, drain: Drain) -> None:
        """The first cut reaches all requests, so a second one must not count them again."""
        drain.aborted = max(drain.aborted, self._members.cut(backend))

    def end(self, backend: Backend, outcome: Outcome) -> None:
        """The drain is over, if one runs: set its outcome, tell of it, and then do what shall come of it."""
        drain = backend.drain
        if drain is None or drain.outcome is not None:
            return
        now = self._members.now()
        drain.settle(outcome, now)
        self._running.pop(backend, None)
        durations = self.durations.setdefault((backend.pool, outcome), Histogram(DRAIN_SECONDS))
        durations.observe(drain.duration(now))
        if outcome is not Outcome.CANCELLED:
            self._drained(backend, drain, now)
        drain.tell_ended()

    def _drained(self, backend: Backend, drain: Drain, now: float) -> None:
        aborted = f", {drain.aborted} cut" if drain.aborted else ""
        self._members.subscribers.tell("drained", backend, f"after {drain.duration(now):.2f} s{aborted}")
        if drain.then is Then.MAINTENANCE:
            self._members.wish(backend, AdminState.MAINTENANCE)
        if drain.then is Then.REMOVE or drain.leaves:
            self._members.leave(backend)


def _due_of(backend: Backend) -> float | None:
    """When there is something to do for its drain, if one runs."""
    drain = backend.drain
    if drain is None or drain.outcome is not None:
        return None
    return drain.half_time if drain.keeps_clients else drain.deadline
