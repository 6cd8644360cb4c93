"""The plan of a reload: the calls that bring a running balancer to another Config.

A reload is a merge of three: the file before, the file now, and the registry. If a backend, or one setting of
a pool, differs from the file before, an operator has changed it at runtime: it keeps that value, and the
difference lists it as *kept*. Otherwise it follows the file now. Backends that are no longer in the file are
drained and removed.

Planning changes nothing, and everything that can fail fails there. A plan holds for the registry as it was
read: it may be applied as long as the registry's revision is the same. Applying is a row of plain calls that
do not fail. Between two of them an operator may change a backend: what comes later stays.
"""

from collections import deque
from collections.abc import Callable, Container, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from lb.config.decode import join
from lb.config.diff import (
    BackendChange,
    Backends,
    Change,
    Difference,
    Kept,
    PoolNames,
    changed,
    compared,
    flat,
    spoken,
    summary,
)
from lb.config.loader import wrong
from lb.config.reload_steps import Place, add_pool, change, enter, leave, take_over
from lb.core.backend import Backend
from lb.core.drain import Outcome, Then
from lb.core.policies.catalogue import Policy
from lb.core.registry import Registry
from lb.errors import ConfigError
from lb.settings.balancer_settings import DEFAULT_POOL, Config, PoolConfig
from lb.settings.discover_settings import Discover
from lb.settings.pool_settings import SYSTEM, PoolSettings
from lb.slices import at_once

AT_START = ("listen", "state", "demo", "workers", "cluster")
ADMIN_AT_START = (
    "listen",
    "enabled",
    "client_ca",
    "token_file",
    "tokens_file",
    "audit_file",
    "metrics_open",
)
"""Keys that are used only when the program starts, so a reload keeps their old value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The Config after the reload, how it differs, and the calls to be made, in this order.

    First pools and backends come or change, then backends `move` to other pools, then others leave. A call
    that returns an iterator is done when that has ended. A call that was made is dropped: to free them all at
    the end would be one long step.
    """

    config: Config
    difference: Difference
    coming: deque[Callable[[], object]]
    moving: deque[Callable[[], object]]
    leaving: deque[Callable[[], object]]


def plan(before: Config, wanted: Config, registry: Registry) -> Plan:
    """The plan that leads from `before`, and the runtime changes in the registry, to `wanted`.

    ConfigError where a policy cannot be made.
    """
    return at_once(planning(before, wanted, registry))


def planning(
    before: Config, wanted: Config, registry: Registry, *, may_load: bool = True
) -> Generator[None, None, Plan]:
    """The making of the plan, a pool or a backend at a time.

    Where the registry's revision has changed meanwhile, the plan shows the difference and must not be
    applied; so it is without `may_load`, when no code is imported and no file is opened.
    """
    config = in_effect(before, wanted)
    planner = _Planner(before, config, registry, may_load)
    planner.look_at_certificates()
    yield from planner.look_at_pools()
    yield from planner.look_at_backends()
    return planner.result(wanted)


def applying(plan: Plan, registry: Registry, switch: Callable[[], None]) -> Iterator[None]:
    """Make the calls of the plan, one with each step; `switch` gives requests the routes of the new Config.

    Backends that the new routes lead to are there before the switch, those that the old ones led to leave
    behind it. To move takes a backend from the one and gives it to the other, so that is done with the
    switch, in one step.
    """
    yield from _made(plan.coming)
    for step in plan.moving:
        step()
    switch()
    yield
    yield from _made(plan.leaving)
    registry.forget_pools(plan.config.pools)


def _made(steps: deque[Callable[[], object]]) -> Iterator[None]:
    while steps:
        made = steps.popleft()()
        if isinstance(made, Iterator):
            yield from made
        yield


def in_effect(before: Config, wanted: Config) -> Config:
    """The wanted Config, with the old value of every key that only a restart can change."""
    replace = msgspec.structs.replace
    admin = replace(wanted.admin, **{name: getattr(before.admin, name) for name in ADMIN_AT_START})
    same = {name: getattr(before, name) for name in AT_START}
    return replace(wanted, admin=admin, pools=_pools_in_effect(before, wanted), **same)


def _pools_in_effect(before: Config, wanted: Config) -> dict[str, PoolConfig]:
    """The pools, with the demo's backends as before: its servers start and end with the program."""
    if wanted.demo is before.demo:
        return wanted.pools
    old = before.pools.get(DEFAULT_POOL, PoolConfig())
    new = wanted.pools.get(DEFAULT_POOL, old)
    return {**wanted.pools, DEFAULT_POOL: msgspec.structs.replace(new, backends=old.backends)}


