"""Messages on a socket pair: whole, in order, and never without end."""

import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trio.testing

from lb.workers import channel as module
from lb.workers.channel import Channel, Stuck
from lb.workers.messages import Applied, Idle, Up


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, Channel, trio.SocketStream]]:
    """Two ends, and the stream of the first."""
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(s)) for s in socket.socketpair())
    one, other = Channel(ours, Up), Channel(theirs, Up)
    try:
        yield one, other, ours
    finally:
        one.close()
        other.close()


async def test_messages_come_in_order_and_then_the_end() -> None:
    messages = [Applied(1), Idle("a" * 300_000, 2, 3), Applied(4)]
    async with pair() as (one, other, _), trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        for message in messages:
            one.tell(message)
        heard = other.heard()
        assert [await anext(heard) for _ in messages] == messages
        await one.sent()
        nursery.cancel_scope.cancel()
        one.close()
        with pytest.raises(StopAsyncIteration):
            await anext(heard)


async def test_a_message_may_come_byte_by_byte() -> None:
    async with pair() as (one, other, stream), trio.open_nursery() as nursery:
        one.tell(Applied(7))
        one.tell(Applied(8))
        data = b"".join(one._waiting)

        async def drip() -> None:
            for at in range(len(data)):
                await stream.send_all(data[at : at + 1])
                await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(drip)
        async with aclosing(other.heard()) as heard:
            assert [await anext(heard), await anext(heard)] == [Applied(7), Applied(8)]


async def test_an_end_that_does_not_read_is_noticed_while_it_is_sent_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1_000_000)
    async with pair() as (one, _, __):

        async def tell_on() -> None:
            for _ in range(30):
                one.tell(Idle("a" * 100_000, 1, 0))
                await trio.testing.wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_on)
            with pytest.raises(Stuck):
                await one.run()


async def test_an_end_that_is_gone_ends_both_ways() -> None:
    async with pair() as (one, other, _):
        other.close()
        one.tell(Applied(1))
        with pytest.raises(trio.BrokenResourceError):
            await one.run()
        assert [message async for message in one.heard()] == []
