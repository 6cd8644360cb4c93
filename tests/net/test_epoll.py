"""One edge-triggered epoll for all wires: an edge comes once, and the wire remembers unread bytes."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import trio
import trio.testing

from lb.net.epoll import MOST_EVENTS, Readiness
from lb.net.plain_wire import PlainWire
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
async def ends(readiness: Readiness) -> AsyncIterator[tuple[socket.socket, PlainWire]]:
    peer, ours = socket.socketpair()
    wire = PlainWire(ours, readiness=readiness)
    yield peer, wire
    wire.close()
    peer.close()


Ends = tuple[socket.socket, PlainWire]


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
    wire = PlainWire(ours, readiness=Readiness())
    peer.send(b"x")
    assert await wire.receive() == b"x"
    wire.close()
    peer.close()


# -- how many in a row -------------------------------------------------------------------------------------


class Does:
    """A watcher that receives what has come, and then does something."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def came(self, wire: Wire) -> None:
        wire.receive_now()
        self._then()


@pytest.fixture
def several(readiness: Readiness) -> Iterator[list[Ends]]:
    pairs = [socket.socketpair() for _ in range(3)]
    made = [(peer, PlainWire(ours, readiness=readiness)) for peer, ours in pairs]
    yield made
    for peer, wire in made:
        wire.close()
        peer.close()


class Turns(trio.abc.Instrument):
    """Counts the turns of the event loop."""

    count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    counting = Turns()
    trio.lowlevel.add_instrument(counting)
    yield counting
    trio.lowlevel.remove_instrument(counting)


async def until(is_over: Callable[[], bool]) -> None:
    while not is_over():
        await trio.lowlevel.checkpoint()


async def test_what_comes_while_several_are_handled_is_handled_in_the_same_turn(
    several: list[Ends], turns: Turns
) -> None:
    (first, to_first), (second, to_second), (third, to_third) = several
    handled = list[int]()

    def hand_on() -> None:
        handled.append(turns.count)
        third.send(b"x")

    to_first.watcher, to_second.watcher = Does(hand_on), Does(lambda: None)
    to_third.watcher = Does(lambda: handled.append(turns.count))
    first.send(b"x")
    second.send(b"x")
    await until(lambda: len(handled) == 2)
    assert handled[0] == handled[1]


async def test_others_run_however_much_comes(several: list[Ends], turns: Turns) -> None:
    handled = Counter[int]()

    def again(peer: socket.socket) -> None:
        handled[turns.count] += 1
        if handled.total() < 10 * MOST_EVENTS:
            peer.send(b"x")

    for peer, wire in several:
        wire.watcher = Does(partial(again, peer))
        peer.send(b"x")
    await until(lambda: handled.total() >= 10 * MOST_EVENTS)
    assert max(handled.values()) <= MOST_EVENTS
