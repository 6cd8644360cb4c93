"""Accepting: the addresses, the connection limit, errors of accept(2), and the shutdown."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

import lb
from lb.net.listener import open_listeners
from lb.observe.counters import Metrics
from lb.proxy.acceptor import PATIENCE_SECONDS, Server
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.places import Places
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress
from tests.kit import GET, OK, Backend, Client, lasting, running, virtual_time

pytestmark = virtual_time

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process is out of file descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# -- where we listen --------------------------------------------------------------------------------------


async def test_ipv6_is_spoken_on_both_sides() -> None:
    async with running(listen=["[::1]:0"]) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(b"GET / HTTP/1.0\r\n\r\n")
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "::1"
        assert heard[0]["Host"] == lb.balancer.control.listening[0]


async def test_a_unix_socket_is_listened_on_and_removed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    async with running(listen=[f"unix:{path}"]) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(GET)
        await client.hears(200)
        assert "X-Forwarded-For" not in heard[0]
        assert lb.exchange.listener == f"unix:{path}"
    assert not path.exists()


async def test_a_unix_socket_that_nobody_answers_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with running(listen=[f"unix:{path}"]) as lb, lb.backend.answering(OK):
        await (await lb.asks(GET)).hears(200)


async def test_a_unix_socket_that_somebody_answers_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        theirs.listen()
        with pytest.raises(OSError, match=f"cannot listen on unix:{path}: address already in use"):
            await open_listeners(UnixAddress(str(path)))
        assert path.exists()


async def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="address already in use"):
        await open_listeners(UnixAddress(str(path)))
    assert path.read_text() == "precious"


async def test_a_unix_socket_whose_backlog_is_full_is_in_use(tmp_path: Path) -> None:
    path = str(tmp_path / "lb.sock")
    with socket.socket(socket.AF_UNIX) as theirs, socket.socket(socket.AF_UNIX) as queued:
        theirs.bind(path)
        theirs.listen(0)
        queued.connect(path)
        with pytest.raises(OSError, match="address already in use"):
            await open_listeners(UnixAddress(path))


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        with pytest.raises(
            OSError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"
        ) as caught:
            await open_listeners(TcpAddress("127.0.0.1", port))
        assert caught.value.errno == errno.EADDRINUSE


async def test_an_inherited_socket_is_listened_on() -> None:
    inherited = socket.create_server(("127.0.0.1", 0))
    async with running(listen=[f"fd://{inherited.detach()}"]) as lb, lb.backend.answering(OK):
        await (await lb.asks(GET)).hears(200)


async def test_an_inherited_descriptor_that_does_not_listen_is_named() -> None:
    with socket.socket() as sock:
        with pytest.raises(OSError, match=r"cannot listen on fd://.*does not listen"):
            await open_listeners(FdAddress(sock.fileno()))


async def test_several_listeners_are_counted_apart() -> None:
    async with running(listen=["127.0.0.1:0", "127.0.0.1:0"]) as lb, lb.backend.answering(OK):
        for listener in (0, 1, 1):
            client = await lb.client(listener)
            await client.says(GET)
            await client.hears(200)
        counts = [lb.metrics.listener(name) for name in lb.balancer.control.listening]
        assert [count.accepted for count in counts] == [1, 2]


# -- how many we take -------------------------------------------------------------------------------------


async def test_at_the_limit_accepting_pauses_until_somebody_leaves() -> None:
    async with running(limits={"connections": 2}) as lb, lb.backend.answering(OK):
        clients = [await lb.asks(GET) for _ in range(4)]
        for client in clients[:2]:
            await client.hears(200)
        await clients[2].hears_nothing()
        assert lb.metrics.listener(lb.exchange.listener).open == 2
        await clients[0].says(GET)
        await clients[0].hears(200)
        for leaving, waiting in zip(clients, clients[2:], strict=False):
            leaving.closes()
            with lasting(0.0):
                await waiting.hears(200)


async def test_out_of_descriptors_accepting_rests_and_recovers() -> None:
    async with running() as lb, lb.backend.answering(OK):
        served = await lb.asks(GET)
        await served.hears(200)
        counts = lb.metrics.listener(lb.exchange.listener)
        waiting = Client(trio.socket.socket())
        lb.clients.append(waiting)
        with no_descriptor_left():
            host, _, port = lb.balancer.control.listening[0].rpartition(":")
            await waiting.sock.connect((host, int(port)))
            await waiting.says(GET)
            await trio.sleep(1.05)
            await served.says(GET)
            await served.hears(200)
            assert counts.rejected == {"file_descriptors": 11}
        with lasting(0.05):
            await waiting.hears(200)


async def test_out_of_descriptors_a_request_that_needs_one_is_503() -> None:
    async with running() as lb:
        client = await lb.client()
        await trio.testing.wait_all_tasks_blocked()
        with no_descriptor_left():
            await client.says(GET)
            assert "connection_limit_reached" in (await client.hears(503))["Proxy-Status"]
        assert lb["one"].failures.total() == 0
        async with lb.backend.answering(OK):
            await client.says(GET)
            await client.hears(200)


@pytest.mark.pure
async def test_a_bug_in_one_connection_ends_that_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Exchange) -> None:
        raise RuntimeError("a bug")

    async with running() as lb, lb.backend.answering(OK):
        lb.errors_expected = 1
        other = await lb.asks(GET)
        await other.hears(200)
        with monkeypatch.context() as patch:
            patch.setattr(Exchange, "begin", fail)
            client = await lb.asks(GET)
            await client.hears_all()
        await other.says(GET)
        await other.hears(200)


# -- the end ----------------------------------------------------------------------------------------------


async def test_at_the_end_nobody_new_is_taken() -> None:
    async with running() as lb:
        await lb.asks(GET)
        await lb.backend.hears()
        lb.balancer.stop()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await lb.client()


async def test_at_the_end_idle_connections_end_after_a_last_chance() -> None:
    async with running() as lb, lb.backend.answering(OK):
        fresh, used = await lb.client(), await lb.asks(GET)
        await used.hears(200)
        lb.balancer.stop()
        with lasting(1.0):
            await fresh.hears_end()
            await used.hears_end()


async def test_a_request_in_the_last_chance_is_answered_and_is_the_last() -> None:
    async with running() as lb:
        client = await lb.client()
        lb.balancer.stop()
        await trio.sleep(0.9)
        await client.says(GET)
        peer = await lb.backend.hears()
        await trio.sleep(5)
        await peer.says(OK)
        assert (await client.hears(200))["Connection"] == "close"
        await client.hears_end()


async def test_at_the_end_live_exchanges_are_finished_and_say_close() -> None:
    async with running() as lb:
        client = await lb.asks(GET + GET)
        peer = await lb.backend.hears()
        lb.balancer.stop()
        await trio.sleep(29)
        await peer.says(OK)
        assert (await client.hears(200))["Connection"] == "close"
        await client.hears_end()
        await peer.hears_end()
        await trio.testing.wait_all_tasks_blocked()
    assert lb.balancer.cut == 0


async def test_who_was_let_in_by_the_kernel_before_the_end_is_served() -> None:
    async with running(limits={"connections": 1}) as lb:
        first, second = await lb.asks(GET), await lb.asks(GET)
        peer = await lb.backend.hears()
        lb.balancer.stop()
        other = await lb.backend.hears()
        for client, answering in ((first, peer), (second, other)):
            await answering.says(OK)
            await client.hears(200)


async def test_when_the_grace_is_over_the_rest_is_cut_and_told_so() -> None:
    async with running() as lb:
        waiting = await lb.asks(GET)
        peer = await lb.backend.hears()
        reading = await lb.asks(GET)
        other = await lb.backend.hears()
        await other.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await reading.hears_head(200)
        await reading.hears_exactly(b"ab")
        lb.balancer.stop()
        with lasting(30.0):
            response = await waiting.hears(503)
            await reading.hears_end()
            await peer.hears_end()
        assert response["Connection"] == "close"
        assert "destination_unavailable" in response["Proxy-Status"]
    assert lb.balancer.cut == 2


async def test_when_the_grace_is_over_a_tunnel_is_cut() -> None:
    async with running(timeouts={"grace": 7}) as lb:
        client = await lb.asks(UPGRADE)
        peer = await lb.backend.hears()
        await peer.says(SWITCHED)
        await client.hears(101)
        lb.balancer.stop()
        with lasting(7.0):
            await client.hears_end()
            await peer.hears_end()


async def test_who_does_not_read_is_cut_too() -> None:
    async with running(timeouts={"grace": 5}) as lb, trio.open_nursery() as nursery:
        await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        nursery.start_soon(peer.says_until_stuck, bytes(1 << 20), 1 << 30)
        await trio.testing.wait_all_tasks_blocked()
        lb.balancer.stop()
        with lasting(5.0):
            await peer.hears_reset()
        nursery.cancel_scope.cancel()
    assert lb.balancer.cut == 1


async def test_what_has_no_task_ends_with_a_balancer_that_is_ended_at_once() -> None:
    stand = Backend()
    with trio.CancelScope() as at_once:
        async with lb.open_balancer(lb.build({"listen": ["127.0.0.1:0"]})) as balancer:
            backend, _ = balancer.registry.add(lb.BackendSpec(url=stand.url))
            port = int(balancer.control.listening[0].rpartition(":")[2])
            idle, busy = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
            await idle.send_all(GET)
            peer = await stand.hears()
            await peer.says(OK)
            assert (await idle.receive_some()).startswith(b"HTTP/1.1 200")
            await busy.send_all(GET)
            await peer.hears_request()
            assert backend.in_flight == 1
            at_once.cancel()
            await trio.lowlevel.checkpoint()
    (flow,) = balancer.metrics.flows.values()
    (counts,) = balancer.metrics.listeners.values()
    assert flow.answers == {("GET", 200): 1, ("GET", 499): 1}
    assert (counts.open, counts.in_flight, backend.in_flight, backend.connections) == (0, 0, 0, 0)
    for client in (idle, busy):
        assert await client.receive_some() == b""
        await client.aclose()
    peer.closes()
    stand.close()


async def test_who_only_lingers_is_not_counted_as_cut() -> None:
    async with running(timeouts={"grace": 1}) as lb:
        client = await lb.asks(b"garbage\r\n\r\n")
        await client.hears(400)
        lb.balancer.stop()
        await trio.sleep(1.1)
    assert lb.balancer.cut == 0


# -- beside other processes -------------------------------------------------------------------------------


class Ahead:
    """The others have fewer connections, and no more come to them."""

    def allowance(self, count: int) -> int:
        return 0

    def show(self, count: int) -> None:
        pass


@pytest.mark.pure
@pytest.mark.parametrize(("is_there", "seconds"), [(True, PATIENCE_SECONDS), (False, 0.0)])
async def test_who_is_ahead_waits_as_long_as_the_connection_does(is_there: bool, seconds: float) -> None:
    places = Places(set(), Metrics(), 10)
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket() as client:
        if is_there:
            client.connect(sock.getsockname())
        began = trio.current_time()
        assert await Server(cast("Any", None), [], places)._turn(Ahead(), sock) == 1
        assert trio.current_time() - began == pytest.approx(seconds, abs=1e-6)
