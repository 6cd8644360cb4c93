"""One backend: what the operator said of it, and what is running on it now.

Four separate facts decide whether a backend takes requests: the operator's wish (ready, draining,
maintenance), what probes say (up, down), what exchanges have shown (admitted, ejected, on trial), and its
cap. Each has an owner of its own. `is_open` sums up all but the cap; it is derived when one of them changes,
and the cap is compared for each request.
"""

from collections import Counter
from enum import StrEnum
from typing import Protocol

import msgspec

from lb.core.drain import Drain
from lb.core.health.ejection import Outcomes, Standing
from lb.core.health.probe_verdict import Health, Verdict
from lb.core.measures.histogram import Histogram, Recent
from lb.core.tally import EJECTED, READY, TRIAL, UP, Tally
from lb.errors import Reason
from lb.settings.backend_spec import BackendSpec, parse_url
from lb.settings.pool_settings import PoolSettings

FULL_SHARE = 100
"""The share of a backend is its weight times this; in slow start less of it."""
FIRST_SHARE = 0.1
"""The part of its full share with which a backend in slow start begins."""
RAMP_STEPS = 50

STANDINGS = {Standing.ADMITTED: 0, Standing.EJECTED: EJECTED, Standing.TRIAL: TRIAL}

STATES = (
    "ready",
    "warming",
    "checking",
    "down",
    "ejected",
    "trial",
    "draining",
    "drained",
    "maintenance",
)
"""Every word that `Backend.state` may be."""


class AdminState(StrEnum):
    """What the operator wishes."""

    READY = "ready"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class Running(Protocol):
    """What runs on a backend and can be cut."""

    def cut(self) -> None:
        """End soon. The backend is given back later, never within this call."""
        ...


class Watches(Protocol):
    """Who must know when a backend has changed: the roster of its pool."""

    def changed(self, backend: "Backend") -> None: ...


