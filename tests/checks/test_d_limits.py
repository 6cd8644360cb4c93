"""Checks 103 to 116: sizes, counts and slow clients.

Check 115, slowhttptest with 1000 connections against the program, is `tests/system/test_slow_clients.py`.
"""

import fcntl
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.kit import GET, OK, Client, Peer, Scene, answer, lasting, running, virtual_time
from tests.kit.held import slowness
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]

HEAD_LIMIT = 16 * 1024
SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes that the kernel holds and has not sent yet
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def head_of(size: int, filler: bytes = b"x") -> bytes:
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    lacking = size - len(start) - len(end)
    return start + (filler * lacking)[:lacking] + end


# -- heads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(HEAD_LIMIT, 200), (HEAD_LIMIT + 1, 431)])
async def test_d103_a_head_may_have_16_kib(size: int, status: int) -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(head_of(size))
        response = await client.hears(status)
        assert (response.all("Connection"), len(heard)) == (([], 1) if status == 200 else (["close"], 0))


async def test_d103_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    async with running() as lb:
        client = await lb.asks(head_of(HEAD_LIMIT + 5)[:-4])
        with lasting(0.0):
            await client.hears(431)


@pytest.mark.parametrize(("fields", "status"), [(100, 200), (101, 431)])
async def test_d104_a_head_may_have_100_fields(fields: int, status: int) -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x: y\r\n" * (fields - 1)))
        await client.hears(status)


WORST = {
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * 4000 + b"\r\n",
    "as many as may be": b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"a:" + b" " * 150 + b"\r\n") * 99 + b"\r\n",
    "spaces": head_of(HEAD_LIMIT, b" \t"),
    "commas": head_of(HEAD_LIMIT, b",").replace(b"X:", b"Connection:"),
    "a long name": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 16000 + b": b\r\n\r\n",
    "a long host": b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"a" * 16000),
    "codings": head_of(HEAD_LIMIT, b"a,").replace(b"X:", b"Transfer-Encoding:"),
    "protocols": head_of(HEAD_LIMIT, b"a/b,").replace(b"X:", b"Connection: Upgrade\r\nUpgrade:")[
        -HEAD_LIMIT:
    ],
    "an end that does not come": head_of(HEAD_LIMIT)[:-2] + b"\x00\r\n\r\n",
}


async def cost_of(lb: Scene, request: bytes) -> float:
    """Seconds of this thread, in which everybody runs, from a request to its answer; the best of three.

    In seconds of a machine of usual speed.
    """
    costs = []
    for _ in range(3):
        client = await lb.client()
        await trio.testing.wait_all_tasks_blocked()
        began = time.thread_time()
        await client.says(request)
        await client.take_until(b"\r\n\r\n")
        costs.append((time.thread_time() - began) / slowness())
    return min(costs)


@pytest.mark.alone
@pytest.mark.parametrize("request_", WORST.values(), ids=WORST)
async def test_d105_the_worst_of_heads_costs_less_than_5_ms(request_: bytes) -> None:
    async with running() as lb, lb.backend.answering(OK):
        assert await cost_of(lb, request_) < 0.005


# -- who is slow ------------------------------------------------------------------------------------------


async def test_d106_a_head_has_ten_seconds_however_it_trickles() -> None:
    async with running() as lb:
        client = await lb.asks(b"G")
        with lasting(10.0):
            for byte in b"ET / HTTP/1.1\r\nHost: a\r\n":
                with trio.move_on_after(1) as going_on:
                    await client.hears(408)
                if not going_on.cancelled_caught:
                    break
                await client.says(bytes((byte,)))
        await client.hears_end()


@pytest.mark.parametrize("said", [b"", b"\r\n"])
async def test_d107_who_says_nothing_is_let_go_without_a_word(said: bytes) -> None:
    async with running() as lb:
        client = await lb.client()
        with lasting(10.0):
            await trio.sleep(5)
            await client.says(said)
            await client.hears_end()
        assert lb.exchanges == []


async def test_d108_an_idle_connection_is_let_go_without_a_word() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        with lasting(60.0):
            await client.hears_end()


@plain_only("no backend shakes hands here")
async def test_d109_a_body_that_trickles_is_given_up_and_its_backend_free() -> None:
    """A byte in ten seconds is no progress: 30 s of patience, and 1/240 s for each byte that came."""
    async with running() as lb:
        client = await lb.asks(UPLOAD)
        with lasting(30 + 3 / 240):
            for _ in range(3):
                await trio.sleep(10)
                await client.says(b"x")
            assert (await client.hears(408))["Connection"] == "close"
        assert lb["one"].in_flight == lb["one"].connections == 0


@plain_only("no backend shakes hands here")
async def test_d109_a_body_that_stops_is_given_up() -> None:
    async with running() as lb:
        client = await lb.asks(UPLOAD)
        with lasting(30.0):
            await client.hears(408)
        await client.hears_end()


