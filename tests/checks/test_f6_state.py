"""Faults f6.5 and f6.16 with real mounts: the state file in a container, and what a kill -9 leaves."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from lb import cli
from lb.config import state_file
from lb.errors import ConfigError
from tests.system.program import backend_flags, program, until
from tests.system.servers import free_ports

MOUNTS = [
    pytest.mark.needs("unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount"),
]
READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro /"
"""The root is read-only, and this path is not."""
NEW = {"id": "new", "url": "http://127.0.0.1:9"}


def mounted(commands: str) -> list[str]:
    """A shell that mounts, in a namespace of its own, and becomes the command after it."""
    return ["unshare", "--mount", "sh", "-c", f'{commands} && exec "$@"', "sh"]


def mounts(test: object) -> object:
    for mark in MOUNTS:
        test = mark(test)
    return test


@mounts
async def test_f6_5_a_state_file_that_is_a_bind_mount_keeps_changes(tmp_path: Path) -> None:
    outside, state = tmp_path / "outside.json", tmp_path / "state.json"
    outside.touch()
    state.touch()
    within = mounted(f"mount --bind {outside} {state}")
    flags = [*backend_flags(free_ports(1)), "--state", str(state)]
    async with program(*flags, within=within) as lb:
        assert b"written in place" in lb.said
        assert (await lb.api("POST", "/backends", 201, json=NEW))["persisted"]
    assert b'"new"' in outside.read_bytes()
    async with program(*flags, within=within) as lb:
        listing = await lb.api("GET", "/backends")
    assert {item["id"] for item in listing["items"]} == {"web1", "new"}


@mounts
async def test_f6_5_it_runs_on_a_read_only_root_with_a_folder_for_its_state(tmp_path: Path) -> None:
    flags = [*backend_flags(free_ports(1)), "--state", str(tmp_path / "state.json")]
    async with program(*flags, within=mounted(READ_ONLY.format(tmp_path))) as lb:
        assert (await lb.api("POST", "/backends", 201, json=NEW))["persisted"]
        assert b"written in place" not in lb.said


@mounts
def test_f6_5_a_folder_that_is_read_only_is_found_at_the_start_and_by_check(tmp_path: Path) -> None:
    state, file = tmp_path / "state.json", tmp_path / "lb.toml"
    file.write_text(f"state = '{state}'\n[pools.default]\nbackends = [{{ url = 'http://127.0.0.1:1' }}]\n")
    for command in (["config", "check", str(file)], ["run", "--config", str(file)]):
        done = subprocess.run(
            [
                *mounted("mount -o remount,bind,ro /"),
                sys.executable,
                "-m",
                "lb",
                *command,
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        said = f"state: {state} cannot be written: Read-only file system"
        assert done.stderr == f"lb: {file}, line 1: {said}\n"


@mounts
async def test_f6_5_it_runs_as_the_first_process_of_a_container(tmp_path: Path) -> None:
    within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    async with program(*backend_flags(free_ports(1)), within=within) as lb:
        info = await lb.api("GET", "/healthz")
        assert info["healthy"]
        os.kill(only_child(lb.process.pid), signal.SIGTERM)
        assert await lb.ends() == 0


def only_child(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_f6_5_check_reads_the_state_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, file = tmp_path / "state.json", tmp_path / "lb.toml"
    file.write_text(f"state = '{state}'")
    assert cli.main(["config", "check", str(file)]) == 0
    assert {each.name for each in tmp_path.iterdir()} == {"lb.toml"}
    state.write_text("{")
    assert cli.main(["config", "check", str(file)]) == 2
    assert "is torn" in capsys.readouterr().err
    assert state.read_text() == "{"


def test_f6_5_a_folder_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"^state: /proc/self/state\.json cannot be written: "):
        state_file.try_out("/proc/self/state.json")


async def test_f6_16_what_a_kill_left_is_gone_after_the_next_start(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f".state.json.abcdefg{number}").write_bytes(b"half of")
    async with program(*backend_flags(free_ports(1)), "--state", str(tmp_path / "state.json")) as lb:
        await until(partial(lb.has_said, b"3 temporary files"))
    assert os.listdir(tmp_path) == []
