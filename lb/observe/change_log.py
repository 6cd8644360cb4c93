"""The program log's lines about backends: one for each change, but one for many changes at once.

A set of ten thousand backends that comes or leaves, or a network that breaks, is as many changes within a few
seconds. A line for each would cost more than the change itself, and nobody would find the others among them.
So within SECONDS the first LINES changes of each kind have lines of their own. The rest are counted, and then
one line says how many they were.
"""

from collections import Counter
from typing import TYPE_CHECKING

import structlog
import trio

if TYPE_CHECKING:
    from lb.core.registry import Event

LINES = 100
SECONDS = 1.0
TROUBLE = frozenset(("down", "ejected", "panic", "policy failed", "stale", "held"))
"""Events that are logged as warnings."""

log = structlog.get_logger()


class ChangeLog:
    """The lines about the backends of one balancer. Without `run` those about many are missing."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._has_counted = trio.Event()

    def changed(self, event: "Event") -> None:
        """Write the line of a change, or count it."""
        kind = event.kind
        self._counts[kind] += 1
        self._has_counted.set()
        if self._counts[kind] <= LINES:
            backend = event.backend
            told(kind, f"backend {kind}", backend=backend.id, pool=backend.pool, detail=event.detail)

    async def run(self) -> None:
        """Write how many were only counted, until cancelled; then those that are left."""
        while True:
            await self._has_counted.wait()
            try:
                await trio.sleep(SECONDS)
            finally:
                self._tell_the_rest()

    def _tell_the_rest(self) -> None:
        counts, self._counts = self._counts, Counter()
        self._has_counted = trio.Event()
        for kind, count in counts.items():
            if count > LINES:
                told(kind, f"backends {kind}", more=count - LINES)


def told(kind: str, line: str, **fields: object) -> None:
    """Write a line about an event of this kind."""
    write = log.warning if kind in TROUBLE else log.info
    write(line, **fields)
