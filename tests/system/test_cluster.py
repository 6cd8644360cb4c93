"""Real balancers on a real etcd: what an operator wishes of one is so on all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio

from tests.kit.etcd_servers import EtcdServers, etcd_servers, free_ports, needs_etcd
from tests.system.load import Load
from tests.system.program import Program, until
from tests.system.upgrades import backend, service_manager, upgradable

pytestmark = needs_etcd
PREFIX = "/lb/test"
TTL = 2
MOST_SECONDS = 10.0
"""Without a leader: a machine that does nothing else takes less than three."""


class Town:
    """Some balancers of one cluster, the ports of their backends, and their etcd."""

    def __init__(self, folder: Path, etcd: EtcdServers, ports: list[int], more: str) -> None:
        self.folder = folder
        self.etcd = etcd
        self.ports = ports
        self.more = more
        self.all: list[Program] = []

    def configuration(self, name: str, **settings: Any) -> Path:
        cluster = {"etcd": [*self.etcd.urls], "prefix": PREFIX, "name": name, "ttl": f"{TTL}s", **settings}
        lines = ["[cluster]", *(f"{key} = {json.dumps(value)}" for key, value in cluster.items())]
        for port in self.ports:
            url = f"http://127.0.0.1:{port}"
            lines += ["[[pools.default.backends]]", f'id = "web{port}"', f'url = "{url}"']
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join((self.more, *lines)))
        return path


class Waiting(NamedTuple):
    """A balancer that serves nobody yet, and the ports where it is to listen and its operator's side is."""

    program: Program
    port: int
    admin: int


@asynccontextmanager
async def town(
    folder: Path, count: int = 3, backends: int = 2, more: str = "", etcds: int = 1, **settings: Any
) -> AsyncIterator[Town]:
    """So many balancers, each of which knows all the others."""
    async with etcd_servers(folder, etcds) as etcd, AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(backend()) for _ in range(backends)]
        there = Town(folder, etcd, ports, more)
        for number in range(count):
            path = there.configuration(f"lb-{number}", **settings)
            there.all.append(await stack.enter_async_context(upgradable("--config", str(path))))

        async def all_known() -> bool:
            views = [await one.api("GET", "/cluster") for one in there.all]
            return all(len(view["members"]) == count for view in views)

        await until(all_known)
        yield there


async def state(lb: Program, backend_id: str) -> str:
    listing = await lb.api("GET", "/backends")
    states: dict[str, str] = {item["id"]: item["admin_state"] for item in listing["items"]}
    return states.get(backend_id, "gone")


async def becomes(lb: Program, backend_id: str, wanted: str) -> None:
    async def is_so() -> bool:
        return await state(lb, backend_id) == wanted

    await until(is_so)


