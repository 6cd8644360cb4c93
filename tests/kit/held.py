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
    """The longest step of a task, in seconds of a machine of usual speed, and which task that was.

    Only tasks count whose function is in one of these modules or packages; "" is any.
    """

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._slowness = slowness()
        self._began = thread_time()
        self.longest = 0.0
        self.task = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = (thread_time() - self._began) / self._slowness
        if took > self.longest and task.name.startswith(self._modules):
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
