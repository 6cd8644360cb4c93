"""File descriptors: their limit, and those that can be given up. A proxy needs two for each exchange."""

import resource
from collections.abc import Callable
from contextlib import suppress

NO_LIMIT = 1_000_000
"""What stands for a system without a limit."""


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard limit, as HAProxy and Caddy do. Returns the limit.

    The usual soft limit of 1024 is meant for programs that use `select`. Child processes inherit the new one.
    Where the system refuses, the limit stays as it was.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def soft_limit() -> int:
    """How many descriptors this process may have open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return NO_LIMIT if soft == resource.RLIM_INFINITY else soft


class Spare:
    """Descriptors that are open only for later use: idle connections to backends, and idle pipes.

    Those who have them hand over a function: it closes some, but leaves a number of them, and says whether it
    has closed any.
    """

    def __init__(self) -> None:
        self._holders: list[Callable[[int], bool]] = []

    def add(self, give_up: Callable[[int], bool]) -> None:
        self._holders.append(give_up)

    def give_up(self, leaving: int = 0) -> bool:
        """Close some of each kind, because a descriptor is needed now. False if none could be closed."""
        return any([give_up(leaving) for give_up in self._holders])
