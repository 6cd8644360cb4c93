"""A look at each backend when the program starts, so that a wrong address shows in the log at once."""

from collections import deque

import structlog
import trio

from lb.core.backend import Backend
from lb.core.registry import Registry
from lb.errors import LBError, NameUnanswered, NoPortLeft, TooManyDescriptors
from lb.proxy.backend_side.connections import Connections

LOOKS = 20
"""How many backends are connected to at a time."""

log = structlog.get_logger()


class FirstLook:
    """Connects to each backend once, and logs which cannot be reached. Nothing else follows from it.

    An attempt that failed for want of descriptors, or of an answer of the resolver, says nothing of the
    backend; such are only counted.
    """

    def __init__(self, registry: Registry, connections: Connections) -> None:
        self._registry = registry
        self._connections = connections
        self._turns = trio.CapacityLimiter(LOOKS)
        self._missing = 0
        self._unknown = 0

    async def run(self) -> None:
        """Look at all backends that there are now, LOOKS at a time."""
        left = deque(self._registry.backends.values())  # who leaves meanwhile is not kept until the end
        async with trio.open_nursery() as nursery:
            while left:
                backend = left.popleft()
                await self._turns.acquire_on_behalf_of(backend)
                nursery.start_soon(self._look, backend)
        if self._unknown:
            log.warning("backends not looked at", count=self._unknown)
        if self._missing and self._missing == len(self._registry.backends):
            log.warning("no backend is reachable; requests get 502 until one is")

    async def _look(self, backend: Backend) -> None:
        try:
            if not backend.removed:
                self._connections.give(backend, await self._connections.open(backend), keep=False)
        except (TooManyDescriptors, NoPortLeft, NameUnanswered):
            self._unknown += 1
        except LBError as exc:
            self._missing += 1
            log.warning("backend not reachable", backend=backend.id, why=str(exc))
        finally:
            self._turns.release_on_behalf_of(backend)
