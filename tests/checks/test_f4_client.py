"""Faults f4.1 to f4.3: who the client is, behind proxies, on inherited sockets and on Unix sockets."""

import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lb.core.client_address import peer_of
from tests.kit import GET, OK, Backend, Client, Scene, lasting, running, virtual_time

pytestmark = virtual_time

LOCAL: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"]}


def both_kinds() -> socket.socket:
    """A socket as systemd hands it over: IPv6 that takes IPv4 too."""
    return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)


def saying(*lines: bytes) -> bytes:
    return GET[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def name(client: Client) -> str:
    """The client's end of the connection."""
    return "{}:{}".format(*client.sock.getsockname())


async def by_ipv4(lb: Scene) -> Client:
    """A client that comes over IPv4 to the first listener."""
    port = lb.balancer.control.listening[0].rpartition(":")[2]
    lb.balancer.control.listening[0] = f"127.0.0.1:{port}"
    return await lb.client()


# -- IPv4 on a socket for both kinds ----------------------------------------------------------------------


async def test_f4_1_a_mapped_address_is_ipv4_for_trust_and_for_all_that_is_said() -> None:
    listen = [f"fd://{both_kinds().detach()}"]
    async with running(listen=listen, **LOCAL) as lb, lb.backend.answering(OK) as heard:
        client = await by_ipv4(lb)
        await client.says(saying(b"X-Forwarded-For: 192.0.2.7"))
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "192.0.2.7, 127.0.0.1"
        assert lb.exchange.peer.startswith("127.0.0.1:")
        assert lb.exchange.client == "192.0.2.7"


async def test_f4_1_without_trust_it_is_ipv4_in_fields_log_and_hash() -> None:
    listen = [f"fd://{both_kinds().detach()}"]
    async with running(listen=listen, forwarded=True) as lb, lb.backend.answering(OK) as heard:
        client = await by_ipv4(lb)
        await client.says(GET)
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "127.0.0.1"
        assert heard[0]["Forwarded"].startswith("for=127.0.0.1;")
        assert lb.exchange.client == lb.exchange.peer == name(client)
        assert [each.client.address for each in lb.connections] == ["127.0.0.1"]


async def test_f4_1_the_limit_of_an_address_counts_both_spellings() -> None:
    listen = ["127.0.0.1:0", f"fd://{both_kinds().detach()}"]
    async with running(listen=listen, limits={"connections_per_address": 1}) as lb:
        await lb.client()
        lb.balancer.control.listening.reverse()
        client = await by_ipv4(lb)
        await client.hears_end()


@pytest.mark.parametrize(
    ("told", "address", "full"),
    [
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1", "192.0.2.1:5"),
        (("::FFFF:c000:201", 5, 0, 0), "192.0.2.1", "192.0.2.1:5"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1", "[fe80::1]:5"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1", "[2001:db8::1]:5"),
        (("192.0.2.1", 5), "192.0.2.1", "192.0.2.1:5"),
        ("", "unix", "unix"),
        ("/tmp/client", "unix", "unix"),
        (b"\0abstract", "unix", "unix"),
    ],
)
async def test_f4_1_every_address_has_one_spelling(told: object, address: str, full: str) -> None:
    assert peer_of(told) == (address, full)


@pytest.mark.parametrize("trusted", ["::ffff:127.0.0.0/104", "::ffff:127.0.0.1"])
async def test_f4_1_a_mapped_network_trusts_ipv4(trusted: str) -> None:
    async with running(trusted_proxies=[trusted]) as lb, lb.backend.answering(OK):
        await (await lb.asks(saying(b"X-Forwarded-For: 192.0.2.7"))).hears(200)
        assert lb.exchange.client == "192.0.2.7"


# -- Unix sockets -----------------------------------------------------------------------------------------


def unix(tmp_path: Path, **more: Any) -> Any:
    return running(listen=[f"unix:{tmp_path / 'lb.sock'}"], **more)


async def test_f4_2_of_an_unknown_client_no_address_is_invented(tmp_path: Path) -> None:
    async with unix(tmp_path, forwarded=True) as lb, lb.backend.answering(OK) as heard:
        await (await lb.asks(saying(b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=6.6.6.6"))).hears(200)
        assert "X-Forwarded-For" not in heard[0]
        assert heard[0]["Forwarded"] == 'for=unknown;host="a";proto=http'
        assert (lb.exchange.client, lb.exchange.peer) == ("unix", "unix")


async def test_f4_2_a_proxy_over_a_unix_socket_can_be_trusted(tmp_path: Path) -> None:
    async with unix(tmp_path, trusted_proxies=["unix"], forwarded=True) as lb:
        async with lb.backend.answering(OK) as heard:
            lines = b"X-Forwarded-For: 6.6.6.6, 192.0.2.7", b"X-Forwarded-Proto: https", b"X-Request-Id: mine"
            await (await lb.asks(saying(*lines))).hears(200)
        assert heard[0]["X-Forwarded-For"] == "6.6.6.6, 192.0.2.7"
        assert heard[0]["X-Forwarded-Proto"] == "https"
        assert heard[0]["X-Request-Id"] == "mine"
        assert heard[0]["Forwarded"] == 'for=unknown;host="a";proto=http'
        assert (lb.exchange.client, lb.exchange.peer) == ("192.0.2.7", "unix")


async def test_f4_2_a_trusted_proxy_that_names_nobody_leaves_the_client_unknown(tmp_path: Path) -> None:
    async with unix(tmp_path, trusted_proxies=["unix"]) as lb, lb.backend.answering(OK) as heard:
        await (await lb.asks(saying(b"X-Forwarded-Proto: https"))).hears(200)
        assert "X-Forwarded-For" not in heard[0]
        assert lb.exchange.client == "unix"


async def test_f4_2_the_limit_of_an_address_is_not_that_of_a_socket(tmp_path: Path) -> None:
    async with unix(tmp_path, limits={"connections_per_address": 1}) as lb, lb.backend.answering(OK):
        clients = [await lb.asks(GET) for _ in range(3)]
        for client in clients:
            await client.hears(200)
        assert lb.metrics.listener(lb.exchange.listener).rejected.total() == 0


async def test_f4_2_hash_spreads_clients_without_an_address(tmp_path: Path) -> None:
    pools = {"default": {"policy": "hash", "hash": {"load": 0}}}
    scene = running(Backend, Backend, listen=[f"unix:{tmp_path / 'lb.sock'}"], pools=pools)
    async with scene as lb:
        assert len(await backends_of(lb, [GET] * 20)) == 2


async def backends_of(lb: Scene, requests: list[bytes]) -> Counter[str]:
    """How many of these requests, on one connection, went to each backend; the answers are those of all."""
    client = await lb.client()
    before = len(lb.exchanges)
    async with lb.backends[0].answering(OK), lb.backends[-1].answering(OK):
        for request in requests:
            await client.says(request)
            await client.hears(200)
    return Counter(each.attempts[-1].backend.id for each in lb.exchanges[before:])


# -- behind a proxy ---------------------------------------------------------------------------------------

HASHING = {"default": {"policy": "hash", "hash": {"load": 0}}}
FORTY = [saying(b"X-Forwarded-For: 6.6.6.6, 192.0.2.%d" % number) for number in range(40)]


async def test_f4_3_hash_by_address_spreads_the_clients_behind_a_trusted_proxy() -> None:
    async with running(Backend, Backend, pools=HASHING, **LOCAL) as lb:
        again = [saying(b"X-Forwarded-For: 192.0.2.%d" % number) for number in range(40)]
        shares = await backends_of(lb, FORTY + again)
        assert min(shares.values()) >= 16
        places = {(each.client, each.attempts[-1].backend.id) for each in lb.exchanges}
        assert len(places) == len({client for client, _ in places}) == 40


async def test_f4_3_a_stranger_cannot_choose_its_backend() -> None:
    async with running(Backend, Backend, pools=HASHING) as lb:
        assert len(await backends_of(lb, FORTY)) == 1


@pytest.mark.parametrize("trust", [LOCAL, {}], ids=["trusted", "stranger"])
@pytest.mark.parametrize("field", [b"X-Forwarded-For", b"X-Real-IP", b"X-Request-Id", b"X-Forwarded-Host"])
async def test_f4_3_policies_see_fields_as_the_client_sent_them(trust: dict[str, Any], field: bytes) -> None:
    pools = {"default": {"policy": "hash", "hash": {"key": f"field:{field.decode()}", "load": 0}}}
    async with running(Backend, Backend, pools=pools, **trust) as lb:
        shares = await backends_of(lb, [saying(b"%b: 192.0.2.%d" % (field, number)) for number in range(40)])
        assert min(shares.values()) >= 8


async def test_f4_3_one_that_is_told_nothing_of_is_the_peer_again() -> None:
    async with running(**LOCAL) as lb, lb.backend.answering(OK):
        client = await lb.client()
        for request in (FORTY[7], GET, saying(b"Via: 1.1 a"), FORTY[8]):
            await client.says(request)
            await client.hears(200)
        clients = [each.client for each in lb.exchanges]
        assert clients == ["192.0.2.7", name(client), name(client), "192.0.2.8"]
        assert {each.peer for each in lb.exchanges} == {name(client)}


async def test_f4_3_forwarded_counts_where_there_is_no_list() -> None:
    async with running(**LOCAL) as lb, lb.backend.answering(OK):
        await (await lb.asks(saying(b'Forwarded: for=6.6.6.6, for="[2001:db8::7]:80"'))).hears(200)
        assert lb.exchange.client == "2001:db8::7"


@pytest.mark.parametrize("what", ["refused", "options", "no pool"])
async def test_f4_3_requests_that_no_backend_gets_have_their_client_too(what: str) -> None:
    request = saying(b"X-Forwarded-For: 192.0.2.7")
    if what == "refused":
        request = request.replace(b"GET", b"POST")[:-2] + b"Content-Length: 9\r\n\r\n"
    elif what == "options":
        request = request.replace(b"GET /", b"OPTIONS *")[:-2] + b"Max-Forwards: 0\r\n\r\n"
    status = {"refused": 413, "options": 204, "no pool": 503}[what]
    routes = [{"path": "/", "pool": "none"}] if what == "no pool" else []
    config: dict[str, Any] = {
        "routes": routes,
        "pools": {"default": {}, "none": {}},
        "limits": {"request_body": 1},
    }
    async with running(**LOCAL, **config) as lb:
        await (await lb.asks(request)).hears(status)
        assert lb.exchange.client == "192.0.2.7"


async def test_f4_3_running_exchanges_have_their_client() -> None:
    async with running(**LOCAL) as lb:
        client = await lb.asks(saying(b"X-Forwarded-For: 192.0.2.7"))
        peer = await lb.backend.hears()
        assert [each.client for each in lb.balancer.control.running.list()] == ["192.0.2.7"]
        await peer.says(OK)
        await client.hears(200)


async def test_f4_3_a_trusted_proxy_is_many_clients_and_its_connections_are_not_limited() -> None:
    limits: dict[str, Any] = {"connections_per_address": 1}
    async with running(limits=limits, **LOCAL) as lb, lb.backend.answering(OK):
        clients = [await lb.asks(FORTY[number]) for number in range(3)]
        for client in clients:
            await client.hears(200)
    async with running(limits=limits) as lb:
        await lb.client()
        with lasting(0):
            await (await lb.client()).hears_end()
