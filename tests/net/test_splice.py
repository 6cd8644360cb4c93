"""One contract for `Pipe`, which moves bytes in the kernel, and `Copy`, which moves them in Python."""

import os
import socket
from collections.abc import Iterator

import pytest

from lb.net.plain_wire import PlainWire
from lb.net.splice import MOST_PIPES, Copy, Pipe, Pipes


@pytest.fixture(params=["pipe", "copy"])
def mover(request: pytest.FixtureRequest) -> Iterator[Pipe | Copy]:
    pipes = Pipes() if request.param == "pipe" else Pipes(most=0)
    with pipes.lend() as lent:
        assert isinstance(lent, Pipe if request.param == "pipe" else Copy)
        yield lent
    pipes.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    """Two connected pairs: the sender and the source that its bytes arrive at; the sink and its receiver."""
    first, second = socket.socketpair(), socket.socketpair()
    for sock in (*first, *second):
        sock.setblocking(False)
    yield (*first, *second)
    for sock in (*first, *second):
        sock.close()


Ends = tuple[socket.socket, socket.socket, socket.socket, socket.socket]


def test_bytes_go_through_in_their_order(mover: Pipe | Copy, ends: Ends) -> None:
    sender, source, sink, receiver = ends
    for piece in (b"one", b"two"):
        sender.send(piece)
        assert mover.fill(PlainWire(source), 100) == 3
        assert mover.held == 3
        assert mover.drain(PlainWire(sink))
        assert mover.held == 0
        assert receiver.recv(100) == piece


def test_no_more_is_taken_than_asked_for(mover: Pipe | Copy, ends: Ends) -> None:
    sender, source, sink, receiver = ends
    sender.send(b"body and the next answer")
    assert mover.fill(PlainWire(source), 4) == 4
    assert mover.drain(PlainWire(sink))
    assert receiver.recv(100) == b"body"
    assert source.recv(100) == b" and the next answer"


def test_nothing_there_is_not_the_end(mover: Pipe | Copy, ends: Ends) -> None:
    sender, source, _, _ = ends
    assert mover.fill(PlainWire(source), 100) is None
    sender.close()
    assert mover.fill(PlainWire(source), 100) == 0


def test_a_sink_that_is_full_keeps_the_rest_here(mover: Pipe | Copy, ends: Ends) -> None:
    sender, source, sink, receiver = ends
    sent = received = 0
    while mover.held == 0:
        sent += sender.send(bytes(60_000))
        assert mover.fill(PlainWire(source), 60_000)
        mover.drain(PlainWire(sink))
    while not mover.drain(PlainWire(sink)):
        received += len(receiver.recv(1 << 20))
    while received < sent:
        received += len(receiver.recv(1 << 20))
    assert received == sent


def test_a_broken_sink_is_an_error(mover: Pipe | Copy, ends: Ends) -> None:
    sender, source, sink, receiver = ends
    sender.send(b"x")
    assert mover.fill(PlainWire(source), 1) == 1
    receiver.close()
    with pytest.raises(OSError):
        mover.drain(PlainWire(sink))


def test_an_empty_pipe_is_lent_again_and_one_with_bytes_in_it_never(ends: Ends) -> None:
    sender, source, _, _ = ends
    pipes = Pipes()
    with pipes.lend() as first:
        pass
    with pipes.lend() as second:
        assert second is first
        sender.send(b"somebody's")
        assert second.fill(PlainWire(source), 10) == 10
    with pipes.lend() as third:
        assert third is not first
    pipes.close()


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Pipes()
    lent = [pipes.lend() for _ in range(MOST_PIPES + 1)]
    movers = [one.__enter__() for one in lent]
    assert [type(mover) for mover in movers] == [Pipe] * MOST_PIPES + [Copy]
    for one in lent:
        one.__exit__(None, None, None)
    pipes.close()


def test_out_of_descriptors_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    with Pipes().lend() as mover:
        assert isinstance(mover, Copy)
