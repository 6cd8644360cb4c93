"""The shared state: which pools and backends there are, and what the operator wishes of each.

Every wish is one plain function that ends in one `Event`. Whoever must act on it (the idle connections, the
names, the state file, the log) subscribes. Nothing here waits: a drain is a fact with a deadline, and
`expire` is told the time by the task that keeps it.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.measures.histogram import Histogram
from lb.core.policies.catalogue import Policy, make
from lb.core.policies.custom import in_words
from lb.core.policies.round_robin import hand_over
from lb.core.pool import Pool
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings

DRAIN_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0)


class NotThere(LookupError):
    """There is no such backend or pool."""


class Conflict(ValueError):
    """The wish contradicts what is there already."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a backend.

    By an operator: `added`, `changed`, `ready`, `draining`, `drained`, `maintenance`, `removed`. By probes:
    `up`, `down`. By what exchanges have shown: `ejected`, `trial`, `admitted`.
    """

    kind: str
    backend: Backend
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """What happened to a pool.

    `added`, `configured`, `removed`, `panic`, `calm`, or `policy failed` (one of somebody's own).
    """

    kind: str
    pool: Pool
    detail: str = ""


POLICY_SETTINGS = ("policy", "hash", "sticky")
"""Those of which a pool's policy is made; any other change leaves it what it has learnt."""
PANIC = "too few backends are fit: all that are ready are used"
CALM = "enough backends are fit: only they are used"
WISHES = frozenset(("added", "changed", "ready", "draining", "drained", "maintenance", "removed"))
"""Events after which there is something else to be saved, and a new revision."""

Make = Callable[[PoolSettings, Callable[[Exception], None]], Policy]
"""Makes the policy of a pool; it is handed whom to tell of a policy of one's own that fails."""


class Registry:
    """All pools and backends. A backend's id is unique over all pools.

    `chance` is a number from 0 up to 1, another one each time; `secret` the key for cookies, by the name of
    the file that it stands in (None: of no file).
    """

    def __init__(
        self,
        now: Callable[[], float],
        chance: Callable[[], float],
        secret: Callable[[str | None], bytes],
    ) -> None:
        self.now = now
        self.pools: dict[str, Pool] = {}
        self.backends: dict[str, Backend] = {}
        self.revision = 0
        self.drain_durations: dict[tuple[str, Outcome], Histogram] = {}
        self._chance = chance
        self._secret = secret
        self._subscribers: list[Callable[[Event], None]] = []
        self._pool_subscribers: list[Callable[[PoolEvent], None]] = []
        self._put_off: dict[str, Pool] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is done within is one change: each pool looks at itself once, at the end, however it ends.

        To look costs time for each of its backends, so a thousand that come one by one would cost a million.
        """
        if self._put_off is not None:
            yield
            return
        self._put_off = {}
        try:
            yield
        finally:
            pools, self._put_off = self._put_off, None
            for pool in pools.values():
                pool.reconsider()

    def _reconsider(self, pool: Pool) -> None:
        if self._put_off is None:
            pool.reconsider()
        else:
            self._put_off[pool.name] = pool

    def subscribe(
        self, tell: Callable[[Event], None], pools: Callable[[PoolEvent], None] | None = None
    ) -> None:
        """Call `tell` with every event from now on, `pools` with those of pools; neither raises or waits."""
        self._subscribers.append(tell)
        if pools is not None:
            self._pool_subscribers.append(pools)

    def empty(self) -> "Registry":
        """Another one on the same clock, with nothing in it and nobody who hears of it."""
        return Registry(self.now, self._chance, self._secret)

    def add_pool(
        self,
        name: str,
        settings: PoolSettings = PoolSettings(),  # noqa: B008 - frozen
        policy: Policy | None = None,
    ) -> Pool:
        """An empty pool; `policy` is what `prepare` made. ValueError for a useless one."""
        pool = Pool(name, settings, policy or self._policy(name, settings))
        pool.on_idle = self._went_idle
        pool.on_flip = self._happened
        pool.on_panic = lambda begins: self._pool_happened(
            "panic" if begins else "calm", pool, PANIC if begins else CALM
        )
        self.pools[name] = pool
        self._pool_happened("added", pool)
        return pool

    def prepare(self, name: str, settings: PoolSettings) -> Policy | None:
        """The policy that a pool of this name will need for these settings; None where it keeps its own.

        Made beforehand it can fail beforehand: ValueError where there is no such policy.
        """
        pool = self.pools.get(name)
        if pool is not None and all(
            getattr(settings, each) == getattr(pool.settings, each) for each in POLICY_SETTINGS
        ):
            return None
        return self._policy(name, settings)

    def forget_pools(self, known: Container[str]) -> None:
        """Take out the pools that are not among these and have no backend any more."""
        for pool in list(self.pools.values()):
            if pool.name not in known and not pool.backends:
                del self.pools[pool.name]
                self.revision += 1
                self._pool_happened("removed", pool)

    def _policy(self, name: str, settings: PoolSettings) -> Policy:
        """ValueError, in a sentence, where there is no such policy."""

        def failed(error: Exception) -> None:
            if (pool := self.pools.get(name)) is not None:  # its last requests may outlive it
                self._pool_happened("policy failed", pool, in_words(error))

        key = b"" if settings.sticky is None else self._secret(settings.sticky.secret_file)
        return make(settings, now=self.now, chance=self._chance, key=key, tell=failed)

    def configure(self, pool: Pool, settings: PoolSettings, policy: Policy | None = None) -> bool:
        """Other settings from the next request on; False if none differ. ValueError for a useless policy.

        `policy` is what `prepare` made for them, where somebody has asked it before.
        """
        if settings == pool.settings:
            return False
        names = settings.__struct_fields__
        changed = [name for name in names if getattr(settings, name) != getattr(pool.settings, name)]
        pool.configure(settings, policy or self.prepare(pool.name, settings) or pool.policy)
        for backend in pool.backends:
            backend.resettle(settings, self.now())
        self.revision += 1
        self._pool_happened("configured", pool, ", ".join(changed))
        self._reconsider(pool)
        return True

    def pool(self, name: str) -> Pool:
        try:
            return self.pools[name]
        except KeyError:
            raise NotThere(f"there is no pool {name!r}; there are: {', '.join(self.pools)}") from None

    def backend(self, id: str) -> Backend:
        try:
            return self.backends[id]
        except KeyError:
            raise NotThere(f"there is no backend {id!r}") from None

    def add(self, spec: BackendSpec, pool: str = "default", source: str = "api") -> tuple[Backend, bool]:
        """The backend and whether it is new. The same again takes back a drain; another is a `Conflict`."""
        spec, into = spec.checked(), self.pool(pool)
        there = self.backends.get(spec.id)
        if there is None:
            return self._enter(spec, into, source), True
        if there.spec != spec or there.pool != pool:
            raise Conflict(f"backend {spec.id!r} exists with other settings; PUT or PATCH changes it")
        if there.admin_state is AdminState.DRAINING:
            self.ready(there)
        return there, False

    def _enter(self, spec: BackendSpec, into: Pool, source: str) -> Backend:
        backend = Backend(spec, into.name, source, self.now(), into.settings)
        self.backends[backend.id] = backend
        into.backends.append(backend)
        backend.trust_blindly(into.is_panicking)
        if source != "config":
            backend.begin_ramp(self.now())
        self._happened("added", backend, spec.url)
        self._reconsider(into)
        return backend

    def change(self, backend: Backend, spec: BackendSpec, pool: str | None = None) -> bool:
        """Other settings under the same id, in flight and counters kept; False if none differ."""
        spec = spec.checked()
        if spec.id != backend.id:
            raise Conflict(f"a backend keeps its id: {backend.id!r} cannot become {spec.id!r}")
        if pool is not None and pool != backend.pool:
            raise Conflict(f"backend {backend.id!r} is in pool {backend.pool!r}; remove it there first")
        if spec == backend.spec:
            return False
        changed = [f for f in spec.__struct_fields__ if getattr(spec, f) != getattr(backend.spec, f)]
        backend.respec(spec)
        self._happened("changed", backend, ", ".join(changed))
        self._reconsider(self.pools[backend.pool])
        return True

    def move(self, backend: Backend, spec: BackendSpec, pool: str) -> Backend:
        """Into another pool, at once. What runs on it ends undisturbed, and counts nowhere any more."""
        spec, into = spec.checked(), self.pool(pool)
        self._end_drain(backend, Outcome.CANCELLED)
        self._leave(backend)
        return self._enter(spec, into, backend.source)

    def replace(self, pool: str, specs: Iterable[BackendSpec], drain_timeout: float) -> list[Backend]:
        """Make a pool hold exactly `specs`: all or nothing. Those that vanish drain and leave; returned."""
        checked = [spec.checked() for spec in specs]
        wanted = {spec.id: spec for spec in checked}
        if len(wanted) < len(checked):
            raise Conflict("two backends of the set have the same id")
        into = self.pool(pool)
        for id in wanted:
            if id in self.backends and self.backends[id].pool != pool:
                raise Conflict(f"backend {id!r} is in pool {self.backends[id].pool!r}")
        leaving = [backend for backend in into.backends if backend.id not in wanted]
        with self.together():
            for spec in wanted.values():
                self._settle(spec, into)
            for backend in leaving:
                self.drain(backend, drain_timeout, Then.REMOVE)
        return leaving

    def _settle(self, spec: BackendSpec, into: Pool) -> None:
        """One of a set: it comes, or is as it shall be and stays even if it was about to leave."""
        there = self.backends.get(spec.id)
        if there is None:
            self._enter(spec, into, "api")
            return
        self.change(there, spec)
        if there.drain is not None and there.drain.then is Then.REMOVE:
            self.ready(there)

    def ready(self, backend: Backend) -> None:
        """Let it take requests again; a drain that still runs is taken back, and an ejection forgiven."""
        self._end_drain(backend, Outcome.CANCELLED)
        self._forgive(backend)
        self._wish(backend, AdminState.READY)

    def _forgive(self, backend: Backend) -> None:
        """The operator says that it is well; what exchanges have shown before counts no more."""
        was = backend.outcomes.standing
        backend.outcomes.clear(self.now())
        backend.derive()
        if was is not Standing.ADMITTED:
            self._happened("admitted", backend, "an operator said that it is ready")
            self._reconsider(self.pools[backend.pool])

    def checked(self, backend: Backend, check: Check) -> None:
        """A probe has ended; if that turns the verdict about its backend, requests come or stay away."""
        health = backend.health
        if health is None or not health.observe(check):
            return
        backend.derive()
        if health.verdict is Verdict.UP:
            backend.begin_ramp(self.now())
            self.pools[backend.pool].try_early(backend, self.now())
        self._happened(health.verdict.value, backend, check.why)
        self._reconsider(self.pools[backend.pool])

    def maintenance(self, backend: Backend) -> int:
        """Take it out at once: what runs on it is cut. How many were."""
        self._end_drain(backend, Outcome.CANCELLED)
        self._wish(backend, AdminState.MAINTENANCE)
        return self._cut(backend)

    def drain(self, backend: Backend, timeout: float | None, then: Then | None = None) -> Drain:
        """No new request from now on. Repeated, it is the same drain; what is given anew replaces.

        `timeout` is in seconds (60 where a first one gives None); `then` says what becomes of it.
        """
        drain, now = backend.drain, self.now()
        if drain is None or drain.outcome is not None:
            left = 60.0 if timeout is None else timeout
            drain = Drain(now, backend.in_flight, now + left, then or Then.KEEP)
            drain.keeps_clients = self.pools[backend.pool].settings.sticky is not None and left > 0
            backend.drain = drain
            detail = f"{drain.started_with} in flight"
            if backend.admin_state is AdminState.DRAINING:  # it has drained before; this is another drain
                self._happened("draining", backend, detail)
            self._wish(backend, AdminState.DRAINING, detail)
            self._end_if_idle(backend)
            return drain
        if timeout is not None:
            drain.deadline = now + timeout
        drain.then = then or drain.then
        self._happened("draining", backend, f"{backend.in_flight} in flight")
        return drain

    def remove(self, backend: Backend) -> int:
        """Take it out of the registry at once: what runs on it is cut. How many were."""
        if backend.drain is not None:
            backend.drain.then = Then.REMOVE
        if backend.drain is None or backend.drain.outcome is not None:
            aborted = self._cut(backend)
            self._leave(backend)
            return aborted
        self._cut_drained(backend, backend.drain)
        self._end_drain(backend, Outcome.TIMEOUT if backend.drain.aborted else Outcome.COMPLETED)
        return backend.drain.aborted

    def expire(self, now: float) -> float | None:
        """Do what is due: cut what is left of a drain past its deadline, begin trials, let shares grow.

        Returns when there will be something due again, or None.
        """
        times = [pool.pass_time(now) for pool in self.pools.values()]
        for backend in list(self.backends.values()):
            times.append(self._expire_drain(backend, now))
        return min((time for time in times if time is not None), default=None)

    def _expire_drain(self, backend: Backend, now: float) -> float | None:
        drain = backend.drain
        if drain is None or drain.outcome is not None:
            return None
        if drain.keeps_clients and drain.half_time <= now:
            drain.keeps_clients = False
            self._end_if_idle(backend)
        if drain.outcome is None and drain.deadline <= now:
            drain.deadline = inf
            self._cut_drained(backend, drain)
        if drain.outcome is not None:
            return None
        return drain.half_time if drain.keeps_clients else drain.deadline

    def _end_if_idle(self, backend: Backend) -> None:
        if not backend.running:
            self._went_idle(backend)

    def _went_idle(self, backend: Backend) -> None:
        if backend.drain is None or backend.drain.keeps_clients:
            return
        aborted = backend.drain.aborted
        self._end_drain(backend, Outcome.TIMEOUT if aborted else Outcome.COMPLETED)

    def _end_drain(self, backend: Backend, outcome: Outcome) -> None:
        drain = backend.drain
        if drain is None or drain.outcome is not None:
            return
        now = self.now()
        durations = self.drain_durations.setdefault((backend.pool, outcome), Histogram(DRAIN_SECONDS))
        durations.observe(drain.duration(now))
        if outcome is not Outcome.CANCELLED:
            aborted = f", {drain.aborted} cut" if drain.aborted else ""
            self._happened("drained", backend, f"after {drain.duration(now):.2f} s{aborted}")
            if drain.then is Then.MAINTENANCE:
                self._wish(backend, AdminState.MAINTENANCE)
            if drain.then is Then.REMOVE:
                self._leave(backend)
        drain.end(outcome, now)

    def _cut(self, backend: Backend) -> int:
        holders = list(backend.running)
        for holder in holders:
            holder.cut()
        return len(holders)

    def _cut_drained(self, backend: Backend, drain: Drain) -> None:
        """Cut what is left. The first cut reaches everybody, so a second one adds nobody to the count."""
        drain.aborted = max(drain.aborted, self._cut(backend))

    def _leave(self, backend: Backend) -> None:
        if backend.removed:
            return
        backend.removed = True
        del self.backends[backend.id]
        self.pools[backend.pool].backends.remove(backend)
        hand_over(backend, self.pools[backend.pool].backends)
        self._happened("removed", backend)
        self._reconsider(self.pools[backend.pool])

    def _wish(self, backend: Backend, state: AdminState, detail: str = "") -> None:
        if state is AdminState.READY:
            backend.drain = None
        if backend.admin_state is state:
            return
        backend.admin_state, backend.since = state, self.now()
        if state is AdminState.READY:
            backend.begin_ramp(backend.since)
        self._happened(state.value, backend, detail)
        self._reconsider(self.pools[backend.pool])

    def _happened(self, kind: str, backend: Backend, detail: str = "") -> None:
        if kind in WISHES:
            self.revision += 1
            backend.revision = self.revision
        event = Event(kind, backend, detail)
        for tell in self._subscribers:
            tell(event)

    def _pool_happened(self, kind: str, pool: Pool, detail: str = "") -> None:
        event = PoolEvent(kind, pool, detail)
        for tell in self._pool_subscribers:
            tell(event)
