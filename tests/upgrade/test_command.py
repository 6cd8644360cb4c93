"""What an upgrade starts, and where it refuses to."""

import sys
from pathlib import Path

import pytest

from lb.config.config_source import ConfigSource
from lb.errors import NotUpgraded
from lb.upgrade.command import check_surroundings, command_of, named_program, started_with

RUN = ("run", "--config", "lb.toml")


def test_a_script_is_started_again_and_chooses_its_interpreter(tmp_path: Path) -> None:
    (script := tmp_path / "lb").write_text("#!/usr/bin/python3\n")
    script.chmod(0o755)
    command = started_with(str(script), ["/opt/bin/python3.11", str(script), *RUN])
    assert command.program == (str(script),)
    assert command.arguments == RUN


@pytest.mark.parametrize(
    ("script", "original"),
    [
        ("/src/lb/__main__.py", ("python3", "-m", "lb")),
        ("/src/lb/__main__.py", ("python3", "-X", "dev", "-m", "lb")),
        ("/none/lb", ("python3", "/none/lb")),
    ],
)
def test_whatever_else_is_started_as_it_was(script: str, original: tuple[str, ...]) -> None:
    command = started_with(script, [*original, *RUN])
    assert (command.program, command.arguments) == (original, RUN)


def test_the_file_names_another_program_though_it_has_keys_of_a_newer_one(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    source = ConfigSource(file, {})
    file.write_text('moon = "full"\n[upgrade]\nprogram = "/opt/lb-2/bin/lb"\n')
    assert named_program(source) == "/opt/lb-2/bin/lb"
    assert command_of(source).program == ("/opt/lb-2/bin/lb",)
    file.write_text("")
    assert named_program(source) is None
    assert command_of(source) == started_with(original=tuple(sys.orig_argv))
    assert named_program(ConfigSource(file, {"upgrade": {"program": "/flag"}})) == "/flag"


def test_a_file_that_cannot_be_read_is_no_reason_to_start_the_old_program(tmp_path: Path) -> None:
    (file := tmp_path / "lb.toml").write_text("upgrade = [\n")
    with pytest.raises(NotUpgraded, match="line 1, column 11"):
        named_program(ConfigSource(file, {}))


@pytest.mark.parametrize(
    ("pid", "parent", "words"),
    [
        (1, "", "process 1 of this container"),
        (7, "tini", "the container would end"),
        (7, "supervisord", "supervisord would start this program again"),
    ],
)
def test_where_the_end_of_the_old_program_would_be_the_end(pid: int, parent: str, words: str) -> None:
    with pytest.raises(NotUpgraded, match=words):
        check_surroundings(pid, parent)


@pytest.mark.parametrize("parent", ["systemd", "bash", ""])
def test_where_it_would_not(parent: str) -> None:
    check_surroundings(7, parent)
