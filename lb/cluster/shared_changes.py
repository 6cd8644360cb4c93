"""What an operator changes on one balancer of a cluster: on a copy first, and as wishes on all of them.

    copy of the registry ──operator's change──> copy      what differs are the wishes that are put
    registry             ──operator's change──> registry  what differs is a local override

So no operation has to know how its change is shared.
"""

from collections.abc import Awaitable, Callable, Container, Mapping
from typing import NamedTuple

import msgspec

from lb.cluster.shared_wishes import EVERYWHERE, BackendWish, Wish, named, to_put, wishing
from lb.core.backend import Backend
from lb.core.cluster_view import Guard
from lb.core.drain import Outcome, Then
from lb.core.registry import Conflict, Event, Registry
from lb.settings.balancer_settings import PoolConfig
from lb.slices import sliced

Configured = Mapping[str, PoolConfig]


class WatchedRegistry:
    """A registry of which it is found out what changes, and, of a `copy`, how long drains may take."""

    def __init__(self, configured: Configured, registry: Registry) -> None:
        self.configured = configured
        self._registry = registry
        self._before: Mapping[str, Wish] = {}
        self._drains: dict[str, float] = {}

    async def begin(self, *, is_copy: bool) -> None:
        """What changes from now on is the difference."""
        self._before = await sliced(wishing(self.configured, self._registry))
        if is_copy:
            self._registry.subscribe(self._note)

    async def difference(self) -> dict[str, Wish]:
        """The wishes of what has changed."""
        after = await sliced(wishing(self.configured, self._registry, self._drains))
        return to_put(self._before, after, self.configured, self._drains)

    def has_drained(self, backend_id: str) -> bool:
        """Whether a drain is a part of the change."""
        return backend_id in self._drains

    def _note(self, event: Event) -> None:
        """How long the drain may take: nothing runs on a copy, so it is over before one can look."""
        backend, drain = event.backend, event.backend.drain
        if event.kind == "draining" and drain is not None:
            self._drains[backend.id] = drain.deadline - drain.started
        elif event.kind == "removed":
            self._drains.setdefault(backend.id, 0.0)  # without a drain
        elif event.kind == "ready" or (event.kind == "maintenance" and not _has_drained(backend)):
            self._drains.pop(backend.id, None)


def _has_drained(backend: Backend) -> bool:
    """Whether it came into maintenance by a drain, and not at once."""
    drain = backend.drain
    return drain is not None and drain.then is Then.MAINTENANCE and drain.outcome is not Outcome.CANCELLED


class Known(NamedTuple):
    """What is wished already: by all, which the registry follows, and by this balancer alone."""

    wishes: Mapping[str, Wish]
    overridden: Mapping[str, Wish]


class RehearsedChange:
    """A change that is made to a copy. `put` puts wishes that were made of what was there at `seen`."""

    def __init__(
        self,
        watched: WatchedRegistry,
        known: Known,
        put: Callable[[Mapping[str, Wish], str, set[str]], Awaitable[int]],
    ) -> None:
        self._watched = watched
        self._known = known
        self._put = put

    async def make(self, by: str, guard: Guard) -> int:
        """As in `lb.core.cluster_view.SharedChange`."""
        found = await self._watched.difference()
        wishes = {key: self._kept(key, wish) for key, wish in found.items()}
        if not wishes:
            return 0
        for key in wishes.keys() & self._known.overridden.keys():
            pool, backend_id = named(key)
            what = f"backend {backend_id!r}" if backend_id else f"pool {pool!r}"
            raise Conflict(f"{what} has a local override here, which has to be withdrawn first")
        return await self._put(wishes, by, self._alone_in(wishes, guard))

    def _kept(self, key: str, wish: Wish) -> Wish:
        """A drain that this change is not about goes on elsewhere, though here it may be over."""
        before = self._known.wishes.get(key)
        if not isinstance(wish, BackendWish) or not isinstance(before, BackendWish):
            return wish
        if wish.admin_state != before.admin_state or self._watched.has_drained(named(key)[1]):
            return wish
        return msgspec.structs.replace(wish, drain=before.drain)

    def _alone_in(self, wishes: Mapping[str, Wish], guard: Guard) -> set[str]:
        """The pools in which nothing else may have changed; EVERYWHERE for all of them.

        One that is added, or moved, may have been added to another pool meanwhile, under another key.
        """
        is_new = any(isinstance(wish, BackendWish) and wish.spec is not None for wish in wishes.values())
        if guard == "all" or is_new:
            return {EVERYWHERE}
        return {named(key)[0] for key in wishes} if guard == "pools" else set()


class LocalChange:
    """A change of this balancer alone. `keep` remembers its wishes."""

    def __init__(
        self, watched: WatchedRegistry, keep: Callable[[Mapping[str, Wish], str], Awaitable[None]]
    ) -> None:
        self._watched = watched
        self._keep = keep

    async def made(self, by: str, backends: Container[str], pools: Container[str]) -> None:
        """As in `lb.core.cluster_view.OwnChange`."""
        wishes = await self._watched.difference()
        await self._keep({key: wish for key, wish in wishes.items() if _is_of(key, backends, pools)}, by)


def _is_of(key: str, backends: Container[str], pools: Container[str]) -> bool:
    pool, backend_id = named(key)
    return backend_id in backends if backend_id else pool in pools
