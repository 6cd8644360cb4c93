"""A copy of the registry to try changes on: the same state, and no effect on the real one.

It has no subscribers, its queues are empty, and what runs on its backends are stand-ins that ignore a cut. It
has copies of all that an operator may change of a backend or a pool, and shares what only traffic changes.
"""

from collections.abc import Generator

from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.settings.pool_settings import PoolSettings


class StandIn:
    """Stands for a request in flight, so that the counts are right."""

    def cut(self) -> None:
        """Nothing to end."""


def copying(registry: Registry) -> Generator[None, None, Registry]:
    """A copy of the registry, one backend with each step.

    Each is copied as it is then. Of those that come or go between two steps the copy may have either; its
    revision is that of the beginning.
    """
    twin = registry.empty()
    twin.revision = registry.revision
    for pool in registry.pools.values():
        _copy_pool(pool, twin)
    for backend in [*registry.backends.values()]:
        if not backend.removed:
            into = twin.pools[backend.pool]
            copied = twin.backends[backend.id] = _backend(backend, into.settings)
            into.enter(copied)
            into.in_flight += copied.in_flight
            yield
    return twin


def _copy_pool(pool: Pool, into: Registry) -> None:
    """The pool without its backends, and so without what runs on them."""
    twin = into.add_pool(pool.name, pool.settings, pool.policy)  # shared: no request is chosen for here
    twin.rest()
    twin.budget = pool.budget.copy()
    twin.hedged = pool.hedged
    twin.request_queue.waiting, twin.health.is_panicking = pool.waiting, pool.is_panicking


def _backend(backend: Backend, settings: PoolSettings) -> Backend:
    twin = backend.copy(settings)
    twin.running = {StandIn() for _ in range(backend.in_flight)}
    twin.drain = None if backend.drain is None else _drain(backend.drain)
    return twin


def _drain(drain: Drain) -> Drain:
    """Without the functions that wait for its end."""
    twin = Drain(drain.started, drain.started_with, drain.deadline, drain.then)
    twin.keeps_clients, twin.aborted = drain.keeps_clients, drain.aborted
    twin.ended, twin.outcome = drain.ended, drain.outcome
    return twin
