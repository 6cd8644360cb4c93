"""The routes as JSON: which requests go to which pool, for /routes and the page."""

import msgspec

from lb.settings.balancer_settings import Config, Route

OTHERS = Route(pool="default")
"""Where requests go that no route matches."""


class RouteList(msgspec.Struct, kw_only=True):
    """Routes in their order: the first that matches takes a request, so the last one takes all others.

    `host` is null for any host. `total` counts those that were not listed too.
    """

    items: list[Route]
    total: int


def route_list(config: Config, most: int) -> RouteList:
    """The first so many of them."""
    routes = config.routes
    total = len(routes) + (not (routes and routes[-1].takes_everything))
    items = [*routes[:most]]
    if len(items) < min(most, total):
        items.append(OTHERS)
    return RouteList(items=items, total=total)
