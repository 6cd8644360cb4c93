"""How drains begin, go on and end: by themselves, at their deadline, or because an operator takes them back.

Nothing here waits. A drain is a fact with a deadline; its end comes with the release of the last request
(`went_idle`), or when the task that keeps the time calls `expire`.
"""

from collections.abc import Iterator
from math import inf

from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.measures.histogram import Histogram
from lb.core.membership import Membership
from lb.settings.balancer_settings import Timeouts

DRAIN_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0)
USUAL_TIMEOUT = Timeouts().drain


class DrainControl:
    """The drains of all backends; `durations` are of those that ended, by pool and outcome."""

    __slots__ = ("_members", "_running", "durations")

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._running: dict[Backend, None] = {}
        self.durations: dict[tuple[str, Outcome], Histogram] = {}

    def begin(self, backend: Backend, timeout: float | None, then: Then | None) -> Drain:
        """No new request from now on; the drain that runs, with another timeout or end, if there is one."""
        running = backend.drain
        if running is not None and running.outcome is None:
            return self._extend(backend, running, timeout, then)
        now = self._members.now()
        left = USUAL_TIMEOUT if timeout is None else timeout
        drain = Drain(now, backend.in_flight, now + left, then or Then.KEEP)
        drain.keeps_clients = self._members.pools[backend.pool].settings.sticky is not None and left > 0
        backend.drain = drain
        self._running[backend] = None
        detail = f"{drain.started_with} in flight"
        if backend.admin_state is AdminState.DRAINING:  # another drain of a backend that has drained before
            self._members.subscribers.tell("draining", backend, detail)
        self._members.wish(backend, AdminState.DRAINING, detail)
        self._end_if_idle(backend)
        return drain

    def _extend(self, backend: Backend, drain: Drain, timeout: float | None, then: Then | None) -> Drain:
        if timeout is not None:
            drain.deadline = self._members.now() + timeout
        drain.then = then or drain.then
        self._members.subscribers.tell("draining", backend, f"{backend.in_flight} in flight")
        return drain

    def expire(self, now: float) -> Iterator[float]:
        """Do what is due for the drains that run; when something will be due again for each of them."""
        for backend in [*self._running]:
            if (due := self._expire(backend, now)) is not None:
                yield due

    def _expire(self, backend: Backend, now: float) -> float | None:
        drain = backend.drain
        if drain is None or drain.outcome is not None:
            return None
        if drain.keeps_clients and drain.half_time <= now:
            drain.keeps_clients = False
            self._end_if_idle(backend)
        if drain.outcome is None and drain.deadline <= now:
            drain.deadline = inf
            self._cut_rest(backend, drain)
        if drain.outcome is not None:
            return None
        return drain.half_time if drain.keeps_clients else drain.deadline

    def went_idle(self, backend: Backend) -> None:
        """The last request on the backend has ended, and so has its drain."""
        if backend.drain is None or backend.drain.keeps_clients:
            return
        self.end(backend, Outcome.TIMEOUT if backend.drain.aborted else Outcome.COMPLETED)

    def _end_if_idle(self, backend: Backend) -> None:
        if not backend.running:
            self.went_idle(backend)

    def cut_short(self, backend: Backend, drain: Drain) -> int:
        """End a running drain at once: what is left is cut. How many requests were cut in all."""
        self._cut_rest(backend, drain)
        self.end(backend, Outcome.TIMEOUT if drain.aborted else Outcome.COMPLETED)
        return drain.aborted

    def _cut_rest(self, backend: Backend, drain: Drain) -> None:
        """The first cut reaches all requests, so a second one must not count them again."""
        drain.aborted = max(drain.aborted, cut(backend))

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
        if drain.then is Then.REMOVE:
            self._members.leave(backend)


def cut(backend: Backend) -> int:
    """Cut all that runs on a backend; how many requests that were."""
    holders = list(backend.running)
    for holder in holders:
        holder.cut()
    return len(holders)