async def test_what_is_wished_of_one_is_so_on_all(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        one, two, three = there.all
        web = f"web{there.ports[0]}"
        answer = await one.api("POST", f"/backends/{web}/drain", params={"wait": "10s"})
        assert answer["cluster"] == {
            "members": 3,
            "ended": 3,
            "left": {},
            "lost": [],
            "otherwise": [],
            "over": True,
            "sure": True,
        }
        assert [await state(each, web) for each in there.all] == ["draining"] * 3
        await two.api("PATCH", f"/backends/{web}", json={"weight": 5})
        await three.api("POST", f"/backends/{web}/ready")
        for each in there.all:
            await becomes(each, web, "ready")
        weights = [(await each.api("GET", f"/backends/{web}"))["weight"] for each in there.all]
        assert weights == [5, 5, 5]


async def test_backends_come_move_and_go_everywhere(tmp_path: Path) -> None:
    async with town(tmp_path) as there, backend() as port:
        one, two, three = there.all
        await one.api("POST", "/backends", 201, json={"id": "new", "url": f"http://127.0.0.1:{port}"})
        await becomes(two, "new", "ready")
        await three.api("DELETE", "/backends/new", 204, params={"wait": "10s"})
        assert [await state(each, "new") for each in there.all] == ["gone"] * 3
        await two.api("PATCH", "/pools/default", json={"policy": "ewma"})

        async def all_changed() -> bool:
            pools = [await each.api("GET", "/pools/default") for each in there.all]
            return all(pool["policy"] == "ewma" for pool in pools)

        await until(all_changed)


async def test_two_operators_at_once_keep_what_has_to_stay_available(tmp_path: Path) -> None:
    async with town(tmp_path, backends=2) as there:
        answers: list[int] = []

        async def drain(lb: Program, port: int) -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                path = f"http://{lb.admin}/backends/web{port}/drain"
                answers.append((await client.post(path, params={"keep_available": "1"})).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, there.all[0], there.ports[0])
            nursery.start_soon(drain, there.all[1], there.ports[1])
        assert sorted(answers) in ([200, 409], [202, 409])


@pytest.mark.parametrize("lost", ["serve", "unready"])
async def test_without_etcd_traffic_goes_on_and_changes_are_refused(tmp_path: Path, lost: str) -> None:
    async with town(tmp_path, count=1, lost=lost) as there:
        [one] = there.all
        web = f"web{there.ports[0]}"
        there.etcd.all_die()
        problem = await one.api("POST", f"/backends/{web}/drain", 503)
        assert problem["type"] == "/problems/cluster-unavailable"
        assert await state(one, web) == "ready"
        await one.api("POST", f"/backends/{web}/drain", params={"local": "true"})
        item = await one.api("GET", f"/backends/{web}")
        assert (item["admin_state"], item["local"]["wish"]) == ("draining", "draining")
        await until(lambda: _readyz(one, 200 if lost == "serve" else 503))
        await there.etcd.all_come_back()

        async def is_followed() -> bool:
            return (await one.api("GET", "/cluster"))["failure"] is None

        await until(is_followed)
        await until(lambda: _readyz(one, 200))
        assert await state(one, web) == "draining"
        await one.api("DELETE", f"/backends/{web}/local")
        await becomes(one, web, "ready")


async def _readyz(lb: Program, status: int) -> bool:

    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://{lb.admin}/readyz")).status_code == status


async def test_several_workers_and_a_reload(tmp_path: Path) -> None:
    """All processes have a wish before it is answered, and it holds for another configuration too."""
    async with town(tmp_path, count=2, more="workers = 2") as there, backend() as port:
        one, two = there.all
        web = f"web{there.ports[0]}"
        answer = await one.api("POST", f"/backends/{web}/drain", params={"wait": "10s"})
        assert answer["cluster"]["sure"]
        await two.api("PATCH", f"/backends/{web}", json={"weight": 5})
        there.ports.append(port)
        for number, lb in enumerate(there.all):
            there.configuration(f"lb-{number}")
            await lb.api("POST", "/config/reload")
            await becomes(lb, f"web{port}", "ready")
            await becomes(lb, web, "draining")
        assert (await one.api("GET", f"/backends/{web}"))["weight"] == 5

        async def are_alike() -> bool:
            return not (await one.api("GET", "/cluster"))["configs_differ"]

        await until(are_alike)  # each tells the others of a reload soon after it


async def test_an_upgrade_keeps_what_is_wished(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        web = f"web{there.ports[0]}"
        other = f"/backends/web{there.ports[1]}"
        await one.api("POST", f"/backends/{web}/drain", params={"wait": "10s"})
        await one.api("PATCH", other, json={"weight": 9}, params={"local": "true"})
        await one.upgrade()
        await becomes(one, web, "draining")
        assert (await one.api("GET", other))["local"]["wish"] == "changed: weight"
        await one.api("DELETE", f"{other}/local")
        assert (await one.api("GET", other))["weight"] == 1
        await one.api("POST", f"/backends/{web}/ready")
        await becomes(two, web, "ready")
        names = {member["name"] for member in (await two.api("GET", "/cluster"))["members"]}
        assert {"lb-1", f"lb-0~{await one.pid()}"} <= names


async def test_a_dead_member_makes_a_drain_unsure(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        two.process.kill()
        web = f"web{there.ports[0]}"
        began = trio.current_time()
        answer = await one.api("POST", f"/backends/{web}/drain", params={"wait": "30s"})
        assert trio.current_time() - began <= 2 * TTL + 1
        assert answer["cluster"]["lost"] == ["lb-1"]
        assert not answer["cluster"]["sure"]


async def test_if_match_holds_between_balancers(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        path = f"/backends/web{there.ports[0]}"
        tag = await _tag(one, path)
        assert tag == await _tag(two, path)
        await one.api("PATCH", path, json={"weight": 3}, headers={"If-Match": tag})
        await two.api("PATCH", path, 412, json={"weight": 4}, headers={"If-Match": tag})
        await two.api("PATCH", path, json={"weight": 4}, headers={"If-Match": await _tag(one, path)})


async def _tag(lb: Program, path: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://{lb.admin}{path}")).headers["ETag"]


async def test_the_audit_of_each_says_whose_wish_it_was(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        web = f"web{there.ports[0]}"
        await one.api("PATCH", f"/backends/{web}", json={"weight": 3})

        async def is_noted() -> bool:
            entries = (await two.api("GET", "/audit"))["items"]
            return any(each["operation"] == "wish" and each["source"] == "lb-0" for each in entries)

        await until(is_noted)


async def test_the_terminal_waits_for_all_of_them(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        web, other = (f"web{port}" for port in there.ports)
        drained = await _lb(one, "backends", "drain", web)
        assert (drained.returncode, b"on all 2 balancers" in drained.stdout) == (0, True)
        listed = await _lb(two, "cluster")
        assert [line.split()[0] for line in listed.stdout.decode().splitlines()[3:]] == ["lb-0", "*"]
        two.process.kill()
        unsure = await _lb(one, "backends", "rm", other, "--wait", "20s")
        assert (unsure.returncode, b"lb-1 has not been heard" in unsure.stderr) == (4, True)
        assert await state(one, other) == "gone"


async def _lb(lb: Program, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """What `lb` says and how it ends, asked of this balancer."""
    command = [sys.executable, "-m", "lb", *words, "--admin", lb.admin]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


@asynccontextmanager
async def waiting(
    tmp_path: Path, etcd: EtcdServers, *more: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Waiting]:
    """A balancer that starts while etcd is away, and says so at its operator's side."""
    etcd.all_die()
    port, admin = free_ports(2)
    async with backend() as web:
        path = Town(tmp_path, etcd, [web], "").configuration("lb-0")
        command = [sys.executable, "-m", "lb", "run", "--config", str(path), *more]
        command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdout=quiet, stderr=pipe, check=False, env=env)
            program = Program(await nursery.start(run))
            nursery.start_soon(program.read)
            await until(lambda: _says(admin, "the wishes of the cluster are not known yet"))
            yield Waiting(program, port, admin)
            program.process.terminate()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_without_a_word_of_etcd_it_waits(tmp_path: Path, workers: str) -> None:
    """It would not know what is drained. Clients are refused, and operators are told what it waits for."""
    async with etcd_servers(tmp_path) as etcd, waiting(tmp_path, etcd, "--workers", workers) as there:
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", there.port)
        await until(partial(there.program.has_said, b"no clients are accepted yet"))
        await _is_refused_an_upgrade(there.admin)
        await etcd.all_come_back()
        await until(lambda: _says(there.admin, ""))
        await until(partial(_answers, there.port))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_while_it_waits_is_an_end_in_order(tmp_path: Path, workers: str) -> None:
    """It has served nobody, and does not say that it listens."""
    async with etcd_servers(tmp_path) as etcd, waiting(tmp_path, etcd, "--workers", workers) as there:
        there.program.process.terminate()
        assert await there.program.ends() == 0
    assert b"  listening " not in there.program.said


async def test_the_service_manager_has_patience_with_a_start_that_waits(tmp_path: Path) -> None:
    async with etcd_servers(tmp_path) as etcd, service_manager(tmp_path / "notify") as manager:
        environment = {**os.environ, **manager.environment}
        async with waiting(tmp_path, etcd, env=environment) as there:
            pid = there.program.process.pid
            await until(partial(manager.is_told, pid, "EXTEND_TIMEOUT_USEC=30000000"))
            assert (pid, "READY=1") not in manager.told
            await etcd.all_come_back()
            await until(partial(manager.is_told, pid, "READY=1"))


async def _is_refused_an_upgrade(port: int) -> None:
    """The next program would take it for one that knows the wishes."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/upgrade")
    assert (answer.status_code, "waits for the wishes" in answer.text) == (409, True)


async def _answers(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
        except httpx.TransportError:
            return False


async def _says(port: int, why: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            reasons = (await client.get(f"http://127.0.0.1:{port}/readyz")).json()["reasons"]
        except httpx.TransportError:
            return False
    return any(why in reason for reason in reasons) if why else not any("cluster" in it for it in reasons)


async def test_a_restart_while_etcd_is_away_serves_by_the_cache(tmp_path: Path) -> None:
    cache = str(tmp_path / "cluster.json")
    async with town(tmp_path, count=1, cache=cache) as there:
        [one] = there.all
        web, other = (f"web{port}" for port in there.ports)
        await one.api("POST", f"/backends/{web}/drain", params={"wait": "10s"})
        await one.api("PATCH", f"/backends/{other}", json={"weight": 3}, params={"local": "true"})
        there.etcd.all_die()
        one.process.terminate()
        await one.ends()
        async with upgradable("--config", str(tmp_path / "lb-0.toml")) as again:
            assert await state(again, web) == "draining"
            assert await again.has_said(b"started from the cache of the cluster's wishes")
            item = await again.api("GET", f"/backends/{other}")
            assert (item["weight"], item["local"]["wish"]) == (3, "changed: weight")
            problem = await again.api("POST", f"/backends/{web}/ready", 503)
            assert problem["type"] == "/problems/cluster-unavailable"
            await there.etcd.all_come_back()

            async def is_followed() -> bool:
                return (await again.api("GET", "/cluster"))["failure"] is None

            await until(is_followed)
            await again.api("POST", f"/backends/{web}/ready")
            await becomes(again, web, "ready")


async def test_an_etcd_that_was_wiped_undoes_nothing_by_itself(tmp_path: Path) -> None:
    async with town(tmp_path, count=1) as there:
        [one] = there.all
        web = f"web{there.ports[0]}"
        await one.api("POST", f"/backends/{web}/drain", params={"wait": "10s"})
        there.etcd.all_die()
        there.etcd[0].wipe()
        await there.etcd.all_come_back()

        async def holds() -> bool:
            return len((await one.api("GET", "/cluster"))["held"]) == 1

        await until(holds)
        assert await state(one, web) == "draining"
        await one.api("POST", "/cluster/restore")

        async def is_followed() -> bool:
            return (await one.api("GET", "/cluster"))["failure"] is None

        await until(is_followed)
        assert await state(one, web) == "draining"
        await one.api("POST", f"/backends/{web}/ready")
        await becomes(one, web, "ready")


async def test_the_leader_of_etcd_is_killed(tmp_path: Path) -> None:
    """Operators can change something again within seconds, and no client notices anything."""
    async with town(tmp_path, count=2, etcds=3) as there:
        load = Load(there.all[0].address)
        path = f"/backends/web{there.ports[0]}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 4)
            await load.reaches(100)
            there.etcd[await there.etcd.leader()].dies()
            began = trio.current_time()

            async def is_taken() -> bool:
                async with httpx.AsyncClient(timeout=60) as client:
                    answer = await client.patch(f"http://{there.all[1].admin}{path}", json={"weight": 3})
                return answer.status_code == 200

            await until(is_taken)
            took = trio.current_time() - began
            await load.reaches(load.total + 100)
            load.stop()
        assert (load.failures, set(load.answered)) == ([], {200})
        assert took < MOST_SECONDS


async def test_a_local_override_makes_a_drain_unsure(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        path = f"/backends/web{there.ports[0]}"
        await two.api("PATCH", path, json={"weight": 3}, params={"local": "true"})
        answer = await one.api("POST", f"{path}/drain", params={"wait": "10s"})
        assert (answer["cluster"]["otherwise"], answer["cluster"]["sure"]) == (["lb-1"], False)


async def test_two_sets_at_once_never_leave_a_pool_empty(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        ends: list[int] = []

        async def put(lb: Program, port: int) -> None:
            items = [{"id": f"web{port}", "url": f"http://127.0.0.1:{port}"}]
            async with httpx.AsyncClient(timeout=60) as client:
                url = f"http://{lb.admin}/backends?pool=default&drain_timeout=0s"
                ends.append((await client.put(url, json=items)).status_code)

        async with trio.open_nursery() as nursery:
            for lb, port in zip(there.all, there.ports, strict=True):
                nursery.start_soon(put, lb, port)
        assert set(ends) <= {200, 202}
        listing = await there.all[0].api("GET", "/backends")
        assert len(listing["items"]) == 1


async def test_keys_that_mean_nothing_end_nobody(tmp_path: Path) -> None:
    async with town(tmp_path, count=1) as there:
        [one] = there.all
        web = f"web{there.ports[0]}"
        for key in ("other/x", "backends/default", "pools/", "backends//x", "backends/default/a/b"):
            await there.etcd.ctl("put", f"{PREFIX}/v1/wishes/{key}", '{"admin_state": "draining"}')
        await one.api("PATCH", f"/backends/{web}", json={"weight": 3})
        assert len((await one.api("GET", "/cluster"))["unfit"]) >= 3


async def _lost(lb: Program) -> list[str]:
    view = await lb.api("GET", "/cluster")
    return [member["name"] for member in view["members"] if member["is_lost"]]


async def test_one_that_nobody_hears_may_still_serve_until_it_is_forgotten(tmp_path: Path) -> None:
    """It stands still, so etcd has let it go; it may go on at any moment, with what it knew."""
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        path = f"/backends/web{there.ports[0]}"
        os.kill(two.process.pid, signal.SIGSTOP)
        try:

            async def is_lost() -> bool:
                return await _lost(one) == ["lb-1"]

            await until(is_lost)
            answer = await one.api("POST", f"{path}/drain", params={"wait": "20s"})
            assert (answer["cluster"]["lost"], answer["cluster"]["sure"]) == (["lb-1"], False)
            await one.api("DELETE", "/cluster/members/lb-0", 404)
            await one.api("DELETE", "/cluster/members/lb-1")
            answer = await one.api("POST", f"{path}/drain", params={"wait": "20s"})
            assert (answer["cluster"]["members"], answer["cluster"]["sure"]) == (1, True)
        finally:
            os.kill(two.process.pid, signal.SIGCONT)


async def test_one_that_ends_in_order_is_waited_for_by_nobody(tmp_path: Path) -> None:
    async with town(tmp_path, count=2) as there:
        one, two = there.all
        two.process.terminate()
        await two.ends()
        answer = await one.api("POST", f"/backends/web{there.ports[0]}/drain", params={"wait": "20s"})
        assert (answer["cluster"]["members"], answer["cluster"]["sure"]) == (1, True)
        assert await _lost(one) == []


async def test_an_override_of_a_pool_is_none_of_a_backend_of_its_name(tmp_path: Path) -> None:
    async with town(tmp_path, count=1) as there:
        [one] = there.all
        await one.api("POST", "/backends", 201, json={"id": "default", "url": "http://127.0.0.1:9"})
        await one.api("PATCH", "/pools/default", json={"policy": "ewma"}, params={"local": "true"})
        await one.api("POST", "/backends/default/maintenance")
        await one.api("PATCH", "/pools/default", 409, json={"policy": "random"})
