"""Faults f3.5 to f3.7: connections to backends that end in time, and descriptors that are short."""

import errno
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import structlog
import trio
import trio.testing

import lb as library
from lb.core import backend as core
from lb.net.addresses import Address
from lb.net.connect import connect
from lb.net.epoll import Readiness
from lb.net.resolver import Names
from lb.net.splice import Pipes, most_pipes
from lb.probes.schedule import Probes
from lb.proxy.backend_side.first_look import LOOKS, FirstLook
from lb.settings.balancer_settings import Timeouts
from tests.kit import GET, OK, Backend, BlackHole, Ended, Peer, Scene, lasting, running, virtual_time
from tests.kit.backend import answer

pytestmark = virtual_time

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"
PUT = POST.replace(b"POST", b"PUT")


# -- f3.5: backends close idle connections -----------------------------------------------------------------


async def test_f3_5_the_default_is_below_what_servers_usually_have() -> None:
    assert Timeouts().backend_idle < 2.0


@asynccontextmanager
async def closing_after(backend: Backend, seconds: float, *fields: str) -> AsyncIterator[list[bytes]]:
    """A server that closes a connection that was idle for so long, and refuses what comes at that moment."""
    heard: list[bytes] = []

    async def serve(peer: Peer) -> None:
        try:
            while True:
                with trio.move_on_after(seconds) as idle:
                    heard.append((await peer.hears_request()).head)
                if idle.cancelled_caught:
                    return peer.resets()
                await peer.says(answer(b"ok", *fields))
        except Ended:
            peer.closes()

    async def accept() -> None:
        while True:
            nursery.start_soon(serve, await backend.accepts())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        yield heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [2.0, 5.0])
async def test_f3_5_no_post_meets_the_end_of_its_connection(seconds: float) -> None:
    async with running() as lb, closing_after(lb.backend, seconds):
        client = await lb.client()
        for pause in (seconds - 0.001, seconds, seconds + 0.001, 0.1, 1.0, 1.2, 1.5):
            await client.says(POST)
            await client.hears(200)
            await trio.sleep(pause)
        assert lb["one"].failures.total() == 0
        assert lb["one"].connections_reused == 2


@pytest.mark.parametrize(
    ("field", "kept"), [("timeout=5", 4.0), ("timeout=5, max=100", 4.0), ("max=7", 60.0)]
)
async def test_f3_5_keep_alive_of_a_backend_is_heard(field: str, kept: float) -> None:
    async with running(timeouts={"backend_idle": "60s"}) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(answer(b"ok", f"Keep-Alive: {field}"))
        response = await client.hears(200)
        assert "Keep-Alive" not in response
        with lasting(kept):
            await peer.hears_end()


