"""The fleet starts workers, and starts them again. Here a worker is a task at the end of its channel."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from lb.config.loader import build
from lb.core.worker_view import WorkerEvent
from lb.net.resolver import Names
from lb.observe.counters import Metrics
from lb.settings.pool_settings import PoolSettings
from lb.workers import fleet as module
from lb.workers import process_start
from lb.workers.accounts import Accounts
from lb.workers.channel import Channel
from lb.workers.fleet import (
    APPLY_SECONDS,
    FIRST_PAUSE,
    SILENT_SECONDS,
    START_SECONDS,
    WATCH_SECONDS,
    Fleet,
)
from lb.workers.messages import Applied, Awake, Batch, Begin, Down, Serving, Started, Stop, Stopped
from tests.core.scene import Clock, registry, spec
from tests.kit.time import lasting, virtual_time
from tests.workers.firm import KEY

pytestmark = virtual_time

Life = Callable[["Process"], Awaitable[None]]


class Process:
    """What the fleet takes for a process: it ends when its task does, or at a signal."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.channel = Channel(
            trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=fd))), Down
        )
        self.heard: list[object] = []
        self.has_ended = trio.Event()
        self.scope = trio.CancelScope()
        self.code = 0
        self.returncode: int | None = None
        self.was_killed = False

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.was_killed = True
        self.scope.cancel()

    async def run(self, life: Life) -> None:
        with self.scope:
            await life(self)
        self.channel.close()
        self.returncode = self.code
        self.has_ended.set()

    async def wait(self) -> int:
        await self.has_ended.wait()
        return self.code

    async def serve(self) -> None:
        """As a worker does, until it is told to stop."""
        self.channel.tell(Started())
        is_serving = False
        async with trio.open_nursery() as nursery, aclosing(self.channel.heard()) as heard:
            nursery.start_soon(self.channel.run)
            async for message in heard:
                self.heard.append(message)
                if isinstance(message, Batch):
                    self.channel.tell(Applied(message.number))
                    if not is_serving:
                        is_serving = True
                        self.channel.tell(Serving(b"tag"))
                if isinstance(message, Stop):
                    self.channel.tell(Stopped(3))
                    await self.channel.sent()
                    break
            nursery.cancel_scope.cancel()


async def works(process: Process) -> None:
    await process.serve()


async def dies(_process: Process) -> None:
    """At once."""


async def dies_by_a_signal_without_a_name(process: Process) -> None:
    process.code = -40


async def hangs(process: Process) -> None:
    await trio.sleep_forever()


async def works_for_a_while(process: Process) -> None:
    with trio.move_on_after(10):
        await process.serve()


async def answers_no_more(process: Process) -> None:
    """It serves, and applies nothing from then on."""
    process.channel.tell(Started())
    async with trio.open_nursery() as nursery, aclosing(process.channel.heard()) as heard:
        nursery.start_soon(process.channel.run)
        async for message in heard:
            if isinstance(message, Batch):
                process.channel.tell(Applied(message.number))
                process.channel.tell(Serving(b"tag"))
                break
        await trio.sleep_forever()


async def talks_nonsense(process: Process) -> None:
    """It has applied what it was never told."""
    process.channel.tell(Applied(7))
    await process.channel.run()


class Stage:
    """A fleet whose processes lead the lives that a test gives them, one after the other."""

    def __init__(self, nursery: trio.Nursery, lives: Sequence[Life], count: int, has_spare: bool) -> None:
        self.registry = registry(Clock())
        self.registry.add_pool("default", PoolSettings())
        self.registry.add(spec("a"))
        accounts = Accounts(self.registry, Metrics(), count)
        self.events: list[WorkerEvent] = []
        accounts.subscribe(self.events.append)
        self.fleet = Fleet(build({}), count, self.registry, Names(self.registry), KEY, accounts)
        self.processes: list[Process] = []
        self.began: list[float] = []
        self._nursery = nursery
        self._lives = [*lives]
        if not has_spare:
            self.fleet._spare.want = lambda: None  # type: ignore[method-assign]

    async def start_process(self, fds: Sequence[int]) -> Process:
        process = Process(2**30 + len(self.processes), os.dup(fds[0]))
        self.processes.append(process)
        self.began.append(trio.current_time())
        life = self._lives.pop(0) if len(self._lives) > 1 else self._lives[0]
        self._nursery.start_soon(process.run, life)
        return process

    def kill(self, pid: int) -> None:
        for process in self.processes:
            if process.pid == pid:
                process.scope.cancel()


