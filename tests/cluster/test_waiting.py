"""A drain that is wished on one balancer, and awaited over all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from lb.cluster.awaited_drain import Standing
from lb.cluster.shared_wishes import BackendWish, Stamp, Wish, backend_key
from lb.cluster.waiting import begin, until_over
from lb.core.backend import AdminState
from tests.cluster.balancers import PACE, PREFIX, TTL, balancers
from tests.cluster.test_shared_wishes import is_busy
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd

pytestmark = needs_etcd
DRAINS: dict[str, Wish] = {backend_key("default", "a"): BackendWish(admin_state="draining", drain=60.0)}


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


async def test_it_is_sure_when_all_have_ended_it(etcd: EtcdServers) -> None:
    async with balancers(etcd.urls, 5) as all_of_them:
        one = all_of_them[0]
        drain = await one.drained("a", await one.wishes(DRAINS))
        assert drain.is_sure
        assert drain.standings == dict.fromkeys((f"lb-{number}" for number in range(5)), Standing.ENDED)
        for each in all_of_them:
            assert each.registry.backend("a").admin_state is AdminState.DRAINING


async def test_what_runs_on_another_one_is_waited_for(etcd: EtcdServers) -> None:
    async with balancers(etcd.urls, 3) as (one, busy, _):
        request = is_busy(busy.registry, "a")
        drain = await begin(one.etcd, PREFIX, "a", await one.wishes(DRAINS), TTL)

        async def wait() -> None:
            await until_over(drain, one.etcd, PREFIX, chance=lambda: 0.5, now=trio.current_time, pace=PACE)
            ended.set()

        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            with trio.fail_after(30):
                while drain.left != {"lb-1": 1}:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            assert not ended.is_set()
            busy.registry.backend("a").running.remove(request)
            busy.registry.ready(busy.registry.backend("a"))
            with trio.fail_after(30):
                await ended.wait()
        assert drain.is_sure


async def test_with_one_that_is_dead_it_is_over_and_not_sure(etcd: EtcdServers) -> None:
    async with balancers(etcd.urls, 3) as (one, dead, _):
        dead.dies()
        began = trio.current_time()
        drain = await one.drained("a", await one.wishes(DRAINS))
        assert not drain.is_sure
        assert drain.lost == ["lb-1"]
        assert drain.standings["lb-2"] is Standing.ENDED
        assert trio.current_time() - began >= TTL


async def test_one_that_has_left_before_is_not_waited_for(etcd: EtcdServers) -> None:
    async with balancers(etcd.urls, 2) as (one, gone):
        gone.dies()
        await gone.member.leave()
        drain = await one.drained("a", await one.wishes(DRAINS))
        assert drain.is_sure
        assert [*drain.standings] == ["lb-0"]


async def test_a_lease_that_etcd_lets_go_is_not_a_death(etcd: EtcdServers) -> None:
    async with balancers(etcd.urls, 2) as (one, other):
        revision = await one.wishes(DRAINS)
        member = await one.etcd.get(f"{PREFIX}members/lb-1".encode())
        assert member is not None
        await one.etcd.revoke(member.lease)
        drain = await one.drained("a", revision)
        assert drain.is_sure
        with trio.fail_after(30):
            await other.store.until(lambda: other.member.is_heard)
        there = await one.etcd.get(f"{PREFIX}members/lb-1".encode())
        assert there is not None
        assert there.lease != member.lease


async def test_one_that_holds_the_wishes_of_before_has_not_ended_it(etcd: EtcdServers) -> None:
    """The data of etcd were wiped, and one has accepted that; the revisions of the other are higher."""
    async with balancers(etcd.urls, 2) as (one, other):
        await other.hears_of(
            await one.wishes({key: BackendWish(admin_state="maintenance") for key in DRAINS})
        )
        for number in range(20):
            await etcd.ctl("put", f"{PREFIX}wishes/none/{number}", "{}")
        await other.store.until(lambda: other.store.revision > 20)
        etcd[0].dies()
        etcd[0].wipe()
        etcd[0].start()
        await etcd.all_ready()
        with trio.fail_after(30):
            await one.store.until(lambda: bool(one.store.held))
            one.store.accept()
            await one.store.until(lambda: one.store.failure is None)
            revision = await one.store.put(DRAINS, Stamp(op="2"))
        assert other.store.revision > revision
        drain = await begin(one.etcd, PREFIX, "a", revision, TTL)
        with trio.move_on_after(2 * TTL):
            await until_over(drain, one.etcd, PREFIX, chance=lambda: 0.5, now=trio.current_time, pace=PACE)
        assert not drain.is_sure
