"""The real program finds its backends in files, whatever is done to them, under traffic."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

from tests.system.load import Load
from tests.system.program import Program, program, until
from tests.system.upgrades import backend

CLIENTS = 4


class Scene:
    """A configuration with one source, and the file that it reads."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.list = folder / "web.json"
        self.toml = folder / "lb.toml"
        self._settings = {"grace": "1s", "settle": "100ms", **settings}
        self.configure()

    def configure(self, more: str = "") -> None:
        lines = [f"{key} = {json.dumps(value)}" for key, value in self._settings.items()]
        state = f'state = "{self.toml.parent}/state.json"\n'
        source = "\n".join(("[[pools.default.discover]]", f'files = "{self.list}"', *lines))
        self.toml.write_text(f"{state}{source}\n{more}")

    def says(self, *ports: int, **more: Any) -> None:
        """As careful writers do: another file takes the name."""
        other = self.list.with_suffix(".new")
        items = [{"id": f"web{port}", "url": f"http://127.0.0.1:{port}", **more} for port in ports]
        other.write_text(json.dumps(items))
        os.replace(other, self.list)


async def there(lb: Program) -> dict[str, str]:
    listing = await lb.api("GET", "/backends")
    return {item["id"]: item["status"]["state"] for item in listing["items"]}


async def becomes(lb: Program, *ports: int, seconds: float = 20) -> None:
    async def is_so() -> bool:
        return set(await there(lb)) == {f"web{port}" for port in ports}

    await until(is_so, seconds)


async def source(lb: Program) -> Any:
    return (await lb.api("GET", "/pools/default/discover"))["items"][0]


