"""Balancers of a cluster without traffic: the wishes, the member, the reports, on a real etcd."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from lb.cluster.applied_wishes import Base
from lb.cluster.awaited_drain import AwaitedDrain
from lb.cluster.member import About, Member
from lb.cluster.reporting import Reporting
from lb.cluster.shared_wishes import Stamp, Wish
from lb.cluster.waiting import begin, until_over
from lb.cluster.wish_store import WishStore
from lb.core.registry import Event
from lb.etcd.etcd_client import Etcd
from lb.etcd.login import Login
from lb.etcd.prefix_follower import Pace
from lb.http_client.server_url import server_of
from tests.cluster.test_shared_wishes import CONFIGURED, balancer

PREFIX = "/trio-lb/main/v1/"
PACE = Pace(beat=0.3, steady=1.0)
TTL = 2


class ABalancer:
    """One of them. While it `is_up` its tasks run; it `dies` without a word, or `leaves`."""

    def __init__(self, name: str, urls: Sequence[str], *, patience: float = 20.0, ttl: int = TTL) -> None:
        self.name = name
        self.registry = balancer()
        self.events: list[Event] = []
        self.registry.subscribe(self.events.append)
        servers = [server_of(url)[0] for url in urls]
        self.etcd = Etcd(servers, login=Login(), chance=lambda: 0.5, patience=patience)
        base = Base(CONFIGURED, self.registry, 60.0)
        about = About(instance=f"{name} #1")
        self.ttl = ttl
        self.member = Member(
            self.etcd,
            PREFIX,
            name,
            about,
            ttl=ttl,
            now=trio.current_time,
            applied=lambda: self.store.known_until,
        )
        self.store = WishStore(
            self.etcd, PREFIX, lambda: base, chance=lambda: 0.5, pace=PACE, beat=self.member.beat
        )
        self.reporting = Reporting(self.member, self.store, self.registry)
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.store.run)
                nursery.start_soon(self.reporting.run)

    def dies(self) -> None:
        """Its process is killed, as far as etcd can see."""
        self._scope.cancel()

    async def wishes(self, wishes: dict[str, Wish], op: str = "1") -> int:
        """Put them, and wait until they are applied here."""
        revision = await self.store.put(wishes, Stamp(op=op))
        await self.hears_of(revision)
        return revision

    async def hears_of(self, revision: int) -> None:
        with trio.fail_after(30):
            await self.store.until_applied(revision)

    async def drained(self, backend_id: str, revision: int) -> AwaitedDrain:
        """The drain that was wished at this revision, when it is over."""
        drain = await begin(self.etcd, PREFIX, backend_id, revision, self.ttl)
        with trio.fail_after(30):
            await until_over(drain, self.etcd, PREFIX, chance=lambda: 0.5, now=trio.current_time, pace=PACE)
        return drain


@asynccontextmanager
async def balancers(urls: Sequence[str], count: int, ttl: int = TTL) -> AsyncIterator[list[ABalancer]]:
    """So many balancers that are members, and have told how far they have come."""
    all_of_them = [ABalancer(f"lb-{number}", urls, ttl=ttl) for number in range(count)]
    async with trio.open_nursery() as nursery:
        for one in all_of_them:
            nursery.start_soon(one.run)
        for one in all_of_them:
            await one.hears_of(1)
        yield all_of_them
        nursery.cancel_scope.cancel()
    for one in all_of_them:
        one.etcd.close()
