"""Faults f2.5 and f6.17: whatever clients do to the admin service, the probes and the operator get in."""

import logging
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import pytest
import trio
import trio.testing

import admin.transport.accepting
import admin.transport.admission
from admin.transport.accepting import IN_RESERVE, Reserve
from admin.transport.admission import HEAD_SECONDS
from tests.admin.kit import Add, Hold, Serve, Service, ask_once

HALF = b"GET /readyz HTTP/1.1\r\nHost: a\r\n"
HALF_BODY = b"POST /whatif HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
LONG = b"POST /backends/web1/drain?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROBE = "GET /readyz HTTP/1.1\nHost: a\nConnection: close\n\n"
PLACES = 16


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.transport.admission, "MAX_CONNECTIONS", PLACES)


@asynccontextmanager
async def clients(service: Service, count: int, says: bytes) -> AsyncIterator[list[trio.SocketStream]]:
    """So many connections, each of which has said this and waits."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            stream = await stack.enter_async_context(await service.connect())
            with suppress(trio.BrokenResourceError):
                await stream.send_all(says)
            opened.append(stream)
        yield opened


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("says", [b"", b"G", HALF, HALF_BODY], ids=["nothing", "a byte", "a head", "a body"])
async def test_f2_5_whoever_has_no_whole_request_gives_way_to_a_probe(serve: Serve, says: bytes) -> None:
    async with serve() as service, clients(service, 60, says) as opened:
        for _ in range(40):
            assert b"ready" in await service.says(PROBE)
        with trio.fail_after(5):
            assert b"HTTP" not in await opened[0].receive_some()


@pytest.mark.usefixtures("few")
async def test_f2_5_an_idle_connection_gives_way_and_one_that_is_served_does_not(
    serve: Serve, add: Add, hold: Hold
) -> None:
    backend = add("web1")
    hold(backend)
    async with serve() as service, await service.connect() as idle:
        await ask_once(idle)
        async with clients(service, 1, LONG) as (waiting,):
            while backend.drain is None:
                await trio.lowlevel.checkpoint()
            async with clients(service, 40, HALF):
                assert await idle.receive_some() == b""
                with trio.move_on_after(0.1) as scope:
                    await waiting.receive_some()
                assert scope.cancelled_caught


@pytest.mark.usefixtures("few")
async def test_f2_5_places_are_kept_for_the_probes(serve: Serve, add: Add, hold: Hold) -> None:
    """Requests that last may have all the places but those."""
    hold(add("web1"))
    async with serve() as service, clients(service, 40, LONG) as opened:
        await trio.sleep(0.2)
        refused = await opened[PLACES].receive_some()
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1\r\nconnection: close" in refused
        for _ in range(20):
            assert b"ready" in await service.says(PROBE)


async def test_f2_5_a_head_has_a_deadline_from_its_first_byte_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.transport.admission, "HEAD_SECONDS", 0.2)
    async with serve() as service, await service.connect() as stream:
        await ask_once(stream)
        await trio.sleep(0.3)
        await ask_once(stream)
        with trio.fail_after(5):
            await stream.send_all(b"G")
            assert await stream.receive_some() == b""
    assert HEAD_SECONDS == 10


# -- out of descriptors ------------------------------------------------------------------------------------


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The soft limit is what is open, so none can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as probe:
        free = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_f6_17_out_of_descriptors_the_admin_service_goes_on_with_its_own(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.transport.accepting, "QUIET_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING):
        async with serve() as service, AsyncExitStack() as stack:
            ready = [trio.socket.socket() for _ in range(12)]
            streams = [await stack.enter_async_context(trio.SocketStream(each)) for each in ready]
            with no_descriptor_left():
                for stream in streams:
                    await stream.socket.connect((service.host, service.port))
                    await ask_once(stream)
            assert len(caplog.records) == 1
            for stream in streams:
                await stream.aclose()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await service.says(PROBE)
    began, ended = [record.getMessage() for record in caplog.records]
    assert began == "the admin service cannot accept as usual: Too many open files"
    assert ended == "the admin service accepts as usual again; it was: Too many open files"


async def test_f6_17_half_sent_requests_cannot_use_up_the_reserve(serve: Serve) -> None:
    async with serve() as service, AsyncExitStack() as stack:
        ready = [trio.socket.socket() for _ in range(2 * IN_RESERVE)]
        *silent, last = [await stack.enter_async_context(trio.SocketStream(each)) for each in ready]
        with no_descriptor_left(), trio.fail_after(10):
            for stream in silent:
                await stream.socket.connect((service.host, service.port))
                await stream.send_all(HALF)
            await last.socket.connect((service.host, service.port))
            await ask_once(last)


def test_f6_17_the_reserve_is_given_up_one_by_one_and_taken_again() -> None:
    reserve = Reserve(2)
    assert [reserve.give_up() for _ in range(3)] == [True, True, False]
    assert not reserve.is_whole
    reserve.refill()
    assert reserve.is_whole
    reserve.close()
    reserve.refill()
    assert not reserve.give_up()
