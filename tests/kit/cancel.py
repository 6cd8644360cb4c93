"""Doing something to a client connection at its every step: a cancellation, a cut, a client that is gone.

Trio can interleave others, and cancel, only where a task waits; so whoever has been through every step of a
task, and of the tasks that it starts, has been through everything that can ever happen to it.
"""

from collections.abc import Awaitable, Callable
from itertools import count

import trio
from trio.lowlevel import Task

OWNER = "_serve_one"
"""The function that the task of one client connection runs."""
LANE = "Readiness.run"
"""What runs in place of that task while it sleeps (`lb.proxy.client.fast_path`)."""


class Steps(trio.abc.Instrument):
    """Counts the steps of one client connection's task, its children and the lane; at step `at` it acts.

    `connection` is its number in the order of acceptance. Acting is cancelling a scope: the task that is
    about to step takes this step still, and does not come out of its next wait.
    """

    def __init__(self, at: int, act: Callable[[], None], connection: int = 1) -> None:
        self.at = at
        self.count = 0
        self._act = act
        self._before = connection
        self._family: set[Task] = set()

    @property
    def reached(self) -> bool:
        return self.count >= self.at

    def task_spawned(self, task: Task) -> None:
        parent = task.parent_nursery.parent_task if task.parent_nursery else None
        if OWNER in task.name:
            self._before -= 1
            if self._before == 0:
                self._family.add(task)
        elif parent in self._family or LANE in task.name:
            self._family.add(task)

    def before_task_step(self, task: Task) -> None:
        if task in self._family:
            self.count += 1
            if self.count == self.at:
                self._act()


async def until_not_reached(run: Callable[[int], Awaitable[Steps]]) -> int:
    """`run(k)` for k = 1, 2, ... until it has no step k; how many it has."""
    for k in count(1):
        steps = await run(k)
        if not steps.reached:
            break
    return steps.count
