"""Waiting for a drain over all members: theirs are followed by the one that was asked, and while it waits.

Nobody else follows them, so that N members do not tell each other N times N things.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec
import trio

from lb.cluster.awaited_drain import AwaitedDrain, Standing
from lb.cluster.member import KNOWN, MEMBERS, STATUS, UNREADABLE, About, Status
from lb.cluster.told_values import ToldValues
from lb.core.cluster_view import DrainEverywhere
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_messages import KeyValue
from lb.etcd.prefix_follower import Pace

GATHERED = 0.005
"""Seconds for which news are gathered."""


class _Statuses(ToldValues[Status]):
    """One that has applied more than there was when it was put speaks of an etcd that was wiped since."""

    def read(self, kv: KeyValue) -> Status:
        status = super().read(kv)
        if status.applied > kv.mod_revision:
            raise ValueError("of another history")
        return status


async def begin(
    etcd: Etcd,
    prefix: str,
    backend_id: str,
    revision: int,
    ttl: float,
    asker: Mapping[str, About] = MappingProxyType({}),
) -> AwaitedDrain:
    """The drain that was wished at this revision, by all balancers that there were then, and the asker.

    One that is known and no member is waited for as any that has vanished, and then counts as lost.
    """
    who = {**asker}
    for kind in (KNOWN, MEMBERS):
        _, keys = await etcd.listing(f"{prefix}{kind}".encode(), revision)
        for kv in keys:
            name = kv.key.decode(errors="replace").removeprefix(f"{prefix}{kind}")
            try:
                who[name] = msgspec.json.decode(kv.value, type=About)
            except UNREADABLE:
                who[name] = About(instance="")  # it is somebody, and will be lost
    return AwaitedDrain(backend_id, revision, who, ttl)


def everywhere(drain: AwaitedDrain) -> DrainEverywhere:
    """How far it is, as an operator is told."""
    ended = sum(standing is Standing.ENDED for standing in drain.standings.values())
    return DrainEverywhere(
        members=len(drain.standings),
        ended=ended,
        left=drain.left,
        lost=drain.lost,
        otherwise=drain.otherwise,
        is_over=drain.is_over,
        is_sure=drain.is_sure,
    )


async def look_once(drain: AwaitedDrain, etcd: Etcd, prefix: str, now: float) -> None:
    """How far it is, without waiting for anything."""
    members = ToldValues(etcd, f"{prefix}{MEMBERS}", About, lambda: 0.5, Pace())
    statuses = _Statuses(etcd, f"{prefix}{STATUS}", Status, lambda: 0.5, Pace())
    for told in (members, statuses):
        await told.list_once()
    drain.look(members.values, statuses.values, now)


async def until_over(
    drain: AwaitedDrain,
    etcd: Etcd,
    prefix: str,
    *,
    chance: Callable[[], float],
    now: Callable[[], float],
    pace: Pace = Pace(),  # noqa: B008  (a tuple)
) -> None:
    """Return when there is nobody to wait for. Cancelled before, the drain says how far it has come."""
    members = ToldValues(etcd, f"{prefix}{MEMBERS}", About, chance, pace)
    statuses = _Statuses(etcd, f"{prefix}{STATUS}", Status, chance, pace)
    async with trio.open_nursery() as nursery:
        for told in (members, statuses):
            nursery.start_soon(told.follow)
        await _look_on(drain, members, statuses, now)
        nursery.cancel_scope.cancel()


async def _look_on(
    drain: AwaitedDrain, members: ToldValues[About], statuses: ToldValues[Status], now: Callable[[], float]
) -> None:
    news = trio.Event()
    members.changed = statuses.changed = lambda: news.set()
    while not drain.is_over:
        again = None
        if members.mirror.is_listed and statuses.mirror.is_listed:
            again = drain.look(members.values, statuses.values, now())
            if drain.is_over:
                return
        await _until(news.wait, None if again is None else again - now())
        await trio.sleep(GATHERED)
        news = trio.Event()


async def _until(wait: Callable[[], Awaitable[None]], seconds: float | None) -> None:
    with trio.move_on_after(float("inf") if seconds is None else max(seconds, 0)):
        await wait()
