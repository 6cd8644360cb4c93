"""The numbers of several workers, against what their clients have counted."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.system.load import Load
from tests.system.program import Program, backend_flags, program, until
from tests.system.servers import nginx_servers

pytestmark = pytest.mark.needs("nginx")

WORKERS = ("--workers", "3")
CLIENTS = 24
SAMPLE = re.compile(r"^(lb_\w+_(?:total|count|sum|bucket)\S*) (\S+)$", re.MULTILINE)
"""A series that only grows."""


async def counters(lb: Program) -> dict[str, float]:
    return {name: float(value) for name, value in SAMPLE.findall(await lb.api("GET", "/metrics"))}


def total(series: dict[str, float], family: str) -> int:
    return int(sum(value for name, value in series.items() if name.startswith(f"{family}{{")))


async def workers(lb: Program) -> list[Any]:
    shown: list[Any] = (await lb.api("GET", "/workers"))["items"]
    return shown


class Watched:
    """Reads all counters again and again. None goes back, and none is more than was counted before it."""

    def __init__(self, lb: Program, load: Load) -> None:
        self.lb, self.load = lb, load
        self.seen: dict[str, float] = {}
        self.reads = 0

    async def run(self) -> None:
        while True:
            await self.look()
            await trio.sleep(0.02)

    async def look(self) -> dict[str, float]:
        answered = self.load.total
        now = await counters(self.lb)
        assert {name: value for name, value in now.items() if value < self.seen.get(name, 0.0)} == {}
        assert self.seen.keys() <= now.keys()
        assert total(now, "lb_requests_total") >= answered - self.lost
        self.seen, self.reads = now, self.reads + 1
        return now

    lost = 0
    """What may be missing since a worker was killed."""


async def rounds(lb: Program, load: Load, count: int, watched: Watched) -> None:
    """So many requests more, while the counters are watched."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        async with trio.open_nursery() as clients:
            clients.start_soon(load.run, CLIENTS)
            await load.reaches(load.total + count)
            load.stop()
        nursery.cancel_scope.cancel()


async def test_what_was_answered_is_what_was_counted_whoever_was_killed(tmp_path: Path) -> None:
    async with nginx_servers(2, tmp_path) as ports, program(*backend_flags(ports), *WORKERS) as lb:
        first = Load(lb.address, b"/hello")
        watched = Watched(lb, first)
        await rounds(lb, first, 600, watched)
        now = await watched.look()
        for family in ("lb_requests_total", "lb_backend_requests_total", "lb_worker_requests_total"):
            assert total(now, family) == first.total
        assert sum((await lb.counts()).values()) == first.total
        killed = (await workers(lb))[0]
        os.kill(killed["pid"], signal.SIGKILL)
        second = Load(lb.address, b"/hello")
        second.answered += first.answered
        watched.load = second
        await rounds(lb, second, 600, watched)
        await until(lambda: all_serve(lb))
        now = await watched.look()
        for family in ("lb_requests_total", "lb_backend_requests_total", "lb_worker_requests_total"):
            assert total(now, family) == second.total
        assert total(now, "lb_worker_restarts_total") == 1
        assert [each["connections"] for each in await workers(lb)] == [0, 0, 0]
        assert await nothing_is_open(lb)
    assert (first.failures, second.failures) == ([], [])
    assert watched.reads > 4


async def all_serve(lb: Program) -> bool:
    return all(each["state"] == "serving" for each in await workers(lb))


async def test_one_that_is_killed_under_load_takes_no_more_with_it_than_it_had_not_told(
    tmp_path: Path,
) -> None:
    async with nginx_servers(2, tmp_path) as ports, program(*backend_flags(ports), *WORKERS) as lb:
        load = Load(lb.address, b"/hello")
        watched = Watched(lb, load)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as clients:
                clients.start_soon(load.run, CLIENTS)
                await load.reaches(500)
                told = total(await counters(lb), "lb_requests_total")
                os.kill((await workers(lb))[1]["pid"], signal.SIGKILL)
                watched.lost = load.total + CLIENTS - told
                nursery.start_soon(watched.run)
                await until(lambda: is_back(lb))
                more = load.total + 300
                await until(lambda: has_reached(load, more))
                load.stop()
            nursery.cancel_scope.cancel()
        counted = total(await watched.look(), "lb_requests_total")
        await until(lambda: nothing_is_open(lb))
    assert load.total - watched.lost <= counted <= load.total + len(load.failures)
    assert len(load.failures) <= CLIENTS


async def has_reached(load: Load, count: int) -> bool:
    return load.total >= count


async def nothing_is_open(lb: Program) -> bool:
    totals = (await lb.api("GET", "/stats"))["totals"]
    return (totals["in_flight"], totals["connections"]) == (0, 0)


async def is_back(lb: Program) -> bool:
    return (await workers(lb))[1]["restarts"] == 1 and await all_serve(lb)


async def test_one_that_hangs_is_named_and_waited_for_once(tmp_path: Path) -> None:
    async with nginx_servers(1, tmp_path) as ports, program(*backend_flags(ports), *WORKERS) as lb:
        hangs = (await workers(lb))[2]
        os.kill(hangs["pid"], signal.SIGSTOP)
        try:
            with trio.fail_after(5):
                await until(lambda: has_state(lb, "silent"))
            began = trio.current_time()
            for path in ("/metrics", "/stats", "/backends", "/pools"):
                await lb.api("GET", path)
            assert trio.current_time() - began < 1.5
            assert 'lb_worker_up{worker="3"} 0.0' in await lb.api("GET", "/metrics")
        finally:
            os.kill(hangs["pid"], signal.SIGCONT)
        await until(lambda: has_state(lb, "serving"))
        assert (await workers(lb))[2]["pid"] == hangs["pid"]


async def has_state(lb: Program, state: str) -> bool:
    return bool((await workers(lb))[2]["state"] == state)


async def test_while_it_stops_the_numbers_are_told() -> None:
    asked, answer = trio.Event(), trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        """The first connection of a balancer to a backend may be one that only looks whether it is there."""
        if await stream.receive_some():
            asked.set()
            await answer.wait()
            await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        async with program(*backend_flags([port]), *WORKERS) as lb:
            async with await lb.connect() as client:
                await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                await asked.wait()
                lb.process.send_signal(signal.SIGTERM)
                await until(lambda: is_stopping(lb))
                assert await lb.is_busy()
                assert {each["state"] for each in await workers(lb)} <= {"stopping", "ended"}
                answer.set()
                assert await client.receive_some()
            assert await lb.ends() == 0
        nursery.cancel_scope.cancel()


async def is_stopping(lb: Program) -> bool:
    return bool((await lb.api("GET", "/stats"))["stopping"])
