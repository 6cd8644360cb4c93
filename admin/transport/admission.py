"""How many connections the admin service takes, and which one is closed where there is no place left."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

MAX_CONNECTIONS = 512
SHARE_OF_DESCRIPTORS = 20
"""At most one descriptor in so many is for the admin service: clients and backends have nine tenths."""


def most_connections() -> int:
    """How many connections there may be at once; the descriptors for the traffic are never used up here."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(16, soft // SHARE_OF_DESCRIPTORS))


class Admission:
    """The connections that have sent no byte yet, oldest first: for a new one the oldest is cancelled."""

    def __init__(self) -> None:
        self._silent: dict[trio.CancelScope, None] = {}

    def is_granted(self, connections: int) -> bool:
        """Whether a new connection may stay, which `connections` already counts.

        Without a free place the connection that has been silent longest is cancelled. False where all
        others have sent something.
        """
        if connections <= most_connections():
            return True
        if not self._silent:
            return False
        oldest = next(iter(self._silent))
        del self._silent[oldest]
        oldest.cancel()
        return True

    @contextmanager
    def silent(self, scope: trio.CancelScope) -> Iterator[Callable[[], object]]:
        """Hold the scope of a connection while that lasts; to be called when its first bytes have come."""
        self._silent[scope] = None
        try:
            yield partial(self._silent.pop, scope, None)
        finally:
            self._silent.pop(scope, None)
