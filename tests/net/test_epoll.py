"""One edge-triggered epoll for all wires: an edge comes once, and the wire remembers unread bytes."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from lb.net.epoll import Readiness
from lb.net.wire import Wire


@pytest.fixture
async def readiness() -> AsyncIterator[Readiness]:
    watched = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await trio.testing.wait_all_tasks_blocked()
        yield watched
        nursery.cancel_scope.cancel()


@pytest.fixture
async def ends(readiness: Readiness) -> AsyncIterator[tuple[socket.socket, Wire]]:
    peer, ours = socket.socketpair()
    wire = Wire(ours, readiness=readiness)
    yield peer, wire
    wire.close()
    peer.close()


Ends = tuple[socket.socket, Wire]


async def test_what_was_there_before_we_wait_is_received(ends: Ends) -> None:
    peer, wire = ends
    peer.send(b"early")
    await trio.testing.wait_all_tasks_blocked()
    assert await wire.receive() == b"early"


async def test_what_comes_while_we_wait_is_received(ends: Ends) -> None:
    peer, wire = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_soon, peer, b"late")
        assert await wire.receive() == b"late"


async def send_soon(peer: socket.socket, data: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    peer.send(data)


async def test_more_than_one_receive_takes_is_not_lost(ends: Ends) -> None:
    peer, wire = ends
    peer.send(b"abcdef")
    assert [await wire.receive(4), await wire.receive(4)] == [b"abcd", b"ef"]


async def test_exactly_as_much_as_asked_for_leaves_nothing_to_wait_for_in_vain(ends: Ends) -> None:
    peer, wire = ends
    peer.send(b"abcd")
    assert await wire.receive(4) == b"abcd"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_soon, peer, b"next")
        assert await wire.receive(4) == b"next"


async def test_an_end_that_came_with_the_last_bytes_is_told(ends: Ends) -> None:
    peer, wire = ends
    peer.send(b"last")
    peer.shutdown(socket.SHUT_WR)
    assert await wire.receive() == b"last"
    assert await wire.receive() == b""
    assert await wire.receive() == b""


async def test_a_wait_that_is_cancelled_loses_nothing(ends: Ends) -> None:
    peer, wire = ends
    with trio.CancelScope() as scope:
        scope.cancel()
        await wire.receive()
    assert scope.cancelled_caught
    peer.send(b"later")
    assert await wire.receive() == b"later"


async def test_a_wire_always_lets_others_run(ends: Ends) -> None:
    peer, wire = ends
    peer.send(b"ab")
    await trio.testing.wait_all_tasks_blocked()
    with trio.testing.assert_checkpoints():
        await wire.receive(1)


async def test_when_nobody_watches_trio_is_asked() -> None:
    peer, ours = socket.socketpair()
    wire = Wire(ours, readiness=Readiness())
    peer.send(b"x")
    assert await wire.receive() == b"x"
    wire.close()
    peer.close()
