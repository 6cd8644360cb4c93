"""The keeper reads the files of certificates, and the workers hear of what it can use, all of them alike."""

from pathlib import Path

import pytest
import trio

from lb.certificate_files.termination import LOOK_SECONDS
from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config
from lb.workers.fleet_termination import FleetTermination
from lb.workers.messages import TlsFiles
from tests.kit.certificates import certificate
from tests.kit.time import virtual_time
from tests.workers.test_told_termination import at_once

pytestmark = virtual_time


@pytest.fixture(autouse=True)
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


class Stage:
    """A folder with one certificate, the keeper's object, and what it has told the workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("a.test")
        self.told: list[TlsFiles] = []
        self.waits = 0
        self.here = FleetTermination(self.config())
        self.here.tell, self.here.applied = self.told.append, self._applied

    async def _applied(self) -> None:
        await trio.lowlevel.checkpoint()
        self.waits += 1

    def write(self, name: str, file: str = "www") -> None:
        certificate(name).write(self.folder, file)

    def config(self, *files: str) -> Config:
        pairs = [(f"{self.folder}/{file}.pem", f"{self.folder}/{file}.key") for file in files or ("www",)]
        certificates = [{"chain": chain, "key": key} for chain, key in pairs]
        return build({"listen": ["https://127.0.0.1:0"], "tls": {"certificates": certificates}})

    @property
    def names(self) -> list[str]:
        return [name for each in self.here.certificates.all for name in each.names]


def held(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mode & 0o777


async def test_a_worker_that_starts_gets_what_the_keeper_has_read(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    read = {path: (data, mode) for path, data, mode in it.here.files.files}
    assert read == {f"{tmp_path}/{name}": held(tmp_path / name) for name in ("www.pem", "www.key")}
    (tmp_path / "www.pem").write_text("half of")
    with pytest.raises(ConfigError):
        await it.here.reload()
    assert {path: (data, mode) for path, data, mode in it.here.files.files} == read
    assert it.told == []


async def test_a_reload_returns_when_all_workers_have_applied_it(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    it.write("b.test")
    await it.here.reload()
    assert (it.names, it.told, it.waits) == (["b.test"], [it.here.files], 1)


async def test_a_reload_says_which_worker_could_not_follow(tmp_path: Path) -> None:
    it = Stage(tmp_path)

    async def applied() -> None:
        await trio.lowlevel.checkpoint()
        it.here.not_swapped(2, "too many open files")

    it.here.applied = applied
    with pytest.raises(ConfigError, match=r"worker 2 serves the certificates that it had.*too many"):
        await it.here.reload()
    assert it.here.results["failure"] == 1
    it.here.applied = it._applied
    await it.here.reload()  # it has tried again meanwhile, and could


async def test_a_change_of_files_is_told_and_fresh_keys_too(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.here.run)
        await trio.sleep(LOOK_SECONDS * 1.5)
        assert it.told == []
        it.write("longer-name.test")
        await trio.sleep(LOOK_SECONDS)
        [files] = it.told
        assert (it.names, files.keys) == (["longer-name.test"], 0)
        nursery.cancel_scope.cancel()
    await it.here.reload(fresh=True)
    assert it.told[-1].keys == 1


async def test_workers_are_told_what_is_served_though_a_file_is_broken(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    it.write("b.test", "other")
    wanted = it.config("www", "other")
    it.here.prepare(wanted)
    for _ in it.here.adopting(wanted):
        pass
    old = (tmp_path / "www.pem").read_bytes()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.here.run)
        (tmp_path / "www.pem").write_text("half of")
        it.write("longer-name.test", "other")
        await trio.sleep(LOOK_SECONDS * 3.5)
        nursery.cancel_scope.cancel()
    _, files = it.told
    read = {path: data for path, data, _ in files.files}
    assert read[f"{tmp_path}/www.pem"] == old
    assert read[f"{tmp_path}/other.pem"] == (tmp_path / "other.pem").read_bytes()
    assert it.here.results["failure"] == 1


async def test_it_follows_the_configuration(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    it.write("b.test", "other")
    wanted = it.config("www", "other")
    it.here.prepare(wanted)
    assert it.told == []
    for _ in it.here.adopting(wanted):
        assert it.told == []
    [files] = it.told
    assert files.settings == wanted.tls
    assert it.names == ["a.test", "b.test"]
    with pytest.raises(ConfigError, match="nowhere"):
        it.here.prepare(it.config("nowhere"))
    assert it.told == [files]
