"""The registry: the pools and backends there are, and the verbs with which operators and probes change them.

Each verb is a plain function, and what it leaves is consistent; each change is one event. Whatever must act
on a change (the idle connections, the resolver, the state file, the log) subscribes. Nothing here waits: a
drain is a fact with a deadline, and the task that keeps the time runs `expiring`.
"""

from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.drain_control import DrainControl
from lb.core.found_control import FoundControl
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.membership import Membership
from lb.core.policies.base import Policy, Prepares
from lb.core.policies.catalogue import make
from lb.core.policies.custom import in_words
from lb.core.policies.sticky import Sticky
from lb.core.pool import Pool
from lb.core.registry_events import Event, PoolEvent
from lb.core.registry_refusals import Conflict, NotThere
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings

__all__ = ["Conflict", "Event", "NotThere", "PoolEvent", "Registry"]

R = TypeVar("R")

POLICY_SETTINGS = ("policy", "hash", "sticky")
"""The settings of which a policy is made; after a change of others the pool keeps the policy that it has."""
BACKEND_SETTINGS = ("probe", "ejection", "slow_start")
"""The settings of which each backend has its own copy."""


class Registry:
    """All pools and backends. A backend's id is unique over all pools.

    `chance` gives another number from 0 up to 1 each time; `secret` the key for cookies, by the name of the
    file that it is in (None: a key that is in no file); `wall`, for them, seconds since 1970 (None: `now`).
    `drain_durations` are of drains that ended.
    """

    def __init__(
        self,
        now: Callable[[], float],
        chance: Callable[[], float],
        secret: Callable[[str | None], bytes],
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.members = self._members = Membership(now)
        self.drains = self._drains = DrainControl(self._members)
        self.found = FoundControl(self._members, self._drains)
        self._chance = chance
        self._secret = secret
        self._wall = wall
        self._claims: dict[str, Collection[str]] = {}
        self.now = now
        self.pools = self._members.pools
        self.backends = self._members.backends
        self.drain_durations = self._drains.durations

    @property
    def revision(self) -> int:
        """Grows with each change of what is saved."""
        return self._members.subscribers.revision

    @revision.setter
    def revision(self, revision: int) -> None:
        self._members.subscribers.revision = revision

    @property
    def draining(self) -> list[Backend]:
        """The backends whose drain goes on."""
        return self._drains.running

    def empty(self) -> "Registry":
        """Another registry on the same clock, without pools, backends or subscribers."""
        return Registry(self.now, self._chance, self._secret, self._wall)

    def subscribe(
        self, tell: Callable[[Event], None], pools: Callable[[PoolEvent], None] | None = None
    ) -> None:
        """Call `tell` with every event from now on, `pools` with those of pools; neither raises or waits."""
        self._members.subscribers.add(tell, pools)

    def emptying(self) -> Iterator[None]:
        """Take apart a registry that is of no use any more, one backend with each step; nobody is told."""
        yield from self._drains.emptying()
        yield from self._members.emptying()

    def together(self) -> AbstractContextManager[None]:
        """Batch changes: each pool recomputes its candidates once, on exit, even after an error."""
        return self._members.together()

    # -- pools -----------------------------------------------------------------------------------------

    def pool(self, name: str) -> Pool:
        """The pool of this name, or `NotThere`."""
        try:
            return self.pools[name]
        except KeyError:
            raise NotThere(f"there is no pool {name!r}; there are: {', '.join(self.pools)}") from None

    def add_pool(
        self,
        name: str,
        settings: PoolSettings = PoolSettings(),  # noqa: B008 - frozen
        policy: Policy | None = None,
    ) -> Pool:
        """An empty pool; `policy` is what `prepare` made. ValueError where there is no such policy."""
        pool = Pool(name, settings, policy or self._policy(name, settings))
        pool.on_idle = self._drains.went_idle
        pool.health.on_flip = self._happened
        pool.health.on_panic = partial(self._members.subscribers.tell_of_panic, pool)
        self.pools[name] = pool
        self._pool_happened("added", pool)
        return pool

    def prepare(self, name: str, settings: PoolSettings) -> Policy | None:
        """The policy that a pool of this name will need for these settings; None where it keeps its own.

        Preparing raises before anything is changed: ValueError where there is no such policy.
        """
        pool = self.pools.get(name)
        if pool is not None and all(
            getattr(settings, each) == getattr(pool.settings, each) for each in POLICY_SETTINGS
        ):
            return None
        return self._policy(name, settings)

    def _policy(self, name: str, settings: PoolSettings) -> Policy:
        def failed(error: Exception) -> None:
            if (pool := self.pools.get(name)) is not None:  # the last requests of a pool may outlive it
                self._pool_happened("policy failed", pool, in_words(error))

        key = b"" if settings.sticky is None else self._secret(settings.sticky.secret_file)
        return make(settings, now=self.now, chance=self._chance, key=key, tell=failed, wall=self._wall)

    def configure(self, pool: Pool, settings: PoolSettings, policy: Policy | None = None) -> bool:
        """Other settings from the next request on; False if none differ. `policy` is what `prepare` made.

        ValueError, with nothing changed, where there is no such policy.
        """
        is_other = settings != pool.settings
        for _ in self.configuring(pool, settings, policy):
            pass
        return is_other

    def configuring(self, pool: Pool, settings: PoolSettings, policy: Policy | None = None) -> Iterator[None]:
        """`configure`, one backend with each step; ValueError in the first one.

        At first another policy may be made ready, and nothing has changed. Then the pool has the settings,
        and all are told. Those of its backends that have not had their turn keep their old probe, ejection
        and slow start for so long. Until it has ended nobody else may give the pool settings.
        """
        was = pool.settings
        if settings == was:
            return
        policy = policy or self.prepare(pool.name, settings)
        inner: object = policy.inner if isinstance(policy, Sticky) else policy
        if isinstance(inner, Prepares):
            yield from inner.preparing([*pool.backends])
            yield
        pool.configure(settings, policy or pool.policy)
        self.revision += 1
        self._pool_happened("configured", pool, _changed(was, settings))
        yield
        self._members.reconsider(pool)
        yield
        yield from pool.settling()
        if all(getattr(settings, each) == getattr(was, each) for each in BACKEND_SETTINGS):
            return
        for backend in [*pool.backends]:
            if not backend.removed:
                if backend.resettle(pool.settings, self.now()):
                    self._members.on_judged_anew(backend)
                self._members.reconsider(pool)
                yield

    def forget_pools(self, known: Container[str]) -> None:
        """Take out the pools that are not among these and have no backend any more."""
        for pool in list(self.pools.values()):
            if pool.name not in known and not pool.backends and pool.name not in self._claims:
                del self.pools[pool.name]
                self.revision += 1
                self._pool_happened("removed", pool)

    # -- which backends there are ----------------------------------------------------------------------

    def backend(self, backend_id: str) -> Backend:
        """The backend of this id, or `NotThere`."""
        try:
            return self.backends[backend_id]
        except KeyError:
            raise NotThere(f"there is no backend {backend_id!r}") from None

    def add(self, spec: BackendSpec, pool: str = "default", source: str = "api") -> tuple[Backend, bool]:
        """Add a backend; returns it, and whether it is new.

        An identical spec cancels a drain. A different spec under the same id raises `Conflict`.
        """
        spec, into = spec.checked(), self.pool(pool)
        there = self.backends.get(spec.id)
        for other, ids in self._claims.items():
            if other != pool and spec.id in ids:
                raise Conflict(f"backend {spec.id!r} is about to be added to pool {other!r}")
        if there is None:
            return self._members.enter(spec, into, source), True
        if there.spec != spec or there.pool != pool:
            raise Conflict(f"backend {spec.id!r} exists with other settings; PUT or PATCH changes it")
        if there.admin_state is AdminState.DRAINING:
            self.ready(there)
        return there, False

    def change(self, backend: Backend, spec: BackendSpec, pool: str | None = None) -> bool:
        """Another spec under the same id; requests in flight and counters are kept. False if none differs."""
        spec = spec.checked()
        if spec.id != backend.id:
            raise Conflict(f"a backend keeps its id: {backend.id!r} cannot become {spec.id!r}")
        if pool is not None and pool != backend.pool:
            raise Conflict(f"backend {backend.id!r} is in pool {backend.pool!r}; remove it there first")
        if spec == backend.spec:
            return False
        changed = _changed(backend.spec, spec)
        backend.respec(spec)
        self._happened("changed", backend, changed)
        self._members.reconsider(self.pools[backend.pool])
        return True

    def move(self, backend: Backend, spec: BackendSpec, pool: str) -> Backend:
        """Move a backend into another pool at once. Requests that run on it end undisturbed, in no pool."""
        spec, into = spec.checked(), self.pool(pool)
        self._drains.end(backend, Outcome.CANCELLED)
        source = backend.source if backend.said is None else "api"
        backend.said = None  # it is the operator's now
        self._members.leave(backend)
        moved = self._members.enter(spec, into, source)
        moved.cuts = backend.cuts
        return moved

    def replace(self, pool: str, specs: Iterable[BackendSpec], drain_timeout: float) -> list[Backend]:
        """Make a pool hold exactly `specs`, all or nothing. Returns the others, which drain and leave."""
        work = self.replacing(pool, [spec.checked() for spec in specs], drain_timeout)
        with self.together():
            return _ended(work)

    def replacing(
        self,
        pool: str,
        specs: Collection[BackendSpec],
        drain_timeout: float,
        settled: Callable[[Backend], None] = lambda _backend: None,
    ) -> Generator[None, None, list[Backend]]:
        """`replace`, one backend with each step. Each of these specs is `checked`.

        First the whole set is judged, and nothing has changed: only these steps raise a `Conflict`. With the
        step of a backend of the set `settled` is called. Who looks between two steps sees each backend whole,
        the new ones before the others begin to leave. What is done to one meanwhile was done before the set,
        or after it if the backend has had its turn. An id of the set that was judged no other pool may have
        until the end.
        """
        into = self.pool(pool)
        wanted: dict[str, BackendSpec] = {}
        if pool in self._claims:
            raise Conflict(f"another set is being given to pool {pool!r}")
        self._claims[pool] = wanted.keys()
        try:
            for spec in specs:
                self._judge(spec, pool, wanted)
                wanted[spec.id] = spec
                yield
            leaving = yield from self._members.others(into, wanted)
            for spec in wanted.values():
                settled(self._settle(spec, into))
                yield
            for backend in leaving:
                if not backend.removed:
                    self.drain(backend, drain_timeout, Then.REMOVE)
                    yield
        finally:
            del self._claims[pool]
        return leaving

    def _judge(self, spec: BackendSpec, pool: str, wanted: Container[str]) -> None:
        """Refuse a spec whose id is among those of the set already, or in another pool."""
        if spec.id in wanted:
            raise Conflict("two backends of the set have the same id")
        there = self.backends.get(spec.id)
        if there is not None and there.pool != pool:
            raise Conflict(f"backend {spec.id!r} is in pool {there.pool!r}")

    def _settle(self, spec: BackendSpec, into: Pool) -> Backend:
        """Add or change one backend of a set; one that was about to leave stays."""
        there = self.backends.get(spec.id)
        if there is None:
            return self._members.enter(spec, into, "api")
        self.change(there, spec)
        if there.drain is not None and there.drain.then is Then.REMOVE:
            self.ready(there)
        return there

    def remove(self, backend: Backend) -> int:
        """Take a backend out of the registry at once, cutting what runs on it. How many requests were cut."""
        drain = backend.drain
        if drain is not None:
            drain.then, drain.leaves = Then.REMOVE, False
            if drain.outcome is None:
                return self._drains.cut_short(backend, drain)
        aborted = self._members.cut(backend)
        self._members.leave(backend)
        return aborted

    # -- what is wished of them, and what probes say ---------------------------------------------------

    def ready(self, backend: Backend) -> None:
        """Let it take requests again: a drain that runs is taken back, and an ejection is forgiven."""
        self._drains.take_back(backend)
        self._forgive(backend)
        self._members.wish(backend, AdminState.READY)

    def _forgive(self, backend: Backend) -> None:
        """The operator says that it is well, so the outcomes of earlier attempts count no more."""
        was = backend.outcomes.standing
        backend.outcomes.clear(self.now())
        backend.derive()
        if was is not Standing.ADMITTED:
            self._happened("admitted", backend, "an operator said that it is ready")
            self._members.reconsider(self.pools[backend.pool])

    def maintenance(self, backend: Backend) -> int:
        """Take it out at once, cutting what runs on it. How many requests were cut."""
        self._drains.take_back(backend)
        self._members.wish(backend, AdminState.MAINTENANCE)
        return self._members.cut(backend)

    def drain(self, backend: Backend, timeout: float | None, then: Then | None = None) -> Drain:
        """No new request from now on. Repeated, it is the same drain; what is given anew replaces.

        `timeout` is in seconds (60 where a first one gives None); `then` says what becomes of the backend.
        """
        return self._drains.begin(backend, timeout, then)

    def checked(self, backend: Backend, check: Check) -> None:
        """A probe has ended. If that turns the verdict, requests come to the backend or stay away."""
        health = backend.health
        if health is None or not health.observe(check):
            return
        backend.derive()
        if health.verdict is Verdict.UP:
            backend.begin_ramp(self.now())
            self.pools[backend.pool].health.try_early(backend, self.now())
        self._happened(health.verdict.value, backend, check.why)
        self._members.reconsider(self.pools[backend.pool])

    def expire(self, now: float) -> float | None:
        """Do what is due: cut what is left of a drain past its deadline, begin trials, let shares grow.

        Returns when something will be due again, or None.
        """
        return _ended(self.expiring(now))

    def expiring(self, now: float) -> Generator[None, None, float | None]:
        """`expire`, one backend with each step. What changes between two steps may wait for the next time."""
        times = []
        for pool in [*self.pools.values()]:
            times.append((yield from pool.passing_time(now)))
        times.append((yield from self._drains.expiring(now)))
        return min((time for time in times if time is not None), default=None)

    # -- what is told ----------------------------------------------------------------------------------

    def _happened(self, kind: str, backend: Backend, detail: str = "") -> None:
        self._members.subscribers.tell(kind, backend, detail)

    def _pool_happened(self, kind: str, pool: Pool, detail: str = "") -> None:
        self._members.subscribers.tell_of_pool(kind, pool, detail)


def _ended(work: Generator[None, None, R]) -> R:
    """What the work returns, done at once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: R = done.value
            return result


def _changed(before: PoolSettings | BackendSpec, after: PoolSettings | BackendSpec) -> str:
    """The names of the settings that differ, in one text."""
    names = after.__struct_fields__
    return ", ".join(name for name in names if getattr(after, name) != getattr(before, name))
