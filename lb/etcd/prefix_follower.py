"""The task that keeps a mirror as etcd is: list, watch, and after any end of the watch list again.

    list ──> watch ──┬─ hear       its events
     ^               ├─ beat       does the endpoint answer, and has it a leader? silence is not calm
     └── any end ────┴─ compare    does the mirror have as many keys as etcd, and the newest?

It never resumes a watch, and it never goes on from "now": etcd has lost events either way. What happens
between two lists is what differs between them. Once in a while it lists again though nothing has happened,
so whatever else was lost is found too.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from lb.etcd.back_off import BackOff
from lb.etcd.endpoint import Endpoint
from lb.etcd.etcd_client import Etcd, listing, look, state_of
from lb.etcd.etcd_failed import AnotherEtcd, EtcdFailed, Refused, WatchEnded
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.slices import sliced

Beat = Callable[[Endpoint], Awaitable[bool]]
"""What is asked of the endpoint of a watch all the time; EtcdFailed where it does not answer.

Whether what was heard before counts no more, so that all has to be listed again.
"""
AT_ONCE = frozenset(("routine", "unseen"))
"""Reasons to list again that are no fault of the endpoint."""


class Pace(NamedTuple):
    """Seconds: between two beats, and two comparisons; how long an event may be under way; between two lists.

    A watch that has lasted for `steady` does not count as one of several failures in a row.
    """

    beat: float = 5.0
    compare: float = 60.0
    under_way: float = 5.0
    life: float = 600.0
    steady: float = 5.0


class Follower:
    """Keeps `mirror` as etcd is while `run` runs, and tells each difference.

    `tell` is called after each list, and after events that have changed something; it neither raises nor
    waits. `ended` is called with why a watch has ended. `ends` counts the ends by reason. `beat` is done
    before each list, and instead of a small question where the endpoint has to be asked something all the
    time anyway.
    """

    def __init__(
        self,
        etcd: Etcd,
        mirror: Mirror,
        tell: Callable[[Difference], None],
        *,
        chance: Callable[[], float],
        pace: Pace = Pace(),  # noqa: B008  (a tuple)
        beat: Beat | None = None,
        ended: Callable[[EtcdFailed], None] = lambda _why: None,
    ) -> None:
        self.ends: Counter[str] = Counter()
        self._etcd = etcd
        self._mirror = mirror
        self._tell = tell
        self._chance = chance
        self._pace = pace
        self._beat = beat
        self._ended = ended

    async def run(self) -> None:
        """Until cancelled. EtcdFailed where no endpoint gives a list, and where it is another etcd.

        The mirror stays as it is then, and may be run again.
        """
        back_off = BackOff(self._chance)
        while True:
            endpoint = await self._list()
            began = trio.current_time()
            why = await self._watch(endpoint)
            reason = why.reason if isinstance(why, WatchEnded) else "silent"
            self.ends[reason] += 1
            self._ended(why)
            if reason in AT_ONCE:
                continue
            self._etcd.leave(endpoint)
            if trio.current_time() - began >= self._pace.steady:
                back_off.well()
            await trio.sleep(back_off.pause())

    async def _list(self) -> Endpoint:
        """List all keys at one endpoint, which is returned."""

        async def at(endpoint: Endpoint) -> Endpoint:
            if self._beat is not None:
                await self._beat(endpoint)
            header, keys = await listing(endpoint, self._mirror.prefix)
            try:
                difference = await sliced(self._mirror.listing(header, keys))
            except AnotherEtcd as exc:
                self._etcd.leave(endpoint)
                raise AnotherEtcd(f"{endpoint}: {exc}", exc.cluster_id, exc.revision) from exc
            self._tell(difference)
            return endpoint

        try:
            return await self._etcd.at_each(at)
        except Refused as exc:
            if not exc.is_compacted:
                raise
        return await self._etcd.at_each(at)  # compacted between two pages

    # -- one watch ---------------------------------------------------------------------------------------

    async def _watch(self, endpoint: Endpoint) -> EtcdFailed:
        """Watch from the list on, until there is a reason not to."""
        ends: list[EtcdFailed] = []

        async def until_it_fails(task: Callable[[Endpoint], Awaitable[None]]) -> None:
            try:
                await task(endpoint)
            except EtcdFailed as exc:
                ends.append(exc)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for task in (self._hear, self._beat_on, self._compare):
                nursery.start_soon(until_it_fails, task)
        return ends[0]

    async def _hear(self, endpoint: Endpoint) -> None:
        async with endpoint.open_watch(self._mirror.prefix, self._mirror.revision + 1) as stream:
            while True:
                answer = await stream.next()
                self._mirror.recognise(answer.header)
                difference = self._mirror.heard(answer.events)
                if difference != Difference():
                    self._tell(difference)

    async def _beat_on(self, endpoint: Endpoint) -> None:
        """Ask the endpoint of the watch, for the watch itself may be silent for two reasons."""
        while True:
            await trio.sleep(self._pace.beat * (0.9 + 0.2 * self._chance()))
            if self._beat is None:
                await look(endpoint, self._mirror.prefix)
            elif await self._beat(endpoint):
                raise WatchEnded(f"{endpoint}: we were not seen for a while", "unseen")

    async def _compare(self, endpoint: Endpoint) -> None:
        until = trio.current_time() + self._pace.life * (0.9 + 0.2 * self._chance())
        while trio.current_time() < until:
            await trio.sleep(self._pace.compare * (0.9 + 0.2 * self._chance()))
            if await self._agrees(endpoint):
                continue
            await trio.sleep(self._pace.under_way)
            if not await self._agrees(endpoint):
                raise WatchEnded(f"{endpoint}: its watch has kept back what has happened", "behind")
        raise WatchEnded(f"{endpoint}: it is time to list again", "routine")

    async def _agrees(self, endpoint: Endpoint) -> bool:
        header, count, newest = await state_of(endpoint, self._mirror.prefix)
        self._mirror.recognise(header)
        return self._mirror.agrees(header.revision, count, newest)
