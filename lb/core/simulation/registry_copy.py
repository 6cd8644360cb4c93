"""A copy of the registry to try changes on: the same state, and no effect on the real one.

It has no subscribers, its queues are empty, and what runs on its backends are stand-ins that ignore a cut. It
has copies of all that an operator may change of a backend or a pool, and shares what only traffic changes.
"""

from copy import copy, deepcopy

from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.pool import Pool
from lb.core.registry import Registry


class StandIn:
    """Stands for a request in flight, so that the counts are right."""

    def cut(self) -> None:
        """Nothing to end."""


def rehearsal(registry: Registry) -> Registry:
    """A copy of the registry; it takes time for each backend."""
    twin = registry.empty()
    for pool in registry.pools.values():
        _copy_pool(pool, twin)
    twins = {backend.id: backend for pool in twin.pools.values() for backend in pool.backends}
    twin.backends.update((backend_id, twins[backend_id]) for backend_id in registry.backends)
    twin.revision = registry.revision
    return twin


def _copy_pool(pool: Pool, into: Registry) -> None:
    twin = into.add_pool(pool.name, pool.settings, pool.policy)  # shared: no request is chosen for here
    twin.budget = deepcopy(pool.budget)
    twin.in_flight, twin.hedged = pool.in_flight, pool.hedged
    twin.request_queue.waiting, twin.health.is_panicking = pool.waiting, pool.is_panicking
    for backend in map(_backend, pool.backends):
        twin.enter(backend)


def _backend(backend: Backend) -> Backend:
    twin = copy(backend)
    twin.tally = twin.roster = None
    twin.running = {StandIn() for _ in backend.running}
    twin.outcomes, twin.health = copy(backend.outcomes), copy(backend.health)
    twin.drain = None if backend.drain is None else _drain(backend.drain)
    return twin


def _drain(drain: Drain) -> Drain:
    """Without the functions that wait for its end."""
    twin = Drain(drain.started, drain.started_with, drain.deadline, drain.then)
    twin.keeps_clients, twin.aborted = drain.keeps_clients, drain.aborted
    twin.ended, twin.outcome = drain.ended, drain.outcome
    return twin
