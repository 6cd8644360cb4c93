"""What an upgrade would start, as that program itself says: its version, and what it thinks of the file."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import trio

from lb.control import Rehearsal
from lb.errors import NotUpgraded
from lb.signal_names import how_it_ended
from lb.upgrade.command import Command

SECONDS = 20.0
"""How long the new program may take for each answer."""


async def rehearse(command: Command, file: Path | None) -> Rehearsal:
    """Ask the program of this command; NotUpgraded, with what it said, where it does not like the file."""
    version = (await _says([*command.program, "--version"])).removeprefix("trio-lb ")
    notes = "" if file is None else await _says([*command.program, "config", "check", "--no-code", str(file)])
    whole = (*command.program, *command.arguments)
    return Rehearsal(command=whole, version=version, notes=tuple(notes.splitlines()))


async def _says(command: Sequence[str]) -> str:
    """What it prints; NotUpgraded with that where its exit code is not 0."""
    try:
        with trio.fail_after(SECONDS):
            done = await trio.run_process(
                command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, env=_quiet(os.environ)
            )
    except OSError as exc:
        raise NotUpgraded(f"{command[0]} cannot be started: {exc.strerror or exc}") from exc
    except trio.TooSlowError as exc:
        raise NotUpgraded(f"{command[0]} said nothing within {SECONDS:g} s") from exc
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        how = how_it_ended(done.returncode)
        raise NotUpgraded(said.removeprefix("lb: ") or f"{command[0]} ended with {how}")
    return said


def _quiet(environment: "os._Environ[str]") -> dict[str, str]:
    """Without what belongs to the program that runs: its service manager is not to hear of this one."""
    return {
        name: value for name, value in environment.items() if not name.startswith(("NOTIFY_", "WATCHDOG_"))
    }
