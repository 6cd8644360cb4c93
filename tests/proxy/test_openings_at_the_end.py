"""A stop while a connection is being opened: who has begun to speak is waited for, as a busy client is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from tests.kit import OK, Scene, lasting, running, virtual_time
from tests.kit.half_hello import HalfHello
from tests.kit.wires import Wires, among, client_context, files

pytestmark = virtual_time


@asynccontextmanager
async def opening(**config: Any) -> AsyncIterator[tuple[Scene, HalfHello, trio.SocketStream]]:
    """A balancer, and a client that has said the half of its hello."""
    with among(Wires(front=True)):
        async with running(**config) as lb:
            host, _, port = lb.balancer.control.listening[0].rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                client = HalfHello(stream, client_context(files().ca), "a")
                await client.begin()
                await trio.testing.wait_all_tasks_blocked()
                yield lb, client, stream


async def test_it_is_finished_and_its_request_is_answered() -> None:
    async with opening() as (lb, client, stream), lb.backend.answering(OK):
        lb.balancer.stop()
        await trio.sleep(5)
        await client.finish()
        answer = await client.asks()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()
        await stream.aclose()
    assert lb.balancer.cut == 0


async def test_who_is_silent_after_the_handshake_does_not_hold_up_the_end() -> None:
    async with opening() as (lb, client, stream):
        lb.balancer.stop()
        await client.finish()
        with lasting(1.0):
            while await stream.receive_some():
                """Session tickets, and the close_notify."""
    assert lb.balancer.cut == 0


async def test_one_that_does_not_go_on_has_the_grace() -> None:
    async with opening(timeouts={"grace": 7}) as (lb, _client, stream):
        with lasting(7.0):
            lb.balancer.stop()
            assert await stream.receive_some() == b""
    assert lb.balancer.cut == 0


async def test_one_that_does_not_go_on_has_no_longer_than_any_handshake() -> None:
    async with opening(timeouts={"grace": 60, "handshake": 3}) as (lb, _client, stream):
        with lasting(3.0):
            lb.balancer.stop()
            assert await stream.receive_some() == b""
