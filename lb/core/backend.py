"""One backend: what the operator said of it, and what is running on it now.

Five separate facts decide whether a backend takes requests: the operator's wish (ready, draining,
maintenance), what its source says where it was found (here, missing, not ready, leaving), what probes say
(up, down), what exchanges have shown (admitted, ejected, on trial), and its cap. Each has an owner of its
own. `is_open` sums up all but the cap; it is derived when one of them changes, and the cap is compared for
each request.
"""

from collections import Counter
from typing import Protocol

import msgspec

from lb.core.announced import Notice
from lb.core.backend_state import AdminState, Running
from lb.core.drain import Drain
from lb.core.health.ejection import Outcomes, Standing
from lb.core.health.probe_verdict import Health, Verdict
from lb.core.measures.histogram import Histogram, Recent
from lb.core.tally import EJECTED, READY, TRIAL, UP, Tally
from lb.errors import Reason
from lb.settings.backend_spec import BackendSpec, parse_url
from lb.settings.pool_settings import PoolSettings

__all__ = ["AdminState", "Backend", "Running"]

FULL_SHARE = 100
"""The share of a backend is its weight times this; in slow start less of it."""
FIRST_SHARE = 0.1
"""The part of its full share with which a backend in slow start begins."""
RAMP_STEPS = 50

UNUSED = {Notice.NOT_READY: "not ready", Notice.LEAVING: "leaving"}
"""What a source says of backends that get no request, in words."""
STANDINGS = {Standing.ADMITTED: 0, Standing.EJECTED: EJECTED, Standing.TRIAL: TRIAL}


class Watches(Protocol):
    """Who must know when a backend has changed: the roster of its pool."""

    def changed(self, backend: "Backend") -> None: ...


class LendsPlaces(Protocol):
    """Who says how many of a backend's places are here, where several processes share them."""

    def backend_cap(self, backend: "Backend", cap: int | None) -> int | None:
        """How many requests may run on it here, where `cap` may in all."""
        ...


