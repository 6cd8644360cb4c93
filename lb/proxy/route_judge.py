"""Which way a request would take: asked by an operator, judged by what judges requests.

The request is made up as bytes, and goes through the same steps in the same order as one that comes: its head
is judged, then come the rules of hosts, then the routes. Nothing here compares hosts or paths. It is taken
for one of an untrusted client that shows no certificate.
"""

from collections.abc import Callable

import trio

from lb.core.routed import Asked, Routed
from lb.core.routes import Routes
from lb.core.secured import Secured
from lb.errors import BadRequest
from lb.http1.head_reader import RequestHeadReader
from lb.http1.request_head import RequestHead
from lb.proxy.front_rules import FrontRules, ServedNames, name_of
from lb.settings.balancer_settings import Config, Route

MOST_BEHIND = 3
REDIRECT = 308


class RouteJudge:
    """Judges requests for one balancer, by the configuration that it has at that moment.

    `served` gives the names of its TLS listeners and their port; None without such listeners.
    """

    def __init__(
        self, config: Callable[[], Config], served: Callable[[], tuple[ServedNames, int] | None]
    ) -> None:
        self._config = config
        self._served = served
        self._routes: Routes | None = None
        self._made_of: tuple[object, ...] = ()

    async def judge(self, asked: Asked) -> Routed:
        """The way of this request. Thousands of routes are made in a thread, once for each configuration."""
        config, served = self._config(), self._served()
        routes = await self._routes_of(config)
        try:
            way = _Way(asked, config, routes)
            if served is None:
                return await way.by_routes(_note_without_tls(asked))
            rules = FrontRules(*served)
            place = None if asked.is_secured else rules.place_with_tls(way.head, is_trusted=False)
            if place is None:
                return await way.by_all_rules(rules, served[0], asked.is_secured)
        except BadRequest as exc:
            return Routed(exc.status, str(exc))
        try:
            there = await way.by_all_rules(rules, served[0], is_secured=True)
        except BadRequest as exc:
            there = Routed(note=f"It is refused with {exc.status}: {exc}.")
        return there._replace(
            status=REDIRECT, why="its host has a certificate", location=place.decode("latin-1")
        )

    async def _routes_of(self, config: Config) -> Routes:
        made_of = config.routes, config.path_policy
        if self._routes is None or made_of != self._made_of:
            self._routes = await _made(config.routes, config)
            self._made_of = made_of
        return self._routes


class _Way:
    """The way of one request by one configuration. BadRequest, also when it is made, where it is refused."""

    def __init__(self, asked: Asked, config: Config, routes: Routes) -> None:
        self._config = config
        self._routes = routes
        self.head = _head(asked, config)

    async def by_all_rules(self, rules: FrontRules, names: ServedNames, is_secured: bool) -> Routed:
        """The rules of hosts, then the routes. With TLS the handshake was for the same host."""
        host = name_of(self.head)
        if not is_secured:
            rules.judge(self.head, None, is_trusted=False)
            return await self.by_routes("")
        secured = Secured(host, "TLSv1.3", "", False, None, names.policy_of(host), False)
        rules.judge(self.head, secured, is_trusted=False)
        is_served = names.has_certificate(host) or self._config.tls.default is not None
        return await self.by_routes("" if is_served else f"No certificate is for {host}: handshakes fail.")

    async def by_routes(self, note: str) -> Routed:
        """The route and its pool."""
        head, routes = self.head, self._routes
        pool = routes.pool_for(head.host, head.target)
        place = routes.place_for(head.host, head.target)
        return Routed(
            host=name_of(head),
            path=routes.compared(head.target).decode("latin-1"),
            number=None if place is None else place + 1,
            behind=await self._behind(place),
            pool=pool,
            note=note,
        )

    async def _behind(self, place: int | None) -> tuple[int, ...]:
        """The numbers of those next in line: each is found by the routes behind the one before it."""
        found: list[int] = []
        while place is not None and len(found) < MOST_BEHIND:
            first = place + 1
            rest = await _made(self._config.routes[first:], self._config)
            place = rest.place_for(self.head.host, self.head.target)
            if place is not None:
                place += first
                found.append(place + 1)
        return tuple(found)


async def _made(routes: tuple[Route, ...], config: Config) -> Routes:
    return await trio.to_thread.run_sync(lambda: Routes(routes, path_policy=config.path_policy))


def _head(asked: Asked, config: Config) -> RequestHead:
    """The judged head; BadRequest where such a request is refused."""
    limits = config.limits
    heads = RequestHeadReader(
        b"",
        head_limit=limits.request_head,
        target_limit=limits.target,
        field_limit=limits.fields,
        takes_https=asked.is_secured,
    )
    found = heads.feed(b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (asked.method, asked.target, asked.host))
    if found is None:
        raise BadRequest("the head is not one whole request")
    return found[0]


def _note_without_tls(asked: Asked) -> str:
    return "No listener speaks TLS here; so it goes if a proxy in front ends TLS." if asked.is_secured else ""
