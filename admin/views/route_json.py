"""The way of a made-up request as JSON and in sentences: route, pool, and the backends that could take it."""

from collections.abc import Iterator, Sequence

import msgspec

from admin.views.sentences import listed, quoted
from lb.control import Control
from lb.core.backend import Backend
from lb.core.pool import Pool
from lb.core.routed import Routed
from lb.settings.balancer_settings import DEFAULT_POOL, Route
from lb.slices import listed as made_in_slices
from lb.suggestions import plural

MOST_BACKENDS = 20
UNAVAILABLE = 503


class RouteView(msgspec.Struct, kw_only=True):
    """One entry of `routes` in the configuration; `number` is its place there, from 1 on."""

    number: int
    host: str | None
    path: str
    pool: str


class Candidate(msgspec.Struct, kw_only=True):
    """A backend of the pool; `why_not` says why it takes no request now, null where it takes one."""

    id: str
    backup: bool
    why_not: str | None


class RouteAnswer(msgspec.Struct, kw_only=True):
    """What becomes of a request for this URL.

    `status` is that of an answer of the balancer's own, null where a backend answers, perhaps after a wait in
    the queue. After a redirect to `location` the rest is about the request that comes there. `host` and
    `path` are what routes are compared with. `route` is null where none matches, or the request is refused;
    `behind` would take it if the routes before them were not there, at most three. `backends` has the first
    of the pool, those that could take it before the others.
    """

    url: str
    method: str
    status: int | None
    location: str | None
    host: str
    path: str
    route: RouteView | None
    behind: list[RouteView]
    pool: str | None
    policy: str | None
    available: int
    backends_total: int
    backends: list[Candidate]
    explain: str


async def route_answer(control: Control, url: str, method: str, routed: Routed) -> RouteAnswer:
    """The view of this way, with the backends as they are now."""
    routes = control.config.routes
    route = _view(routes, routed.number)
    behind = [each for number in routed.behind if (each := _view(routes, number)) is not None]
    pool = control.registry.pools.get(routed.pool)
    looked_at = [] if pool is None else await made_in_slices(_candidates(pool))
    candidates = sorted((each for each, _ in looked_at), key=lambda each: each.why_not is not None)
    available = sum(each.why_not is None for each in candidates)
    waits = not available and any(may_come_free for _, may_come_free in looked_at)
    status = routed.status
    if status is None and not available and not waits:
        status = UNAVAILABLE
    answer = RouteAnswer(
        url=url,
        method=method,
        status=status,
        location=routed.location or None,
        host=routed.host,
        path=quoted(routed.path),
        route=route,
        behind=behind,
        pool=None if pool is None else pool.name,
        policy=None if pool is None else pool.settings.policy,
        available=available,
        backends_total=len(candidates),
        backends=candidates[:MOST_BACKENDS],
        explain="",
    )
    answer.explain = " ".join(_sentences(answer, routed, waits))
    return answer


def _view(routes: Sequence[Route], number: int | None) -> RouteView | None:
    """The route of this number; None where there is none, as after a reload in between."""
    if number is None or number > len(routes):
        return None
    route = routes[number - 1]
    return RouteView(number=number, host=route.host, path=route.path, pool=route.pool)


def _candidates(pool: Pool) -> Iterator[tuple[Candidate, bool]]:
    """Each backend, and whether a request would wait for it if it takes none now."""
    for backend in [*pool.backends]:
        seen = Candidate(id=backend.id, backup=backend.spec.backup, why_not=_why_not(pool, backend))
        yield seen, backend.is_open or backend.is_worth_waiting_for


def _why_not(pool: Pool, backend: Backend) -> str | None:
    return "pool full" if pool.is_full else backend.why_not()


# -- in words ---------------------------------------------------------------------------------------------


def _sentences(answer: RouteAnswer, routed: Routed, waits: bool) -> Iterator[str]:
    if routed.status is not None and not routed.location:
        yield f"The balancer refuses it with {routed.status}: {quoted(routed.why)}."
        return
    if routed.location:
        yield f"It is sent to {quoted(routed.location)} ({routed.status}), as {routed.why}. There:"
    if routed.pool:
        yield from _of_the_route(answer, routed)
    if routed.note:
        yield quoted(routed.note)
    if routed.pool:
        yield from _of_the_pool(answer, routed, waits)


def _of_the_route(answer: RouteAnswer, routed: Routed) -> Iterator[str]:
    compared = f"{routed.host} and {quoted(routed.path)}"
    if answer.route is None:
        yield f"No route matches {compared}, so it goes to pool {DEFAULT_POOL}."
        return
    yield f"Route {answer.route.number} takes it ({_matched(answer.route)}), as it is for {compared}."
    if answer.behind:
        numbers = listed([f"route {each.number} ({_matched(each)})" for each in answer.behind])
        yield f"The first that matches counts: behind it there is {numbers}."


def _matched(route: RouteView) -> str:
    host = f"host {route.host}" if route.host else "any host"
    return f"{host}, path {route.path}, pool {route.pool}"


def _of_the_pool(answer: RouteAnswer, routed: Routed, waits: bool) -> Iterator[str]:
    if answer.pool is None:
        yield f"There is no pool {routed.pool}, so the answer is {UNAVAILABLE}."
        return
    total = plural(answer.backends_total, "backend")
    if not answer.backends_total:
        yield f"Pool {answer.pool} has no backends, so the answer is {UNAVAILABLE}."
        return
    yield f"Pool {answer.pool} ({answer.policy}): {answer.available} of {total} could take it now."
    if waits:
        yield "It would wait in the queue."
    elif not answer.available:
        yield f"So the answer is {UNAVAILABLE}."
