"""What the program that an upgrade would start says of itself, before it is started."""

import sys
from pathlib import Path

import pytest

from lb.about import VERSION
from lb.errors import NotUpgraded
from lb.upgrade import rehearsal
from lb.upgrade.command import Command
from lb.upgrade.rehearsal import rehearse

LB = Command((sys.executable, "-m", "lb"), ("run", "--config", "lb.toml"))


async def test_the_program_names_its_version_and_judges_the_file(tmp_path: Path) -> None:
    (file := tmp_path / "lb.toml").write_text('listen = ["127.0.0.1:0"]\n[pools.web]\n')
    found = await rehearse(LB, file)
    assert found.command == (*LB.program, *LB.arguments)
    assert found.version.startswith(VERSION)
    assert found.notes[0] == f"{file}: ok, 2 pools, 0 backends"


async def test_what_it_has_against_the_file_is_why_there_is_no_upgrade(tmp_path: Path) -> None:
    (file := tmp_path / "lb.toml").write_text("moon = 1\n")
    with pytest.raises(NotUpgraded, match="moon: unknown key"):
        await rehearse(LB, file)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\nexit 7\n", "ended with exit code 7"),
        ("#!/bin/sh\necho it has a bug >&2; exit 1\n", "it has a bug"),
        ("#!/bin/sh\nexec sleep 60\n", "said nothing within 0.2 s"),
        ("#!/nowhere/sh\n", "cannot be started: No such file or directory"),
    ],
)
async def test_a_program_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(rehearsal, "SECONDS", 0.2 if "sleep" in script else 20.0)
    (program := tmp_path / "lb").write_text(script)
    program.chmod(0o755)
    with pytest.raises(NotUpgraded, match=words):
        await rehearse(Command((str(program),), ("run",)), None)


async def test_its_service_manager_does_not_hear_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    (program := tmp_path / "lb").write_text('#!/bin/sh\necho "[$NOTIFY_SOCKET]"\n')
    program.chmod(0o755)
    assert (await rehearse(Command((str(program),), ()), None)).version == "[]"
