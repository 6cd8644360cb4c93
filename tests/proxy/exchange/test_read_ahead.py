"""Responses that are read ahead of a slow client (`lb.proxy.exchange.read_ahead`)."""

import socket
from pathlib import Path

import msgspec
import pytest
import trio

from lb.core.time_spent import slowness, time_spent
from lb.errors import ClientGone, ClientStalled, Reason, ResponseIncomplete, ResponseStalled
from tests.kit.balancer import Scene, running
from tests.kit.client import Client
from tests.kit.memory import Asked, MemoryBackend, MemoryScene, exchanging
from tests.kit.time import lasting, virtual_time

pytestmark = virtual_time

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
AT_ONCE = STREAM.replace(b"Content-Type: text/event-stream", b"X-Accel-Buffering: no")


async def stalled(scene: MemoryScene, head: bytes = HEAD) -> tuple[Asked, MemoryBackend]:
    """A client that takes nothing, behind the first byte of a response."""
    asked = scene.asks(GET)
    asked.client.stalls()
    backend = await scene.serving(asked)
    backend.answers(head, b"o", ends=False)
    await trio.sleep(0.1)
    return asked, backend


async def test_a_response_that_has_come_whole_lets_its_backend_go() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        for _ in range(9):
            backend.says(b"x" * 100)
            await trio.sleep(1)
        backend.says(b"y" * 99, ends=True)
        await trio.testing.wait_all_tasks_blocked()
        assert asked.exchange.attempt is None
        assert backend.is_kept
        assert scene.context.held.count == 1000
        await trio.sleep(40)
        asked.client.reads_on()
        assert await asked.outcome() is None
        assert asked.exchange.record.held == 1000
        assert asked.client.heard == b"o" + b"x" * 900 + b"y" * 99
        assert asked.client.heard_all


@pytest.mark.parametrize("head", [STREAM, AT_ONCE], ids=["event stream", "X-Accel-Buffering"])
async def test_what_is_never_held(head: bytes) -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene, head)
        backend.says(b"x" * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert backend.pieces
        assert scene.context.held.count == 0
        asked.client.leaves()
        await asked.outcome()


async def test_the_room_is_bounded_and_a_backend_that_waits_for_it_is_not_blamed() -> None:
    async with exchanging(backends=4, buffer={"request": 0, "response": 101}) as scene:
        for _ in range(12):
            asked, backend = await stalled(scene)
            backend.says(*(b"x" * 50 for _ in range(5)))
            await trio.sleep(5)
            assert scene.context.held.count == 101
            assert len(backend.pieces) == 3
            backend.breaks_off(ResponseIncomplete("it gave up"))
            asked.client.reads_on()
            assert isinstance(await asked.outcome(), ClientStalled)
        assert scene.ejected == []


async def test_a_backend_that_breaks_off_while_there_was_room_has_done_so_itself() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        await trio.sleep(5)
        backend.breaks_off(ResponseIncomplete("it died"))
        assert isinstance(await asked.outcome(), ResponseIncomplete)
        assert asked.exchange.record.attempts[-1].reason is Reason.HTTP_RESPONSE_INCOMPLETE


async def test_a_backend_that_stops_is_noticed_while_the_client_is_behind() -> None:
    async with exchanging() as scene:
        settings = scene.context.timeouts
        scene.context.timeouts = msgspec.structs.replace(settings, send=100.0)
        asked, _ = await stalled(scene)
        with lasting(59.91):  # of 60 seconds, 0.1 had passed, and the client was waited for 0.01 before
            assert isinstance(await asked.outcome(), ResponseStalled)


async def test_a_client_that_never_reads_is_given_up_and_the_backend_knows_nothing() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        backend.says(b"x" * 999, ends=True)
        with lasting(60.0):
            assert isinstance(await asked.outcome(), ClientStalled)
        assert backend.is_kept
        assert asked.exchange.record.attempts[-1].reason is None


async def test_a_client_that_leaves_in_the_rest_leaves_nothing_held() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        backend.says(b"x" * 999, ends=True)
        await trio.testing.wait_all_tasks_blocked()
        asked.client.leaves()
        assert isinstance(await asked.outcome(), ClientGone)
        assert scene.context.held.count == 0


async def test_what_the_client_did_not_take_is_not_counted_as_sent() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        backend.says(b"x" * 500)
        await trio.testing.wait_all_tasks_blocked()
        asked.client.reads_on()
        await trio.testing.wait_all_tasks_blocked()
        asked.client.stalls()
        backend.says(b"y" * 499, ends=True)
        await trio.testing.wait_all_tasks_blocked()
        asked.client.leaves()
        assert isinstance(await asked.outcome(), ClientGone)
        assert asked.exchange.record.response_bytes == 501


async def test_a_client_that_catches_up_goes_on_without() -> None:
    async with exchanging() as scene:
        asked, backend = await stalled(scene)
        backend.says(b"x" * 500)
        await trio.testing.wait_all_tasks_blocked()
        asked.client.reads_on()
        await trio.testing.wait_all_tasks_blocked()
        assert scene.context.held.count == 0
        backend.says(b"y" * 499, ends=True)
        assert await asked.outcome() is None
        assert asked.client.heard == b"o" + b"x" * 500 + b"y" * 499


# -- over sockets: by pipe, by chunks, until the end of the connection -------------------------------------

SIZE = 3 << 20
BODY = bytes(range(256)) * (SIZE // 256)
FRAMED = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"8000\r\n%b\r\n" % BODY[at : at + 0x8000] for at in range(0, SIZE, 0x8000))
    + b"0\r\n\r\n",
    "until close": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
}


