"""What the balancer is for: backends and the balancer itself are replaced, and no request fails."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.system.load import Load
from tests.system.program import Program, backend_flags, program
from tests.system.servers import nginx_servers
from tests.system.test_remote import lb as command

pytestmark = pytest.mark.needs("nginx")

CLIENTS = 16
in_workers = pytest.mark.parametrize("workers", ["1", "3"])


async def replace(lb: Program, old: str, new: str, port: int, load: Load) -> None:
    """Add the new one, drain the old one until it is idle, remove it; with traffic in between."""
    await load.reaches(load.total + 200)
    await lb.api("POST", "/backends", 201, json={"id": new, "url": f"http://127.0.0.1:{port}"})
    drained = await lb.api("POST", f"/backends/{old}/drain?timeout=20s&wait=20s")
    assert drained["status"]["drain"]["outcome"] == "completed"
    assert drained["status"]["in_flight"] == 0
    await lb.api("DELETE", f"/backends/{old}?wait=5s", 204)


@in_workers
async def test_every_backend_is_replaced_under_load_without_a_failure(tmp_path: Path, workers: str) -> None:
    async with nginx_servers(6, tmp_path) as ports:
        async with (
            program(*backend_flags(ports[:3]), "--workers", workers) as lb,
            trio.open_nursery() as nursery,
        ):
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, CLIENTS)
            for number in (1, 2, 3):
                await replace(lb, f"web{number}", f"new{number}", ports[number + 2], load)
            await load.reaches(load.total + 200)
            load.stop()
            assert set(await lb.counts()) == {"new1", "new2", "new3"}
    assert load.failures == []
    assert set(load.answered) == {200}


@in_workers
async def test_a_balancer_stopped_under_load_loses_no_request(tmp_path: Path, workers: str) -> None:
    async with nginx_servers(3, tmp_path) as ports:
        async with program(*backend_flags(ports), "--workers", workers) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, CLIENTS)
            await load.reaches(500)
            lb.process.send_signal(signal.SIGTERM)
            assert await lb.ends() == 0
    assert load.failures == []
    assert set(load.answered) == {200}
    assert load.refused == CLIENTS


# -- a rollout that kills what it is to restart ------------------------------------------------------------

PROBED = ("--set", "pools.default.probe.path=/hello", "--set", "pools.default.probe.interval=1h")
"""With this interval no verdict changes but by the probes that a command asks for."""


@asynccontextmanager
async def three_of_their_own(folder: Path) -> AsyncIterator[list[int]]:
    """Servers that can be killed one by one: the folder of each, named like its backend, has its pid."""
    async with AsyncExitStack() as stack:
        ports = []
        for name in ("web1", "web2", "web3"):
            (folder / name).mkdir()
            ports += await stack.enter_async_context(nginx_servers(1, folder / name))
        yield ports


def kill(folder: Path) -> None:
    os.kill(int((folder / "nginx.pid").read_text()), signal.SIGKILL)


@in_workers
async def test_a_rollout_stops_at_the_first_that_is_dead(tmp_path: Path, workers: str) -> None:
    killing = tmp_path / "kill"
    killing.write_text(f'kill -9 "$(cat {tmp_path}/$LB_BACKEND/nginx.pid)"\n')
    async with (
        three_of_their_own(tmp_path) as ports,
        program(*backend_flags(ports), *PROBED, "--workers", workers) as lb,
        trio.open_nursery() as nursery,
    ):
        load = Load(lb.address, b"/hello")
        nursery.start_soon(load.run, 4)
        await load.reaches(100)
        assert "done: 3 backends" in await command(lb, "rollout", "true")
        said = await command(lb, "rollout", "--back-within", "1s", "sh", str(killing), code=4)
        await load.reaches(load.total + 100)
        load.stop()
        assert "web1 is not back after 1.0 s: 0 of 2 probes in a row have passed" in said
        assert "untouched: web2 web3" in said
        items = (await lb.api("GET", "/backends"))["items"]
    assert [each["admin_state"] for each in items] == ["draining", "ready", "ready"]
    assert load.failures == []
    assert set(load.answered) == {200}


async def test_what_has_died_since_its_last_probe_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    async with three_of_their_own(tmp_path) as ports, program(*backend_flags(ports), *PROBED) as lb:
        await command(lb, "backends", "check", "web1")
        await command(lb, "backends", "drain", "web1")
        kill(tmp_path / "web1")
        said = await command(lb, "backends", "ready", "web1", "--wait", "1s", code=4)
        assert "web1 is not back after 1.0 s" in said
        await command(lb, "backends", "drain", "web2")
        assert "web2 takes requests" in await command(lb, "backends", "ready", "web2", "--wait", "9s")


async def test_where_nothing_looks_a_rollout_is_to_be_wanted(tmp_path: Path) -> None:
    async with nginx_servers(3, tmp_path) as ports, program(*backend_flags(ports)) as lb:
        assert "pool default has no probe" in await command(lb, "rollout", "false", code=5)
        said = await command(lb, "rollout", "--unchecked", "true")
        assert said.count("whether it answers is not known") == 3
