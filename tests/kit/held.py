"""How long a task holds the event loop, in CPU time of the loop's thread: what others do does not count."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import thread_time

import trio

USUAL_SECONDS = 0.004
"""What `reference` takes on a machine of usual speed."""


def reference() -> None:
    sum(range(200_000))


@cache
def slowness() -> float:
    """How many times slower than usual this machine is; 1 at least."""
    times = []
    for _ in range(50):
        began = thread_time()
        reference()
        times.append(thread_time() - began)
    return max(1.0, min(times) / USUAL_SECONDS)


class Held(trio.abc.Instrument):
    """The longest step of any task, in seconds of a machine of usual speed, and which task that was."""

    def __init__(self) -> None:
        self._slowness = slowness()
        self._began = thread_time()
        self.longest = 0.0
        self.task = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = (thread_time() - self._began) / self._slowness
        if took > self.longest:
            self.longest, self.task = took, task.name


@contextmanager
def holding() -> Iterator[Held]:
    """Watch the loop for the time of the block, the caller's own steps included."""
    held = Held()
    trio.lowlevel.add_instrument(held)
    try:
        yield held
    finally:
        trio.lowlevel.remove_instrument(held)
