"""Connecting: one address after the other, and no socket left open where none accepts."""

import errno
import socket

import pytest
import trio

from lb.net.addresses import Address
from lb.net.connect import connect
from tests.kit import Backend, BlackHole, Refusing, virtual_time
from tests.kit.backend import Stand
from tests.kit.balancer import open_sockets

pytestmark = virtual_time


def address_of(stand: Stand) -> Address:
    host, _, port = stand.address.rpartition(":")
    return socket.AF_INET, (host, int(port))


async def test_the_first_address_that_takes_us_is_it() -> None:
    refusing, backend, other = Refusing(), Backend(), Backend()
    with await connect([address_of(refusing), address_of(backend), address_of(other)]) as sock:
        peer = await backend.accepts()
        sock.send(b"hello")
        await peer.hears_exactly(b"hello")
        await other.accepts_nobody()
        assert sock.getblocking() is False
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for stand in (refusing, backend, other):
        stand.close()


async def test_without_an_address_there_is_an_error() -> None:
    with pytest.raises(OSError, match="no address") as caught:
        await connect([])
    assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_when_all_refuse_the_last_error_is_raised_and_nothing_stays_open() -> None:
    stands = [Refusing(), Refusing()]
    before = open_sockets()
    with pytest.raises(ConnectionRefusedError):
        await connect([address_of(stand) for stand in stands])
    assert open_sockets() == before
    for stand in stands:
        stand.close()


async def test_cancelled_it_leaves_nothing_open() -> None:
    hole = BlackHole()
    before = open_sockets()
    with trio.move_on_after(3) as scope:
        await connect([address_of(hole)])
    assert scope.cancelled_caught
    assert open_sockets() == before
    hole.close()


async def test_out_of_descriptors_no_further_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def refuse(family: int, kind: int) -> socket.socket:
        tried.append(family)
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr("lb.net.connect.socket.socket", refuse)
    with pytest.raises(OSError, match="too many"):
        await connect([(socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET6, ("::1", 1, 0, 0))])
    assert tried == [socket.AF_INET]
