"""Requests that a page of another site sends, by our name or by one of its own."""

import pytest

from lb.control import Control
from lb.settings.balancer_settings import AdminConfig, Config
from tests.admin.kit import WEB1, Add, Api, MakeApi, Serve, is_problem


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/backends"),
        ("DELETE", "/backends/web1"),
        ("POST", "/backends/web1/check"),
        ("PATCH", "/pools/default"),
    ],
)
async def test_g144_a_foreign_page_changes_nothing(
    api: Api, add: Add, control: Control, headers: dict[str, str], method: str, path: str
) -> None:
    add("web1")
    before = control.registry.revision
    answer = await api(method, path, form="url=http://10.0.0.9", headers=headers)
    assert answer.status == 403
    assert is_problem(answer)
    assert control.registry.revision == before


async def test_g144_our_own_page_may(api: Api) -> None:
    own = {"Origin": "http://127.0.0.1:9000", "Sec-Fetch-Site": "same-origin"}
    assert (await api("POST", "/backends", json=WEB1, headers=own)).status == 201
    for site in ("same-origin", "none"):
        assert (await api("GET", "/backends", headers={"Sec-Fetch-Site": site})).status == 200


@pytest.mark.parametrize("host", ["evil.test:9000", "evil.test", "10.0.0.1:9000", "localhost.evil.test"])
async def test_g145_a_foreign_name_is_refused(api: Api, host: str) -> None:
    for method, path in [("GET", "/backends"), ("POST", "/backends"), ("GET", "/metrics"), ("GET", "/")]:
        answer = await api(method, path, headers={"Host": host})
        assert answer.status == 421
        assert is_problem(answer)
    assert (await api("GET", "/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "LOCALHOST:1", "[::1]:9000", "127.8.9.1", "lb.internal:9000"]
)
async def test_g145_our_names_are_not(make_api: MakeApi, host: str) -> None:
    api = make_api(AdminConfig(allowed_hosts=("LB.internal",)))
    assert (await api("GET", "/backends", headers={"Host": host})).status == 200


async def test_g145_the_address_that_was_connected_to_is_ours(serve: Serve, control: Control) -> None:
    control.config = Config(admin=AdminConfig(listen="127.0.0.3:0"))
    async with serve() as service:
        answer = await service.says("GET /info HTTP/1.1\nHost: 127.0.0.3:9\nConnection: close\n\n")
        assert answer.startswith(b"HTTP/1.1 200")
        for host in ("evil.test", "[::1", "127.0.0.3.evil.test"):
            answer = await service.says(f"GET /info HTTP/1.1\nHost: {host}\nConnection: close\n\n")
            assert answer.startswith(b"HTTP/1.1 421")
