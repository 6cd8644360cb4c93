"""Faults f2.4 to f2.7: no client keeps the event loop or memory from others; a bug ends one line only."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from lb.observe.access_log import AccessLog
from tests.kit import GET, Client, running, virtual_time
from tests.kit.backend import answer

pytestmark = virtual_time

OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
NOWHERE: dict[str, Any] = {
    "routes": [{"path": "/nowhere", "pool": "empty"}],
    "pools": {"default": {}, "empty": {}},
}


class Turns(trio.abc.Instrument):
    """Counts the exchanges that were told within one turn of the event loop, and keeps the most."""

    def __init__(self, told: list[object]) -> None:
        self._told = told
        self._before = 0
        self.most = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._before = len(self._told)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.most = max(self.most, len(self._told) - self._before)


@pytest.mark.parametrize("request_", [OPTIONS, GET.replace(b" / ", b" /nowhere ")], ids=["OPTIONS", "503"])
async def test_f2_4_requests_that_wait_for_nothing_are_answered_one_a_turn(request_: bytes) -> None:
    async with running(**NOWHERE) as lb:
        turns = Turns(lb.exchanges)  # type: ignore[arg-type]
        trio.lowlevel.add_instrument(turns)
        client = await lb.asks(request_ * 100)
        await client.take_until(b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(turns)
        assert turns.most == 1


async def test_f2_4_a_cut_between_two_pipelined_requests_costs_the_second_nothing() -> None:
    async with running() as lb:

        def cut(_exchange: object) -> None:
            if len(lb.exchanges) == 1:
                for connection in lb.connections:
                    connection.cut()

        lb.context.observers = (*lb.context.observers, cut)
        client = await lb.asks(OPTIONS * 3)
        for _ in range(3):
            await client.hears(204)


async def test_f2_6_little_is_held_of_what_is_pipelined_behind_a_slow_request() -> None:
    async with running() as lb:
        client: Client = await lb.asks(GET)
        await lb.backend.hears()
        await client.says(GET * 3000)
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = lb.connections
        assert len(connection.client.buffer) <= 16 * 1024
        client.resets()


async def test_f2_6_nor_behind_one_that_came_with_it() -> None:
    async with running() as lb:
        client = await lb.asks(GET * 3000)
        await lb.backend.hears()
        (connection,) = lb.connections
        assert len(connection.client.buffer) <= 16 * 1024
        client.resets()


async def test_f2_7_a_bug_in_a_line_of_the_access_log_loses_that_line_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as file:
        await one_line_is_lost(monkeypatch, file.fileno())


async def one_line_is_lost(monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
    async with running() as lb, lb.backend.answering(answer(b"ok")):
        lb.errors_expected = 1
        log = AccessLog("json", wall=lambda moment: moment, fd=fd)
        rendered = []

        def render(exchange: object, wall: object) -> bytes:
            rendered.append(exchange)
            if len(rendered) == 1:
                raise RuntimeError("a bug")
            return b""

        monkeypatch.setattr(log, "_render", render)
        lb.context.observers = (*lb.context.observers, log.finished)
        client = await lb.client()
        for _ in range(3):
            await client.says(GET)
            await client.hears(200)
        await log._write_batch()
        assert (len(rendered), log.dropped) == (3, 1)
