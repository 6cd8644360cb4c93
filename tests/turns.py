"""Which tests of two pytest workers may run at the same time.

Most tests may run beside any other. A test with the mark `alone` measures time, or takes a port that another
test takes too, so it runs while no other test does. A lock on a file sees to that: a test with the mark has
the lock to itself, the others share it. Before a test takes this lock it takes a second one, the queue, and
keeps it until it has the first. Without the queue the tests of the other worker would share the lock without
a gap, and a test with the mark would wait for all of them.

Both are `flock`: the kernel releases them when a worker crashes.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """The two files, in a folder that all workers of a run share. A worker is a process and opens its own."""

    def __init__(self, folder: Path) -> None:
        self._queue = (folder / "queue").open("w")
        self._running = (folder / "running").open("w")

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait until the test may run. It must end with the block, its fixtures included."""
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        fcntl.flock(self._running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._running, fcntl.LOCK_UN)

    def close(self) -> None:
        self._queue.close()
        self._running.close()
