"""Routes are found as if each had been tried in its order, at a cost that their number plays no part in."""

from collections.abc import Sequence
from typing import SupportsIndex, get_args

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from lb.core.route_table import Found, RouteTable
from lb.core.routes import PathPolicy, Routes
from lb.errors import BadRequest
from tests.core.steps import steps
from tests.core.test_routes import Route

# -- one after the other -----------------------------------------------------------------------------------


class OneByOne:
    """The table that tries each route: it says what the first one is."""

    def __init__(self, routes: Sequence[tuple[bytes, bytes, str]], default: str) -> None:
        self.routes = routes
        self.default = default

    def first(self, name: bytes, path: bytes) -> Found:
        for place, (host, prefix, pool) in enumerate(self.routes):
            if host_matches(host, name) and path_matches(prefix, path):
                return place, pool
        return len(self.routes), self.default


def host_matches(host: bytes, name: bytes) -> bool:
    return name == host or not host or (host.startswith(b".") and name.endswith(host))


def path_matches(prefix: bytes, path: bytes) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + b"/")


HOSTS = st.sampled_from((None, "a", "b.a", "*.a", "*.b.a"))
ODD_HOSTS = st.sampled_from(("*.c.b.a", "A.", "*.", ".a", "", "[::1]", "%61"))
REQUESTED = st.sampled_from(("a", "b.a", "c.b.a"))
ODD_REQUESTED = st.sampled_from(("A:80", "b.a.", "d.c.b.a:80", "..a", "a..", "", "[0::1]:80", "%61", ".a"))
PATHS = st.sampled_from(("", "/", "/a", "/b", "/a/", "/a/b", "/a/b/a"))
SEGMENTS = st.sampled_from(("a", "b", ""))
ODD_SEGMENTS = st.sampled_from(("..", "%61", "a;b", "\\", ".", "a%2Fb", "%2e%2E", "x@a", "a\\b", "ab"))
TARGETS = st.lists(SEGMENTS | ODD_SEGMENTS, min_size=1, max_size=5).map("/".join)
ROUTES = st.lists(
    st.builds(
        Route,
        pool=st.sampled_from("xyz"),
        host=HOSTS | ODD_HOSTS,
        path=PATHS | TARGETS.map("/".__add__) | TARGETS,
    ),
    min_size=3,
    max_size=9,
)


