"""The demo's backends, over real sockets and virtual time."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from lb.demo import serve_demo


@asynccontextmanager
async def demo(count: int = 1) -> AsyncIterator[list[str]]:
    async with trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(serve_demo, [0] * count)
        yield addresses
        nursery.cancel_scope.cancel()


async def connect(address: str) -> trio.SocketStream:
    host, port = address.split(":")
    return await trio.open_tcp_stream(host, int(port))


async def answer(stream: trio.SocketStream, request: bytes, ending: bytes = b"\n") -> bytes:
    """Everything received until the end of the body, which is one line."""
    await stream.send_all(request)
    received = b""
    while not (b"\r\n\r\n" in received and received.endswith(ending)):
        more = await stream.receive_some()
        assert more, f"it closed after {received!r}"
        received += more
    return received


async def test_each_backend_says_its_number_and_keeps_the_connection() -> None:
    async with demo(3) as addresses:
        for number, address in enumerate(addresses, 1):
            async with await connect(address) as stream:
                for _ in range(2):
                    got = await answer(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert got.startswith(b"HTTP/1.1 200 ")
                    assert got.endswith(b"\r\n\r\nHello from Server %d\n" % number)


async def test_a_body_is_read_and_a_head_has_none() -> None:
    async with demo() as [address], await connect(address) as stream:
        upload = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000
        assert (await answer(stream, upload)).endswith(b"Hello from Server 1\n")
        got = await answer(stream, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n")
        assert b"content-length: 20\r\n" in got.lower()
        assert (await answer(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_waits_to_send_its_body_is_told_to() -> None:
    async with demo() as [address], await connect(address) as stream:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        assert (await answer(stream, head, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await answer(stream, b"x")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("?seconds=2", 2),
        ("?seconds=0.5", 0.5),
        ("", 2),
        ("?seconds=soon", 2),
        ("?seconds=inf", 60),
        ("?seconds=nan", 0),
        ("?seconds=-1", 0),
    ],
)
async def test_a_slow_answer_takes_as_long_as_asked(
    autojump_clock: trio.testing.MockClock, query: str, seconds: float
) -> None:
    async with demo() as [address], await connect(address) as stream:
        started = trio.current_time()
        await answer(stream, f"GET /slow{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert trio.current_time() - started == pytest.approx(seconds)


async def test_a_protocol_error_ends_only_its_connection() -> None:
    async with demo() as [address], await connect(address) as good, await connect(address) as bad:
        await bad.send_all(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert await bad.receive_some() == b""
        assert (await answer(good, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_ends_only_its_connection() -> None:
    async with demo() as [address]:
        async with await connect(address) as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        async with await connect(address) as stream:
            await answer(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


async def test_close_is_honoured() -> None:
    async with demo() as [address], await connect(address) as stream:
        await answer(stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await stream.receive_some() == b""


async def test_a_silent_client_is_disconnected(autojump_clock: trio.testing.MockClock) -> None:
    async with demo() as [address], await connect(address) as stream:
        started = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - started == pytest.approx(120)


async def test_cancelled_it_closes_everything() -> None:
    async with demo(2) as addresses:
        stream = await connect(addresses[0])
        await answer(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with stream:
        assert await stream.receive_some() == b""
    for address in addresses:
        with pytest.raises(OSError, match="connect"):
            await connect(address)


async def test_a_port_in_use_is_named_and_the_others_are_free_again() -> None:
    async with demo() as [taken]:
        free = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = free[0].socket.getsockname()[1]
        await free[0].aclose()
        with pytest.raises(OSError) as caught:
            await serve_demo([port, int(taken.split(":")[1])])
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.filename == taken
        with pytest.raises(OSError, match="connect"):
            await connect(f"127.0.0.1:{port}")
