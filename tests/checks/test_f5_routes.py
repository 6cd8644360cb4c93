"""Faults f5.2 and f5.3: no spelling of a path or a host leads past the route that it names."""

import pytest

from tests.kit import OK, Backend, Client, Scene, running, virtual_time

pytestmark = virtual_time

ROUTES = [
    {"host": "app.example", "path": "/admin", "pool": "private"},
    {"host": "only.example", "pool": "private"},
]
SPELLINGS = (
    "/admin", "/%61dmin", "/%61%64%6D%69%6e/x", "//admin", "/./admin", "/x/../admin", "/x/%2e%2E/admin",
    "/x/.%2e/admin", "/%2fadmin", "/x/..%2fadmin", "/../admin", "/x//../admin/", "/admin%2fx?y",
)  # fmt: skip


async def pool_of(lb: Scene, target: str, host: str = "app.example", status: int = 200) -> str:
    """Which pool this request went to; "" if none."""
    client: Client = await lb.asks(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await client.hears(status)
    client.closes()
    return lb.exchange.pool


async def test_f5_2_routes_are_matched_on_what_the_path_means() -> None:
    async with running(Backend, routes=ROUTES, pools={"private": {}}) as lb:
        async with lb.backend.answering(OK) as heard:
            assert await pool_of(lb, "/x") == "default"
            assert await pool_of(lb, "/x/%2561dmin") == "default"
            for target in SPELLINGS:
                assert await pool_of(lb, target, status=503) == "private", target
            assert [request.target for request in heard] == ["/x", "/x/%2561dmin"]


async def test_f5_2_the_path_is_forwarded_as_it_came() -> None:
    routes = [{"path": "/a", "pool": "default"}, {"host": "app.example", "pool": "nothing"}]
    targets = ["/%61/%2Fb?c=%2e", "//a//b", "/x/../a", "/a/\\b", "/a/;c"]
    async with running(Backend, routes=routes, pools={"default": {}, "nothing": {}}) as lb:
        async with lb.backend.answering(OK) as heard:
            for target in targets:
                assert await pool_of(lb, target, "a") == "default"
            assert [request.target for request in heard] == targets


async def test_f5_2_a_path_that_leads_to_two_pools_is_refused() -> None:
    async with running(Backend, routes=ROUTES, pools={"private": {}}) as lb:
        for target in ("/x/..;/admin", "/x\\..\\admin", "/admin/..;/x"):
            assert await pool_of(lb, target, status=400) == ""
        assert "different ways" in lb.exchange.detail


@pytest.mark.parametrize("routes", [ROUTES, []])
async def test_f5_2_reject(routes: list[dict[str, str]]) -> None:
    async with running(Backend, routes=routes, pools={"private": {}}, path_policy="reject") as lb:
        async with lb.backend.answering(OK):
            for target in ("/x/../admin", "//admin", "/a%2fb", "/a%5Cb", "/a\\b", "/%2e/a", "/a%00"):
                assert await pool_of(lb, target, status=400) == ""
            assert await pool_of(lb, "/%61?b=/../%2f") == "default"


async def test_f5_2_exact() -> None:
    async with running(Backend, routes=ROUTES, pools={"private": {}}, path_policy="exact") as lb:
        async with lb.backend.answering(OK):
            assert await pool_of(lb, "/%61dmin") == "default"
            assert await pool_of(lb, "/admin", status=503) == "private"


@pytest.mark.parametrize(
    "host", ["app.example.", "APP.Example.", "app.example.:80", "app.example:80", "%61pp.example"]
)
async def test_f5_3_a_host_is_what_it_names(host: str) -> None:
    async with running(Backend, routes=ROUTES, pools={"private": {}}) as lb:
        assert await pool_of(lb, "/admin", host, status=503) == "private"


@pytest.mark.parametrize("authority", ["only.example", "only.example.", "ONLY.example:80"])
async def test_f5_3_an_absolute_target_counts_and_not_host(authority: str) -> None:
    async with running(Backend, routes=ROUTES, pools={"private": {}}) as lb:
        assert await pool_of(lb, f"http://{authority}/x/../y", "app.example", status=503) == "private"
