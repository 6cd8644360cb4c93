"""Connecting: one address after the other, and no socket left open where none accepts."""

import errno
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

import lb.net.connect
from lb.net.addresses import Address
from lb.net.connect import NO_PORT_LEFT, connect
from tests.kit import Backend, BlackHole, Refusing, lasting, virtual_time
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


def without_sources(monkeypatch: pytest.MonkeyPatch, *kinds: int) -> None:
    """Sockets of these kinds find no local address, or no port of it."""

    class Sourceless(socket.socket):
        def connect_ex(self, address: object) -> int:
            return errno.EADDRNOTAVAIL if self.type in kinds else 0

    monkeypatch.setattr("lb.net.connect.socket.socket", Sourceless)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((socket.SOCK_STREAM,), NO_PORT_LEFT),
        ((socket.SOCK_STREAM, socket.SOCK_DGRAM), errno.EADDRNOTAVAIL),
    ],
    ids=["every port is taken", "no address of this kind"],
)
async def test_a_want_of_ports_is_told_from_a_want_of_addresses(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[int, ...], code: int
) -> None:
    before = open_sockets()
    without_sources(monkeypatch, *kinds)
    with pytest.raises(OSError, match=r"port|assign") as caught:
        await connect([(socket.AF_INET, ("127.0.0.1", 1))])
    assert caught.value.errno == code
    assert open_sockets() == before


# -- several addresses, RFC 8305 ---------------------------------------------------------------------------


async def test_the_next_is_tried_beside_one_that_does_not_answer_and_the_loser_is_closed() -> None:
    hole, backend = BlackHole(), Backend()
    before = open_sockets()
    with lasting(0.25):
        sock = await connect([address_of(hole), address_of(backend)])
    peer = await backend.accepts()
    assert len(open_sockets() - before) == 2  # the winner's, and its other end
    sock.close()
    await peer.hears_end()
    for stand in (hole, backend):
        stand.close()


async def test_each_has_a_quarter_of_a_second_and_none_waits_for_one_that_refuses() -> None:
    stands = [BlackHole(), BlackHole(), Refusing(), Backend()]
    with lasting(0.5):
        (await connect([address_of(stand) for stand in stands])).close()
    for stand in stands:
        stand.close()


async def test_one_that_is_slow_may_still_win() -> None:
    slow, hole = Backend(), BlackHole()
    started: list[object] = []

    async def connect_late(family: socket.AddressFamily, address: object) -> socket.socket:
        started.append(address)
        await trio.sleep(0.6)
        return await plain(family, address)

    plain = lb.net.connect._connect_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lb.net.connect._connect_one", connect_late)
        with lasting(0.6):
            sock = await connect([address_of(slow), address_of(hole), address_of(hole), address_of(hole)])
    assert sock.getpeername() == address_of(slow)[1]
    assert len(started) == 3
    sock.close()
    slow.close()
    hole.close()


async def test_where_descriptors_ran_out_that_is_the_error_and_no_refusal() -> None:
    async def scarce(_family: socket.AddressFamily, address: object) -> socket.socket:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EMFILE if address == 2 else errno.ECONNREFUSED, "-")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lb.net.connect._connect_one", scarce)
        with pytest.raises(OSError, match="-") as caught:
            await connect([(socket.AF_INET, number) for number in (1, 2, 3)])
    assert caught.value.errno == errno.EMFILE


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    stands: list[Stand] = [BlackHole(), Refusing(), Backend(), Backend()]
    before = open_sockets()
    for step in range(1, 40):
        scope, is_over = trio.CancelScope(), False
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_at, step, scope)
                sock = await connect([address_of(stand) for stand in stands])
                sock.close()
                is_over = True
                nursery.cancel_scope.cancel()
        for stand in stands:
            if isinstance(stand, Backend):
                await drop_all(stand)
        assert open_sockets() == before
        if is_over and step > 20:
            break
    for stand in stands:
        stand.close()


async def cancel_at(step: int, scope: trio.CancelScope) -> None:
    """After so many turns of the event loop, in the first of which time passes."""
    await trio.sleep(0.25 if step > 10 else 0.0)
    for _ in range(step % 10):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def drop_all(backend: Backend) -> None:
    """Accept and close what is in the backlog."""
    await trio.testing.wait_all_tasks_blocked()
    backend._listening.setblocking(False)
    while True:
        try:
            backend._listening.accept()[0].close()
        except BlockingIOError:
            return


async def test_a_unix_socket_whose_backlog_is_full_is_tried_again(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(path)
        listening.listen(0)
        first.connect(path)

        async def accept_later() -> None:
            await trio.sleep(1)
            listening.accept()[0].close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_later)
            with lasting(1.0):
                (await connect([(socket.AF_UNIX, path)])).close()
