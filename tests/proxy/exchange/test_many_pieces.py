"""Pieces of a body that are there already are passed on in a row, without waking a task for each."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from lb.errors import ResponseIncomplete
from lb.http1.body import LengthReader
from lb.net.epoll import Readiness
from lb.net.plain_wire import PlainWire
from lb.proxy.backend_side.http1_backend import Http1Backend
from lb.proxy.backend_side.terms import Terms
from lb.proxy.exchange.download import MORE_PIECES
from lb.settings.balancer_settings import Limits
from tests.kit import virtual_time
from tests.kit.memory import exchanging

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@virtual_time
async def test_a_few_follow_one_that_was_waited_for_and_then_others_have_their_turn() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(CHUNKED, ends=False)
        await trio.testing.wait_all_tasks_blocked()
        waits = []
        receive = backend.receive_content

        async def counted() -> bytes:
            waits.append(len(backend.pieces))
            return await receive()

        backend.receive_content = counted  # type: ignore[method-assign]
        in_a_row = 1 + MORE_PIECES
        backend.says(*[b"x"] * 2 * in_a_row, ends=True)
        assert await asked.outcome() is None
        assert (asked.client.heard, asked.client.heard_all) == (b"x" * 2 * in_a_row, True)
        assert waits == [in_a_row], "the first wait had begun before"


@virtual_time
async def test_the_end_of_the_body_may_come_without_content() -> None:
    """As the last chunk does."""
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(CHUNKED, ends=False)
        await trio.testing.wait_all_tasks_blocked()
        backend.says(b"a", b"b", b"", ends=True)
        assert await asked.outcome() is None
        assert (asked.client.heard, asked.client.heard_all) == (b"ab", True)


Ends = tuple[Http1Backend, socket.socket]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A connection to a backend that is watched, in the middle of a body, and the backend's end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    readiness = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.run)
        await trio.testing.wait_all_tasks_blocked()
        wire = PlainWire(ours, readiness)
        backend = Http1Backend(wire, "b", Limits(), trio.current_time, Terms())
        backend._reader = LengthReader(1000)
        with theirs:
            yield backend, theirs
        wire.close()
        nursery.cancel_scope.cancel()


async def until_ready(backend: Http1Backend) -> None:
    with trio.fail_after(10):
        await backend.wire.readable()


async def test_what_is_there_is_received_without_a_wait(ends: Ends) -> None:
    backend, peer = ends
    assert backend.more_content_now() is None
    peer.sendall(b"abc")
    await until_ready(backend)
    assert backend.more_content_now() == b"abc"
    assert backend.received == 3
    assert backend.more_content_now() is None
    peer.sendall(b"d")
    await until_ready(backend)
    backend.wire.unread(b"before it")
    assert backend.more_content_now() is None, "what was put back comes first"


async def test_an_end_is_left_to_who_waits_for_it(ends: Ends) -> None:
    backend, peer = ends
    peer.shutdown(socket.SHUT_WR)
    await until_ready(backend)
    assert backend.more_content_now() is None
    with pytest.raises(ResponseIncomplete, match="closed the connection"), trio.fail_after(10):
        await backend.receive_content()


async def test_a_reset_is_told_at_once(ends: Ends) -> None:
    backend, peer = ends
    PlainWire(peer).reset()
    await until_ready(backend)
    with pytest.raises(ResponseIncomplete, match="reset the connection"):
        backend.more_content_now()
