"""How long a task holds the event loop, in CPU time of the loop's thread: what others do does not count."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time

import trio

USUAL_SECONDS = 0.004
"""What `reference` takes on a machine of usual speed."""
SHORT = 0.002
"""Seconds of a step that no test minds, on a slow machine either."""


def reference() -> None:
    sum(range(200_000))


def slowness() -> float:
    """How many times slower than usual this machine is now, at least 1: others may slow it for a while."""
    times = []
    for _ in range(5):
        began = thread_time()
        reference()
        times.append(thread_time() - began)
    return max(1.0, min(times) / USUAL_SECONDS)


class Held(trio.abc.Instrument):
    """The longest step of a task, in seconds of a machine of usual speed, and which task that was.

    Only tasks count whose function is in one of these modules or packages; "" is any. The speed of the
    machine is looked at right after a step that took long, since the step met the same.
    """

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._began = thread_time()
        self.longest = 0.0
        self.task = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = thread_time() - self._began
        if took <= self.longest or not task.name.startswith(self._modules):
            return
        if took > SHORT:
            took /= slowness()
        if took > self.longest:
            self.longest, self.task = took, task.name


@contextmanager
def holding(*modules: str) -> Iterator[Held]:
    """Watch the loop for the time of the block: the steps of tasks of these modules, or of all."""
    held = Held(modules or ("",))
    trio.lowlevel.add_instrument(held)
    try:
        yield held
    finally:
        trio.lowlevel.remove_instrument(held)
