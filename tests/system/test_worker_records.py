"""The real program with several workers: what is asked of requests is answered for all of them."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from lb.proxy.context import TAG
from tests.system.program import Program, backend_flags, program, until

WORKERS = 3
PATIENCE = 20.0


async def backend(stream: trio.SocketStream) -> None:
    """Answers with the id that it was sent; `/slow` is never answered, and at `/fail` it hangs up."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            got = await stream.receive_some(65536)
            if not got:
                return
            data += got
        head, _, data = data.partition(b"\r\n\r\n")
        if b" /slow" in head:
            await stream.receive_some(1)
            return
        if b" /fail" in head:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        told = fields[b"x-request-id"]
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-Request-Id: %b\r\nContent-Length: 0\r\n\r\n" % told)


class Crew:
    """The program with WORKERS workers, and requests that each of them has carried, by its tag."""

    def __init__(self, lb: Program, client: httpx.AsyncClient) -> None:
        self.lb = lb
        self.client = client
        self.ids: dict[str, list[str]] = defaultdict(list)

    async def asks(self, path: str) -> str:
        """A request on a connection of its own; its id."""
        answer = await self.client.get(f"{self.lb.url}{path}")
        return str(answer.headers["X-Request-Id"])

    async def works(self) -> None:
        """Ask until every worker has had requests; the kernel chooses who accepts."""

        async def ask() -> None:
            made = await self.asks("/cart")
            self.ids[made[TAG]].append(made)

        with trio.fail_after(PATIENCE):
            while len(self.ids) < WORKERS:
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(ask)

    @property
    def all_ids(self) -> set[str]:
        return {each for ids in self.ids.values() for each in ids}

    async def runs(self, count: int) -> bool:
        """Whether so many requests run now."""
        return bool((await self.lb.api("GET", "/requests?running=1"))["total"] == count)

    async def why(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "lb", "why", *arguments, "--admin", self.lb.admin]
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout.decode()

    def pid(self, worker: int) -> int:
        """The process of this worker, as the log tells."""
        lines = (line for line in self.lb.said.splitlines() if line.startswith(b"{"))
        told = [json.loads(line) for line in lines]
        [pid] = [
            each["pid"] for each in told if each["event"] == "worker serves" and each["worker"] == worker
        ]
        return int(pid)


@asynccontextmanager
async def crew() -> AsyncIterator[Crew]:
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, backend, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with program("--workers", str(WORKERS), *backend_flags([port])) as lb:
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as client:
                yield Crew(lb, client)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def at_work() -> AsyncIterator[Crew]:
    async with crew() as made:
        await made.works()
        yield made


def newest_first(items: list[dict[str, Any]]) -> bool:
    ends = [each["ended"] for each in items]
    return ends == sorted(ends, reverse=True)


async def test_the_requests_of_all_workers_are_there_and_explained(at_work: Crew) -> None:
    listed = await at_work.lb.api("GET", "/requests?limit=1000")
    assert {each["id"] for each in listed["items"]} == at_work.all_ids
    assert newest_first(listed["items"])
    assert "missing_workers" not in listed
    for ids in at_work.ids.values():
        assert (await at_work.lb.api("GET", f"/requests/{ids[0]}"))["id"] == ids[0]
    whatif = await at_work.lb.api("POST", "/whatif", json={})
    assert whatif["requests"] == len(at_work.all_ids)

    failed = await at_work.asks("/fail")
    assert "GET /fail: 502 connection_terminated" in await at_work.why(failed)
    assert f"id {failed}" in await at_work.why()
    kinds = await at_work.lb.api("GET", "/requests?kinds=1")
    assert [(each["id"], each["alike"]) for each in kinds["items"]] == [(failed, 1)]