async def test_d109_a_body_that_keeps_the_rate_may_take_its_time() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(CHUNKED)
        for _ in range(12):
            await trio.sleep(10)
            await client.says(b"960\r\n%b\r\n" % bytes(2400))
        await client.says(b"0\r\n\r\n")
        await client.hears(200)
        assert len(heard[0].body) == 12 * 2400


@asynccontextmanager
async def slow_reader() -> AsyncIterator[tuple[Scene, Client, Peer, int]]:
    """A client that reads nothing of an answer of 100 MB, and how much of it was taken from the backend."""
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.client()
        client.sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await client.says(GET)
        peer = await lb.backend.hears()
        nursery.start_soon(peer.says_until_stuck, answer(bytes(100_000_000)), 100_000_000)
        await trio.testing.wait_all_tasks_blocked(0.001)
        (connection,) = lb.connections
        assert connection.record is not None
        yield lb, client, peer, connection.record.response_bytes
        nursery.cancel_scope.cancel()


async def test_d110_little_is_held_for_who_reads_slowly() -> None:
    """64 KiB with us, and what the kernel has not sent; what is on its way is for TCP to bound."""
    async with slow_reader() as (lb, _, _, taken):
        (connection,) = lb.connections
        unsent = fcntl.ioctl(connection.wire._sock, SIOCOUTQNSD, bytes(4))
        assert 64 * 1024 + struct.unpack("i", unsent)[0] <= 256 * 1024
        assert taken < 100_000_000


@plain_only("the reset comes behind a close_notify")
async def test_d110_who_does_not_read_is_left_after_60_seconds() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with lasting(60.0):
            await peer.says_until_stuck(bytes(1 << 20), most=100_000_000)
            await peer.hears_reset()
        assert lb.reason == "connection_write_timeout"
        heard, how = await client.hears_all()
        assert how == "reset"  # an end would have to wait behind all that the kernel holds
        assert len(heard) < 100_000_000


# -- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
async def test_d111_a_body_that_says_that_it_is_too_long_is_not_read(expect: bytes) -> None:
    async with running(limits={"request_body": 499}) as lb:
        client = await lb.asks(UPLOAD.replace(b"Content", expect + b"Content"))
        with lasting(0.0):
            assert (await client.hears(413))["Connection"] == "close"
            await client.hears_end()
        await lb.backend.accepts_nobody()


async def test_d111_a_body_that_turns_out_too_long_is_cut_at_the_crossing() -> None:
    async with running(limits={"request_body": 4}) as lb:
        client = await lb.asks(CHUNKED + b"4\r\nabcd\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"4\r\nabcd\r\n")
        await client.says(b"1\r\ne\r\n0\r\n\r\n")
        assert (await client.hears(413))["Connection"] == "close"
        await peer.hears_end()


async def test_d112_a_body_in_small_chunks_is_cheap() -> None:
    """The peak is that of one read, which a MiB shows. Smaller ones are refused; `test_linear.py` has CPU."""
    count = 1 << 16
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.asks(CHUNKED)
        peer = await lb.backend.accepts()
        request = await peer.hears_head()
        tracemalloc.start()
        nursery.start_soon(client.says, b"b\r\n0123456789a\r\n" * count + b"0\r\n\r\n")
        assert await peer.hears_body(request) == b"0123456789a" * count
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4_000_000
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize("backend", ["answers", "is missing"])
async def test_d113_who_never_reads_is_not_read_from(backend: str) -> None:
    """Answers of our own are held back like those of backends."""
    async with running(limits={"requests_per_connection": 1_000_000}) as lb:
        if backend == "is missing":
            lb.registry.remove(lb["one"])
        async with lb.backend.answering(answer(bytes(1 << 12))):
            client = await lb.client()
            client.sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            assert await client.says_until_stuck(GET * 1000, most=1 << 28) < 1 << 28
            (connection,) = lb.connections
            assert len(connection.client.buffer) <= 64 * 1024
            answered = len(lb.exchanges)
            await trio.sleep(60.1)
            assert not lb.context.clients
            assert len(lb.exchanges) == answered + 1
            assert lb.reason is not None


# -- connections ------------------------------------------------------------------------------------------


@plain_only("the third shakes hands only when it has a place")
async def test_d114_one_more_than_the_limit_waits_until_somebody_leaves() -> None:
    async with running(limits={"connections": 2}) as lb, lb.backend.answering(OK):
        first, second, third = [await lb.asks(GET) for _ in range(3)]
        for established in (first, second, first):
            await established.hears(200)
            await established.says(GET)
        await third.hears_nothing()
        second.closes()
        with lasting(0.0):
            await third.hears(200)


@pytest.mark.alone
@pytest.mark.parametrize("request_", WORST.values(), ids=WORST)
async def test_d116_no_head_costs_a_hundred_times_its_like(request_: bytes) -> None:
    """In memory a hundred times the limit of a head; in time a hundred times the plainest request."""
    async with running() as lb, lb.backend.answering(OK):
        usual = await cost_of(lb, GET)
        assert await cost_of(lb, request_) < 100 * usual
        tracemalloc.start()
        await cost_of(lb, request_)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * HEAD_LIMIT
