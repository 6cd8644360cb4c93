"""Clients that end only their side of the connection, and those of which it only looks so."""

import pytest
import trio

from tests.kit import GET, OK, running, virtual_time
from tests.kit.wires import over_all_wires

pytestmark = [virtual_time, over_all_wires]

OLD = b"GET / HTTP/1.0\r\n\r\n"
STREAM = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\n%b\r\n2\r\n:\n\r\n" % STREAM
REPORT = EVENTS.replace(b"text/event-stream", b"text/csv")


@pytest.mark.parametrize("request_", [GET, OLD])
async def test_f5_6_who_leaves_a_silent_event_stream_is_noticed_within_a_second(request_: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.hears()
        await peer.says(EVENTS)
        await client.hears_head(200)
        await trio.sleep(20)
        client.closes()
        began = trio.current_time()
        await peer.hears_end()
        assert trio.current_time() - began <= 1.0
        assert lb.reason == "client_disconnected"


@pytest.mark.parametrize("request_", [GET, OLD])
async def test_an_answer_that_pauses_goes_on_to_a_half_closed_client(request_: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.hears()
        await peer.says(REPORT)
        client.ends()
        await trio.sleep(20)
        await peer.says(b"0\r\n\r\n")
        assert (await client.hears(200)).body == b":\n"


@pytest.mark.parametrize("request_", [GET, OLD])
@pytest.mark.parametrize("said", [b"", REPORT], ids=["nothing said", "answer begun"])
async def test_a_half_close_can_be_set_to_mean_that_the_client_has_left(request_: bytes, said: bytes) -> None:
    async with running(half_close="left") as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.hears()
        if said:
            await peer.says(said)
            await client.hears_head(200)
        await trio.sleep(1)
        began = trio.current_time()
        client.ends()
        await peer.hears_end()
        assert trio.current_time() - began <= 0.5
        assert lb.reason == "client_disconnected"


async def test_a_half_close_can_be_set_to_mean_nothing() -> None:
    async with running(half_close="reads") as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        client.ends()
        await trio.sleep(30)
        await peer.says(OK)
        await client.hears(200)  # and no 100 before


async def test_an_event_stream_goes_on_to_whoever_is_said_to_read() -> None:
    async with running(half_close="reads") as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(EVENTS)
        client.ends()
        await trio.sleep(30)
        await peer.says(b"0\r\n\r\n")
        assert (await client.hears(200)).body == b":\n"


@pytest.mark.parametrize("how", ["resets", "ends an event stream", "ends where that means that it left"])
async def test_f5_16_no_client_is_asked_where_something_else_tells(how: str) -> None:
    half_close = "left" if how.startswith("ends where") else "ask"
    async with running(half_close=half_close) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        if how == "ends an event stream":
            await peer.says(EVENTS)
            await client.hears_head(200)
        if how == "resets":
            client.resets()
        else:
            client.ends()
        await peer.hears_end()
        if client.is_open:
            heard, _ = await client.hears_all()
            assert b"HTTP/1.1 100" not in heard
        assert lb.reason == "client_disconnected"
