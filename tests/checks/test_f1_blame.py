"""Faults f1.1 to f1.9: a backend is blamed, and ejected, only for what it did itself.

Each is one case of a kind that bug reports and an attack have shown. Four backends, a client that misbehaves
twelve times, and as the last step a client that behaves, who is served by each of the four.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from lb.errors import Reason
from tests.kit import GET, OK, Backend, Client, Ended, Peer, Scene, lasting, running, virtual_time

pytestmark = virtual_time

TIMES = 12
BIG = 10_000_000
BODY = b"POST /unfinished HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
BIG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG


async def serve(backend: Backend, patience: float) -> None:
    """A server that is well: it waits for its client so many seconds, and closes then."""
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(serve_one, await backend.accepts(), patience)


async def serve_one(peer: Peer, patience: float) -> None:
    with suppress(Ended, OSError), trio.move_on_after(patience) as waiting:
        while True:
            waiting.deadline = float("inf")
            request = await peer.hears_head()
            waiting.deadline = trio.current_time() + patience
            if request.target == "/stale":
                break
            if request.target == "/big":
                await peer.says(BIG_ANSWER, bytes(BIG))
            await peer.hears_body(request)
            if request.target == "/broken":
                await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
            elif request.target != "/big":
                await peer.says(OK)
    peer.closes()


async def nobody_is_ejected(act: Callable[[Scene, Client], Awaitable[None]], **config: Any) -> Scene:
    """The act of a client, twelve times; behind it all four backends serve a client that behaves."""
    async with running(*[Backend] * 4, **config) as lb, trio.open_nursery() as nursery:
        for backend in lb.backends:
            nursery.start_soon(serve, backend, 1.5)
        for _ in range(TIMES):
            client = await lb.client()
            client.sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            with suppress(OSError):
                await act(lb, client)
            client.resets()
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert [backend.id for backend in lb.registry.backends.values() if not backend.is_open] == []
        for _ in range(4):
            await (await lb.asks(GET)).hears(200)
        assert {exchange.attempts[-1].backend.id for exchange in lb.exchanges[-4:]} == {
            "one",
            "two",
            "three",
            "four",
        }
        nursery.cancel_scope.cancel()
    return lb


async def test_f1_1_a_body_that_does_not_come() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(BODY + b"x")
        with lasting(1.5):
            assert "http_request_error" in (await client.hears(408))["Proxy-Status"]

    await nobody_is_ejected(act)


@pytest.mark.parametrize(
    "sent", [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"]
)
async def test_f1_1_a_chunk_that_does_not_come(sent: bytes) -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(sent)
        await client.hears(408)

    await nobody_is_ejected(act)


async def test_f1_1_an_expected_body_that_does_not_come() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(BODY.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await client.hears(408)

    await nobody_is_ejected(act)


async def test_f1_1_a_backend_that_dies_while_the_body_comes_is_told_as_that() -> None:
    async with running() as lb:
        client = await lb.asks(BODY + b"x")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await client.says(b"y")
        peer.resets()
        assert "connection_terminated" in (await client.hears(502))["Proxy-Status"]


async def test_f1_2_an_answer_that_is_not_read() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(GET.replace(b" / ", b" /big "))
        await trio.sleep(5)
        with suppress(Ended, OSError):
            await client.hears_all()

    lb = await nobody_is_ejected(act)
    assert {exchange.reason for exchange in lb.exchanges[:TIMES]} == {Reason.CONNECTION_WRITE_TIMEOUT}


async def test_f1_2_an_answer_that_is_never_read() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(GET.replace(b" / ", b" /big "))
        await trio.sleep(70)

    lb = await nobody_is_ejected(act)
    assert {exchange.reason for exchange in lb.exchanges[:TIMES]} == {Reason.CONNECTION_WRITE_TIMEOUT}


async def test_f1_3_the_end_of_an_upload_while_the_answer_is_not_read() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(b"GET /big HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        await trio.sleep(1)
        await client.says(b"x")
        await trio.sleep(100)

    lb = await nobody_is_ejected(act, timeouts={"response_head": 2})
    assert {exchange.reason for exchange in lb.exchanges[:TIMES]} == {Reason.CONNECTION_WRITE_TIMEOUT}


async def test_f1_4_a_pause_behind_a_head_that_has_come() -> None:
    async with running(timeouts={"response_head": 1, "response_idle": 30}) as lb:
        client = await lb.asks(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.says(OK[:-1])
        await client.hears_head(200)
        await client.says(b"0\r\n\r\n")
        await trio.sleep(3)
        await peer.says(OK[-1:])
        await client.take_until(b"ok")
        await trio.testing.wait_all_tasks_blocked()
        assert lb.reason is None


async def test_f1_5_a_page_whose_answer_is_refused() -> None:
    async def act(lb: Scene, client: Client) -> None:
        await client.says(GET.replace(b" / ", b" /broken "))
        await client.hears(502)

    lb = await nobody_is_ejected(act)
    assert {exchange.reason for exchange in lb.exchanges[:TIMES]} == {Reason.HTTP_PROTOCOL_ERROR}


async def test_f1_7_idle_connections_that_end_as_a_post_comes() -> None:
    """As far as can be told from here, the backend closed them before the request was there."""

    async def act(lb: Scene, client: Client) -> None:
        for _ in lb.backends:  # now each of them has an idle connection
            await client.says(GET)
            await client.hears(200)
        await client.says(BODY.replace(b"/unfinished", b"/stale").replace(b"100", b"1") + b"x")
        await client.hears(502)

    lb = await nobody_is_ejected(act)
    assert sum(exchange.reason is Reason.CONNECTION_TERMINATED for exchange in lb.exchanges) == TIMES