@pytest.mark.parametrize("policy", get_args(PathPolicy))
@given(
    routes=ROUTES,
    host=REQUESTED | ODD_REQUESTED,
    target=PATHS | TARGETS.map("/".__add__) | TARGETS | st.just("*"),
    query=st.sampled_from(("", "?", "?/../a")),
)
@example(routes=[Route("x", "*.a.b")], host="x.y.a.b", target="/", query="")
@example(routes=[Route("x", None, "/a"), Route("y", "a")], host="a", target="/a/../b", query="")
@example(
    routes=[Route("x", "a", "/a/b"), Route("y", "a", "/a"), Route("z")], host="a", target="/a/b", query=""
)
@example(routes=[Route("x", "a", "/a"), Route("y", "a", "/a/")], host="a", target="/a/", query="")
@example(routes=[Route("x", path="//a"), Route("y")], host="a", target="//a", query="")
def test_a_request_goes_where_it_would_if_each_route_were_tried(
    policy: PathPolicy, routes: list[Route], host: str, target: str, query: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lb.core.routes.RouteTable", OneByOne)
        tried = Routes(routes, "rest", policy)
    found = Routes(routes, "rest", policy)
    asked = host.encode(), (target + query).encode()
    answered = answer(found, *asked)
    event("to no route" if answered == "rest" else "to a route" if answered in "xyz" else "refused")
    assert answered == answer(tried, *asked)


def answer(routes: Routes, host: bytes, target: bytes) -> str:
    """The pool, or why the request is refused."""
    try:
        return routes.pool_for(host, target)
    except BadRequest as refused:
        return str(refused)


@given(
    routes=st.lists(st.tuples(st.text(".ab", max_size=5), st.text("/ab", max_size=6), st.just("p"))),
    name=st.text(".ab", max_size=6),
    path=st.text("/ab", max_size=8),
)
@example(routes=[(".", "", "p")], name="a.", path="")
@example(routes=[(".a", "a", "p")], name=".a", path="a/")
def test_the_place_is_that_of_the_first_which_matches(
    routes: list[tuple[str, str, str]], name: str, path: str
) -> None:
    wanted = [(host.encode(), prefix.rstrip("/").encode(), pool) for host, prefix, pool in routes]
    found, tried = RouteTable(wanted, "rest"), OneByOne(wanted, "rest")
    assert found.first(name.encode(), path.encode()) == tried.first(name.encode(), path.encode())


# -- what it costs -----------------------------------------------------------------------------------------

MANY = 20_000
KINDS = {
    "paths": Route("p", None, "/service{}/v1"),
    "hosts": Route("p", "h{}.example.com"),
    "hosts with a path": Route("p", "h{}.example.com", "/api/v{}"),
    "wildcards": Route("p", "*.h{}.example.com", "/api/v{}"),
}
ASKED = {
    b"h0.example.com": b"/api/v0/x",
    b"a.b.h0.example.com": b"/service0/v1/a/b",
    b"elsewhere.test": b"/nowhere/at/all",
    b"a.b.c.d": b"/x%2fy/../service0//v1;a",
    b"a": b"*",
}


def routes_of(route: Route, count: int) -> Routes:
    return Routes(
        [
            Route(route.pool, route.host and route.host.format(number), route.path.format(number))
            for number in range(count)
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_20_000_routes_take_the_steps_of_one(kind: str) -> None:
    one, many = (routes_of(KINDS[kind], count) for count in (1, MANY))
    for host, target in ASKED.items():
        assert cost(many, host, target) <= 1.15 * cost(one, host, target), (host, target)


def cost(routes: Routes, host: bytes, target: bytes) -> int:
    def ask() -> str:
        return answer(routes, host, target)

    ask()  # the name of the host is cached from now on
    return steps(ask)


def test_each_of_20_000_routes_is_found() -> None:
    wanted = [(b"h%d" % number, b"/a%d" % number, str(number)) for number in range(MANY)]
    table = RouteTable(wanted, "rest")
    for host, prefix, pool in wanted:
        assert table.first(host, prefix + b"/x") == (int(pool), pool)
        assert table.first(host, prefix + b"x") == (MANY, "rest")


class Counted(bytes):
    """Bytes that count how many of them are copied by slices."""

    copied = 0

    def __getitem__(self, at: SupportsIndex | slice) -> "Counted":  # type: ignore[override]
        part = Counted(super().__getitem__(at))
        Counted.copied += len(part)
        return part


HOSTILE = {
    "slashes": (b"a", b"/" * 8000),
    "segments": (b"a", b"/a" * 4000),
    "a long segment": (b"a", b"/" + b"a" * 8000),
    "dots": (b"." * 8000, b"/"),
    "labels": (b"a." * 4000 + b"a", b"/a/a/a/a"),
    "a long label": (b"." + b"a" * 8000 + b".a", b"/"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_client_sends_costs_no_more_than_the_deepest_routes(kind: str) -> None:
    table = RouteTable([(b".a.a", b"/a/a/b", "p"), (b"a", b"/b", "p"), (b"", b"/a", "p")], "rest")
    most = steps(lambda: table.first(b"a.a.a", b"/a/a/a"))
    name, path = HOSTILE[kind]
    assert steps(lambda: table.first(name, path)) <= 1.1 * most
    Counted.copied = 0
    table.first(Counted(name), Counted(path))
    assert Counted.copied <= 60


@pytest.mark.pure
def test_a_path_is_looked_at_as_far_as_it_and_the_routes_of_its_host_go() -> None:
    table = RouteTable([(b"a", b"/a/a/a", "p"), (b"b", b"", "p")], "rest")
    assert steps(lambda: table.first(b"a", b"/a")) < steps(lambda: table.first(b"a", b"/a/a/a"))
    assert steps(lambda: table.first(b"b", b"/a/")) == steps(lambda: table.first(b"b", b"/a/a/a"))