class _Planner:
    """Collects the calls of a plan, and its difference."""

    def __init__(self, before: Config, config: Config, registry: Registry, may_load: bool) -> None:
        self._before = before
        self._config = config
        self._registry = registry
        self._may_load = may_load
        self._mistakes: list[str] = []
        self._unchecked: list[str] = []
        self._settings: list[Change] = []
        self._kept: list[Kept] = []
        self._added_pools: list[str] = []
        self._changed_pools: list[str] = []
        self._added: list[BackendChange] = []
        self._changed: list[BackendChange] = []
        self._removed: list[BackendChange] = []
        self._pool_steps: list[Callable[[], object]] = []
        self._entering: list[Callable[[], object]] = []
        self._moving: list[Callable[[], object]] = []
        self._leaving: list[Callable[[], object]] = []

    def result(self, wanted: Config) -> Plan:
        if self._mistakes:
            raise wrong(self._mistakes, "")
        return Plan(
            config=self._config,
            difference=self._difference(wanted),
            coming=deque((*self._pool_steps, *self._entering)),
            moving=deque(self._moving),
            leaving=deque(self._leaving),
        )

    def _difference(self, wanted: Config) -> Difference:
        emptied = tuple(name for name in self._before.pools if name not in self._config.pools)
        names = PoolNames(added=tuple(self._added_pools), changed=tuple(self._changed_pools), emptied=emptied)
        backends = Backends(
            added=tuple(self._added), changed=tuple(self._changed), removed=tuple(self._removed)
        )
        settings = (*_general(self._before, self._config), *self._settings)
        needs_restart = _at_restart(self._config, wanted)
        return Difference(
            changed=bool(settings) or names != PoolNames() or backends != Backends(),
            summary=summary(names, backends, len(settings), len(self._kept), len(needs_restart)),
            pools=names,
            backends=backends,
            settings=settings,
            kept=tuple(self._kept),
            needs_restart=needs_restart,
            unchecked=tuple(self._unchecked),
        )

    def look_at_certificates(self) -> None:
        """Where files are read, that is done before there is a plan."""
        if not self._may_load:
            before, after = self._before.tls, self._config.tls
            names = [name for name in ("certificates", "clients") if getattr(after, name)]
            self._unchecked += [f"tls.{n}" for n in names if getattr(after, n) != getattr(before, n)]

    # -- pools -----------------------------------------------------------------------------------------

    def look_at_pools(self) -> Iterator[None]:
        for name, config in self._config.pools.items():
            yield
            if name not in self._registry.pools:
                self._added_pools.append(name)
                policy = self._prepared(name, config.settings)
                self._pool_steps.append(partial(add_pool, self._registry, name, config.settings, policy))
            else:
                self._look_at_pool(name, config.settings)
            self._look_at_sources(name, config)

    def _look_at_pool(self, name: str, wanted: PoolSettings) -> None:
        pool = self._registry.pools[name]
        old = self._before.pools[name].settings if name in self._before.pools else pool.settings
        settings = self._merged(name, old, pool.settings, wanted)
        if settings == pool.settings:
            return
        policy = self._prepared(name, settings)
        self._changed_pools.append(name)
        path = ("pools", name)
        self._settings += compared(flat(pool.settings, path), flat(settings, path))
        self._pool_steps.append(partial(self._registry.configuring, pool, settings, policy))

    def _look_at_sources(self, name: str, config: PoolConfig) -> None:
        """Who follows them is told of the Config; here they are a difference."""
        before = self._before.pools[name].discover if name in self._before.pools else ()
        if before != config.discover:
            told = [msgspec.to_builtins([_said(each) for each in one]) for one in (before, config.discover)]
            self._settings.append(
                Change(key=spoken(("pools", name, "discover")), before=told[0], after=told[1])
            )

    def _merged(self, name: str, old: PoolSettings, now: PoolSettings, new: PoolSettings) -> PoolSettings:
        """The settings key by key: a value changed at runtime stays, any other is that of the file."""
        values = {}
        for key in new.__struct_fields__:
            was, there, wanted = getattr(old, key), getattr(now, key), getattr(new, key)
            is_kept = there not in (was, wanted)
            values[key] = there if is_kept else wanted
            if is_kept:
                where = "at runtime" if was == wanted else "at runtime and in the file"
                self._kept.append(Kept(key=spoken(("pools", name, key)), why=f"changed {where}"))
        return PoolSettings(**values)

    def _prepared(self, name: str, settings: PoolSettings) -> Policy | None:
        """The policy for these settings. It may need an import or a key file; a failure is a mistake."""
        if not self._may_load and (loaded := [*_loaded(settings)]):
            self._unchecked += [f"{join('pools', name)}.{key}" for key in loaded]
            return None
        try:
            return self._registry.prepare(name, settings)
        except ConfigError as exc:
            self._mistakes.append(f"{join('pools', name)}.{exc}")
        except ValueError as exc:
            self._mistakes.append(f"{join('pools', name)}.policy: {exc}")
        return None

    # -- backends --------------------------------------------------------------------------------------

    def look_at_backends(self) -> Iterator[None]:
        old = yield from _places(self._before)
        new = yield from _places(self._config)
        seen = set[str]()
        for places in (new, old, self._registry.backends):
            for backend_id in [*places]:
                if backend_id not in seen:
                    seen.add(backend_id)
                    there = self._registry.backends.get(backend_id)
                    now = None if there is None or _is_leaving(there) else Place(there.pool, there.spec)
                    was, will_be = old.pop(backend_id, None), new.pop(backend_id, None)
                    self._look_at_backend(backend_id, was, will_be, now)
                yield

    def _look_at_backend(
        self, backend_id: str, old: Place | None, new: Place | None, now: Place | None
    ) -> None:
        """`old` is its place in the Config before, `new` in the wanted one, `now` in the registry.

        One that a source has found is nobody's yet; the file comes before sources.
        """
        if now is not None and self._registry.backends[backend_id].said is not None:
            if new is not None:
                self._take_over(backend_id, now, new)
            return
        if now == new:
            return
        if now != old:
            self._keep(backend_id, old, new, now)
        elif new is None:
            assert now is not None
            self._remove(backend_id, now)
        elif now is None:
            self._added.append(BackendChange(id=backend_id, pool=new.pool))
            there = self._registry.backends.get(backend_id)
            steps = self._entering if there is None or there.pool == new.pool else self._moving
            steps.append(partial(enter, self._registry, new))
        else:
            self._change(backend_id, now, new)

    def _take_over(self, backend_id: str, now: Place, new: Place) -> None:
        self._added.append(BackendChange(id=backend_id, pool=new.pool, changes=changed(now.spec, new.spec)))
        steps = self._entering if now.pool == new.pool else self._moving
        steps.append(partial(take_over, self._registry, self._registry.backends[backend_id], new))

    def _keep(self, backend_id: str, old: Place | None, new: Place | None, now: Place | None) -> None:
        if now is None:
            why = "removed at runtime"
        elif old is None and self._registry.backends[backend_id].source != "config":
            why = "added at runtime"
        else:
            why = "changed at runtime"
        if new is None:
            why += ", and not in the file"
        elif new != old:
            why += ", and something else in the file"
        place = now or new
        assert place is not None
        self._kept.append(Kept(key=spoken(("pools", place.pool, "backends", backend_id)), why=why))

    def _remove(self, backend_id: str, now: Place) -> None:
        backend = self._registry.backends[backend_id]
        self._removed.append(BackendChange(id=backend_id, pool=now.pool))
        self._leaving.append(partial(leave, self._registry, backend, self._config.timeouts.drain))

    def _change(self, backend_id: str, now: Place, new: Place) -> None:
        changes = changed(now.spec, new.spec)
        if now.pool != new.pool:
            changes = (Change(key="pool", before=now.pool, after=new.pool), *changes)
        self._changed.append(BackendChange(id=backend_id, pool=now.pool, changes=changes))
        steps = self._entering if now.pool == new.pool else self._moving
        steps.append(partial(change, self._registry, self._registry.backends[backend_id], new))


