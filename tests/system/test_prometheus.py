"""A real Prometheus reads the real program: the dashboard's questions have answers, and the alert comes."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.program import Program, backend_flags, program, until
from tests.system.servers import free_ports, processes
from tests.system.sick import Books, Patient, patients

pytestmark = pytest.mark.needs("prometheus")

SETTINGS = (
    "pools.default.probe.path=/GET/probe",
    "pools.default.probe.interval=200ms",
    "pools.default.probe.changing_interval=100ms",
    "pools.default.ejection.base=1s",
    "pools.default.hedge.after=0.95",
    "pools.default.max_in_flight=3",
)
CONFIG = """
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s }}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: trio-lb
    static_configs: [{{ targets: ["{target}"] }}]
"""
SELDOM = ("lb_connections_rejected_total", "lb_policy_failures_total", "lb_admin_restarts_total")
"""What has no series until something very odd has happened."""
CLIENTS = 6
SECONDS = 20.0
"""Prometheus itself takes five until it looks at a target for the first time."""


class Prometheus:
    """A running one, and its HTTP API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def is_ready(self) -> bool:
        return (await self._client.get("/-/ready")).status_code == 200

    async def ask(self, path: str, **parameters: str) -> Any:
        answer = (await self._client.get(f"/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    async def query(self, expression: str) -> list[Any]:
        """The series that there are now."""
        return list((await self.ask("query", query=expression))["result"])

    async def sees(self, expression: str) -> None:
        """Wait until this has a series."""

        async def has_one() -> bool:
            return bool(await self.query(expression))

        await until(has_one, SECONDS)


@asynccontextmanager
async def prometheus(folder: Path, lb: Program) -> AsyncIterator[Prometheus]:
    """It scrapes this balancer and has loaded its rules, with a second for each `for`."""
    rules = await lb.api("GET", "/alerts.yml")
    (folder / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules))
    (folder / "prometheus.yml").write_text(CONFIG.format(target=lb.admin))
    [port] = free_ports(1)
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    async with processes([command], [port]), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        running = Prometheus(client)
        await until(running.is_ready, SECONDS)
        yield running


async def unanswered(prometheus: Prometheus, dashboard: Any) -> list[str]:
    """The expressions of the dashboard that have no series."""
    empty = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            every = re.sub(r"\$(job|instance|pool|backend)\b", ".*", target["expr"])
            if not await prometheus.query(every.replace("$__rate_interval", "20s")):
                empty.append(target["expr"])
    return empty


async def go_wrong(lb: Program, bed: Patient, watching: Prometheus) -> None:
    """A backend answers badly and a client asks badly, until Prometheus knows of both."""
    await bed.becomes("503")
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{lb.url}/{'x' * 10_000}")).status_code == 414
    for code in (503, 414):
        await watching.sees(f'lb_requests_total{{code="{code}"}}')
    await bed.becomes("healthy")


async def test_a_dead_backend_is_told_and_the_dashboard_shows_it(tmp_path: Path) -> None:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    firing = 'ALERTS{alertname="LbBackendDown",alertstate="firing",backend="web1"}'
    async with patients("web1", "web2", "web3") as beds:
        flags = backend_flags([bed.port for bed in beds])
        async with program(*flags, *settings) as lb, prometheus(tmp_path, lb) as watching:
            async with Books(lb.address).kept(CLIENTS):
                await watching.sees("rate(lb_requests_total[10s]) > 0")
                await go_wrong(lb, beds[1], watching)
                await lb.api("POST", "/backends/web3/drain?timeout=5s&wait=5s")
                assert not await watching.query(firing)
                beds[0].process.kill()
                await watching.sees(firing)
                empty = await unanswered(watching, await lb.api("GET", "/grafana.json"))
                await beds[0].start()
                await watching.sees(f"absent({firing})")
            groups = (await watching.ask("rules"))["groups"]
    assert [rule["name"] for rule in groups[0]["rules"] if rule["health"] != "ok"] == []
    assert [each for each in empty if not any(name in each for name in SELDOM)] == []
