"""A registry to try things on: in the same state as the real one, and nothing that happens in it is real.

Nobody hears of its events, nobody waits in its queues, and what runs in it are stand-ins that cannot be cut.
What one may change of a backend or a pool is its own; what only traffic changes is shared.
"""

from copy import copy, deepcopy

from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.pool import Pool
from lb.core.registry import Registry


class StandIn:
    """A request that runs, as far as anybody can count."""

    def cut(self) -> None:
        """It is not there."""


def rehearsal(registry: Registry) -> Registry:
    """Another one like this. It takes some 20 us for each backend."""
    twin = registry.empty()
    for pool in registry.pools.values():
        _copy_pool(pool, twin)
    twins = {backend.id: backend for pool in twin.pools.values() for backend in pool.backends}
    twin.backends.update((backend_id, twins[backend_id]) for backend_id in registry.backends)
    twin.revision = registry.revision
    return twin


def _copy_pool(pool: Pool, into: Registry) -> None:
    twin = into.add_pool(pool.name, pool.settings, pool.policy)  # it is asked for nobody here
    twin.budget = deepcopy(pool.budget)
    twin.in_flight, twin.hedged = pool.in_flight, pool.hedged
    twin.request_queue.waiting, twin.health.is_panicking = pool.waiting, pool.is_panicking
    twin.backends += map(_backend, pool.backends)


def _backend(backend: Backend) -> Backend:
    twin = copy(backend)
    twin.running = {StandIn() for _ in backend.running}
    twin.outcomes, twin.health = deepcopy(backend.outcomes), deepcopy(backend.health)
    twin.drain = None if backend.drain is None else _drain(backend.drain)
    return twin


def _drain(drain: Drain) -> Drain:
    """Without those who wait for its end."""
    twin = Drain(drain.started, drain.started_with, drain.deadline, drain.then)
    twin.keeps_clients, twin.aborted = drain.keeps_clients, drain.aborted
    twin.ended, twin.outcome = drain.ended, drain.outcome
    return twin
