"""The shared state: which pools and backends there are, and what the operator wishes of each.

Every wish is one plain function that ends in one `Event`. Whoever must act on it (the idle connections, the
names, the state file, the log) subscribes. Nothing here waits: a drain is a fact with a deadline, and
`expire` is told the time by the task that keeps it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from lb.core.backend import AdminState, Backend, BackendSpec
from lb.core.drain import Drain, Outcome, Then
from lb.core.histogram import Histogram
from lb.core.pool import Pool

DRAIN_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0)


class NotThere(LookupError):
    """There is no such backend or pool."""


class Conflict(ValueError):
    """The wish contradicts what is there already."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: `added`, `changed`, `ready`, `draining`, `drained`, `maintenance` or `removed`."""

    kind: str
    backend: Backend
    detail: str = ""


class Registry:
    """All pools and backends. A backend's id is unique over all pools."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.pools: dict[str, Pool] = {}
        self.backends: dict[str, Backend] = {}
        self.revision = 0
        self.drain_durations: dict[tuple[str, Outcome], Histogram] = {}
        self._subscribers: list[Callable[[Event], None]] = []

    def subscribe(self, tell: Callable[[Event], None]) -> None:
        """Call `tell` with every event from now on; it must not raise and must not wait."""
        self._subscribers.append(tell)

    def add_pool(self, name: str, policy: str = "round_robin", queue_limit: int = 1024) -> Pool:
        pool = Pool(name, policy, queue_limit)
        pool.on_idle = self._went_idle
        self.pools[name] = pool
        return pool

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
        backend = Backend(spec, into.name, source, self.now())
        self.backends[backend.id] = backend
        into.backends.append(backend)
        self._happened("added", backend, spec.url)
        into.reconsider()
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
        if "weight" in changed:
            for each in self.pools[backend.pool].backends:
                each.turn = 0  # what it saved up was measured in the old weights
        self._happened("changed", backend, ", ".join(changed))
        self.pools[backend.pool].reconsider()
        return True

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
        for id, spec in wanted.items():
            if (there := self.backends.get(id)) is None:
                self._enter(spec, into, "api")
                continue
            self.change(there, spec)
            if there.drain is not None and there.drain.then is Then.REMOVE:
                self.ready(there)
        for backend in leaving:
            self.drain(backend, drain_timeout, Then.REMOVE)
        return leaving

    def ready(self, backend: Backend) -> None:
        """Let it take requests again; a drain that still runs is taken back."""
        self._end_drain(backend, Outcome.CANCELLED)
        self._wish(backend, AdminState.READY)

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
            backend.drain = drain
            self._wish(backend, AdminState.DRAINING, f"{drain.started_with} in flight")
            if not backend.running:
                self._end_drain(backend, Outcome.COMPLETED)
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
        """Cut what is left of every drain past its deadline; the next deadline, or None without a drain."""
        running = [b for b in self.backends.values() if b.drain is not None and b.drain.outcome is None]
        for backend in running:
            drain = backend.drain
            if drain is not None and drain.deadline <= now:
                drain.deadline = inf
                self._cut_drained(backend, drain)
        return min((b.drain.deadline for b in running if b.drain is not None), default=None)

    def _went_idle(self, backend: Backend) -> None:
        aborted = backend.drain is not None and backend.drain.aborted
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
        self._happened("removed", backend)
        self.pools[backend.pool].reconsider()

    def _wish(self, backend: Backend, state: AdminState, detail: str = "") -> None:
        if state is AdminState.READY:
            backend.drain = None
        if backend.admin_state is state:
            return
        backend.admin_state, backend.since = state, self.now()
        self._happened(state.value, backend, detail)
        self.pools[backend.pool].reconsider()

    def _happened(self, kind: str, backend: Backend, detail: str = "") -> None:
        self.revision += 1
        backend.revision = self.revision
        event = Event(kind, backend, detail)
        for tell in self._subscribers:
            tell(event)
