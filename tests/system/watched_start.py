"""`lb`, watched from the moment that it accepts clients: `watched_start.py run ARGUMENT...`.

At its end it prints, as JSON, the longest step of a task in seconds of CPU, that task, and how many full
collections of garbage there were.
"""

import gc
import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from lb.cli import main
from tests.kit.held import Held

ACCEPTING = "lb.proxy.acceptor"
FULL = 2


class Watch(Held):
    """Counts nothing until the first step of the task that accepts."""

    def __init__(self) -> None:
        super().__init__(("",))
        self.is_on = False
        self.collections = 0
        gc.callbacks.append(self.collecting)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.is_on = self.is_on or task.name.startswith(ACCEPTING)
        if self.is_on:
            super().after_task_step(task)

    def collecting(self, phase: str, info: Mapping[str, Any]) -> None:
        self.collections += self.is_on and phase == "start" and info["generation"] == FULL


watch = Watch()
trio.run = partial(trio.run, instruments=[watch])  # type: ignore[assignment]  # the command gives it none
code = main(sys.argv[1:])
json.dump({"longest": watch.longest, "task": watch.task, "collections": watch.collections}, sys.stdout)
sys.exit(code)
