"""What the balancer is for: backends and the balancer itself are replaced, and no request fails."""

import signal
from pathlib import Path

import pytest
import trio

from tests.system.load import Load
from tests.system.program import Program, backend_flags, program
from tests.system.servers import nginx_servers

pytestmark = pytest.mark.needs("nginx")

CLIENTS = 16


async def replace(lb: Program, old: str, new: str, port: int, load: Load) -> None:
    """Add the new one, drain the old one until it is idle, remove it; with traffic in between."""
    await load.reaches(load.total + 200)
    await lb.api("POST", "/backends", 201, json={"id": new, "url": f"http://127.0.0.1:{port}"})
    drained = await lb.api("POST", f"/backends/{old}/drain?timeout=20s&wait=20s")
    assert drained["status"]["drain"]["outcome"] == "completed"
    assert drained["status"]["in_flight"] == 0
    await lb.api("DELETE", f"/backends/{old}?wait=5s", 204)


async def test_every_backend_is_replaced_under_load_without_a_failure(tmp_path: Path) -> None:
    async with nginx_servers(6, tmp_path) as ports:
        async with program(*backend_flags(ports[:3])) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, CLIENTS)
            for number in (1, 2, 3):
                await replace(lb, f"web{number}", f"new{number}", ports[number + 2], load)
            await load.reaches(load.total + 200)
            load.stop()
            assert set(await lb.counts()) == {"new1", "new2", "new3"}
    assert load.failures == []
    assert set(load.answered) == {200}


async def test_a_balancer_stopped_under_load_loses_no_request(tmp_path: Path) -> None:
    async with nginx_servers(3, tmp_path) as ports:
        async with program(*backend_flags(ports)) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, CLIENTS)
            await load.reaches(500)
            lb.process.send_signal(signal.SIGTERM)
            assert await lb.ends() == 0
    assert load.failures == []
    assert set(load.answered) == {200}
    assert load.refused == CLIENTS
