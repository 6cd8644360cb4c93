"""The real program and a real etcd: what services register is used, and no trouble of it costs a request."""

from pathlib import Path

import pytest
import trio

from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd
from tests.system.load import Load
from tests.system.program import Program, program, until
from tests.system.test_found_by_dns import HOSTS, backends, in_use

pytestmark = [needs_etcd, pytest.mark.alone]
CONFIG = """
[[pools.default.discover]]
etcd = "{where}/services/web/"
settle = "200ms"
grace = "500ms"
"""


def configured(folder: Path, etcd: EtcdServers) -> str:
    file = folder / "lb.toml"
    file.write_text(CONFIG.format(where=",".join(etcd.urls)))
    return str(file)


async def registers(etcd: EtcdServers, number: int, port: int, at: int = 0) -> None:
    await etcd.ctl("put", f"/services/web/web{number}", f"http://{HOSTS[number]}:{port}", at=at)


async def is_used(lb: Program, *ids: str) -> None:
    async def is_so() -> bool:
        return await in_use(lb) == {*ids}

    await until(is_so)


async def says(lb: Program, words: str) -> None:
    """Wait until the source says so."""

    async def is_so() -> bool:
        return words in str(await lb.api("GET", "/pools/default/discover"))

    await until(is_so)


async def test_a_service_that_registers_gets_requests_and_one_that_is_gone_gets_none(tmp_path: Path) -> None:
    async with etcd_servers(tmp_path) as etcd, backends(*HOSTS) as port:
        await registers(etcd, 0, port)
        async with program("--config", configured(tmp_path, etcd)) as lb:
            assert await in_use(lb) == {"web0"}
            for number in (1, 2):
                await registers(etcd, number, port)
            await is_used(lb, "web0", "web1", "web2")
            await etcd.ctl("del", "/services/web/web2")
            await is_used(lb, "web0", "web1")


async def test_nothing_that_befalls_etcd_costs_a_request(tmp_path: Path) -> None:
    async with etcd_servers(tmp_path, 3) as etcd, backends(*HOSTS) as port:
        for number in (0, 1):
            await registers(etcd, number, port)
        async with program("--config", configured(tmp_path, etcd)) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address)
            nursery.start_soon(load.run, 4)
            leader = await etcd.leader()
            etcd[leader].dies()
            other = (leader + 1) % 3
            await etcd.ctl("--command-timeout=20s", "get", "/x", at=other)
            await registers(etcd, 2, port, at=other)
            await is_used(lb, "web0", "web1", "web2")
            for server in etcd.servers:
                server.dies()
                server.wipe()
            await says(lb, "refused")
            for server in etcd.servers:
                server.start()
            await says(lb, "its data were wiped or restored")
            assert await in_use(lb) == {"web0", "web1", "web2"}
            load.stop()
        assert load.failures == []
        assert {*load.answered} == {200}
        assert load.total > 100
