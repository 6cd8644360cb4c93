"""Which program an upgrade starts, and where it must not: what the running one was started with decides.

The command line is the same. The file that is executed is looked up again, so that it may be another one by
now: a link to a new virtual environment, a new version in the same one. `upgrade.program` names another. It
stands in the configuration file, so who may upgrade over the API cannot choose what is run.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lb.config.config_source import ConfigSource
from lb.errors import ConfigError, NotUpgraded

ENDS_WITH_US = frozenset(("tini", "docker-init", "dumb-init", "catatonit"))
"""Parents that end the container when the program that they have started ends."""
STARTS_AGAIN = frozenset(("supervisord", "runsv", "s6-supervise", "monit", "circusd"))
"""Parents that start the program again when it ends, since they do not know its successor."""


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a program, a file with what its interpreter needs, and the arguments behind that."""

    program: tuple[str, ...]
    arguments: tuple[str, ...]


def started_with(script: str = sys.argv[0], original: Sequence[str] = tuple(sys.orig_argv)) -> Command:
    """The command of this program.

    If it was started by its script, the script alone is the program, so that its first line chooses the
    interpreter; for `python -m lb` that is the same interpreter.
    """
    at = original.index("run") if "run" in original else len(original)
    program, arguments = tuple(original[:at]), tuple(original[at:])
    if program[-1:] == (script,) and os.access(script, os.X_OK):
        program = (script,)
    return Command(program, arguments)


def command_of(source: ConfigSource) -> Command:
    """The command that an upgrade runs: with the program that the file names now, if it names one."""
    command, named = started_with(), named_program(source)
    return command if named is None else Command((named,), command.arguments)


def named_program(source: ConfigSource) -> str | None:
    """The value of `upgrade.program` in the file as it is now, which this program may not understand whole.

    NotUpgraded where the file cannot be read at all.
    """
    try:
        tables: Mapping[str, Any] = source.tables()
    except ConfigError as exc:
        raise NotUpgraded(str(exc)) from exc
    for each in (source.flags, tables):
        table = each.get("upgrade")
        if isinstance(table, Mapping) and isinstance(program := table.get("program"), str):
            return program
    return None


def check_surroundings(pid: int, parent: str) -> None:
    """NotUpgraded where what has started this program would not survive or not notice its end."""
    if pid == 1 or parent in ENDS_WITH_US:
        who = "process 1 of this container" if pid == 1 else f"all that {parent} waits for"
        raise NotUpgraded(
            f"this program is {who}, so the container would end with it: start a container with the new"
            " program beside this one, and drain this one (lb drain --exit)"
        )
    if parent in STARTS_AGAIN:
        raise NotUpgraded(
            f"{parent} would start this program again when it ends: restart it there, or run it under systemd"
        )


def parent_name() -> str:
    """The name of the program that has started this one; "" where that cannot be known."""
    try:
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    except OSError:
        return ""
