"""Fault f6.13: what the API may make a backend, by the address and not by its text."""

import socket
from contextlib import nullcontext
from typing import Any

import pytest
import trio

from lb.config.loader import build
from lb.control import Control
from lb.core.allowed_addresses import AddressRule
from lb.errors import NameNotResolved
from lb.settings.backend_spec import BackendSpec
from tests.admin.kit import Api, Saves, make_control
from tests.core.test_allowed_addresses import METADATA
from tests.kit import GET, running, virtual_time

NAMES = {"metadata.test": "169.254.169.254", "self.test": "127.0.0.1", "web.test": "10.0.0.7"}


async def control(**tables: Any) -> Control:
    made = make_control(Saves())
    made.config = build({"admin": {"listen": "127.0.0.1:9000"}, **tables})
    made.listening = ["127.0.0.1:8080"]

    async def look_up(host: str, _port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [NAMES[host]] if host in NAMES else []

    made.look_up = look_up
    made.is_own_word = AddressRule(lambda: made.config, list).is_own_word
    return made


def url(address: str) -> str:
    return f"http://[{address}]" if ":" in address else f"http://{address}"


BAD = [
    *(url(address) for address in METADATA if "%" not in address),
    *("http://2852039166", "http://0xa9fea9fe", "http://0251.0376.0251.0376", "http://169.254.43518"),
    *(
        "http://0xA9.254.169.254",
        "http://169.254.169.254.",
        "http://metadata.test",
        "http://metadata.test:81",
    ),
    *("http://127.0.0.1:9000", "http://self.test:9000", "http://self.test:8080", "http://[::1]:9000"),
    *("http://localhost.:9000", "http://0.0.0.0:9000", "http://[::]:9000", "http://2130706433:9000"),
]


@pytest.mark.parametrize("bad", BAD)
async def test_f6_13_no_way_of_adding_takes_a_reserved_or_own_address(bad: str) -> None:
    made = await control()
    api = Api(made)
    await api("POST", "/backends", json={"id": "good", "url": "http://10.0.0.1"})
    for method, path, body in [
        ("POST", "/backends", {"url": bad}),
        ("PUT", "/backends/x", {"url": bad}),
        ("PATCH", "/backends/good", {"url": bad}),
        ("PUT", "/backends", [{"url": bad}]),
        ("POST", "/backends?dry_run=true", {"url": bad}),
    ]:
        assert (await api(method, path, json=body)).status == 422, (method, path)
    assert [backend.spec.url for backend in made.registry.backends.values()] == ["http://10.0.0.1"]


@pytest.mark.parametrize("url", [[], {}, 7, True, "", "x:", "http://[::1", "http://a:99999"])
async def test_f6_13_what_is_no_url_is_a_mistake_of_the_field(url: object) -> None:
    api = Api(await control())
    await api("POST", "/backends", json={"id": "good", "url": "http://10.0.0.1"})
    for method, path in [("POST", "/backends"), ("PUT", "/backends/x"), ("PATCH", "/backends/good")]:
        answer = await api(method, path, json={"url": url})
        assert (answer.status, answer.pointers) == (422, ["#/url"])


async def test_f6_13_a_name_is_told_with_what_it_is() -> None:
    answer = await Api(await control())("POST", "/backends", json={"url": "http://metadata.test"})
    [error] = answer.json["errors"]
    assert error["pointer"] == "#/url"
    assert error["detail"].startswith("metadata.test, which is 169.254.169.254, is link-local")


async def test_f6_13_only_the_networks_that_are_listed() -> None:
    admin = {"admin": {"allowed_backends": ["10.0.0.0/8"]}}
    api = Api(await control(**admin))
    for good in ("http://10.1.2.3", "http://web.test", "http://[::ffff:10.0.0.9]", "http://not-yet.test"):
        assert (await api("POST", "/backends", json={"url": good})).status == 201, good
    for bad in ("http://192.168.0.1", "http://self.test:3000", "http://[::1]:3000"):
        assert (await api("POST", "/backends", json={"url": bad})).status == 422, bad


async def test_a_unix_socket_is_in_no_network() -> None:
    app = {"url": "unix:/run/app.sock"}
    for allowed, status in {"10.0.0.0/8": 422, "unix": 201}.items():
        api = Api(await control(admin={"allowed_backends": [allowed]}))
        assert (await api("POST", "/backends", json=app)).status == status, allowed
    assert (await api("POST", "/backends", json={"url": "http://10.0.0.1"})).status == 422
    there = {"default": {"backends": [app]}}
    api = Api(await control(admin={"allowed_backends": ["10.0.0.0/8"]}, pools=there))
    assert (await api("POST", "/backends", json=app)).status == 201


async def test_f6_13_what_the_file_names_may_be_given_again() -> None:
    made = await control(pools={"default": {"backends": [{"id": "a", "url": "http://169.254.1.1"}]}})
    api = Api(made)
    assert (await api("POST", "/backends", json={"id": "a", "url": "http://169.254.1.1"})).status == 201


def resolve_to(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every name resolve to the first of these, which may change."""

    async def getaddrinfo(_host: str, port: int, **_more: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[0], port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)


@virtual_time
async def test_f6_13_a_name_that_turns_later_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a good address when it is added, a reserved one afterwards."""
    answers = ["10.0.0.7"]
    async with running() as lb:
        resolve_to(answers, monkeypatch)
        lb.registry.remove(lb["one"])
        api = Api(lb.balancer.control)
        made = await api("POST", "/backends", json={"id": "turns", "url": "http://turns.test:81"})
        assert made.status == 201
        names = lb.balancer.names
        await trio.sleep(2)
        assert names.known("turns.test", 81) == [(socket.AF_INET, ("10.0.0.7", 81))]
        answers[0] = "169.254.169.254"
        await trio.sleep(31)
        with pytest.raises(NameNotResolved, match="link-local"):
            await names.addresses("turns.test", 81)
        client = await lb.asks(GET)
        response = await client.hears(502)
        assert b"is link-local or a metadata service" in response.body
        assert lb.reason == "dns_error"


@virtual_time
async def test_f6_13_what_the_state_file_brings_back_is_judged_too() -> None:
    async with running(admin={"allowed_backends": ["10.0.0.0/8"]}) as lb:
        client = await lb.asks(GET)  # the backends of a scene are not in its file
        await client.hears(502)
        assert lb.reason == "dns_error"


@virtual_time
@pytest.mark.parametrize("is_enabled", [True, False])
async def test_f6_13_no_name_leads_to_the_admin_side_of_this_balancer(
    monkeypatch: pytest.MonkeyPatch, is_enabled: bool
) -> None:
    port = 9
    admin = {"listen": f"127.0.0.1:{port}", "enabled": is_enabled}
    async with running(admin=admin) as lb:
        resolve_to(["127.0.0.1"], monkeypatch)
        lb.registry.add(BackendSpec(id="back", url=f"http://back.test:{port}"))
        await trio.sleep(2)
        with pytest.raises(NameNotResolved, match="this balancer itself") if is_enabled else nullcontext():
            await lb.balancer.names.addresses("back.test", port)