def _general(before: Config, after: Config) -> tuple[Change, ...]:
    """The changed keys outside the pools."""
    return changed(_with_pools(before, ()), _with_pools(after, ()))


def _at_restart(config: Config, wanted: Config) -> tuple[Change, ...]:
    """The keys in which the wanted Config waits for a restart; of the pools that is the demo's alone."""
    names = {DEFAULT_POOL} & config.pools.keys() if config.demo is not wanted.demo else set()
    return changed(_with_pools(config, names), _with_pools(wanted, names))


def _with_pools(config: Config, names: Container[str]) -> Config:
    pools = {name: pool for name, pool in config.pools.items() if name in names}
    return msgspec.structs.replace(config, pools=pools)


def _places(config: Config) -> Generator[None, None, dict[str, Place]]:
    places = {}
    for name, pool in config.pools.items():
        for spec in pool.backends:
            places[spec.id] = Place(name, spec)
            yield
    return places


def _is_leaving(backend: Backend) -> bool:
    """Whether a drain is about to remove this backend, and has not been taken back."""
    drain = backend.drain
    return drain is not None and drain.then is Then.REMOVE and drain.outcome is not Outcome.CANCELLED


def _said(source: Discover) -> dict[str, object]:
    """The keys of a source that were set."""
    return {
        field.name: value
        for field in msgspec.structs.fields(source)
        if (value := getattr(source, field.name)) != field.default
    }


def _loaded(settings: PoolSettings) -> Iterator[str]:
    """The keys of these settings whose value names code or a file."""
    if ":" in settings.policy:
        yield "policy"
    if settings.sticky is not None and settings.sticky.secret_file is not None:
        yield "sticky.secret_file"
    if settings.tls.ca != SYSTEM:
        yield "tls.ca"
    if settings.tls.chain is not None:
        yield "tls.chain"
