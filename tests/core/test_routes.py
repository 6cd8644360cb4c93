"""Which pool a request goes to."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.routes import PathPolicy, Routes
from lb.errors import BadRequest


@dataclass(frozen=True)
class Route:
    pool: str
    host: str | None = None
    path: str = "/"


ROUTES = Routes(
    [
        Route("api", "A.test", "/api/"),
        Route("a", "a.test"),
        Route("v6", "[::1]"),
        Route("wild", "*.b.test"),
        Route("static", None, "/static"),
    ],
    default="rest",
)


@pytest.mark.parametrize(
    ("host", "target", "pool"),
    [
        (b"a.test", b"/", "a"),
        (b"A.TEST", b"/", "a"),
        (b"a.test:8080", b"/", "a"),
        (b"a.test:", b"/", "a"),
        (b"xa.test", b"/", "rest"),
        (b"a.test.evil", b"/", "rest"),
        # a path ends at a segment
        (b"a.test", b"/api", "api"),
        (b"a.test", b"/api/", "api"),
        (b"a.test", b"/api/v1", "api"),
        (b"a.test", b"/api?x=/", "api"),
        (b"a.test", b"/apis", "a"),
        (b"a.test", b"/API", "a"),
        (b"a.test", b"/?x=/api", "a"),
        (b"a.test", b"/x/api", "a"),
        # any host
        (b"c.test", b"/static/x.css", "static"),
        (b"c.test", b"/statically", "rest"),
        # wildcards take what is below the domain and not the domain
        (b"x.b.test", b"/", "wild"),
        (b"x.y.b.test:80", b"/", "wild"),
        (b"b.test", b"/", "rest"),
        (b"xb.test", b"/", "rest"),
        # IPv6 with its colons
        (b"[::1]", b"/", "v6"),
        (b"[::1]:8080", b"/", "v6"),
        (b"[::2]", b"/", "rest"),
        # `OPTIONS *` is about the server, so about every path
        (b"a.test", b"*", "a"),
        (b"c.test", b"*", "rest"),
    ],
)
def test_the_first_route_that_matches(host: bytes, target: bytes, pool: str) -> None:
    assert ROUTES.pool_for(host, target) == pool


@pytest.mark.parametrize("target", [b"/", b"/x", b"/x?y", b"*", b"//"])
def test_a_route_without_conditions_takes_everything(target: bytes) -> None:
    assert Routes([Route("all")], default="rest").pool_for(b"any", target) == "all"
    assert Routes([Route("all", "", "")], default="rest").pool_for(b"any", target) == "all"


def test_without_routes_there_is_the_default() -> None:
    assert Routes([]).pool_for(b"a.test", b"/") == "default"
    assert Routes([], "main").pool_for(b"a.test", b"/") == "main"


def test_the_order_of_the_routes_decides() -> None:
    wide, narrow = Route("wide", None, "/"), Route("narrow", "a.test", "/x")
    assert Routes([wide, narrow]).pool_for(b"a.test", b"/x") == "wide"
    assert Routes([narrow, wide]).pool_for(b"a.test", b"/x") == "narrow"


def test_an_ipv6_address_has_one_spelling() -> None:
    assert ROUTES.pool_for(b"[0:0:0::0:1]:80", b"/") == "v6"
    assert Routes([Route("v6", "[0:0::1]")]).pool_for(b"[::1]", b"/") == "v6"


@pytest.mark.parametrize("host", [b"a.test.", b"A.test.:80", b"%61.test", b"a%2etest.", b"a.test:"])
def test_a_host_has_one_spelling(host: bytes) -> None:
    assert ROUTES.pool_for(host, b"/") == "a"
    assert Routes([Route("a", "a.test.")]).pool_for(host, b"/") == "a"


def test_only_one_final_dot_is_no_part_of_a_name() -> None:
    assert ROUTES.pool_for(b"a.test..", b"/") == "rest"
    assert ROUTES.pool_for(b"x.b.test.", b"/") == "wild"


def test_a_route_is_read_as_requests_are() -> None:
    routes = [Route("spaced", path="/a%20b"), Route("letter", path="/%c3%a4")]
    assert Routes(routes).pool_for(b"a", b"/a%20b/c") == "spaced"
    assert Routes(routes).pool_for(b"a", b"/%C3%A4") == "letter"
    assert Routes(routes, path_policy="exact").pool_for(b"a", b"/%C3%A4") == "default"


def test_exact_compares_bytes() -> None:
    routes = Routes([Route("private", path="/admin")], path_policy="exact")
    assert routes.pool_for(b"a", b"/admin/x") == "private"
    for target in (b"/%61dmin", b"//admin", b"/x/../admin", b"/admin;x", b"/x\\..\\admin"):
        assert routes.pool_for(b"a", target) == "default"


def test_reject_needs_no_route() -> None:
    with pytest.raises(BadRequest, match="dot segment"):
        Routes([], path_policy="reject").pool_for(b"a", b"/a/../b")
    assert Routes([], path_policy="reject").pool_for(b"a", b"/a?b=/../c\\") == "default"


# -- what an operator is told ------------------------------------------------------------------------------

ALL = [
    Route("api", "A.test", "/api/"),
    Route("a", "a.test"),
    Route("wild", "*.b.test", "/x"),
    Route("static", None, "/static"),
]
hosts = st.sampled_from([b"a.test", b"A.test:80", b"x.b.test", b"c.test"])
targets = st.lists(st.sampled_from([b"/", b"api", b"x", b"static", b"..", b"%2e", b"?", b";", b"\\"])).map(
    lambda parts: b"/" + b"".join(parts)
)


@given(hosts, targets, st.sampled_from(["normalise", "reject", "exact"]))
def test_the_place_is_that_of_the_route_whose_pool_it_gets(
    host: bytes, target: bytes, policy: PathPolicy
) -> None:
    routes = Routes(ALL, "rest", policy)
    try:
        pool = routes.pool_for(host, target)
    except BadRequest:
        return
    place = routes.place_for(host, target)
    assert pool == ("rest" if place is None else ALL[place].pool)


def test_a_path_is_compared_in_its_usual_reading() -> None:
    assert ROUTES.compared(b"/x/../%61pi//v1?a=/..") == b"/api/v1"
    assert Routes(ALL, path_policy="exact").compared(b"/x/../api?a") == b"/x/../api"
