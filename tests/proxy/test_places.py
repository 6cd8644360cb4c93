"""Faults f2.1 to f2.7: no client can take the place of another, and a listener never dies."""

import errno
import socket
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.kit import GET, OK, Backend, Client, Scene, lasting, running, virtual_time

pytestmark = virtual_time

TWO_LISTENERS = ["127.0.0.1:0", "127.0.0.1:0"]


async def idle(lb: Scene, listener: int = 0) -> Client:
    """A client that was served, and keeps its connection."""
    client = await lb.client(listener)
    await client.says(GET)
    await client.hears(200)
    return client


async def test_f2_1_every_listener_accepts_again_when_all_have_left() -> None:
    async with running(Backend, listen=TWO_LISTENERS, limits={"connections": 2}) as lb:
        async with lb.backend.answering(OK):
            held = [await idle(lb), await idle(lb, 1)]
            waiting = [await lb.client(listener) for listener in (0, 1)]
            for client in waiting:
                await client.says(GET)
            await trio.testing.wait_all_tasks_blocked()
            for client in held:
                client.closes()
            for client in waiting:
                await client.hears(200)
            for client in waiting:
                client.closes()
            for listener in (0, 1):
                await idle(lb, listener)


async def test_f2_1_the_limit_is_never_passed_whichever_listener_is_asked() -> None:
    async with running(listen=TWO_LISTENERS, limits={"connections": 3}) as lb:
        for number in range(8):
            await (await lb.client(number % 2)).says(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert len(lb.connections) == 3
        assert not any(counts.rejected for counts in lb.metrics.listeners.values())
        for _ in range(3):
            (await lb.backend.hears()).closes()
        lb.balancer.stop()


async def test_f2_2_what_is_idle_longest_makes_room() -> None:
    async with running(limits={"connections": 3}) as lb, lb.backend.answering(OK):
        oldest, younger = await idle(lb), await idle(lb)
        await trio.sleep(5)
        await idle(lb)
        await younger.says(GET)
        await younger.hears(200)
        new = await lb.asks(GET)
        with lasting(0.0):
            await new.hears(200)
        assert await oldest.hears_all() == (b"", "end")
        await younger.says(GET)
        await younger.hears(200)
        assert lb.metrics.connections_evicted == 1


async def test_f2_2_a_client_that_waits_for_its_answer_keeps_its_place() -> None:
    async with running(limits={"connections": 1}, timeouts={"backend_idle": "30s"}) as lb:
        busy = await lb.asks(GET)
        peer = await lb.backend.hears()
        new = await lb.asks(GET)
        await trio.sleep(20)
        await new.hears_nothing()
        await peer.says(OK)
        await busy.hears(200)
        await peer.hears_request()
        await peer.says(OK)
        await new.hears(200)


async def test_f2_2_full_is_told_once_and_so_is_its_end() -> None:
    async with running(limits={"connections": 1}) as lb:
        with capture_logs() as logged:
            client = await lb.asks(GET)
            await lb.backend.hears()
            assert lb.metrics.full_since is not None
            for _ in range(3):
                await lb.client()
            client.closes()
            await trio.sleep(5)
        events = [line["event"] for line in logged]
        assert events.count("every place for clients is taken") >= 1


async def test_f2_3_one_address_has_no_more_than_its_places() -> None:
    async with running(limits={"connections_per_address": 2}) as lb, lb.backend.answering(OK):
        await idle(lb)
        second = await idle(lb)
        third = await lb.client()
        assert await third.hears_all() == (b"", "end")
        (counts,) = lb.metrics.listeners.values()
        assert counts.rejected == {"address_limit": 1}
        second.closes()
        await trio.sleep(1)
        await idle(lb)


async def test_an_address_that_has_its_places_is_logged_once() -> None:
    async with running(limits={"connections_per_address": 1}) as lb, lb.backend.answering(OK):
        with capture_logs() as logged:
            for _ in range(2):
                first = await idle(lb)
                for _ in range(3):
                    assert await (await lb.client()).hears_all() == (b"", "end")
                first.closes()
                await trio.sleep(1)
        events = [line["address"] for line in logged if "every place that it may have" in line["event"]]
        assert events == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.ENOTRECOVERABLE])
async def test_f2_7_an_unforeseen_error_of_accept_ends_nothing(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, failures = socket.socket.accept, [OSError(number, "unforeseen")]

    def failing(sock: socket.socket) -> tuple[socket.socket, Any]:
        if failures and sock.getsockname()[1] in balanced:
            raise failures.pop()
        return accept(sock)

    async with running() as lb, lb.backend.answering(OK):
        balanced = [int(name.rpartition(":")[2]) for name in lb.balancer.control.listening]
        monkeypatch.setattr(socket.socket, "accept", failing)
        await idle(lb)
        (counts,) = lb.metrics.listeners.values()
        assert counts.rejected == {"accept_failed": 1}
