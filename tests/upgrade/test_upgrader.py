"""The running program, and new ones that do what they should not: it goes on as before."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import lb
from lb.config.config_source import ConfigSource
from lb.control import Replacement
from lb.core.registry import Registry
from lb.errors import NotUpgraded
from lb.settings.backend_spec import BackendSpec
from lb.upgrade import upgrader
from lb.upgrade.command import Command
from lb.upgrade.upgrader import Upgrader
from tests.system.program import until

NEWCOMER = str(Path(__file__).with_name("newcomer.py"))


@pytest.fixture(autouse=True)
def ordinary_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has started the tests."""
    monkeypatch.setattr(upgrader, "parent_name", lambda: "")
    monkeypatch.setenv("PYTHONPATH", str(Path(lb.__file__).parents[1]))


class Scene:
    """A balancer that may be upgraded, and what was told of it."""

    def __init__(self, balancer: lb.Balancer) -> None:
        self.balancer = balancer
        self.released: list[int] = []
        self.told: list[str] = []
        self.upgrade = Upgrader(balancer, ConfigSource(None, {}), self.release)
        self.upgrade.subscribe(lambda kind, _detail: self.told.append(kind))

    @property
    def registry(self) -> Registry:
        return self.balancer.registry

    async def release(self, pid: int) -> None:
        self.released.append(pid)

    async def is_served(self) -> None:
        """The port is open, and what is sent there is answered."""
        host, _, port = self.balancer.control.listening[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join([data async for data in stream])
        assert answer.startswith(b"HTTP/1.1 503 ")


@asynccontextmanager
async def upgradable(monkeypatch: pytest.MonkeyPatch, does: str, folder: Path) -> AsyncIterator[Scene]:
    """A balancer without backends; an upgrade of it starts a program that does this."""
    command = Command((sys.executable, NEWCOMER), (does, str(folder)))
    monkeypatch.setattr(upgrader, "command_of", lambda _source: command)
    async with lb.open_balancer(lb.build({"listen": ["127.0.0.1:0"]})) as balancer:
        async with trio.open_nursery() as nursery:
            scene = Scene(balancer)
            nursery.start_soon(scene.upgrade.run)
            yield scene
            for pid in scene.released:  # it ends when it is told that it has replaced this one
                await until(partial(_has_ended, pid))
            nursery.cancel_scope.cancel()


async def _has_ended(pid: int) -> bool:
    """And its parent has taken note of it."""
    return not await trio.Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("is killed", r"ended \(SIGKILL\) before it served"),
        ("serves at once", "does not follow the order of the messages"),
        ("never serves", "did not serve within 0.5 s"),
        ("ends when it is to serve", r"ended \(exit code 3\) before it served"),
    ],
)
async def test_a_new_program_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str, words: str
) -> None:
    monkeypatch.setattr(upgrader, "TAKE_OVER_SECONDS", 0.5)
    async with upgradable(monkeypatch, does, tmp_path) as scene:
        for _ in range(2):
            with pytest.raises(NotUpgraded, match=words):
                await scene.upgrade()
        assert not scene.balancer.control.is_handing_over
        assert scene.told == ["upgrading", "not upgraded"] * 2
        assert scene.balancer.metrics.upgrades == {"success": 0, "failure": 2}
        assert scene.released == []
        await scene.is_served()


async def test_where_operators_change_something_meanwhile_another_program_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first one was told of other wishes, so it must not serve."""
    async with upgradable(monkeypatch, "takes over", tmp_path) as scene, trio.open_nursery() as nursery:
        done: list[Replacement] = []

        async def upgrade() -> None:
            done.append(await scene.upgrade())

        nursery.start_soon(upgrade)
        await until(partial(_is_there, tmp_path / "offered 0"))
        scene.registry.add(BackendSpec(id="web1", url="http://127.0.0.1:9"))
        (tmp_path / "go").touch()
        with trio.fail_after(20):
            await scene.balancer.stop_wished()
    assert {*os.listdir(tmp_path)} == {"offered 0", "offered 2", "go"}
    assert scene.told == ["upgrading", "upgrading", "upgraded"]
    assert scene.released == [done[0].pid]
    assert done[0].version == "9.9"


async def _is_there(path: Path) -> bool:
    return await trio.Path(path).exists()


async def test_a_call_that_is_cancelled_leaves_the_upgrade_going(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with upgradable(monkeypatch, "takes over", tmp_path) as scene:
        with trio.move_on_after(0.1) as left:
            await scene.upgrade()
        assert left.cancelled_caught
        with pytest.raises(NotUpgraded, match="goes on already"):
            await scene.upgrade()
        (tmp_path / "go").touch()
        with trio.fail_after(20):
            await scene.balancer.stop_wished()
        with pytest.raises(NotUpgraded, match="has been replaced by process"):
            await scene.upgrade()


async def test_a_stop_ends_the_new_program_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with upgradable(monkeypatch, "takes over", tmp_path) as scene, trio.open_nursery() as nursery:

        async def upgrade() -> None:
            with pytest.raises(NotUpgraded, match="was stopped meanwhile"):
                await scene.upgrade()

        nursery.start_soon(upgrade)
        await until(partial(_is_there, tmp_path / "offered 0"))
        scene.balancer.stop()
