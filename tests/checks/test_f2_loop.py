"""Faults f2.4 to f2.7: no client keeps the event loop or memory from others; a bug ends one line only."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from lb.observe.access_log import AccessLog
from tests.kit import GET, OK, Client, Ended, Scene, running, virtual_time
from tests.kit.backend import answer
from tests.kit.held import holding

pytestmark = virtual_time

OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
ROUTES: dict[str, Any] = {"routes": [{"path": "/nowhere", "pool": "empty"}]}
NOWHERE: dict[str, Any] = {**ROUTES, "pools": {"default": {}, "empty": {}}}


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


HELD_SECONDS = 0.010
MANY = 3
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOWHERE_TO_GO = GET.replace(b" / ", b" /nowhere ")


def field(line: bytes) -> bytes:
    """A request with this line, or these lines, in its head."""
    return GET[:-2] + line + b"\r\n\r\n"


ATTACKS: dict[str, bytes] = {
    "OPTIONS, pipelined": OPTIONS * 300,
    "refused, pipelined": NOWHERE_TO_GO * 300,
    "answered, pipelined": GET * 300,
    "64 KB behind a request": GET + b"x" * 65_536,
    "chunks of one byte": CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n",
    "chunk extensions": CHUNKED + b"1;" + b"a=b;" * 5000 + b"\r\na\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * 3000 + b"\r\n",
    "empty lines": b"\r\n" * 30_000 + GET,
    "half a head": GET[:-2],
    "a hundred fields": field(b"\r\n".join([b"X-Field: " + b"v" * 120] * 95)),
    "four thousand fields": field(b"\r\n".join([b"a:"] * 4000)),
    "a long field": field(b"X: " + b"a" * 60_000),
    "a list of options": field(b"Connection: " + b"a," * 7000),
    "a list of addresses": field(b"X-Forwarded-For: " + b"1.1.1.1, " * 1700),
    "a list of cookies": field(b"Cookie: " + b"a=b; " * 3000),
    "percent-encoded path": GET.replace(b" / ", b" /" + b"%41" * 2700 + b" "),
    "dots and slashes": GET.replace(b" / ", b" /" + b"../" * 2700 + b" "),
    "a long target": GET.replace(b" / ", b" /" + b"a" * 60_000 + b" "),
    "a long method": b"A" * 60_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long host": GET.replace(b"Host: a", b"Host: " + b"a." * 7000),
}
"""What one client sends at once; the backend answers what comes to it."""


async def says_and_listens(lb: Scene, request_: bytes) -> None:
    """The client reads what comes for a while, in pieces."""
    client = await lb.client()
    with trio.move_on_after(1.0), suppress(Ended, OSError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sends, client, request_)
            while await client.sock.recv(65_536):
                pass
            nursery.cancel_scope.cancel()
    client.closes()


async def sends(client: Client, request_: bytes) -> None:
    with suppress(Ended, OSError):
        await client.says(request_)


async def held(answers: bytes, request_: bytes) -> float:
    """The longest stretch that a task of the balancer holds the loop; where too long, the best of five."""
    best = 1.0
    for _ in range(5):
        async with running(pools={"default": {"policy": "hash"}, "empty": {}}, **ROUTES) as lb:
            async with lb.backend.answering(answers), trio.open_nursery() as nursery:
                with holding("lb.") as watched:
                    for _ in range(MANY):
                        nursery.start_soon(says_and_listens, lb, request_)
                    await trio.sleep(2)
        best = min(best, watched.longest)
        if best < HELD_SECONDS:
            break
    return best


@pytest.mark.alone
@pytest.mark.parametrize("attack", ATTACKS)
async def test_f2_4_no_request_holds_the_loop(attack: str) -> None:
    assert await held(OK, ATTACKS[attack]) < HELD_SECONDS


@pytest.mark.alone
@pytest.mark.parametrize("attack", ["interim heads", "fields", "chunks of one byte"])
async def test_f2_4_nor_does_an_answer(attack: str) -> None:
    answers = {
        "interim heads": INTERIM * 2000 + OK,
        "chunks of one byte": CHUNKED_ANSWER + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n",
        "fields": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 4000 + b"Content-Length: 0\r\n\r\n",
    }
    assert await held(answers[attack], GET) < HELD_SECONDS


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
