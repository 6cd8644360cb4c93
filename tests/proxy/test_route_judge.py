"""Which way a made-up request takes: the way that a real one takes, and what it is told besides."""

import re
from pathlib import Path
from typing import Any

import pytest

import lb
from lb.core.routed import Asked, Routed
from lb.proxy.route_judge import RouteJudge
from lb.settings.balancer_settings import Config
from tests.kit import OK, running, virtual_time
from tests.kit.certificates import authority, certificate

pytestmark = virtual_time

ROUTES = [
    {"host": "*.shop.test", "path": "/api", "pool": "api"},
    {"host": "www.shop.test", "pool": "www"},
    {"host": "www.shop.test", "path": "/api/v2", "pool": "v2"},
    {"path": "/", "pool": "rest"},
]
POOLS: dict[str, Any] = {name: {} for name in ("api", "www", "v2", "rest")}


def asked(url: str, method: str = "GET") -> Asked:
    scheme, host, target = re.fullmatch(r"(https?)://([^/]*)(.*)", url).groups()  # type: ignore[union-attr]
    return Asked(method.encode(), host.encode(), target.encode(), scheme == "https")


def config(**tables: Any) -> Config:
    return lb.build({"routes": ROUTES, "pools": POOLS, **tables})


async def judged(url: str, method: str = "GET", **tables: Any) -> Routed:
    made = config(**tables)
    return await RouteJudge(lambda: made, lambda: None).judge(asked(url, method))


async def test_the_first_that_matches_and_those_behind_it() -> None:
    assert await judged("http://WWW.shop.test:80/x/../api/v2/cart?a=b") == Routed(
        host="www.shop.test", path="/api/v2/cart", number=1, behind=(2, 3, 4), pool="api"
    )
    assert await judged("http://www.shop.test/apis") == Routed(
        host="www.shop.test", path="/apis", number=2, behind=(4,), pool="www"
    )
    assert await judged("http://other.test/") == Routed(host="other.test", path="/", number=4, pool="rest")


async def test_what_no_route_takes_goes_to_the_default() -> None:
    routed = await judged("http://other.test/x", routes=ROUTES[:3])
    assert (routed.number, routed.behind, routed.pool) == (None, (), "default")
    assert (await judged("http://other.test/x", routes=[])).pool == "default"


@pytest.mark.parametrize(
    ("url", "method", "status", "why"),
    [
        (r"http://www.shop.test/x/..;/api", "GET", 400, "backends read it in different ways"),
        ("http://a_b:x/", "GET", 400, "Host is not a valid host and port"),
        ("http://a/" + "x" * 9000, "GET", 414, "longer than 8192"),
        ("http://a/", "TRACE", 405, "TRACE is not allowed"),
        ("http://a/", "CONNECT", 501, "not supported"),
        ("http://a/\r\nA: b", "GET", 400, "request line"),
    ],
)
async def test_what_is_refused(url: str, method: str, status: int, why: str) -> None:
    host, slash, target = url.removeprefix("http://").partition("/")
    made = config()
    judge = RouteJudge(lambda: made, lambda: None)
    routed = await judge.judge(Asked(method.encode(), host.encode(), (slash + target).encode(), False))
    assert routed.status == status
    assert why in routed.why


async def test_routes_follow_the_configuration() -> None:
    made = config()
    judge = RouteJudge(lambda: made, lambda: None)
    assert (await judge.judge(asked("http://other.test/API"))).pool == "rest"
    made = config(routes=[{"path": "/", "pool": "www"}])
    assert (await judge.judge(asked("http://other.test/API"))).pool == "www"
    made = config(path_policy="reject")
    assert (await judge.judge(asked("http://other.test//x"))).status == 400


async def test_https_without_a_listener_for_it() -> None:
    routed = await judged("https://www.shop.test/")
    assert (routed.status, routed.pool) == (None, "www")
    assert "ends TLS" in routed.note


# -- with TLS, beside the real thing ----------------------------------------------------------------------


def with_tls(folder: Path) -> dict[str, Any]:
    ca = authority()
    chain, key = certificate("www.shop.test", "strict.test", by=ca).write(folder)
    (folder / "ca.pem").write_text(ca.pem)
    return {
        "listen": ["127.0.0.1:0", "https://127.0.0.1:0"],
        "tls": {
            "certificates": [{"chain": chain, "key": key}],
            "clients": [{"hosts": ["strict.test"], "ca": str(folder / "ca.pem")}],
        },
        "routes": [{"host": "www.shop.test", "pool": "default"}],
    }


@pytest.mark.parametrize(
    ("url", "status", "location"),
    [
        ("http://www.shop.test/cart?a=b", 308, "https://www.shop.test/cart?a=b"),
        ("http://plain.test/", None, ""),
        ("http://strict.test/", 308, "https://strict.test/"),
        ("http://Strict.test:80/.well-known/acme-challenge/x", None, ""),
    ],
)
async def test_it_is_as_a_real_request_is_answered(
    url: str, status: int | None, location: str, tmp_path: Path
) -> None:
    made = asked(url)
    async with running(**with_tls(tmp_path)) as scene, scene.backend.answering(OK):
        routed = await scene.balancer.control.route(made)
        client = await scene.asks(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (made.target, made.host))
        real = await client.hears_any()
        assert real.status == (status or 200)
        assert (routed.status, routed.location) == (status, location)


async def test_what_a_redirect_leads_to_is_judged_too(tmp_path: Path) -> None:
    async with running(**with_tls(tmp_path)) as scene:
        route = scene.balancer.control.route
        there = await route(asked("http://www.shop.test/"))
        assert (there.number, there.behind, there.pool) == (1, (), "default")
        assert "No certificate" in (await route(asked("https://plain.test/"))).note
        assert (await route(asked("https://strict.test/"))).status == 421
        there = await route(asked("http://strict.test/"))
        assert (there.status, there.pool) == (308, "")
        assert there.note.startswith("It is refused with 421: strict.test asks clients for a certificate")
