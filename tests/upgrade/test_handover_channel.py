"""The channel between two programs: whole messages in order, or an error in words."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from lb.errors import NotUpgraded
from lb.upgrade.handover_channel import Channel
from lb.upgrade.handover_messages import Offer, Ready, Refused, Serving, framed


@asynccontextmanager
async def channel() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """One end, and the raw socket of the other."""
    ours, theirs = socket.socketpair()
    with theirs:
        made = Channel(ours)
        yield made, theirs
        await made.aclose()


async def test_messages_arrive_whole_and_in_order() -> None:
    """A million bytes, more than the kernel holds, and a small one behind them."""
    ours, theirs = (Channel(sock) for sock in socket.socketpair())
    long = Offer(program="0.1.0", pid=1, cookie_key=b"k" * 1_000_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_both, ours, long)
        assert await theirs.hear(Offer) == long
        assert await theirs.hear(Serving) == Serving()
    await ours.aclose()
    assert await theirs.receive() is None
    await theirs.aclose()


async def _send_both(channel: Channel, first: Offer) -> None:
    await channel.send(first)
    await channel.send(Serving())


async def test_a_message_may_come_byte_by_byte() -> None:
    async with channel() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(_trickle, theirs, framed(Refused(why="no"), 0))
        assert await ours.hear(Refused) == Refused(why="no")


async def _trickle(sock: socket.socket, data: bytes) -> None:
    for byte in data:
        sock.send(bytes([byte]))
        await trio.lowlevel.checkpoint()


def _ends(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def _ends_in_the_middle(sock: socket.socket) -> None:
    sock.send(framed(Serving(), 0)[:5])
    sock.shutdown(socket.SHUT_WR)


def _skips_one(sock: socket.socket) -> None:
    sock.send(framed(Serving(), 1))


def _says_another(sock: socket.socket) -> None:
    sock.send(framed(Serving(), 0))


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (_ends, "said nothing, not Ready"),
        (_ends_in_the_middle, "said nothing, not Ready"),
        (_skips_one, "sent message 1, not 0"),
        (_says_another, "said Serving, not Ready"),
    ],
)
async def test_another_message_than_was_expected(does: Callable[[socket.socket], None], words: str) -> None:
    async with channel() as (ours, theirs):
        does(theirs)
        with pytest.raises(NotUpgraded, match=words):
            await ours.hear(Ready)


async def test_the_end_of_the_other_side_is_an_error_of_sending() -> None:
    async with channel() as (ours, theirs):
        theirs.close()
        with pytest.raises(trio.BrokenResourceError):
            await ours.send(Serving())
