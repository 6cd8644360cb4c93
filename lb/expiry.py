"""The task that lets time pass in a registry: drains and ejections end, trials begin, shares grow."""

from math import inf

import trio

from lb.core.registry import Registry
from lb.slices import sliced


class Expiry:
    """Runs `Registry.expiring` at each deadline. Whatever is told of a backend or a pool may be a new one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._changed = trio.Event()
        registry.subscribe(lambda _event: self._changed.set(), lambda _event: self._changed.set())

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            self._changed = trio.Event()
            deadline = await sliced(self._registry.expiring(trio.current_time()))
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._changed.wait()