class Backend:
    """One backend while it is in the registry. Only the registry and its pool change it.

    `running` is what runs on it, `share` its part of the requests at this moment, `turn` what round robin
    owes it. `kind` is how it stands for the `tally` of its pool, which is told of each change, as is the
    `roster` of the pool. `shut` is its id and why it is not open, None while it is: one object for all
    records. The counters are plain ints, because they are counted for each request; /metrics and the API
    read them.
    """

    __slots__ = (
        "_admin_state",
        "_is_trusted_blindly",
        "cap",
        "codes",
        "connections",
        "connections_opened",
        "connections_reused",
        "drain",
        "failures",
        "health",
        "host",
        "idle_connections",
        "is_open",
        "kind",
        "outcomes",
        "pool",
        "port",
        "ramp_until",
        "recent",
        "removed",
        "response_start",
        "revision",
        "roster",
        "running",
        "share",
        "shut",
        "since",
        "slow_start",
        "source",
        "spec",
        "tally",
        "trial_places",
        "turn",
    )

    def __init__(
        self,
        spec: BackendSpec,
        pool: str,
        source: str,
        now: float,
        settings: PoolSettings = PoolSettings(),  # noqa: B008 - it is frozen
    ) -> None:
        self._admin_state = AdminState.READY
        self._is_trusted_blindly = False
        self.tally: Tally[Backend] | None = None
        self.roster: Watches | None = None
        self.kind = 0
        self.health = None if settings.probe is None else Health(settings.probe, now)
        self.outcomes = Outcomes(settings.ejection)
        self.slow_start = settings.slow_start
        self.ramp_until = 0.0
        self.trial_places = 1
        self.respec(spec)
        self.pool = pool
        self.source = source
        self.since = now
        self.revision = 0
        self.drain: Drain | None = None
        self.removed = False
        self.turn = 0
        self.running: set[Running] = set()
        self.connections = 0
        self.connections_opened = 0
        self.connections_reused = 0
        self.idle_connections = 0
        self.codes: Counter[int] = Counter()
        self.failures: Counter[Reason] = Counter()
        self.response_start = Histogram()
        self.recent = Recent()

    def respec(self, spec: BackendSpec) -> None:
        """Take on another spec; requests that run keep their connections."""
        self.host, self.port = parse_url(spec.url)
        self.spec = spec
        self.share = spec.weight * FULL_SHARE
        self.derive()

    def resettle(self, settings: PoolSettings, now: float) -> None:
        """Take on the pool's other settings; verdicts and counts are kept where they still mean something."""
        if settings.probe is None:
            self.health = None
        elif self.health is None:
            # The backend has served without probes, so it begins up, whatever `initial` says.
            self.health = Health(msgspec.structs.replace(settings.probe, initial="up"), now)
            self.health.respec(settings.probe, now)
        else:
            self.health.respec(settings.probe, now)
        self.outcomes.settings = settings.ejection
        self.slow_start = settings.slow_start
        self.ramp_until = min(self.ramp_until, now + self.slow_start)
        self.derive()

    def derive(self) -> None:
        """Work out `is_open` (may it have requests at all?), `shut`, and `cap` (how many at once)."""
        self.is_open = self.is_ready and (self.is_fit or self._is_trusted_blindly)
        self.shut = None if self.is_open else (self.spec.id, self.why_not() or "")
        is_on_trial = self.outcomes.standing is Standing.TRIAL and not self._is_trusted_blindly
        caps = self.spec.max_in_flight, self.spec.max_connections, self.trial_places if is_on_trial else None
        self.cap = min((cap for cap in caps if cap is not None), default=None)
        self._tell_kind()
        if self.roster is not None:
            self.roster.changed(self)

    def _tell_kind(self) -> None:
        before, standing = self.kind, self.outcomes.standing
        self.kind = READY * self.is_ready + UP * self.is_up + STANDINGS[standing]
        if self.kind != before and self.tally is not None:
            self.tally.changed(self, before)

    @property
    def is_ready(self) -> bool:
        """The operator wishes that it takes requests."""
        return self._admin_state is AdminState.READY and self.spec.weight > 0

    @property
    def is_fit(self) -> bool:
        """Neither probes nor outcomes speak against it."""
        return self.is_up and self.outcomes.standing is not Standing.EJECTED

    @property
    def is_up(self) -> bool:
        """No probe speaks against it."""
        return self.health is None or self.health.verdict is Verdict.UP

    def trust_blindly(self, wish: bool) -> None:
        """Whether the pool panics: then health does not count, and `is_open` is `is_ready`."""
        self._is_trusted_blindly = wish
        self.derive()

    @property
    def admin_state(self) -> AdminState:
        return self._admin_state

    @admin_state.setter
    def admin_state(self, state: AdminState) -> None:
        self._admin_state = state
        self.derive()

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def in_flight(self) -> int:
        return len(self.running)

    @property
    def is_full(self) -> bool:
        return self.cap is not None and len(self.running) >= self.cap

    @property
    def is_worth_waiting_for(self) -> bool:
        """Nothing but its cap, or a first probe that has not ended, keeps it from taking a request."""
        return (self.is_full and self.is_open) or (self.is_ready and self._is_checking)

    @property
    def keeps_its_clients(self) -> bool:
        """It drains, and clients with its cookie may still come (`lb.settings.pool_settings.Sticky`)."""
        drain = self.drain
        is_kept = drain is not None and drain.outcome is None and drain.keeps_clients
        return is_kept and self.is_fit and not self.is_full

    @property
    def _is_checking(self) -> bool:
        return self.health is not None and self.health.verdict is Verdict.CHECKING

    # -- slow start ------------------------------------------------------------------------------------

    def begin_ramp(self, now: float) -> None:
        """It has become available: with slow start its share grows from FIRST_SHARE to all of it."""
        if self.slow_start:
            self.ramp_until = now + self.slow_start
            if self.tally is not None:
                self.tally.ramping[self] = None
            self.ramp(now)

    def ramp(self, now: float) -> float | None:
        """Set the share of this moment. When it will change again, or None when it is the full share."""
        left = self.ramp_until - now
        full = self.spec.weight * FULL_SHARE
        if left <= 0 or not self.slow_start:
            self.ramp_until = 0.0
            self._set_share(full)
            if self.tally is not None:
                self.tally.ramping.pop(self, None)
            return None
        part = max(FIRST_SHARE, 1 - left / self.slow_start)
        self._set_share(max(1, round(full * part)) if full else 0)
        return min(self.ramp_until, now + self.slow_start / RAMP_STEPS)

    def _set_share(self, share: int) -> None:
        self.share = share
        if self.roster is not None:
            self.roster.changed(self)

    # -- in words --------------------------------------------------------------------------------------

    def why_not(self) -> str | None:
        """Why it takes no request now, in words; None when it is available."""
        if self.admin_state is not AdminState.READY:
            return self.admin_state.value
        if self.spec.weight == 0:
            return "weight 0"
        if not self.is_open:
            return self.why_unfit()
        if self.is_full:
            return f"full {len(self.running)}/{self.cap}"
        return None

    def why_unfit(self) -> str | None:
        """What probes or exchanges say against it, in words; None where they say nothing."""
        if self.health is not None and self.health.verdict is not Verdict.UP:
            why = self.health.why
            return f"{self.health.verdict.value}: {why}" if why else self.health.verdict.value
        if self.outcomes.standing is Standing.EJECTED:
            return f"ejected: {self.outcomes.why}"
        return None

    @property
    def state_since(self) -> float:
        """Since when it is in this state; while it warms up, since it was admitted or came up."""
        if self.health is not None and self.state == self.health.verdict.value:
            return self.health.since
        if self.state == self.outcomes.standing.value:
            return self.outcomes.since
        return self.since

    @property
    def state(self) -> str:
        """One word for people, of `STATES`.

        The operator's wish comes first, then what probes say, what exchanges have shown, and slow start.
        """
        is_kept = self.drain is not None and self.drain.keeps_clients
        if self._admin_state is AdminState.DRAINING and not self.running and not is_kept:
            return "drained"
        if self._admin_state is not AdminState.READY:
            return self._admin_state.value
        if self.health is not None and self.health.verdict is not Verdict.UP:
            return self.health.verdict.value
        if self.outcomes.standing is not Standing.ADMITTED:
            return self.outcomes.standing.value
        return "warming" if self.ramp_until else "ready"