@asynccontextmanager
async def stage(
    monkeypatch: pytest.MonkeyPatch, *lives: Life, count: int = 1, has_spare: bool = False
) -> AsyncIterator[tuple[Stage, trio.Nursery]]:
    with capture_logs():
        async with trio.open_nursery() as nursery:
            it = Stage(nursery, lives, count, has_spare)
            monkeypatch.setattr(module, "kill_pid", it.kill)
            monkeypatch.setattr(process_start, "start_process", it.start_process)
            yield it, nursery


async def test_all_serve_and_all_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works, count=3) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        assert sorted(it.fleet.links) == [1, 2, 3]
        assert all(link.is_serving for link in it.fleet.links.values())
        assert all(isinstance(process.heard[0], Begin) for process in it.processes)
        await it.fleet.stop(30)
    assert (it.fleet.cut, it.fleet.restarts, it.fleet.links) == (9, 0, {})


async def test_one_that_dies_is_started_again_at_once_and_then_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, works_for_a_while, dies, dies, works) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(20)
        assert it.fleet.links[1].is_serving
        await it.fleet.stop(30)
    assert it.fleet.restarts == 3
    assert it.began == pytest.approx([0, 10, 10 + FIRST_PAUSE, 10 + 3 * FIRST_PAUSE])


async def test_who_cancels_it_waits_for_the_end_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing of them stays open. The spare one is one of them."""
    async with stage(monkeypatch, works, count=2, has_spare=True) as (it, _):
        async with trio.open_nursery() as its_own:
            await its_own.start(it.fleet.run, [])
            await trio.sleep(1)
            its_own.cancel_scope.cancel()
        assert [each.has_ended.is_set() for each in it.processes] == [True] * 3


async def wakes(process: Process) -> None:
    """It takes 7 s to start."""
    await trio.sleep(7)
    process.channel.tell(Awake())
    await process.channel.flush()
    await trio.sleep(1)
    await process.serve()


async def test_all_processes_may_be_started_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a program that is to replace another."""
    async with stage(monkeypatch, wakes, count=3) as (it, nursery):
        with lasting(7.0):
            await it.fleet.prepare([])
        await trio.sleep(5)
        assert it.fleet.links == {}
        with lasting(0.0):
            await nursery.start(it.fleet.run, [])
        assert all(link.is_serving for link in it.fleet.links.values())
        assert len(it.processes) == 3
        await it.fleet.stop(30)


async def test_one_that_has_ended_before_it_is_needed_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, dies, wakes, works, count=2) as (it, nursery):
        with lasting(7.0):
            await it.fleet.prepare([])
        await nursery.start(it.fleet.run, [])
        assert {link.pid for link in it.fleet.links.values()} == {each.pid for each in it.processes[1:]}
        await it.fleet.stop(30)


async def test_any_end_of_a_process_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, dies_by_a_signal_without_a_name, dies, works) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await it.fleet.stop(30)
    assert [each.detail for each in it.events if each.kind == "ended"] == [
        "killed by signal 40",
        "exit code 0",
    ]


async def test_it_is_over_at_once_though_a_worker_waits_to_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, works_for_a_while, dies) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(30)
        with lasting(0):
            await it.fleet.stop(30)
            while it.fleet._nursery is not None and it.fleet._nursery.child_tasks:
                await trio.lowlevel.checkpoint()


async def test_where_none_can_serve_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, dies, count=2) as (it, _):
        why = pytest.RaisesExc(ChildProcessError, match="none of 2 workers could be started")
        with pytest.RaisesGroup(why, flatten_subgroups=True):
            await it.fleet.run([])


