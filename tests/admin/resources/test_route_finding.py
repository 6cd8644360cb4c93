"""/route: what is said of the way that a URL takes."""

from typing import Any

import msgspec
import pytest

from admin.resources.route_finding import asked_for
from lb.control import Control
from lb.core.routed import Asked
from lb.proxy.route_judge import RouteJudge
from lb.settings.balancer_settings import Route
from tests.admin.kit import Add, Api, Hold

ROUTES = (
    Route(host="*.shop.test", path="/api", pool="api"),
    Route(host="www.shop.test", pool="default"),
    Route(path="/nobody", pool="nobody"),
)


@pytest.fixture
async def routed(control: Control) -> Control:
    control.config = msgspec.structs.replace(control.config, routes=ROUTES)
    control.registry.add_pool("api")
    control.route = RouteJudge(lambda: control.config, lambda: None).judge
    return control


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a.test/x?y#z", Asked(b"GET", b"a.test", b"/x?y", False)),
        ("HTTPS://a.test", Asked(b"GET", b"a.test", b"/", True)),
        ("a.test:81/x", Asked(b"GET", b"a.test:81", b"/x", False)),
        ("a.test?y", Asked(b"GET", b"a.test", b"/?y", False)),
        ("/x", Asked(b"GET", b"here:80", b"/x", False)),
        ("http://[::1]:80/%61/../ \u00fc", Asked(b"GET", b"[::1]:80", b"/%61/../%20%C3%BC", False)),
        ("http://b\u00fccher.test/", Asked(b"GET", b"xn--bcher-kva.test", b"/", False)),
    ],
)
def test_a_url_is_asked_for_as_clients_do(url: str, asked: Asked) -> None:
    assert asked_for(url, "GET", "here:80") == asked


@pytest.mark.parametrize("url", ["", "http:///x", "ftp://a/x", "a b/c", "http://\udcff/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|encod|codec|label"):
        asked_for(url, "GET", "here:80")


async def ask(api: Api, url: str) -> Any:
    answer = await api("GET", f"/route?url={url}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_everything_of_one(api: Api, add: Add, routed: Control) -> None:
    add("web1", pool="api")
    down = add("web2", pool="api")
    add("web3", pool="api", backup=True)
    routed.registry.maintenance(down)
    assert await ask(api, "http://www.shop.test/x/../api/cart") == {
        "url": "http://www.shop.test/x/../api/cart",
        "method": "GET",
        "status": None,
        "location": None,
        "host": "www.shop.test",
        "path": "/api/cart",
        "route": {"number": 1, "host": "*.shop.test", "path": "/api", "pool": "api"},
        "behind": [{"number": 2, "host": "www.shop.test", "path": "/", "pool": "default"}],
        "pool": "api",
        "policy": "round_robin",
        "available": 2,
        "backends_total": 3,
        "backends": [
            {"id": "web1", "backup": False, "why_not": None},
            {"id": "web3", "backup": True, "why_not": None},
            {"id": "web2", "backup": False, "why_not": "maintenance"},
        ],
        "explain": "Route 1 takes it (host *.shop.test, path /api, pool api), as it is for www.shop.test and"
        " /api/cart. The first that matches counts: behind it there is route 2 (host www.shop.test, path /,"
        " pool default). Pool api (round_robin): 2 of 3 backends could take it now.",
    }


async def test_a_url_that_nobody_can_answer(api: Api, routed: Control) -> None:
    answer = await ask(api, "http://other.test/")
    assert (answer["status"], answer["route"], answer["pool"]) == (503, None, "default")
    assert answer["explain"] == (
        "No route matches other.test and /, so it goes to pool default."
        " Pool default has no backends, so the answer is 503."
    )
    assert (await ask(api, "/nobody"))["explain"].endswith("There is no pool nobody, so the answer is 503.")


async def test_a_url_whose_backends_are_all_out(api: Api, add: Add, hold: Hold, routed: Control) -> None:
    full, down = add("web1", max_in_flight=1), add("web2")
    routed.registry.maintenance(down)
    hold(full)
    answer = await ask(api, "http://www.shop.test/")
    assert (answer["status"], answer["available"]) == (None, 0)
    assert answer["explain"].endswith("0 of 2 backends could take it now. It would wait in the queue.")
    routed.registry.maintenance(full)
    answer = await ask(api, "http://www.shop.test/")
    assert answer["status"] == 503
    assert answer["explain"].endswith("0 of 2 backends could take it now. So the answer is 503.")


async def test_a_url_that_is_refused(api: Api, routed: Control) -> None:
    answer = await ask(api, "http://www.shop.test/x/..;/api")
    assert (answer["status"], answer["pool"], answer["backends"]) == (400, None, [])
    assert answer["explain"].startswith("The balancer refuses it with 400: the path has a backslash or")


async def test_a_method_that_is_refused(api: Api, routed: Control) -> None:
    answer = await api("GET", "/route?url=/&method=trace")
    assert (answer.json["method"], answer.json["status"]) == ("TRACE", 405)


@pytest.mark.parametrize("query", ["", "?url=", "?url=ftp://a", "?url=/&method=a%20b"])
async def test_what_cannot_be_read(api: Api, query: str) -> None:
    answer = await api("GET", f"/route{query}")
    name = "method" if "method" in query else "url"
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, name)
