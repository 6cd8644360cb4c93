"""The methods of a wire, over a socket pair."""

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from lb.net.plain_wire import PlainWire
from lb.net.wire import no_delay
from tests.kit import Line, virtual_time

pytestmark = virtual_time


Pair = tuple[PlainWire, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    listening = socket.create_server(("127.0.0.1", 0))
    other = socket.create_connection(listening.getsockname())
    sock, _ = listening.accept()
    listening.close()
    wire = PlainWire(sock)
    yield wire, other
    wire.close()
    other.close()


def line_of(sock: socket.socket) -> Line:
    return Line(trio.socket.from_stdlib_socket(sock))


async def test_what_is_sent_on_one_side_is_received_on_the_other(pair: Pair) -> None:
    wire, other = pair
    line = line_of(other)
    await wire.send(b"hello")
    await line.hears_exactly(b"hello")
    await line.says(b"you")
    assert await wire.receive() == b"you"
    line.ends()
    assert await wire.receive() == b""


async def test_receiving_waits_and_can_be_cancelled(pair: Pair) -> None:
    wire, other = pair
    with trio.move_on_after(1) as scope:
        await wire.receive()
    assert scope.cancelled_caught
    other.send(b"later")
    assert await wire.receive(2) == b"la"
    assert await wire.receive() == b"ter"


async def test_a_send_that_cannot_be_whole_says_what_is_left(pair: Pair) -> None:
    wire, other = pair
    data = bytes(range(256)) * (1 << 16)
    assert not wire.send_now(data)
    assert wire.unsent is not None
    assert 0 < len(wire.unsent) < len(data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.flush)
        await line_of(other).hears_exactly(data)


async def test_a_send_to_somebody_who_does_not_read_waits(pair: Pair) -> None:
    wire, _ = pair
    with trio.move_on_after(5) as scope:
        await wire.send(bytes(1 << 26))
    assert scope.cancelled_caught


async def test_a_send_that_fits_takes_no_step_of_the_scheduler(pair: Pair) -> None:
    with trio.testing.assert_no_checkpoints():
        await pair[0].send(b"small")


async def test_an_end_leaves_the_other_direction_open(pair: Pair) -> None:
    wire, other = pair
    wire.end_sending()
    line = line_of(other)
    await line.hears_end()
    await line.says(b"still")
    assert await wire.receive() == b"still"


@pytest.mark.parametrize(("how", "heard"), [("close", "end"), ("reset", "reset")])
async def test_an_end_and_a_reset_are_told_apart(pair: Pair, how: str, heard: str) -> None:
    wire, other = pair
    getattr(wire, how)()
    assert await line_of(other).hears_all() == (b"", heard)


async def test_errors_are_the_socket_s_own(pair: Pair) -> None:
    wire, other = pair
    line_of(other).resets()
    with pytest.raises(ConnectionResetError):
        await wire.receive()
    with pytest.raises(BrokenPipeError):
        await wire.send(b"x")


@pytest.mark.parametrize("how", ["says", "ends", "resets"])
async def test_a_connection_is_quiet_until_something_comes(pair: Pair, how: str) -> None:
    wire, other = pair
    line = line_of(other)
    assert wire.is_quiet()
    if how == "says":
        await line.says(b"x")
    else:
        getattr(line, how)()
    assert not wire.is_quiet()
    assert not wire.is_quiet()


async def test_no_delay_is_for_tcp_only(pair: Pair) -> None:
    no_delay(pair[0]._sock)
    assert pair[0]._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    one, other = socket.socketpair()
    with one, other:
        no_delay(one)