@pytest.mark.parametrize("field", ["timeout=0", "timeout=1", "max=0", "timeout=5, max=0"])
async def test_f3_5_a_connection_that_is_not_kept_there_is_not_kept_here(field: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(answer(b"ok", f"Keep-Alive: {field}"))
        await client.hears(200)
        with lasting(0.0):
            await peer.hears_end()


async def test_f3_5_max_counts_the_requests_that_are_left() -> None:
    async with running() as lb, lb.backend.answering(answer(b"ok", "Keep-Alive: max=2"), OK):
        client = await lb.client()
        for _ in range(4):
            await client.says(GET)
            await client.hears(200)
        assert lb["one"].connections_opened == 2


@pytest.mark.parametrize("field", ["timeout=x", "timeout", "", "timeout=99999999999999999999", "time=5"])
async def test_f3_5_what_cannot_be_read_changes_nothing(field: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(answer(b"ok", f"Keep-Alive: {field}"))
        await client.hears(200)
        with lasting(1.5):
            await peer.hears_end()


@pytest.mark.parametrize(("request_", "is_reused"), [(GET, True), (PUT, True), (POST, False)])
async def test_f3_5_one_that_is_about_to_end_is_for_what_can_be_sent_again(
    request_: bytes, is_reused: bool
) -> None:
    async with running(timeouts={"backend_idle": "4s"}) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        await trio.sleep(3.2)
        await client.says(request_)
        await client.hears(200)
        assert lb.exchange.attempts[0].reused is is_reused


async def test_f3_5_an_upload_that_has_not_come_whole_cannot_be_sent_again() -> None:
    async with running(timeouts={"backend_idle": "4s"}) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        await trio.sleep(3.2)
        await client.says(PUT[:-1])
        await trio.testing.wait_all_tasks_blocked()
        await client.says(b"1")
        await client.hears(200)
        assert not lb.exchange.attempts[0].reused


async def test_f3_5_max_connections_holds_where_an_idle_one_is_passed_over() -> None:
    each = {"max_connections": 1}
    async with running(timeouts={"backend_idle": "4s"}, each=each) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        await trio.sleep(3.2)
        await client.says(POST)
        await client.hears(200)
        assert lb["one"].connections == 1


async def test_f3_5_idle_ones_are_as_many_as_the_setting_says() -> None:
    async with running(limits={"idle_per_backend": 2}) as lb, lb.backend.answering(OK):
        for client in [await lb.asks(GET) for _ in range(5)]:
            await client.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        assert lb["one"].idle_connections == 2


# -- f3.6: thousands of backends ---------------------------------------------------------------------------


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process can open so many more descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(count)]
    lowest = os.dup(0)
    for fd in (*free, lowest):
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.pure
async def test_f3_6_twenty_are_looked_at_a_time() -> None:
    async with running(BlackHole) as lb:
        connections = lb.balancer.traffic.connections
        opening, most = 0, 0
        plain = connections.open

        async def counted(backend: core.Backend) -> object:
            nonlocal opening, most
            opening += 1
            most = max(most, opening)
            try:
                return await plain(backend)
            finally:
                opening -= 1

        connections.open = counted  # type: ignore[method-assign, assignment]
        for number in range(50):
            lb.registry.add(library.BackendSpec(id=f"b{number}", url=lb.stands[0].url))
        with lasting(15.0):  # 51 of them, 20 at a time, 5 s each
            await FirstLook(lb.registry, connections).run()
        assert most == LOOKS == 20


async def test_f3_6_want_of_descriptors_makes_no_backend_unreachable() -> None:
    async with running() as lb:
        await trio.testing.wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as logged, descriptors_left(0):
            await FirstLook(lb.registry, lb.balancer.traffic.connections).run()
        assert [(line["event"], line["count"]) for line in logged] == [("backends not looked at", 1)]


async def test_f3_6_probes_take_a_part_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.probes.schedule.soft_limit", lambda: 300)
    async with running(BlackHole) as lb:
        there = Probes(lb.registry, Names(lb.registry))
        assert there._turns.total_tokens == 30


# -- f3.7: idle connections where descriptors are short ----------------------------------------------------


async def all_idle(lb: Scene, count: int) -> None:
    """So many idle connections to the first backend."""
    clients = [await lb.asks(GET) for _ in range(count)]
    peers = [await lb.backend.hears() for _ in range(count)]
    for client, peer in zip(clients, peers, strict=True):
        await peer.says(OK)
        await client.hears(200)
    await trio.testing.wait_all_tasks_blocked()


def few_descriptors(lb: Scene, monkeypatch: pytest.MonkeyPatch, most_idle: int) -> None:
    """A connection can be opened only while at most so many are idle."""

    async def connect_if_there_is_room(addresses: list[Address]) -> socket.socket:
        if lb["one"].idle_connections + lb["two"].idle_connections > most_idle:
            raise OSError(errno.EMFILE, "Too many open files")
        return await connect(addresses)

    monkeypatch.setattr("lb.proxy.backend_side.connections.connect", connect_if_there_is_room)


@pytest.mark.parametrize("most_idle", [9, 3, 0])
async def test_f3_7_idle_connections_are_given_up_before_a_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, most_idle: int
) -> None:
    async with running(Backend, Backend) as lb, lb.backends[1].answering(OK):
        lb.registry.maintenance(lb["two"])
        await all_idle(lb, 10)
        few_descriptors(lb, monkeypatch, most_idle)
        lb.registry.ready(lb["two"])
        lb.registry.change(lb["two"], library.BackendSpec(id="two", url=lb.stands[1].url, weight=1000))
        await (await lb.asks(GET)).hears(200)
        assert lb["two"].connections_opened == 1
        assert most_idle // 2 <= lb["one"].idle_connections <= most_idle


async def test_f3_7_without_any_the_request_is_refused_and_nobody_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(Backend, Backend) as lb:
        few_descriptors(lb, monkeypatch, -1)
        for _ in range(6):
            client = await lb.asks(GET)
            assert "connection_limit_reached" in (await client.hears(503))["Proxy-Status"]
        assert {lb["one"].state, lb["two"].state} == {"ready"}


@pytest.mark.pure
async def test_f3_7_a_connection_that_cannot_be_watched_is_nobody_s_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_self: Readiness, _fd: int, _waiting: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running() as lb:
        client = await lb.client()
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(Readiness, "register", full)
        for _ in range(4):
            await client.says(GET)
            assert "connection_limit_reached" in (await client.hears(503))["Proxy-Status"]
        assert lb["one"].state == "ready"


async def test_f3_7_idle_connections_have_a_part_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.proxy.backend_side.connections.soft_limit", lambda: 64)
    async with running() as lb:
        await all_idle(lb, 30)
        assert lb["one"].idle_connections == 16


async def test_f3_7_pipes_are_given_up_and_there_are_few_where_descriptors_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipes = Pipes()
    with pipes.lend(), pipes.lend():
        pass
    assert pipes.give_up(1)
    assert len(pipes._idle) == 1
    assert pipes.give_up(0)
    assert not pipes.give_up(0)
    monkeypatch.setattr("lb.net.splice.soft_limit", lambda: 256)
    assert most_pipes() == 4