async def test_the_slowest_of_all_workers_are_there_and_explained(at_work: Crew) -> None:
    slow = await at_work.lb.api("GET", "/requests?slow=1&limit=1000")
    assert {each["id"][TAG] for each in slow["items"]} == {*at_work.ids}
    assert {each["id"] for each in slow["items"]} <= at_work.all_ids
    assert (await at_work.lb.api("GET", "/requests?slow=1&until=1h"))["items"] == []
    assert f"id {slow['items'][0]['id']}" in await at_work.why("--slow")


async def test_failures_come_as_events(at_work: Crew) -> None:
    host, _, port = at_work.lb.admin.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as events:
        await events.send_all(b"GET /events?types=request_failed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await heard(events, b"retry: ")
        failed = await at_work.asks("/fail")
        told = await heard(events, failed.encode())
    assert b'"backend":"web1"' in told


async def heard(stream: trio.SocketStream, text: bytes) -> bytes:
    """What comes until the end of the line with this text."""
    data = b""
    with trio.fail_after(PATIENCE):
        while text not in data or b"\n" not in data.partition(text)[2]:
            got = await stream.receive_some(65536)
            assert got, data
            data += got
    return data


async def test_one_that_runs_is_listed_and_ended_whoever_has_it(at_work: Crew) -> None:
    lb = at_work.lb
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS * 2):
            nursery.start_soon(at_work.asks, "/slow")
        await until(partial(at_work.runs, WORKERS * 2))
        drain = await lb.api("POST", "/backends/web1/drain", expect=202)
        assert len(drain["status"]["drain"]["waiting_for"]) == 5
        running = (await lb.api("GET", "/requests?running=1"))["items"]
        assert {each["phase"] for each in running} == {"waiting for response"}
        assert all(0 <= each["phase_seconds"] <= each["seconds"] < PATIENCE for each in running)
        for each in running:
            assert (await lb.api("GET", f"/requests/{each['id']}"))["phase"] == "waiting for response"
            ended = await lb.api("DELETE", f"/requests/{each['id']}", expect=202)
            assert ended["id"] == each["id"]
    assert "an operator ended it" in (await lb.api("GET", f"/requests/{running[0]['id']}"))["detail"]


async def test_what_the_end_waits_for_is_listed_and_may_be_ended(at_work: Crew) -> None:
    lb = at_work.lb
    async with trio.open_nursery() as nursery:
        nursery.start_soon(at_work.asks, "/slow")
        await until(partial(at_work.runs, 1))
        lb.process.send_signal(signal.SIGTERM)
        await until(partial(lb.has_said, b'"stopping"'))
        listed = await lb.api("GET", "/requests?running=1")
        assert (listed["total"], "missing_workers" in listed) == (1, False)
        await lb.api("DELETE", f"/requests/{listed['items'][0]['id']}", expect=202)
    await lb.ends()


async def test_a_worker_that_was_stopped_is_named(at_work: Crew) -> None:
    lb, pid = at_work.lb, at_work.pid(2)
    os.kill(pid, signal.SIGSTOP)
    try:
        began = trio.current_time()
        listed = await lb.api("GET", "/requests?limit=1000")
        assert trio.current_time() - began < PATIENCE / 4
        assert listed["missing_workers"] == [2]
        there = {each["id"] for each in listed["items"]}
        assert {each[TAG] for each in at_work.all_ids - there}.issubset(at_work.ids)
        assert len({each[TAG] for each in there}) == WORKERS - 1
        [lost] = {each[TAG] for each in at_work.all_ids} - {each[TAG] for each in there}
        unknown = await lb.api("GET", f"/requests/{at_work.ids[lost][0]}", expect=404)
        assert "worker 2 did not answer in time" in unknown["detail"]
        assert "worker 2 did not answer in time" in await at_work.why("--running")
    finally:
        os.kill(pid, signal.SIGCONT)

    async def is_whole() -> bool:
        listed = await lb.api("GET", "/requests?limit=1000")
        return {each["id"] for each in listed["items"]} == at_work.all_ids and "missing_workers" not in listed

    await until(is_whole)
