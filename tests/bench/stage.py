"""The programs of one setting, side by side, from their start to their end."""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from tests.bench.backend import backends
from tests.bench.cases import Case
from tests.bench.loads import Load, Result, Target, Trouble
from tests.bench.processes import PROGRAM_CORE, START_SECONDS, NotStarted, free_port, started
from tests.bench.programs import Start
from tests.bench.setting import Place, Setting

Role = tuple[str, Setting]
"""A program by its name, as it runs with a setting."""
LEAST_WARM_UP, MOST_WARM_UP, WARM_UP_SLICE = 0.5, 15.0, 0.3
"""Seconds; the first requests of a program cost more than all later ones."""
TURNS = 3
"""So often each backend is asked before it counts, so that the connections to it have been made."""


class Stage:
    """Runs each role on the core of the programs, and behind them all one nginx.

    A program that does not start is named in `failed`, and the rest goes on without it.
    """

    def __init__(self, roles: Sequence[Role], programs: Mapping[str, Start]) -> None:
        self.targets: dict[Role, Target] = {}
        self.failed: list[str] = []
        self._roles = roles
        self._programs = programs
        self._warm: set[Role] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            ports = stack.enter_context(backends(root, max(setting.backends for _, setting in self._roles)))
            for number, role in enumerate(self._roles):
                place = Place(role[1], free_port(), ports, root / str(number))
                place.root.mkdir()
                self._start(role, place, stack)
            self._stack = stack.pop_all()
        return self

    def _start(self, role: Role, place: Place, stack: ExitStack) -> None:
        name, setting = role
        places = [place]
        for number in range(1, setting.copies):
            places.append(replace(place, port=free_port(), root=place.root / str(number)))
            places[-1].root.mkdir()
        try:
            targets = [self._started(name, each, stack) for each in places]
        except NotStarted as exc:
            self.failed.append(f"{name} with {setting}")
            tell(exc)
        else:
            self.targets[role] = replace(targets[0], beside=tuple(targets[1:]))
            tell(name, "is up")

    def _started(self, name: str, place: Place, stack: ExitStack) -> Target:
        command = self._programs[name](place)
        return Target(
            place, stack.enter_context(started(command, place.port, PROGRAM_CORE, place.root / "output"))
        )

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, role: Role, load: Load, seconds: float) -> Result:
        """The load on one of them; before its first, until all is as it stays."""
        target = self.targets[role]
        if role not in self._warm:
            warm_up(load, target)
            self._warm.add(role)
        return load(target, seconds)


def warm_up(load: Load, target: Target) -> None:
    """Until a program runs as it will, and each backend has had its turns: connections to them are made once.

    Some programs listen before they know their routes. Not every policy gives all backends a turn.
    """
    began, asked = time.monotonic(), 0
    while (took := time.monotonic() - began) < (MOST_WARM_UP if asked else START_SECONDS):
        if took >= LEAST_WARM_UP and asked >= TURNS * target.place.setting.backends:
            return
        try:
            asked += load(target, WARM_UP_SLICE).requests
        except Trouble:
            tell("not yet")


def by_setting(cases: Mapping[str, Case]) -> dict[Setting, dict[str, Case]]:
    """Cases that share their programs."""
    found: dict[Setting, dict[str, Case]] = {}
    for name, case in cases.items():
        found.setdefault(case.setting, {})[name] = case
    return found


def tell(*parts: object) -> None:
    sys.stderr.write(" ".join(map(str, parts)) + "\n")
