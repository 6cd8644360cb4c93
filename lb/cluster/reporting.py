"""The task that tells the other members how far this one has come.

A status is told when something has changed, and at most five times a second. While a drain runs it is looked
at all the time, for no event tells that one of several requests has ended. No look is at all backends: which
ones are down is kept in mind, event by event.
"""

from collections.abc import Callable
from itertools import islice
from math import inf

import trio

from lb.cluster.member import About, Member, Status
from lb.cluster.wish_store import WishStore
from lb.core.backend import Backend
from lb.core.health.probe_verdict import Verdict
from lb.core.registry import Event, Registry
from lb.etcd.etcd_failed import EtcdFailed

REST = 0.2
"""Seconds between two of them."""
MOST_DOWN = 50


class Reporting:
    """Reports of a registry that follows the store, as the status of the member. `run` is the task.

    `about` says who the member is now, which a reload may change; then `wake` has it told.
    """

    def __init__(
        self,
        member: Member,
        store: WishStore,
        registry: Registry,
        about: Callable[[], About] | None = None,
    ) -> None:
        self._member = member
        self._about = about or (lambda: member.about)
        self._store = store
        self._registry = registry
        self._news = trio.Event()
        self._down = {each: None for each in registry.backends.values() if _is_down(each)}
        registry.subscribe(self._on_event)
        store.subscribe(self.wake)

    def status(self) -> Status:
        """How far it has come now: what is applied, and what is left of the drains."""
        # One whose pool has lost its probe is not down any more, and no event has said so.
        down = islice((each.id for each in self._down if _is_down(each)), MOST_DOWN)
        return Status(
            instance=self._member.about.instance,
            applied=self._store.known_until,
            left={backend.id: backend.in_flight for backend in self._registry.draining},
            down=tuple(down),
            otherwise=tuple(sorted(self._store.not_followed)),
        )

    async def run(self) -> None:
        """Until cancelled. What etcd does not take now is told the next time."""
        while True:
            self._news = trio.Event()
            try:
                await self._member.becomes(self._about())
                await self._member.says(self.status())
            except EtcdFailed:
                self._news.set()
            await trio.sleep(REST)
            with trio.move_on_after(0 if self._registry.draining else inf):
                await self._news.wait()

    def wake(self) -> None:
        """Tell what has changed."""
        self._news.set()

    def _on_event(self, event: Event) -> None:
        if _is_down(event.backend):
            self._down[event.backend] = None
        else:
            self._down.pop(event.backend, None)
        self.wake()


def _is_down(backend: Backend) -> bool:
    health = backend.health
    return not backend.removed and health is not None and health.verdict is Verdict.DOWN