async def test_where_some_serve_the_start_goes_on_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works, dies, count=2) as (it, nursery):
        with trio.fail_after(5):
            await nursery.start(it.fleet.run, [])
        assert [link.is_serving for link in it.fleet.links.values()].count(True) == 1
        await it.fleet.stop(30)


async def test_one_that_never_serves_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, hangs, works) as (it, nursery):
        with lasting(START_SECONDS):
            await nursery.start(it.fleet.run, [])
        assert it.fleet.restarts == 1
        await it.fleet.stop(30)


async def test_a_wish_to_stop_does_not_wait_for_those_that_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, hangs) as (it, _):
        with lasting(1):
            async with trio.open_nursery() as fleet:
                fleet.start_soon(it.fleet.run, [])
                await trio.sleep(1)
                await it.fleet.stop(0)


async def test_one_that_applies_nothing_is_killed_and_holds_nobody_up_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, answers_no_more, works) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        it.registry.maintenance(it.registry.backends["a"])
        with lasting(APPLY_SECONDS):
            await it.fleet.applied()
        await trio.sleep(0.1)
        assert (it.fleet.restarts, it.fleet.links[1].is_serving) == (1, True)
        await it.fleet.stop(30)


async def test_one_that_had_to_be_killed_at_the_end_counts_as_one_that_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, answers_no_more) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await it.fleet.stop(1)
    assert it.fleet.cut == 1


async def test_one_whose_loop_does_not_turn_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [SILENT_SECONDS]
    monkeypatch.setattr(module, "silent_for", lambda _board, column: silent[column])
    async with stage(monkeypatch, works) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(59.5)  # between two looks
        assert it.fleet.restarts == 0
        silent[0] += 0.1
        await trio.sleep(WATCH_SECONDS)
        silent[0] = 0.0
        await trio.sleep(60)
        assert it.fleet.links[1].is_serving
        await it.fleet.stop(30)
    assert it.fleet.restarts == 1


async def test_one_that_talks_nonsense_is_killed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works, talks_nonsense, works, count=2) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        assert sorted(it.fleet.links) == [1, 2]
        assert all(link.is_serving for link in it.fleet.links.values())
        assert it.fleet.restarts == 1
        await it.fleet.stop(30)


async def test_one_that_dies_is_replaced_by_a_process_that_was_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works_for_a_while, works, has_spare=True) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(5)
        assert it.began == [0, 0]
        assert it.processes[1].heard == []
        await trio.sleep(6)
        assert it.fleet.links[1].pid == it.processes[1].pid
        assert it.fleet.links[1].is_serving
        assert it.began == [0, 0, 10]  # and another one is ready
        await it.fleet.stop(30)
    assert it.processes[2].was_killed


async def test_a_spare_process_that_has_ended_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works_for_a_while, dies, works, has_spare=True) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(11)
        assert it.fleet.links[1].pid == it.processes[2].pid
        assert (it.fleet.links[1].is_serving, it.fleet.restarts) == (True, 1)
        await it.fleet.stop(30)


async def test_there_is_no_spare_process_before_all_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, works, dies, count=2, has_spare=True) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        assert it.fleet._spare.take() is None
        await it.fleet.stop(30)


async def test_who_accepts_is_told_to_stop_when_nobody_else_has_the_listeners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came to a listener that only a spare process still has would be reset at its end."""

    async def sees_who_is_there(process: Process) -> None:
        await process.serve()
        others = [each for each in it.processes if each is not process]
        there.append([each.returncode for each in others])

    there: list[list[int | None]] = []
    lives = (sees_who_is_there, works_for_a_while, hangs)
    async with stage(monkeypatch, *lives, count=2, has_spare=True) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(10.5)  # the second has ended, the spare one took its place, and hangs
        assert [each.returncode is None for each in it.processes] == [True, False, True]
        await it.fleet.stop(30)
    assert there == [[0, 0]]


async def test_no_spare_process_waits_for_the_end_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, answers_no_more, works, has_spare=True) as (it, nursery):
        await nursery.start(it.fleet.run, [])
        await trio.sleep(1)
        await it.fleet.stop(300)
        await trio.sleep(1)
        assert (it.processes[1].was_killed, sorted(it.fleet.links)) == (True, [1])
