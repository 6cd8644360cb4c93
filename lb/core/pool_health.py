"""The health of a pool: which backends exchanges have shown to be ill, and how many may be out at once.

`lb.core.health.ejection` says when one backend is due to be ejected. What that means depends on the others:

- No more than the share `ejection.share` of the ready backends is out at a time. When others leave, those
  that were ejected first are tried before their time.
- A trial lets in one request at a time, and one more after each `ejection.base` seconds without a result,
  because the client of the first may be slow.
- When fewer than the share `panic` of the ready backends are fit, health is not believed: the pool panics,
  and all that are ready are used.

Functions here return True where what a backend may take has changed; the pool then serves its queue.

Where several processes carry traffic, each would count only what it sees itself. So only the keeper decides;
a worker's health says what it has seen (`Witness`), and changes when it is told.
"""

from collections.abc import Callable
from typing import Protocol

from lb.core.backend import Backend
from lb.core.health.ejection import Cause, Standing, may_eject
from lb.core.tally import Tally
from lb.settings.pool_settings import PoolSettings

MOST_ON_TRIAL = 10
SOME = 50
"""So many trials begin at once where others leave or settings change, and more with the next steps."""


class Witness(Protocol):
    """Who tells the process that decides what attempts have shown here."""

    def failed(self, backend: Backend, why: str) -> None:
        """One more attempt has failed in a row, `why` in words."""
        ...

    def turned(self, backend: Backend, cause: Cause | None, why: str) -> None:
        """What was seen is enough to eject the backend for this cause, or to admit it where that is None."""
        ...


class PoolHealth:
    """Ejections, trials and panic in one pool.

    `on_flip` (kind, backend, detail) is told of each backend that was ejected, tried or admitted, `on_panic`
    when a panic begins or ends. Where there is a `witness`, it is told, and nothing is decided here.
    """

    __slots__ = ("on_flip", "on_panic", "settings", "tally", "witness")

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.tally: Tally[Backend] = Tally()
        self.on_flip: Callable[[str, Backend, str], None] = lambda _kind, _backend, _detail: None
        self.on_panic: Callable[[bool], None] = lambda _begins: None
        self.witness: Witness | None = None

    @property
    def is_panicking(self) -> bool:
        """Too few are fit, so all that are ready are used."""
        return self.tally.is_trusted_blindly

    @is_panicking.setter
    def is_panicking(self, panics: bool) -> None:
        self.tally.is_trusted_blindly = panics

    def enter(self, backend: Backend) -> None:
        """The backend is in the pool now."""
        backend.tally = self.tally
        self.tally.enter(backend)
        if backend.ramp_until:
            self.tally.ramping[backend] = None
        backend.heed_trust()

    def leave(self, backend: Backend) -> None:
        """It is in the pool no more."""
        self.tally.leave(backend)
        backend.tally = None

    # -- outcomes of attempts --------------------------------------------------------------------------

    def passed_trial(self, backend: Backend, began: float, now: float) -> bool:
        """An attempt on a backend on trial went well; one that began before the trial says nothing."""
        if began < backend.outcomes.since:
            return False
        return self.turned(backend, None, "", now)

    def failed(self, backend: Backend, why: str, began: float, now: float) -> bool:
        """An attempt has failed by the backend's doing, `why` in words; as `passed_trial`."""
        outcomes = backend.outcomes
        if outcomes.standing is Standing.TRIAL and began < outcomes.since:
            return False
        if self.witness is not None:
            self._bear_witness(self.witness, backend, why, now)
            return False
        cause = outcomes.failed(now)
        return cause is not None and self.turned(backend, cause, why, now)

    def _bear_witness(self, witness: Witness, backend: Backend, why: str, now: float) -> None:
        cause = backend.outcomes.failed_here(now)
        if backend.outcomes.standing is Standing.ADMITTED and self.settings.ejection.consecutive:
            witness.failed(backend, why)
        if cause is not None:
            witness.turned(backend, cause, why)

    def turned(self, backend: Backend, cause: Cause | None, why: str, now: float) -> bool:
        """Attempts have shown enough: eject it for this cause, or admit it where that is None.

        It is not ejected where too many others are out.
        """
        if self.witness is not None:
            self.witness.turned(backend, cause, why)
            return False
        if cause is None:
            backend.outcomes.admit(now)
            return self._flip("admitted", backend, "its trial went well", now)
        if not self._may_be_ejected(backend, cause):
            return False
        until = backend.outcomes.eject(cause, now, why)
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

    def reconsider(self) -> bool:
        """Backends or settings have changed: keep to the share, and begin or end a panic.

        Where other settings leave many more out than may be, SOME of them are tried each time. True where a
        panic has begun or ended: then all backends shall `heed_trust`.
        """
        if self.witness is not None:
            return False
        self._keep_to_the_share()
        return self._look_for_panic()

    @property
    def has_too_many_out(self) -> bool:
        """More are ejected than the share of the ready ones, and some of them can be tried from here."""
        tally = self.tally
        if self.witness is not None:
            return False
        return tally.triable > 0 and tally.ejected > self.settings.ejection.share * tally.ready

    def _keep_to_the_share(self) -> None:
        """Try ejected backends early where too many are out.

        Not those that probes say are down: no request could go to them, however few are left.
        """
        for _ in range(SOME):
            if not self.has_too_many_out or (backend := self.tally.next_to_be_tried()) is None:
                return
            self._begin_trial(backend, backend.outcomes.since)

    def _look_for_panic(self) -> bool:
        ready = self.tally.ready
        begins = bool(ready) and self.tally.fit < self.settings.panic * ready
        if begins is self.is_panicking:
            return False
        self.is_panicking = begins
        self.on_panic(begins)
        return True

    # -- trials ----------------------------------------------------------------------------------------

    def pass_time(self, backend: Backend, now: float) -> bool:
        """Try a backend whose ejection is over, or let one more request into a trial without a result."""
        if self.witness is not None:
            return False
        if self._is_to_be_tried(backend) and backend.outcomes.until <= now:
            self._begin_trial(backend, now)
            return True
        if self._is_slow_trial(backend, now):
            self._let_one_more_in(backend, now)
            return True
        return False

    def next_time(self, backend: Backend) -> float | None:
        """The instant at which `pass_time` will have something to do."""
        if self.witness is not None:
            return None
        return backend.outcomes.until if self._is_to_be_tried(backend) else self._one_more_at(backend)

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
