"""Shared wishes become true in a registry, by the same verbs with which an operator's own would.

Each backend of a pool has an end that is wished of it; whatever is there already is left as it is. So a wish
may be applied again, and only the last one of several counts.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import msgspec

from lb.cluster.shared_wishes import BackendWish, PoolWish, Wish, Wishes, backend_key, named, same
from lb.config.decode import told, without_none
from lb.config.loader import overlay
from lb.config.state_file import patched
from lb.core.backend import AdminState, Backend
from lb.core.drain import Outcome, Then
from lb.core.found_control import Word, altered
from lb.core.registry import Conflict, Registry
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig
from lb.settings.named_code import known_policies, unknown_files


def by_nobody(_key: str, _wish: Wish) -> AbstractContextManager[None]:
    """Where nobody keeps in mind who has wished what."""
    return nullcontext()


class Base(NamedTuple):
    """What the wishes differ from, and what they are applied to. What changes within `acting` is its act."""

    configured: Mapping[str, PoolConfig]
    registry: Registry
    usual_drain: float
    acting: Callable[[str, Wish], AbstractContextManager[None]] = by_nobody


def applying(keys: Iterable[str], wishes: Wishes, base: Base) -> Generator[None, None, dict[str, str]]:
    """Apply the wishes of these keys, one with each step. `wishes` are all that there are.

    The result has, by key, a sentence for each that does not fit here; nothing of it was done.

    Pools come first, then backends that are there, then those that leave: who waits in a queue sees the
    newcomers before the others go. A backend that is wished in another pool is moved at once.
    """
    unfit, specs = dict[str, str](), dict[tuple[str, str], BackendSpec]()
    for name, configured_pool in base.configured.items():
        for spec in configured_pool.backends:
            specs[name, spec.id] = spec
            yield
    backends = list[tuple[str, str, str, BackendWish]]()
    for key in keys:
        yield
        wish, (pool, backend_id) = wishes[key], named(key)
        if pool not in base.registry.pools:
            unfit[key] = f"there is no pool {pool!r} here"
        elif isinstance(wish, PoolWish):
            with base.acting(key, wish):
                why = _configure(pool, wish, base)
            if why:
                unfit[key] = why
        else:
            backends.append((key, pool, backend_id, wish))
    backends.sort(key=lambda each: each[3].admin_state == "removed")
    for key, pool, backend_id, wish in backends:
        try:
            with base.acting(key, wish):
                _apply(pool, backend_id, wish, specs.get((pool, backend_id)), wishes, base)
        except (Conflict, ValueError) as exc:
            unfit[key] = str(exc)
        yield
    return unfit


def _configure(name: str, wish: PoolWish, base: Base) -> str:
    """Why these settings cannot be, "" where they are.

    Who may write to etcd may neither run code here nor have files read that the configuration does not name.
    """
    settings = base.configured.get(name, PoolConfig()).settings
    pool, known = base.registry.pool(name), base.configured.values()
    try:
        wanted = patched(told(settings), wish.settings)
        if wanted.policy not in known_policies(known):
            return f"policy: the configuration here names no such class: {wanted.policy}"
        if unknown := [*unknown_files(wanted, known)]:
            return f"{unknown[0]}: the configuration here names no such file"
        base.registry.configure(pool, wanted)
    except (ValueError, ConfigError) as exc:
        return str(exc)
    return ""


def _apply(
    pool: str,
    backend_id: str,
    wish: BackendWish,
    configured: BackendSpec | None,
    wishes: Wishes,
    base: Base,
) -> None:
    there = base.registry.backends.get(backend_id)
    is_here = there is not None and there.pool == pool
    if wish.found:
        _apply_to_found(pool, backend_id, wish, there if is_here else None, base)
        return
    if wish.admin_state == "removed":
        if there is not None and is_here:
            _remove(there, wish, base)
        return
    spec = _spec(wish, configured)
    if spec is None:
        if there is not None and is_here:
            _remove(there, BackendWish(admin_state="removed"), base)
        if not same(wish, BackendWish()):
            raise ValueError("it is not configured here, and the wish does not say what it is")
        return
    backend = _put(spec, pool, there, wishes, base)
    _wish(backend, wish, base)


def _apply_to_found(pool: str, backend_id: str, wish: BackendWish, there: Backend | None, base: Base) -> None:
    """What is said of one that a source names; where none does so yet it is remembered for then."""
    found = base.registry.found
    if wish.admin_state == "removed":
        if there is None:
            found.hide(pool, backend_id)
        elif there.said is not None:
            _remove(there, wish, base)
        return
    found.show(pool, backend_id)
    if there is None:
        word = Word(wish.admin_state, wish.patch)
        if word.is_said:
            found.remember(pool, backend_id, word)
        else:
            found.forget(pool, backend_id)
    elif there.said is not None:
        base.registry.change(there, altered(there.said, Word(changed=wish.patch)))
        _wish(there, wish, base)


def _spec(wish: BackendWish, configured: BackendSpec | None) -> BackendSpec | None:
    """What the backend is to be; None where nobody says."""
    if wish.spec is not None or configured is None:
        return wish.spec
    if not wish.patch:
        return configured
    table: dict[str, Any] = without_none(overlay(told(configured), wish.patch))
    spec = msgspec.convert(table, BackendSpec).checked()
    if spec.id != configured.id:
        raise ValueError(f"its patch is of backend {spec.id!r}")
    return spec


def _put(spec: BackendSpec, pool: str, there: Backend | None, wishes: Wishes, base: Base) -> Backend:
    """Have it in this pool with this spec."""
    registry = base.registry
    if there is None:
        return registry.add(spec, pool)[0]
    if there.pool == pool:
        registry.change(there, spec)
        return there
    leaves = wishes.get(backend_key(there.pool, spec.id))
    if isinstance(leaves, BackendWish) and leaves.admin_state == "removed":
        return registry.move(there, spec, pool)
    raise Conflict(f"backend {spec.id!r} is in pool {there.pool!r}")


def _wish(backend: Backend, wish: BackendWish, base: Base) -> None:
    """Ready, draining or in maintenance, unless it is that already."""
    registry, seconds = base.registry, base.usual_drain if wish.drain is None else wish.drain
    if wish.admin_state == "ready":
        if backend.admin_state is not AdminState.READY:
            registry.ready(backend)
    elif wish.admin_state == "maintenance":
        if backend.admin_state is AdminState.MAINTENANCE:
            return
        if wish.drain is None:
            registry.maintenance(backend)
        elif not _drains_to(backend, Then.MAINTENANCE, seconds):
            registry.drain(backend, seconds, Then.MAINTENANCE)
    elif not _drains_to(backend, Then.KEEP, seconds):
        registry.drain(backend, seconds, Then.KEEP)


def _remove(backend: Backend, wish: BackendWish, base: Base) -> None:
    """Drain it and take it out; at once with a drain of no seconds."""
    seconds = base.usual_drain if wish.drain is None else wish.drain
    if not seconds:
        base.registry.remove(backend)
    elif not _drains_to(backend, Then.REMOVE, seconds):
        base.registry.drain(backend, seconds, Then.REMOVE)


def _drains_to(backend: Backend, then: Then, seconds: float) -> bool:
    """Whether it has drained to this end, or does so within that time."""
    drain = backend.drain
    if backend.admin_state is not AdminState.DRAINING or drain is None or drain.then is not then:
        return False
    return drain.outcome not in (None, Outcome.CANCELLED) or drain.deadline - drain.started == seconds
