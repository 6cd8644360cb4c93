"""The calls that a reload makes (`lb.config.reload_plan`), each about one pool or one backend."""

from typing import NamedTuple

from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.policies.catalogue import Policy
from lb.core.registry import Registry
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings


class Place(NamedTuple):
    """The pool and the spec of one backend: in a Config, or in the registry."""

    pool: str
    spec: BackendSpec


def add_pool(registry: Registry, name: str, settings: PoolSettings, policy: Policy | None) -> None:
    registry.add_pool(name, settings, policy)
    registry.revision += 1


def enter(registry: Registry, place: Place) -> None:
    """Add a backend, which starts slowly like any new one; or keep one that was about to be removed."""
    there = registry.backends.get(place.spec.id)
    if there is None:
        backend, _ = registry.add(place.spec, place.pool, "config")
        backend.begin_ramp(registry.now())
    elif there.pool != place.pool:
        registry.move(there, place.spec, place.pool)
    else:
        registry.change(there, place.spec)
        registry.ready(there)


def take_over(registry: Registry, backend: Backend, place: Place) -> None:
    """A backend that a source has found is of the configuration from now on."""
    if not backend.removed:
        registry.found.adopt(backend, "config")
        change(registry, backend, place)


def change(registry: Registry, backend: Backend, place: Place) -> None:
    """Change a backend. If it moves to another pool, the operator's wish (maintenance, drain) moves too.

    One that an operator has removed since the plan was made stays away.
    """
    if backend.removed:
        return
    if backend.pool == place.pool:
        registry.change(backend, place.spec)
        return
    wish, then = backend.admin_state, None if backend.drain is None else backend.drain.then
    moved = registry.move(backend, place.spec, place.pool)
    if wish is AdminState.MAINTENANCE:
        registry.maintenance(moved)
    elif wish is AdminState.DRAINING:
        registry.drain(moved, None, then)


def leave(registry: Registry, backend: Backend, timeout: float) -> None:
    """Drain and remove a backend, unless an operator has removed it since the plan was made."""
    if not backend.removed:
        registry.drain(backend, timeout, Then.REMOVE)
