"""What `lb config check` says of routes and pools that work, but hardly as they were meant."""

from collections.abc import Container, Iterator
from itertools import islice

from lb.config.decode import join
from lb.config.own_addresses import Place, admin_loops, server
from lb.config.spoken_keys import spoken
from lb.core.routes import Routes
from lb.settings.balancer_settings import DEFAULT_POOL, Config, PoolConfig

MOST_NOTES = 20
"""So many are told of one kind."""


def reach_notes(config: Config) -> Iterator[str]:
    """A note for each route that is never used, each pool without a way to it, and more of that kind."""
    shadowed = dict(_shadowed(config))
    for index, first in islice(shadowed.items(), MOST_NOTES):
        earlier = spoken(f"routes[{first}]")
        yield f"routes[{index}]: is never used: {earlier} comes before it and takes all of it"
    if (more := len(shadowed) - MOST_NOTES) > 0:
        yield f"routes: {more} more are never used"
    used = {route.pool for index, route in enumerate(config.routes) if index not in shadowed}
    yield from islice(_empty(config, used), MOST_NOTES)
    if not any(route.takes_everything for route in config.routes):
        used.add(DEFAULT_POOL)
        if not _may_have_backends(config.pools[DEFAULT_POOL]):
            yield f"what no route takes gets 503, for pool {DEFAULT_POOL!r} has no backends"
    for name in islice((name for name in config.pools if name not in used), MOST_NOTES):
        yield f"{join('pools', name)}: no route leads to it"
    yield from islice(admin_loops(config), MOST_NOTES)
    for name, pool in config.pools.items():
        yield from _of_pool(join("pools", name), pool)


def _empty(config: Config, used: Container[str]) -> Iterator[str]:
    """A note for each pool that has routes and no backends."""
    for name, pool in config.pools.items():
        if name in used and not _may_have_backends(pool):
            yield f"{join('pools', name)}: has no backends, so what its routes take gets 503"


def _may_have_backends(pool: PoolConfig) -> bool:
    return bool(pool.backends or pool.discover)


def _shadowed(config: Config) -> Iterator[tuple[int, int]]:
    """Each route that is never used, with the earlier one that is used in its place.

    Whatever matches what a route itself says, its own host and path, also matches all that lies below.
    """
    routes = Routes(config.routes, path_policy=config.path_policy)
    for index, route in enumerate(config.routes):
        if (first := routes.first_for(route)) < index:
            yield index, first


def _of_pool(key: str, pool: PoolConfig) -> Iterator[str]:
    if pool.backends and not pool.discover and all(backend.weight == 0 for backend in pool.backends):
        yield f"{key}: each backend has the weight 0, so none gets requests"
    firsts: dict[Place, int] = {}
    for index, backend in enumerate(pool.backends):
        if (first := firsts.setdefault(server(backend.url), index)) != index:
            also = f" as {url}" if (url := pool.backends[first].url) != backend.url else ""
            earlier = spoken(f"{key}.backends[{first}]")
            yield (
                f"{key}.backends[{index}].url: {earlier} has it too{also}, so that server gets the requests "
                "of two"
            )