async def a_slow_reader(lb: Scene, framing: str, room: int | None = None) -> Client:
    """A client that does not read, and whose whole response has come; `room` is that of the kernel."""
    client = await lb.client()
    await trio.testing.wait_all_tasks_blocked()
    if room is not None:
        lb.connections[0].wire._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    await client.says(GET)
    peer = await lb.backend.hears()
    with trio.fail_after(5):
        await peer.says(FRAMED[framing])
    if framing == "until close":
        peer.ends()
    await trio.sleep(0.5)
    assert lb["one"].in_flight == 0
    return client


@pytest.mark.parametrize("framing", FRAMED)
async def test_each_framing_arrives_whole(framing: str) -> None:
    async with running() as lb:
        client = await a_slow_reader(lb, framing)
        assert lb.context.held.count > SIZE // 2
        assert (await client.hears(200)).body == BODY
        await trio.sleep(0.1)
        assert lb.exchange.held > SIZE // 2
        assert lb.exchange.response_bytes == SIZE


async def test_a_client_that_does_not_read_on_costs_only_what_is_held() -> None:
    async with running() as lb:
        await a_slow_reader(lb, "length")
        with lasting(60.0):
            while lb.context.clients:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.5)
        assert lb.reason == "connection_write_timeout"


async def test_what_was_taken_out_of_a_pipe_counts_as_held() -> None:
    async with running() as lb:
        client = await a_slow_reader(lb, "length", room=4096)
        unsent = lb.connections[0].client.unsent
        behind = sum(map(len, lb.connections[0].client._held or ()))
        assert unsent is not None
        assert len(unsent) > 64 * 1024
        assert lb.context.held.count == len(unsent) + behind
        assert (await client.hears(200)).body == BODY


@pytest.mark.parametrize("framing", FRAMED)
async def test_a_client_that_is_slow_but_goes_on_is_not_given_up(framing: str, tmp_path: Path) -> None:
    """One piece takes it longer than it may stop for. A Unix socket tells at once what was taken."""
    async with running(listen=[f"unix:{tmp_path / 'lb'}"]) as lb:
        client = await a_slow_reader(lb, framing, room=16384)
        heard = 0
        while heard < SIZE:
            await trio.sleep(3)
            data = await client.sock.recv(4096)
            assert data, f"it was cut after {heard} bytes, as {lb.reason}"
            heard += len(data)
        await trio.sleep(0.1)
        assert lb.reason is None


async def test_many_small_chunks_are_held_as_few_pieces() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with trio.fail_after(50):
            for _ in range(200):
                await peer.says(b"1000\r\n%b\r\n" % bytes(4096))
        await peer.says(b"0\r\n\r\n")
        await trio.sleep(1)
        [connection] = lb.connections
        assert connection.client.held > 200_000
        assert len(connection.client._held or ()) <= connection.client.held // (64 * 1024) + 1
        assert len((await client.hears(200)).body) == 200 * 4096


# -- what of its time the client took ----------------------------------------------------------------------


async def test_what_a_slow_client_takes_makes_nothing_slow() -> None:
    """Whether its response is held for it, or the backend has to wait for it."""
    for buffer in ({"request": 0, "response": 5000}, {"request": 0, "response": 0}):
        async with exchanging(buffer=buffer) as scene:
            asked, backend = await stalled(scene)
            backend.says(b"x" * 999, ends=True)
            await trio.sleep(40)
            asked.client.reads_on()
            assert await asked.outcome() is None
            record = asked.exchange.record
            record.ended = trio.current_time()
            assert record.ended - record.started == pytest.approx(40.1)
            assert time_spent(record).reading >= 40.0
            assert slowness(record) < 0.2


@pytest.mark.parametrize(("head", "is_stream"), [(STREAM, True), (HEAD, False)])
async def test_an_event_stream_is_one_in_the_record(head: bytes, is_stream: bool) -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(head, b"o", ends=False)
        await trio.sleep(30)
        backend.says(b"x" * 999, ends=True)
        assert await asked.outcome() is None
        record = asked.exchange.record
        record.ended = trio.current_time()
        assert record.is_stream is is_stream
        assert (slowness(record) < 1.0) is is_stream
