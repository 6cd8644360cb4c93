"""Tunnels after an upgrade: bytes both ways, half-closes, and the idle timeout."""

import socket

import pytest
import trio
import trio.testing

from tests.kit import GET, OK, Client, Peer, Scene, answer, lasting, running, virtual_time
from tests.kit.wires import over_all_wires

pytestmark = [virtual_time, over_all_wires]

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def opened(lb: Scene) -> tuple[Client, Peer]:
    """The two ends of a tunnel."""
    client = await lb.asks(UPGRADE)
    peer = await lb.backend.accepts()
    request = await peer.hears_request(b"GET /chat HTTP/1.1")
    assert (request["Connection"], request["Upgrade"]) == ("Upgrade", "websocket")
    await peer.says(SWITCHED)
    response = await client.hears(101)
    assert (response["Connection"], response["Upgrade"]) == ("Upgrade", "websocket")
    return client, peer


async def test_bytes_travel_both_ways_as_they_are() -> None:
    async with running() as lb:
        client, peer = await opened(lb)
        for n in range(100):
            await client.says(b"\x00ping%d\r\n\r\n" % n)
            await peer.hears_exactly(b"\x00ping%d\r\n\r\n" % n)
            await peer.says(b"\xffpong%d" % n)
            await client.hears_exactly(b"\xffpong%d" % n)
        client.closes()
        await peer.hears_end()
        peer.closes()
        await trio.testing.wait_all_tasks_blocked()
        assert (lb.exchange.status, lb.reason) == (101, None)
        assert lb.exchange.request_bytes == sum(len(b"\x00ping%d\r\n\r\n" % n) for n in range(100))
        assert lb.exchange.response_bytes == sum(len(b"\xffpong%d" % n) for n in range(100))


async def test_bytes_behind_the_heads_travel_too() -> None:
    async with running() as lb:
        client = await lb.asks(UPGRADE + b"early")
        peer = await lb.backend.hears()
        await peer.hears_nothing()
        await peer.says(SWITCHED + b"first")
        await client.hears(101)
        await client.hears_exactly(b"first")
        await peer.hears_exactly(b"early")
        client.closes()
        peer.closes()
        await trio.testing.wait_all_tasks_blocked()
        assert (lb.exchange.request_bytes, lb.exchange.response_bytes) == (5, 5)


async def test_without_a_switch_the_early_bytes_are_the_next_request() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(UPGRADE + GET)
        await client.hears(200)
        await client.hears(200)
        assert [request.target for request in heard] == ["/chat", "/"]


@pytest.mark.parametrize("first", ["client", "peer"])
async def test_an_end_is_passed_on_and_the_other_direction_goes_on(first: str) -> None:
    async with running() as lb:
        client, peer = await opened(lb)
        one, other = (client, peer) if first == "client" else (peer, client)
        await one.says(b"last")
        one.ends()
        await other.hears_exactly(b"last")
        await other.hears_end()
        for _ in range(10):
            await trio.sleep(9)
            await other.says(b"more")
            await one.hears_exactly(b"more")
        other.ends()
        await one.hears_end()
        await trio.testing.wait_all_tasks_blocked()
        assert not lb.context.clients


@pytest.mark.parametrize("first", ["client", "peer"])
async def test_a_reset_ends_both_sides(first: str) -> None:
    async with running() as lb:
        client, peer = await opened(lb)
        one, other = (client, peer) if first == "client" else (peer, client)
        with lasting(0.0):
            one.resets()
            await other.hears_all()
        await trio.testing.wait_all_tasks_blocked()
        assert not lb.context.clients


async def test_a_tunnel_that_nobody_uses_is_ended() -> None:
    async with running(timeouts={"tunnel_idle": 100}) as lb:
        client, peer = await opened(lb)
        for line, other in ((client, peer), (peer, client)):
            await trio.sleep(99)
            await line.says(b"still here")
            await other.hears_exactly(b"still here")
        with lasting(100.0):
            await client.hears_end()
            await peer.hears_end()
        assert (lb.exchange.status, lb.reason) == (101, "connection_read_timeout")


@pytest.mark.parametrize("side", ["client", "peer"])
async def test_who_does_not_read_holds_the_other_back(side: str) -> None:
    async with running(timeouts={"tunnel_idle": 100}) as lb:
        client, peer = await opened(lb)
        line = client if side == "peer" else peer
        assert await line.says_until_stuck(bytes(1 << 20), most=1 << 30) < 1 << 26


@pytest.mark.parametrize(
    "switch",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    ],
)
async def test_a_switch_to_what_was_not_asked_for_is_an_error_and_the_end(switch: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(UPGRADE + b"early")
        peer = await lb.backend.hears()
        await peer.says(switch)
        response = await client.hears(502)
        assert "http_upgrade_failed" in response["Proxy-Status"]
        assert response["Connection"] == "close"
        await peer.hears_end()


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"1.1", b"1.0"),
        UPGRADE.replace(b"websocket", b"h2c"),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
    ],
)
async def test_an_upgrade_that_does_not_count_is_not_passed_on(request_: bytes) -> None:
    async with running() as lb, lb.backend.answering(answer(b"plain")) as heard:
        client = await lb.asks(request_)
        assert (await client.hears(200)).body == b"plain"
        assert not {"Upgrade", "Connection"} & set(heard[0].names)


async def test_a_drain_cuts_a_tunnel_at_its_deadline() -> None:
    async with running() as lb:
        client, peer = await opened(lb)
        drain = lb.registry.drain(lb["one"], 20.0)
        with lasting(20.0):
            await client.hears_end()
            await peer.hears_end()
        assert (drain.outcome, drain.aborted) == ("timeout", 1)
        assert lb.reason == "destination_unavailable"


@pytest.mark.parametrize("first", ["client", "peer"])
async def test_f5_7_a_tunnel_that_is_half_open_may_not_be_silent_for_long(first: str) -> None:
    async with running() as lb:
        client, peer = await opened(lb)
        one, other = (client, peer) if first == "client" else (peer, client)
        one.ends()
        await other.hears_end()
        await trio.sleep(9)
        assert lb.context.clients
        await trio.sleep(1.2)
        assert not lb.context.clients
        assert (lb.exchange.status, lb.reason) == (101, None)


async def test_f5_7_the_kernel_asks_whether_both_sides_are_there() -> None:
    async with running() as lb:
        await opened(lb)
        [connection] = lb.connections
        assert connection.exchange is not None
        assert connection.exchange.attempt is not None
        backend = connection.exchange.attempt.connection
        assert backend is not None
        for wire in (connection.wire, backend.wire):
            assert wire._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
