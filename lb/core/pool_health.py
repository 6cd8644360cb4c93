"""The health of a pool: which backends exchanges have shown to be ill, and how many may be out at once.

`lb.core.health.ejection` says when one backend is due to be ejected. What that means depends on the others:

- No more than the share `ejection.share` of the ready backends is out at a time. When others leave, those
  that were ejected first are tried before their time.
- A trial lets in one request at a time, and one more after each `ejection.base` seconds without a result,
  because the client of the first may be slow.
- When fewer than the share `panic` of the ready backends are fit, health is not believed: the pool panics,
  and all that are ready are used.

Functions here return True where what a backend may take has changed; the pool then serves its queue.
"""

from collections.abc import Callable, Iterator, Sequence

from lb.core.backend import Backend
from lb.core.health.ejection import Cause, Standing, may_eject
from lb.core.tally import Tally
from lb.settings.pool_settings import PoolSettings

MOST_ON_TRIAL = 10


class PoolHealth:
    """Ejections, trials and panic in one pool; `backends` is the pool's own list.

    `on_flip` (kind, backend, detail) is told of each backend that was ejected, tried or admitted, `on_panic`
    when a panic begins or ends.
    """

    __slots__ = ("_backends", "is_panicking", "on_flip", "on_panic", "settings", "tally")

    def __init__(self, backends: Sequence[Backend], settings: PoolSettings) -> None:
        self._backends = backends
        self.settings = settings
        self.tally: Tally[Backend] = Tally()
        self.is_panicking = False
        self.on_flip: Callable[[str, Backend, str], None] = lambda _kind, _backend, _detail: None
        self.on_panic: Callable[[bool], None] = lambda _begins: None

    def enter(self, backend: Backend) -> None:
        """The backend is in the pool now."""
        backend.tally = self.tally
        self.tally.enter(backend)
        if backend.ramp_until:
            self.tally.ramping[backend] = None
        if self.is_panicking:
            backend.trust_blindly(True)

    def leave(self, backend: Backend) -> None:
        """It is in the pool no more."""
        self.tally.leave(backend)
        backend.tally = None

    # -- outcomes of attempts --------------------------------------------------------------------------

    def passed_trial(self, backend: Backend, began: float, now: float) -> bool:
        """An attempt on a backend on trial went well; one that began before the trial says nothing."""
        if began < backend.outcomes.since:
            return False
        backend.outcomes.admit(now)
        return self._flip("admitted", backend, "its trial went well", now)

    def failed(self, backend: Backend, why: str, began: float, now: float) -> bool:
        """An attempt has failed by the backend's doing, `why` in words; as `passed_trial`."""
        outcomes = backend.outcomes
        if outcomes.standing is Standing.TRIAL and began < outcomes.since:
            return False
        cause = outcomes.failed(now)
        if cause is None or not self._may_be_ejected(backend, cause):
            return False
        until = outcomes.eject(cause, now, why)
        return self._flip("ejected", backend, f"{why} ({cause.value}); for {until - now:g} s", now)

    def _may_be_ejected(self, backend: Backend, cause: Cause) -> bool:
        if cause is Cause.TRIAL:  # it was out already
            return True
        is_counted = backend.tally is self.tally and backend.is_ready
        return is_counted and may_eject(self.tally.ready, self.tally.unadmitted, self.settings.ejection.share)

    def _flip(self, kind: str, backend: Backend, detail: str, now: float) -> bool:
        if backend.removed:  # an attempt may end after its backend was removed
            return False
        backend.derive()
        if kind == "admitted":
            backend.begin_ramp(now)
        self.on_flip(kind, backend, detail)
        return True

    # -- how many are out ------------------------------------------------------------------------------

    def reconsider(self) -> None:
        """Backends or settings have changed: keep to the share, and begin or end a panic."""
        self._keep_to_the_share()
        self._look_for_panic()

    def _keep_to_the_share(self) -> None:
        """Try ejected backends early where too many are out.

        Not those that probes say are down: no request could go to them, however few are left.
        """
        tally, share = self.tally, self.settings.ejection.share
        if not tally.triable or tally.ejected <= share * tally.ready:
            return
        triable = [each for each in tally.unsettled if each.is_ready and self._is_to_be_tried(each)]
        triable.sort(key=lambda each: each.outcomes.until, reverse=True)
        while triable and tally.ejected > share * tally.ready:
            backend = triable.pop()
            self._begin_trial(backend, backend.outcomes.since)

    def _look_for_panic(self) -> None:
        ready = self.tally.ready
        begins = bool(ready) and self.tally.fit < self.settings.panic * ready
        if begins is not self.is_panicking:
            self.is_panicking = begins
            for each in self._backends:
                each.trust_blindly(begins)
            self.on_panic(begins)

    # -- trials ----------------------------------------------------------------------------------------

    def begin_due_trials(self, now: float) -> bool:
        """Try the backends whose ejection is over, and let one more request into trials without a result."""
        unsettled = self.tally.unsettled
        due = [each for each in unsettled if self._is_to_be_tried(each) and each.outcomes.until <= now]
        for backend in due:
            self._begin_trial(backend, now)
        slow = [each for each in unsettled if self._is_slow_trial(each, now)]
        for backend in slow:
            self._let_one_more_in(backend, now)
        return bool(due or slow)

    def next_times(self) -> Iterator[float]:
        """The instants at which `begin_due_trials` will have something to do."""
        for backend in self.tally.unsettled:
            if self._is_to_be_tried(backend):
                yield backend.outcomes.until
            if (more_at := self._one_more_at(backend)) is not None:
                yield more_at

    def try_early(self, backend: Backend, now: float) -> None:
        """Probes say that the backend is well again, so its ejection need not run its course."""
        if backend.outcomes.standing is Standing.EJECTED:
            self._begin_trial(backend, now)

    def _begin_trial(self, backend: Backend, now: float) -> None:
        backend.outcomes.begin_trial(now)
        backend.trial_places = 1
        backend.derive()
        self.on_flip("trial", backend, "one request at a time, until one goes well")

    def _is_to_be_tried(self, backend: Backend) -> bool:
        """When its ejection is over; while probes say that it is down, `try_early` waits for them instead."""
        return backend.outcomes.standing is Standing.EJECTED and backend.is_up

    def _is_slow_trial(self, backend: Backend, now: float) -> bool:
        more_at = self._one_more_at(backend)
        return more_at is not None and more_at <= now

    def _one_more_at(self, backend: Backend) -> float | None:
        """When the trial lets in one more request, if those in it have shown nothing by then."""
        if backend.outcomes.standing is not Standing.TRIAL or backend.trial_places >= MOST_ON_TRIAL:
            return None
        return backend.outcomes.since + self.settings.ejection.base * backend.trial_places

    def _let_one_more_in(self, backend: Backend, now: float) -> None:
        while self._is_slow_trial(backend, now):
            backend.trial_places += 1
        backend.derive()
