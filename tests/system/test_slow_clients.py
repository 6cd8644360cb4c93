"""slowhttptest against the running program: who dawdles is cut at a timeout, and nobody else notices."""

import re
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.system.program import Program, program, until
from tests.system.servers import nginx_servers, upload_servers

pytestmark = pytest.mark.needs("nginx", "slowhttptest")

ATTACKERS = 1000
LARGE = 1 << 20
"""More than the buffers between the backend and a client that reads slowly, which take about 200 KB."""
MODES = {
    "slow headers": ["-H", "-i", "1"],
    "slow body": ["-B", "-i", "1", "-s", "8192"],
    "slow read": ["-X", "-n", "1", "-z", "32", "-w", "512", "-y", "1024"],
}
CONFIG = """
[timeouts]
request_head = "2s"
body_idle = "2s"
send = "2s"
keepalive = "2s"

[[pools.default.backends]]
url = "http://127.0.0.1:{nginx}"

[[pools.uploads.backends]]
url = "http://127.0.0.1:{uploads}"

[[routes]]
path = "/upload"
pool = "uploads"
"""
OPEN = re.compile(r'lb_connections_open\{listener="[^"]*"\} (\d+)')
TOTAL = re.compile(r'lb_connections_total\{listener="[^"]*"\} (\d+)')


async def number(lb: Program, pattern: re.Pattern[str]) -> int:
    match = pattern.search(await lb.api("GET", "/metrics"))
    assert match is not None
    return int(match[1])


async def probe(lb: Program, served: list[int]) -> None:
    """Somebody honest, who comes again and again and is always served."""
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            response = await client.get(f"{lb.url}/hello", headers={"Connection": "close"})
            assert response.status_code == 200
            served[0] += 1
            await trio.sleep(0.05)


@pytest.mark.parametrize("mode", MODES)
async def test_attackers_are_cut_and_a_probe_is_always_served(mode: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(LARGE))
    config, served = tmp_path / "lb.toml", [0]
    async with nginx_servers(1, tmp_path, www=tmp_path) as [nginx], upload_servers(1) as [uploads]:
        config.write_text(CONFIG.format(nginx=nginx, uploads=uploads))
        async with program("--config", str(config)) as lb, trio.open_nursery() as nursery:
            nursery.start_soon(probe, lb, served)
            path = "/upload" if mode == "slow body" else "/large"
            attack = ["slowhttptest", "-c", str(ATTACKERS), "-r", "500", "-l", "60", "-u", f"{lb.url}{path}"]
            nursery.start_soon(partial(trio.run_process, [*attack, *MODES[mode]], capture_stdout=True))
            await they_come_and_are_gone(lb, served)
            nursery.cancel_scope.cancel()


async def they_come_and_are_gone(lb: Program, served: list[int]) -> None:
    async def all_came() -> bool:
        return await number(lb, TOTAL) >= ATTACKERS

    async def all_are_gone() -> bool:
        return await number(lb, OPEN) <= 2  # the probe, and perhaps its next connection

    async def honest_is_served() -> bool:
        return served[0] > before

    await until(all_came, seconds=20)
    before = served[0]
    await until(all_are_gone, seconds=20)
    await until(honest_is_served)
