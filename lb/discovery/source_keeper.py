"""All sources of one balancer: one task for each, as the configuration has them.

A reload brings, changes and takes sources. One that is changed begins anew, and what it has found stays until
it says otherwise; what one has found that is taken leaves as if its source had said so.

Where several processes carry traffic only the keeper has this; workers are told what holds of each backend.
"""

from collections.abc import Callable, Sequence
from random import random

import trio

from lb.core.discovery_view import Accepting, SourceStanding
from lb.core.following import Following
from lb.core.reconcile import leaving_all
from lb.core.registry import Event, Registry
from lb.discovery import kinds
from lb.discovery.backend_source import Source
from lb.discovery.follower import Follower
from lb.settings.balancer_settings import Config
from lb.settings.discover_settings import Discover
from lb.slices import made, to_the_end

TROUBLE = frozenset(("down", "ejected"))
ASKED_AGAIN = frozenset(("dns", "http"))
"""Kinds that are asked at intervals, and sooner when one of their backends fails."""

Key = tuple[str, str]
"""A pool and the name of one of its sources."""


class Discovery:
    """The sources of one balancer (`lb.core.discovery_view.Finding`); `run` follows them until cancelled."""

    def __init__(
        self,
        registry: Registry,
        config: Callable[[], Config],
        one_at_a_time: trio.Lock,
        make: Callable[[Discover, str], Source] = kinds.make,
        chance: Callable[[], float] = random,
    ) -> None:
        self._registry = registry
        self._config = config
        self._one_at_a_time = one_at_a_time
        self._make = make
        self._chance = chance
        self._followers: dict[Key, Follower] = {}
        self._coming: list[Follower] = []
        self._gone: list[Following] = []
        self._has_changed = trio.Event()
        registry.subscribe(self._on_event)
        self.configured()

    async def run(self) -> None:
        """Follow all sources until cancelled.

        Their tasks begin here, so that what they do is nobody's act who has reloaded the configuration.
        """
        async with trio.open_nursery() as nursery:
            while True:
                self._has_changed = trio.Event()
                coming, self._coming = self._coming, []
                gone, self._gone = self._gone, []
                for follower in coming:
                    nursery.start_soon(follower.run)
                for following in gone:
                    async with self._one_at_a_time:
                        await to_the_end(made(leaving_all(following, self._registry)))
                await self._has_changed.wait()

    async def first(self) -> None:
        """Wait until each source has said what there is, or the time that it has for that is over."""
        async with trio.open_nursery() as nursery:
            for follower in [*self._followers.values()]:
                nursery.start_soon(self._await_first, follower)

    async def _await_first(self, follower: Follower) -> None:
        with trio.move_on_after(follower.following.settings.first):
            await follower.spoken.wait()

    # -- which sources there are -----------------------------------------------------------------------

    def configured(self) -> None:
        """The configuration may have other sources now."""
        config = self._config()
        wanted = {
            (name, settings.name): settings
            for name, pool in config.pools.items()
            for settings in pool.discover
        }
        for key in [key for key in self._followers if key not in wanted]:
            follower = self._followers.pop(key)
            follower.scope.cancel()
            self._gone.append(follower.following)
        before, self._followers = self._followers, {}
        for key, settings in wanted.items():
            self._followers[key] = self._followed(key, settings, before.get(key))
            self._followers[key].following.drain_timeout = config.timeouts.drain
        self._has_changed.set()

    def _followed(self, key: Key, settings: Discover, there: Follower | None) -> Follower:
        """Who follows this source: the one that does already, or another that knows what that one knew."""
        if there is not None and there.following.settings == settings:
            return there
        following = Following(key[0], settings)
        if there is not None:
            there.scope.cancel()
            following = there.following
            following.settings, following.specs = settings, {}
            following.failed()
        follower = Follower(
            following,
            self._registry,
            self._make,
            self._one_at_a_time,
            lambda: self._followings(key[0]),
            self._changed,
            self._chance,
        )
        self._coming.append(follower)
        return follower

    def _of(self, pool: str) -> list[Follower]:
        return [each for (name, _), each in self._followers.items() if name == pool]

    def _followings(self, pool: str) -> Sequence[Following]:
        return [each.following for each in self._of(pool)]

    # -- what happens ----------------------------------------------------------------------------------

    def _changed(self, follower: Follower) -> None:
        """A source was followed: another one may have waited for a backend of it."""
        for other in self._of(follower.following.pool):
            if other is not follower and other.following.shadowed:
                other.look()

    def _on_event(self, event: Event) -> None:
        backend = event.backend
        if event.kind == "removed":
            for follower in self._followers.values():
                follower.following.removed(backend.id)
                if backend.id in follower.following.shadowed:
                    follower.look()
        elif event.kind in TROUBLE and backend.said is not None:
            follower_ = self._followers.get((backend.pool, backend.source))
            if follower_ is None:
                return
            if backend.id in follower_.following.missing:
                follower_.look()
            if follower_.following.settings.kind in ASKED_AGAIN:
                follower_.ask_soon()

    # -- for operators ---------------------------------------------------------------------------------

    def standings(self, pool: str | None = None) -> Sequence[SourceStanding]:
        """How it is with the sources of this pool, or of all."""
        followers = self._followers.values() if pool is None else self._of(pool)
        return [each.standing() for each in followers]

    def missing_since(self, pool: str, source: str, backend_id: str) -> float | None:
        """Since when this backend is missed; None where it is named."""
        follower = self._followers.get((pool, source))
        return None if follower is None else follower.following.missing.get(backend_id)

    def is_promised(self, pool: str) -> bool:
        """The pool has sources, and not all of them have said that there is nobody and may say so."""
        followings = self._followings(pool)
        return not all(each.announced is not None and not each.settings.keep for each in followings)

    def refresh(self, pool: str) -> int:
        """Ask the sources of this pool at once; how many there are."""
        followers = self._of(pool)
        for follower in followers:
            follower.ask()
        return len(followers)

    def accept(self, pool: str) -> Accepting:
        """Follow the sources of this pool in what is held, and those that are others than they were."""
        backends, sources = list[str](), list[str]()
        for follower in self._of(pool):
            accepted = follower.accept()
            if accepted is None:
                sources.append(follower.following.name)
            else:
                backends += accepted
        return Accepting(backends, sources)
