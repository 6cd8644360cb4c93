"""Act on a client connection at each of its steps: cancel it, cut a connection, let the client leave.

A step is what a task does between two waits. Trio cancels a task, and lets other tasks run, only between two
steps. So a test that has acted at each step of a task and of its children has tried every place at which a
cancellation or another task can come between.
"""

from collections.abc import Awaitable, Callable
from itertools import count

import trio
from trio.lowlevel import Task

OWNER = "_serve_one"
"""The function that the task of one client connection runs."""
LANE = "Readiness.run"
"""The task that forwards plain exchanges while that task sleeps (`lb.proxy.client_side.fast_path`)."""


class Steps(trio.abc.Instrument):
    """Count the steps of a client connection's task, of its children and of the fast path; act at step `at`.

    `connection` is the connection's number in the order of acceptance. `act` is called before the step. If it
    cancels a scope, the task still takes this step, and its next wait raises `Cancelled`.
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
    """Call `run(k)` for k = 1, 2, ... until a run has no step k. Returns the number of steps."""
    for k in count(1):
        steps = await run(k)
        if not steps.reached:
            break
    return steps.count


class OwnSteps(trio.abc.Instrument):
    """Count the steps of the task that makes this; act before step `at`, as `Steps` does."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.at = at
        self.count = 0
        self._act = act
        self._task = trio.lowlevel.current_task()

    @property
    def reached(self) -> bool:
        return self.count >= self.at

    def before_task_step(self, task: Task) -> None:
        if task is self._task:
            self.count += 1
            if self.count == self.at:
                self._act()


async def cancelled_everywhere(run: Callable[[], Awaitable[object]], check: Callable[[], object]) -> int:
    """Run it again and again, cancelled at its first step, its second and so on; check after each.

    Returns at how many steps it was cancelled.
    """
    for at in count(1):
        with trio.CancelScope() as scope:
            steps = OwnSteps(at, scope.cancel)
            trio.lowlevel.add_instrument(steps)
            try:
                await run()
            finally:
                trio.lowlevel.remove_instrument(steps)
        check()
        if not steps.reached:
            break
    return at - 1
