"""A worker over a socket pair in this process, with a real listener; the test is its keeper."""

import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from unittest.mock import Mock

import pytest
import trio
import trio.testing

from lb.config.loader import build
from lb.core.mirror import state_of, state_of_pool
from lb.settings.pool_settings import Ejection, PoolSettings
from lb.workers import worker as module
from lb.workers.board import Board
from lb.workers.channel import Channel
from lb.workers.messages import (
    Accepted,
    Applied,
    Batch,
    Begin,
    Considered,
    Decided,
    Down,
    Draining,
    Failing,
    Idle,
    Report,
    Serving,
    Shown,
    Started,
    Stop,
    Stopped,
    Up,
)
from lb.workers.worker import Worker
from tests.core.scene import Clock, Request, registry, spec
from tests.kit.time import virtual_time
from tests.workers.firm import KEY

pytestmark = virtual_time


class Stage:
    """A worker that runs, and the keeper's end of its channel."""

    def __init__(self, worker: Worker, channel: Channel, heard: AsyncGenerator[object, None]) -> None:
        self.worker = worker
        self.channel = channel
        self._heard = heard
        self._batches = 0
        self.truth = registry(Clock())
        self.truth.add_pool("default", PoolSettings(ejection=Ejection(consecutive=1)))
        self.truth.add(spec("a"))

    async def says(self) -> object:
        with trio.fail_after(60):
            return await anext(self._heard)

    def tell(self, *changes: Decided, is_last: bool = True) -> None:
        self._batches += 1
        self.channel.tell(Batch(self._batches, is_last, [*changes]))

    def tell_all(self, *, is_last: bool = True) -> None:
        self.tell(state_of_pool(self.truth, "default"), state_of(self.truth, "a"), is_last=is_last)

    @property
    def serving(self) -> Serving:
        return Serving(self.worker._traffic.context.ids.tag)

    async def begins(self) -> None:
        """It serves, and knows one backend, a."""
        self.tell_all()
        assert [await self.says() for _ in range(3)] == [Started(), Applied(1), self.serving]

    def takes(self) -> Request:
        request = Request()
        backend, _ = self.worker.registry.pools["default"].take(request)
        assert backend is self.worker.registry.backends["a"]
        return request

    def releases(self, request: Request) -> None:
        self.worker.registry.pools["default"].release(self.worker.registry.backends["a"], request)


@pytest.fixture(autouse=True)
def leave_the_collector_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's process sets it for itself, and this is the process of the tests."""
    monkeypatch.setattr(module, "Collector", Mock)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(s)) for s in socket.socketpair())
    keeper, end = Channel(ours, Up), Channel(theirs, Down)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = build({"admin": {"enabled": False}, "access_log": {"format": "off"}})
        board = Board.made(2)
        own = os.dup(board.fd)
        worker = Worker(Begin(2, 2, own, config, [Accepted(listener.dup().detach())], KEY), end)
        try:
            async with trio.open_nursery() as nursery, aclosing(keeper.heard()) as heard:

                async def run() -> None:
                    async with aclosing(end.heard()) as told:
                        await worker.run(told)
                    end.close()

                nursery.start_soon(run)
                nursery.start_soon(keeper.run)
                yield Stage(worker, keeper, heard)
                nursery.cancel_scope.cancel()
        finally:
            keeper.close()
            end.close()
            worker._board.close()
            board.close()


async def test_it_serves_once_it_is_told_all() -> None:
    async with stage() as it:
        assert await it.says() == Started()
        it.tell_all(is_last=False)
        assert await it.says() == Applied(1)
        await trio.testing.wait_all_tasks_blocked()
        it.tell(Draining(False))
        assert [await it.says(), await it.says()] == [Applied(2), it.serving]


async def test_it_says_when_nothing_runs_on_a_backend_that_drains() -> None:
    async with stage() as it:
        await it.begins()
        request = it.takes()
        it.truth.drain(it.truth.backends["a"], 60)
        it.tell_all()
        assert await it.says() == Applied(2)
        it.releases(request)
        assert await it.says() == Idle("a", 2, 0)


async def test_it_cuts_what_is_left_when_it_is_told_to() -> None:
    async with stage() as it:
        await it.begins()
        request = it.takes()
        drain = it.truth.drain(it.truth.backends["a"], 60)
        assert drain.outcome is not None  # nothing runs in the keeper, and nobody was awaited here
        it.tell_all()
        assert await it.says() == Applied(2)
        assert request.cuts == 0
        it.truth.drains.cut(it.truth.backends["a"])
        it.tell_all()
        assert await it.says() == Applied(3)
        assert request.cuts == 1
        it.releases(request)
        assert await it.says() == Idle("a", 3, 1)


async def test_it_shows_failures_and_the_next_success_one_message_at_a_time() -> None:
    async with stage() as it:
        await it.begins()
        pool, backend = it.worker.registry.pools["default"], it.worker.registry.backends["a"]
        serial = backend.serial
        for why in ("refused", "refused", "reset"):
            pool.failed(backend, why, 0.1, trio.current_time())
        assert await it.says() == Shown("a", serial, failures=1, why="refused")
        it.channel.tell(Considered("a"))
        assert await it.says() == Shown("a", serial, failures=2, why="reset")
        it.channel.tell(Considered("a"))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            pool.answered(backend, 200, 0.1, trio.current_time())
        assert await it.says() == Shown("a", serial, succeeded=True)


async def test_it_tells_of_a_success_that_it_is_asked_for() -> None:
    """The failures were those of another worker."""
    async with stage() as it:
        await it.begins()
        pool, backend = it.worker.registry.pools["default"], it.worker.registry.backends["a"]
        pool.answered(backend, 200, 0.1, trio.current_time())
        it.tell(Failing("gone"), Failing("a"))
        assert await it.says() == Applied(2)
        pool.answered(backend, 200, 0.1, trio.current_time())
        assert await it.says() == Shown("a", backend.serial, succeeded=True)


async def test_it_hears_on_while_what_runs_has_the_grace() -> None:
    """Otherwise an operator's change would wait for it, and it would be taken for dead."""
    async with stage() as it, trio.open_nursery() as nursery:
        await it.begins()
        [name] = [listener.name for listener in it.worker._listeners]
        host, _, port = name.rpartition(":")
        client = await trio.open_tcp_stream(host, int(port))
        async with client:
            await client.send_all(b"GET / HTTP/1.1\r\n")  # a head that has begun is no idle connection
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.1)
            it.channel.tell(Stop(False))
            it.tell(Draining(True))
            assert await it.says() == Applied(2)
        assert isinstance(await it.says(), Report)
        assert await it.says() == Stopped(0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_told", [True, False])
async def test_it_ends_when_it_is_told_to_or_the_keeper_is_gone_before_it_serves(is_told: bool) -> None:
    async with stage() as it:
        assert await it.says() == Started()
        if is_told:
            it.channel.tell(Stop(False))
            assert await it.says() == Stopped(0)
        else:
            it.channel._stream.socket.shutdown(socket.SHUT_WR)
            assert await it.says() == Stopped(0)