class Backend:
    """One backend while it is in the registry. Only the registry and its pool change it.

    `serial` is a number that no other backend of its registry has had, so it tells namesakes apart. `cuts`
    is another number after all that ran on it was cut; a move to another pool keeps it. `running` is what
    runs on it, `share` its part of the requests at this moment, `turn` what round robin owes it. With
    several workers the keeper has in `elsewhere` how many requests run on it in them, and in `awaited`
    those of them that may still run some while it drains; a worker has in `others` how many the other ones
    have, which they show each other in a `row` (0: nowhere), and the `lender` says how many of its places
    are here. `source` is who named it, `said` what a source said of it last, None where it was
    not found. `kind` is how it stands for the `tally` of its pool, which is told of each change, as is the
    `roster` of the pool. `shut` is its id and why it is not open, None while it is: one object for all
    records. The counters are plain ints, because they are counted for each request; /metrics and the API
    read them.
    """

    __slots__ = (
        "_admin_state",
        "_is_trusted_blindly",
        "_notice",
        "awaited",
        "cap",
        "codes",
        "connections",
        "connections_opened",
        "connections_reused",
        "cuts",
        "drain",
        "elsewhere",
        "failures",
        "health",
        "host",
        "idle_connections",
        "is_open",
        "kind",
        "lender",
        "others",
        "outcomes",
        "pool",
        "port",
        "ramp_until",
        "recent",
        "removed",
        "response_start",
        "revision",
        "roster",
        "row",
        "running",
        "said",
        "serial",
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
        self._notice = Notice.HERE
        self._is_trusted_blindly = False
        self.said: BackendSpec | None = None
        self.tally: Tally[Backend] | None = None
        self.roster: Watches | None = None
        self.lender: LendsPlaces | None = None
        self.row = 0
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
        self.serial = 0
        self.cuts = 0
        self.running: set[Running] = set()
        self.elsewhere = 0
        self.others = 0
        self.awaited: set[Running] = set()
        self.connections = 0
        self.connections_opened = 0
        self.connections_reused = 0
        self.idle_connections = 0
        self.codes: Counter[int] = Counter()
        self.failures: Counter[Reason] = Counter()
        self.response_start = Histogram()
        self.recent = Recent()

    def copy(self, settings: PoolSettings) -> "Backend":
        """One that stands the same, for a rehearsal in a pool with these settings.

        Nothing runs on it, it does not drain, and nobody is told of its changes. Its counters of requests are
        those of both.
        """
        twin = Backend(self.spec, self.pool, self.source, self.since, settings)
        twin.health = None if self.health is None else self.health.copy()
        twin.outcomes = self.outcomes.copy()
        twin.slow_start, twin.ramp_until, twin.share = self.slow_start, self.ramp_until, self.share
        twin.trial_places, twin.turn = self.trial_places, self.turn
        twin.revision, twin.removed, twin.serial = self.revision, self.removed, self.serial
        twin.connections, twin.connections_opened = self.connections, self.connections_opened
        twin.connections_reused, twin.idle_connections = self.connections_reused, self.idle_connections
        twin.codes, twin.failures = self.codes, self.failures
        twin.response_start, twin.recent = self.response_start, self.recent
        twin._admin_state, twin._is_trusted_blindly = self._admin_state, self._is_trusted_blindly
        twin._notice, twin.said = self._notice, self.said
        twin.derive()
        return twin

    def respec(self, spec: BackendSpec) -> None:
        """Take on another spec; requests that run keep their connections."""
        self.host, self.port = parse_url(spec.url)
        self.spec = spec
        self.share = spec.weight * FULL_SHARE
        self.derive()

    def resettle(self, settings: PoolSettings, now: float) -> bool:
        """Take on other settings, and keep what still means something. Whether its health begins anew."""
        begins = self.health is None and settings.probe is not None
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
        return begins

    def derive(self) -> None:
        """Work out `is_open` (may it have requests at all?), `shut`, and `cap` (how many at once)."""
        self._is_trusted_blindly = self.tally is not None and self.tally.is_trusted_blindly
        self.is_open = self.is_ready and (self.is_fit or self._is_trusted_blindly)
        self.shut = None if self.is_open else (self.spec.id, self.why_not() or "")
        self.resize()
        self._tell_kind()
        if self.roster is not None:
            self.roster.changed(self)

    def resize(self) -> None:
        """Work out `cap` anew, and nothing else."""
        is_on_trial = self.outcomes.standing is Standing.TRIAL and not self._is_trusted_blindly
        caps = self.spec.max_in_flight, self.spec.max_connections, self.trial_places if is_on_trial else None
        self.cap = min((cap for cap in caps if cap is not None), default=None)
        if self.lender is not None:
            self.cap = self.lender.backend_cap(self, self.cap)

    def _tell_kind(self) -> None:
        before, standing = self.kind, self.outcomes.standing
        self.kind = READY * self.is_ready + UP * self.is_up + STANDINGS[standing]
        if self.kind != before and self.tally is not None:
            self.tally.changed(self, before)

    @property
    def is_ready(self) -> bool:
        """The operator wishes that it takes requests, and its source does not speak against it."""
        is_wished = self._admin_state is AdminState.READY and self.spec.weight > 0
        return is_wished and (self._notice is Notice.HERE or self._notice is Notice.MISSING)

    @property
    def is_fit(self) -> bool:
        """Neither probes nor outcomes speak against it."""
        return self.is_up and self.outcomes.standing is not Standing.EJECTED

    @property
    def is_up(self) -> bool:
        """No probe speaks against it."""
        return self.health is None or self.health.verdict is Verdict.UP

    @property
    def ejected_until(self) -> float:
        """When its ejection ends, while it is ejected."""
        return self.outcomes.until

    def heed_trust(self) -> None:
        """Look whether the pool panics: then health does not count, and `is_open` is `is_ready`."""
        if self.tally is not None and self.tally.is_trusted_blindly is not self._is_trusted_blindly:
            self.derive()

    @property
    def admin_state(self) -> AdminState:
        return self._admin_state

    @admin_state.setter
    def admin_state(self, state: AdminState) -> None:
        self._admin_state = state
        self.derive()

    @property
    def notice(self) -> Notice:
        """What its source says of it; HERE where it was not found."""
        return self._notice

    @notice.setter
    def notice(self, notice: Notice) -> None:
        self._notice = notice
        self.derive()

    @property
    def drains(self) -> bool:
        """A drain goes on, or the operator wishes that it takes nothing more since one has ended."""
        drain = self.drain
        return self._admin_state is AdminState.DRAINING or (drain is not None and drain.outcome is None)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def in_flight(self) -> int:
        """Requests that run on it, as far as this process has to know of them."""
        return len(self.running) + self.elsewhere

    @property
    def is_idle(self) -> bool:
        """Nothing runs on it, here and elsewhere."""
        return not self.running and not self.awaited

    @property
    def is_full(self) -> bool:
        return self.cap is not None and self.in_flight >= self.cap

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
            self.ramp_for(self.slow_start, now)

    def ramp_for(self, left: float, now: float) -> None:
        """So many seconds of its slow start are left."""
        self.ramp_until = now + left
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
        if self._notice in UNUSED:
            return f"{UNUSED[self._notice]}, says {self.source}"
        if not self.is_open:
            return self.why_unfit()
        if self.is_full:
            return f"full {self.in_flight}/{self.cap}"
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

        The operator's wish comes first, then what its source says, what probes say, what exchanges have
        shown, and slow start.
        """
        is_kept = self.drain is not None and self.drain.keeps_clients
        if self._admin_state is AdminState.DRAINING and self.is_idle and not is_kept:
            return "drained"
        if self._admin_state is not AdminState.READY:
            return self._admin_state.value
        if self._notice in UNUSED:
            return self._notice.value
        if self.health is not None and self.health.verdict is not Verdict.UP:
            return self.health.verdict.value
        if self.outcomes.standing is not Standing.ADMITTED:
            return self.outcomes.standing.value
        return "warming" if self.ramp_until else "ready"
