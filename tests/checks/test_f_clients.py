"""Checks 135 to 140: clients that misbehave."""

import gc
import os

import pytest
import trio
import trio.testing

from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.exchange.exchange import Exchange
from tests.kit import GET, OK, BlackHole, lasting, running, virtual_time

pytestmark = virtual_time

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab"


@pytest.mark.parametrize("how", ["ends", "closes", "resets"])
async def test_f135_who_leaves_in_its_upload_takes_it_along(how: str) -> None:
    """Even an orderly end: without the rest of the body the request never was one."""
    async with running() as lb:
        client = await lb.asks(UPLOAD)
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"he")
        with lasting(0.0):
            getattr(client, how)()
            await peer.hears_end()
        assert (lb.exchange.status, lb.reason) == (499, "client_disconnected")
        assert lb["one"].connections == 0


async def test_f136_who_only_ends_its_side_still_gets_its_answer() -> None:
    """After half a second it is asked, by an interim answer, whether it still reads."""
    async with running() as lb:
        client = await lb.asks(GET)
        client.ends()
        peer = await lb.backend.hears()
        await trio.sleep(30)
        await peer.says(OK)
        await client.hears(100)
        await client.hears(200)
        await client.hears_end()


async def test_f136_http_1_0_too_and_it_is_asked_nothing() -> None:
    async with running() as lb:
        client = await lb.asks(b"GET / HTTP/1.0\r\n\r\n")
        client.ends()
        peer = await lb.backend.hears()
        await trio.sleep(30)
        await peer.says(OK)
        await client.hears(200)
        await client.hears_end()


async def test_f137_who_resets_in_its_download_stops_it() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(BEGUN)
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        client.resets()
        with lasting(0.0):
            await peer.says(b"cd")
            await peer.hears_all()
        assert (lb.exchange.status, lb.reason) == (200, "client_disconnected")
        assert not lb.context.clients


async def test_f137_even_while_the_backend_has_nothing_to_say() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(BEGUN)
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        with lasting(1.0):
            client.resets()
            await peer.hears_end()
        assert not lb.context.clients


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(11, 43)),
        b"\x16\x03\x01",
        b"\x80\x2e\x01\x03\x01",
        b"\x00",
        b"\x04\x01\x00\x50\x7f\x00\x00\x01",
        b"\x7fELF",
        b"\r\x00",
    ],
)
async def test_f138_what_is_not_text_is_refused_at_once(said: bytes) -> None:
    """A log of the tests that has a line on level error is a failure: see `running`."""
    async with running() as lb:
        client = await lb.asks(said)
        with lasting(0.0):
            assert (await client.hears(400))["Connection"] == "close"
            await client.hears_end()


@pytest.mark.parametrize("said", [b"", b"GET", GET, GET + GET, UPLOAD])
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_f139_who_comes_and_goes_leaves_nothing_behind(said: bytes, how: str) -> None:
    """In 300 rounds; whoever leaves the block is asked about sockets and counters by `running`."""
    async with running() as lb, lb.backend.answering(OK):
        before = os.listdir("/dev/fd"), trio.lowlevel.current_statistics().tasks_living
        for _ in range(300):
            client = await lb.asks(said)
            getattr(client, how)()
        await trio.sleep(2)
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, ClientConnection | Exchange)]
        idle = 2 * lb["one"].idle_connections  # each has its other end here, and a task that serves it
        assert len(os.listdir("/dev/fd")) <= len(before[0]) + idle
        assert trio.lowlevel.current_statistics().tasks_living <= before[1] + idle // 2


@pytest.mark.parametrize(("how", "seconds"), [("resets", 1.0), ("closes", 1.5)])
async def test_f140_who_leaves_the_queue_is_not_forwarded(how: str, seconds: float) -> None:
    """HTTP/1.0 that closes cannot be told from one that ended its side: its request is forwarded."""
    async with running(each={"max_in_flight": 1}) as lb:
        first = await lb.asks(GET)
        peer = await lb.backend.hears()
        second = await lb.asks(GET.replace(b"/", b"/second", 1))
        await trio.testing.wait_all_tasks_blocked()
        getattr(second, how)()
        await trio.sleep(seconds + 0.001)
        assert lb.registry.pool("default").waiting == 0
        await peer.says(OK)
        await first.hears(200)
        await peer.hears_nothing()
        await lb.backend.accepts_nobody()


@pytest.mark.parametrize(("how", "seconds"), [("resets", 1.0), ("closes", 1.5)])
async def test_f140_who_leaves_while_we_connect_stops_it(how: str, seconds: float) -> None:
    async with running(BlackHole) as lb:
        client = await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        getattr(client, how)()
        await trio.sleep(seconds + 0.001)
        assert not lb.context.clients
        assert lb.reason == "client_disconnected"
        assert lb["one"].in_flight == 0
