"""One registry as another one mirrors it: what a keeper decides, as its workers are told.

A state is everything that is decided about one backend or one pool, not a change of it. So a state may be
told twice, or come in place of several that were due, and a worker that starts anew is told all of them.
Times are told as what is left of them, since the clocks of two processes have nothing in common.

What a worker sees for itself stays there: what runs, latencies, the turns of its policies, the share of its
requests that failed. What that shows of a backend its witness says.
"""

from collections.abc import Callable, Collection, Iterator
from math import inf

import msgspec
from msgspec.structs import replace

from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Outcome
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Health, Verdict
from lb.core.pool import Pool
from lb.core.pool_health import Witness
from lb.core.registry import PoolEvent, Registry
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings, Probe

PLAIN = "round_robin"
"""The policy that needs nothing."""


class BackendState(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """What is decided about one backend: by the operator, its source, probes (None without one), outcomes.

    `serial` tells it from others that have had its id, and `cuts` is another number after what ran was cut.
    `drain` is the number of its drain while the wish is that it drains, or its source says that it leaves;
    `keeps_clients`: clients with its cookie may still come. `warming` are the seconds of its slow start that
    are left. `row` is where the workers show each other how many requests they have on it.
    """

    spec: BackendSpec
    serial: int
    cuts: int
    pool: str
    source: str
    wish: AdminState
    drain: int
    keeps_clients: bool
    verdict: Verdict | None
    verdict_why: str
    standing: Standing
    standing_why: str
    warming: float
    row: int = 0
    notice: Notice = Notice.HERE


class PoolState(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """What is decided about one pool. `panics`: health does not count, too few are fit; `row`: as there."""

    name: str
    settings: PoolSettings
    panics: bool
    row: int = 0


class BackendGone(msgspec.Struct, frozen=True, array_like=True, tag="-b"):
    """There is no such backend any more."""

    id: str


class PoolGone(msgspec.Struct, frozen=True, array_like=True, tag="-p"):
    """There is no such pool any more."""

    name: str


State = BackendState | PoolState | BackendGone | PoolGone


def state_of(registry: Registry, backend_id: str) -> BackendState | BackendGone:
    """What holds of the backend with this id now."""
    backend = registry.backends.get(backend_id)
    if backend is None:
        return BackendGone(backend_id)
    health, outcomes, drain = backend.health, backend.outcomes, backend.drain
    return BackendState(
        spec=backend.spec,
        serial=backend.serial,
        cuts=backend.cuts,
        pool=backend.pool,
        source=backend.source,
        wish=backend.admin_state,
        drain=0 if drain is None or not backend.drains else drain.number,
        keeps_clients=drain is not None and drain.keeps_clients and drain.outcome is None,
        verdict=None if health is None else health.verdict,
        verdict_why="" if health is None else health.why,
        standing=outcomes.standing,
        standing_why=outcomes.why,
        warming=max(0.0, backend.ramp_until - registry.now()) if backend.ramp_until else 0.0,
        row=backend.row,
        notice=backend.notice,
    )


def state_of_pool(registry: Registry, name: str) -> PoolState | PoolGone:
    """What holds of the pool of this name now."""
    pool = registry.pools.get(name)
    return PoolGone(name) if pool is None else PoolState(name, pool.settings, pool.is_panicking, pool.row)


def unheard(_pool: str, _why: str) -> None:
    """What becomes of refusals that nobody hears."""


class Mirror:
    """A registry that decides nothing: it becomes what it is told. `witness` hears what its traffic shows.

    A pool whose settings cannot be used here, such as a policy that fails, keeps those that it had; a new one
    has no policy and no cookie of its own. `refused` hears of it: the pool, and why, "" when it is over.
    """

    def __init__(
        self, registry: Registry, witness: Witness, refused: Callable[[str, str], None] = unheard
    ) -> None:
        self._registry = registry
        self._witness = witness
        self._refused = refused
        self._behind: set[str] = set()
        self._gone: set[str] = set()
        registry.subscribe(lambda _event: None, self._on_pool_event)

    def _on_pool_event(self, event: PoolEvent) -> None:
        if event.kind == "added":
            event.pool.health.witness = self._witness

    def take(self, states: Collection[State]) -> None:
        """Become what these say, in their order; requests see all of them or none."""
        with self._registry.together():
            for state in states:
                self._take(state)
        self._forget_pools()

    def _take(self, state: State) -> None:
        match state:
            case BackendState():
                self._be(self._there(state), state)
            case PoolState():
                self._be_pool(state)
            case BackendGone():
                if (gone := self._registry.backends.get(state.id)) is not None:
                    self._registry.remove(gone)
            case PoolGone():
                self._gone.add(state.name)
                self._not_behind(state.name)

    def _forget_pools(self) -> None:
        """Those that are gone; the last backends of one may be told of after it."""
        if self._gone:
            self._registry.forget_pools(self._registry.pools.keys() - self._gone)
            self._gone &= self._registry.pools.keys()

    def _be_pool(self, state: PoolState) -> None:
        self._gone.discard(state.name)
        pool = self._configured(state)
        pool.row = state.row
        if pool.is_panicking is not state.panics:
            self._trust(pool, state.panics)

    def _configured(self, state: PoolState) -> Pool:
        """The pool of this state, with its settings if they can be used."""
        registry, name = self._registry, state.name
        pool = registry.pools.get(name)
        try:
            if pool is None:
                pool = registry.add_pool(name, state.settings)
            else:
                registry.configure(pool, state.settings)
        except (ValueError, ConfigError) as exc:
            self._behind.add(name)
            self._refused(name, str(exc))
            return pool or registry.add_pool(name, replace(state.settings, policy=PLAIN, sticky=None))
        self._not_behind(name)
        return pool

    def _not_behind(self, name: str) -> None:
        if name in self._behind:
            self._behind.discard(name)
            self._refused(name, "")

    def _trust(self, pool: Pool, panics: bool) -> None:
        pool.health.is_panicking = panics
        for backend in pool.backends:
            backend.heed_trust()
        self._registry.members.reconsider(pool)

    def _there(self, state: BackendState) -> Backend:
        """The backend of this state, in its pool and with its spec."""
        backend = self._in_its_pool(state)
        backend.source = state.source
        return backend

    def _in_its_pool(self, state: BackendState) -> Backend:
        registry, spec = self._registry, state.spec
        there = registry.backends.get(spec.id)
        if there is None:
            there = registry.add(spec, state.pool, state.source)[0]
            there.cuts = state.cuts
        elif there.pool != state.pool or there.serial != state.serial:
            self._cut(there, state)  # it was moved, or removed and added again
            there = registry.move(there, spec, state.pool)
        registry.change(there, spec)
        there.serial = state.serial
        return there

    def _cut(self, backend: Backend, state: BackendState) -> None:
        """Cut what runs if that was done since: with it goes what has come before this is told."""
        if backend.cuts != state.cuts:
            self._registry.drains.cut(backend)
            backend.cuts = state.cuts

    def _be(self, backend: Backend, state: BackendState) -> None:
        now = self._registry.now()
        backend.row = state.row
        self._wish(backend, state)
        self._cut(backend, state)
        happened = [*self._judged(backend, state, now)]
        backend.derive()
        if state.warming or backend.ramp_until:
            backend.ramp_for(state.warming, now)
        for kind, why in happened:
            self._registry.members.subscribers.tell(kind, backend, why)
        self._registry.members.reconsider(self._registry.pools[backend.pool])

    def _judged(self, backend: Backend, state: BackendState, now: float) -> Iterator[tuple[str, str]]:
        """Take on what probes and outcomes say; the events that follow."""
        if state.verdict is not None:
            if backend.health is None:
                backend.health = Health(Probe(), now)
            if backend.health.follow(state.verdict, state.verdict_why, now):
                yield state.verdict.value, state.verdict_why
        if backend.outcomes.follow(state.standing, state.standing_why, now):
            yield state.standing.value, state.standing_why

    def _wish(self, backend: Backend, state: BackendState) -> None:
        """Take on the operator's wish. A drain has no end of its own here: the keeper tells when to cut."""
        registry, is_other = self._registry, state.wish is not backend.admin_state
        if is_other and state.wish is AdminState.READY:
            registry.ready(backend)
        elif is_other and state.wish is AdminState.MAINTENANCE:
            registry.maintenance(backend)
            backend.cuts = state.cuts
        if state.drain:
            self._drain(backend, state)
        elif backend.drain is not None and backend.drain.is_sources:
            registry.drains.stay(backend)
        if backend.notice is not state.notice:
            backend.notice = state.notice

    def _drain(self, backend: Backend, state: BackendState) -> None:
        registry, drain = self._registry, backend.drain
        is_sources = state.wish is not AdminState.DRAINING
        if drain is None or drain.number != state.drain or drain.is_sources is not is_sources:
            if drain is not None:  # it was taken back, and this is another one
                registry.drains.end(backend, Outcome.CANCELLED)
            if is_sources:
                drain = registry.drains.leave(backend, inf, leaves=False, keeps_clients=state.keeps_clients)
            else:
                drain = registry.drains.begin(backend, inf, None, state.keeps_clients)
            drain.number = state.drain
        elif drain.keeps_clients and not state.keeps_clients:
            drain.keeps_clients = False
            if backend.is_idle:
                registry.pools[backend.pool].on_idle(backend)