async def test_sets_errors_and_removed_files_fail_no_request(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one, backend() as two, backend() as three:
        scene.says(one, two)
        async with program("--config", str(scene.toml)) as lb, trio.open_nursery() as nursery:
            assert set(await there(lb)) == {f"web{one}", f"web{two}"}
            assert (await lb.api("GET", "/readyz"))["ready"]
            load = Load(lb.address)
            nursery.start_soon(load.run, CLIENTS)
            scene.says(one, two, three)
            await becomes(lb, one, two, three, seconds=5)
            scene.says(one, three)
            await becomes(lb, one, three)
            scene.list.write_text('[{"id": "web')
            await _fails(lb, "it is no list in JSON")
            scene.list.unlink()
            await _fails(lb, "there is no such file")
            assert set(await there(lb)) == {f"web{one}", f"web{three}"}
            scene.says(one, two, three)
            await becomes(lb, one, two, three)
            load.stop()
        assert load.failures == []
        assert set(load.answered) == {200}


async def _fails(lb: Program, why: str) -> None:
    async def has_failed() -> bool:
        return why in (await source(lb))["error"]

    await until(has_failed)


async def test_an_emptied_file_is_held_until_it_is_accepted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one, backend() as two:
        scene.says(one, two)
        async with program("--config", str(scene.toml)) as lb:
            scene.says()

            async def is_held() -> bool:
                return bool((await source(lb))["held_total"] == 2)

            await until(is_held)
            assert len(await there(lb)) == 2
            assert "lb_discovery_held" in await lb.api("GET", "/metrics")
            answer = await lb.api("POST", "/pools/default/discover/accept")
            assert len(answer["accepted"]) == 2
            await becomes(lb)
            ready = await lb.api("GET", "/readyz", expect=503)
            assert "there are no backends" in ready["reasons"]
            await lb.api("POST", "/pools/default/discover/accept", expect=409)


async def test_an_operators_word_outlives_the_program(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one, backend() as two, backend() as three:
        scene.says(one, two, three)
        async with program("--config", str(scene.toml)) as lb:
            await lb.api("PATCH", f"/backends/web{one}", data={"weight": "7"})
            await lb.api("POST", f"/backends/web{two}/maintenance")
            await lb.api("DELETE", f"/backends/web{three}", 204, params={"wait": "10s"})
            scene.says(one, two, three, labels={"new": "yes"})
            await trio.sleep(2)
        saved = json.loads((tmp_path / "state.json").read_text())["pools"]["default"]
        assert "added" not in saved
        async with program("--config", str(scene.toml)) as lb:
            assert await there(lb) == {f"web{one}": "ready", f"web{two}": "maintenance"}
            first = await lb.api("GET", f"/backends/web{one}")
            assert (first["weight"], first["labels"], first["source"]) == (7, {"new": "yes"}, "files")
            assert (await source(lb))["hidden"] == [f"web{three}"]


async def test_a_reload_brings_and_takes_sources(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one, backend() as two:
        scene.says(one)
        more = tmp_path / "more.json"
        more.write_text(json.dumps([{"url": f"http://127.0.0.1:{two}"}]))
        async with program("--config", str(scene.toml)) as lb:
            scene.configure(f'[[pools.default.discover]]\nname = "more"\nfiles = "{more}"\n')
            answer = await lb.api("POST", "/config/reload")
            assert [each["key"] for each in answer["settings"]] == ["pools.default.discover"]

            async def has_two() -> bool:
                return len(await there(lb)) == 2

            await until(has_two)
            scene.configure()
            await lb.api("POST", "/config/reload")
            await becomes(lb, one)
            scene.toml.write_text('[[pools.default.discover]]\nfiles = "x"\ngrase = "1s"\n')
            problem = await lb.api("POST", "/config/reload", expect=422)
            assert "/pools/default/discover/0/grase" in json.dumps(problem)


async def test_workers_are_told_and_an_upgrade_keeps_what_was_found(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one, backend() as two:
        scene.says(one, two)
        async with (
            program("--config", str(scene.toml), "--workers", "2") as lb,
            trio.open_nursery() as nursery,
        ):
            load = Load(lb.address)
            nursery.start_soon(load.run, CLIENTS)
            await load.reaches(100)
            scene.says(one)
            await becomes(lb, one)
            scene.says(one, two)
            await becomes(lb, one, two)
            scene.list.unlink()
            await _fails(lb, "there is no such file")
            await lb.upgrade()
            assert set(await there(lb)) == {f"web{one}", f"web{two}"}
            await load.reaches(load.total + 100)
            load.stop()
            os.kill(await lb.pid(), signal.SIGTERM)  # the one that was started has ended
        assert load.failures == []
        assert set(load.answered) == {200}


async def test_ten_thousand_come_and_half_of_them_leave(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with backend() as one:
        scene.says(one, weight=1_000_000)
        async with program("--config", str(scene.toml)) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address)
            nursery.start_soon(load.run, 1)
            await load.reaches(10)
            many = [
                {"id": f"b{n}", "url": f"http://127.1.{n // 250}.{n % 250}:9", "backup": True}
                for n in range(10_000)
            ]
            first = {"id": f"web{one}", "url": f"http://127.0.0.1:{one}"}
            await _list(scene, [first, *many])
            await _counts(lb, 10_001)
            await _list(scene, [first, *many[::2]])
            await _counts(lb, 5_001)
            load.stop()
        assert load.failures == []
        assert set(load.answered) == {200}


async def _list(scene: Scene, items: list[Any]) -> None:
    other = scene.list.with_suffix(".new")
    other.write_text(json.dumps(items))
    os.replace(other, scene.list)


async def _counts(lb: Program, count: int) -> None:
    """Look seldom: each look costs the program something too."""
    found: Any = {}
    with trio.fail_after(240):
        while found.get("found") != count or found["missing_total"]:
            await trio.sleep(0.5)
            found = await source(lb)


async def test_without_sources_and_clusters_nothing_of_them_is_imported(tmp_path: Path) -> None:
    folders = "lb.cluster", "lb.discovery", "lb.etcd", "lb.http_client"
    script = "import sys, lb.program, admin.server\n"
    script += f"print([name for name in sys.modules if name.startswith({folders})])"
    done = await trio.run_process([sys.executable, "-c", script], capture_stdout=True)
    assert done.stdout.strip() == b"[]"
