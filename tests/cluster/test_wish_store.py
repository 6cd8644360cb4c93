"""The wishes of a cluster in a real etcd: several balancers, several operators, and what befalls etcd."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from lb.cluster.applied_wishes import Base
from lb.cluster.shared_wishes import BackendWish, Stamp, Wish, backend_key
from lb.cluster.wish_puts import PutInPart
from lb.cluster.wish_store import MOST_AT_ONCE, WishStore
from lb.config.state_file import changes
from lb.core.backend import AdminState
from lb.core.cluster_view import Overtaken
from lb.core.registry import Event, Registry
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import AnotherEtcd, NoAnswer
from lb.etcd.etcd_messages import Transaction, TransactionAnswer
from lb.etcd.login import Login
from lb.etcd.prefix_follower import Pace
from lb.http_client.server_url import server_of
from tests.cluster.test_shared_wishes import CONFIGURED, A, balancer
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd
from tests.kit.relay import relay

pytestmark = needs_etcd
PREFIX = "/trio-lb/main/v1/"
PACE = Pace(beat=0.3, steady=1.0)
A_KEY, B_KEY, C_KEY = (backend_key(*each) for each in (("default", "a"), ("default", "b"), ("web", "c")))
DRAINING = BackendWish(admin_state="draining")


class One:
    """A balancer of the cluster, but for its traffic."""

    def __init__(self, urls: Sequence[str], patience: float = 20.0) -> None:
        self.registry: Registry = balancer()
        self.events: list[Event] = []
        self.registry.subscribe(self.events.append)
        self.etcd = Etcd(
            [server_of(url)[0] for url in urls], login=Login(), chance=lambda: 0.5, patience=patience
        )
        base = Base(CONFIGURED, self.registry, 60.0)
        self.store = WishStore(self.etcd, PREFIX, lambda: base, chance=lambda: 0.5, pace=PACE)

    def state(self, id: str) -> AdminState:
        return self.registry.backend(id).admin_state

    async def wishes(
        self, *wishes: tuple[str, BackendWish], op: str = "1", alone_in: Sequence[str] = ()
    ) -> int:
        """Put them, and wait until they are applied here."""
        revision = await self.store.put(dict(wishes), Stamp(op=op), alone_in)
        await self.hears_of(revision)
        return revision

    async def hears_of(self, revision: int) -> None:
        with trio.fail_after(30):
            await self.store.until_applied(revision)

    async def until(self, is_so: Callable[[], bool]) -> None:
        with trio.fail_after(30):
            await self.store.until(is_so)


@asynccontextmanager
async def cluster(urls: Sequence[Sequence[str]], patience: float = 20.0) -> AsyncIterator[list[One]]:
    """So many balancers with these endpoints, each of which has listed all wishes."""
    ones = [One(endpoints, patience) for endpoints in urls]
    try:
        async with trio.open_nursery() as nursery:
            for one in ones:
                nursery.start_soon(one.store.run)
            for one in ones:
                await one.hears_of(1)
            yield ones
            nursery.cancel_scope.cancel()
    finally:
        for one in ones:
            one.etcd.close()


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


async def test_what_is_wished_on_one_is_done_by_all(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls] * 5) as ones:
        revision = await ones[0].wishes((A_KEY, DRAINING), (B_KEY, BackendWish(patch={"weight": 7})))
        for one in ones:
            await one.hears_of(revision)
            assert one.state("a") is AdminState.DRAINING
            assert one.registry.backend("b").spec.weight == 7
            assert sorted((event.kind, event.backend.id) for event in one.events) == [
                ("changed", "b"),
                ("drained", "a"),
                ("draining", "a"),
            ]
        revision = await ones[4].wishes((A_KEY, BackendWish()))
        for one in ones:
            await one.hears_of(revision)
            assert one.state("a") is AdminState.READY


async def test_nothing_is_applied_before_etcd_has_it(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        etcd[0].stops()
        with trio.move_on_after(0.5):
            await one.store.put({A_KEY: DRAINING}, Stamp())
        assert one.state("a") is AdminState.READY
        assert not one.events


async def test_one_that_comes_later_does_what_was_wished_before(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        added = BackendWish(spec=msgspec.structs.replace(A, id="d", url="http://d.test:80"))
        await one.wishes((A_KEY, DRAINING), (backend_key("web", "d"), added))
        await one.wishes((C_KEY, BackendWish(admin_state="removed")))
    async with cluster([etcd.urls]) as (other,):
        assert changes(CONFIGURED, other.registry) == changes(CONFIGURED, one.registry)


async def test_of_two_who_wish_at_once_one_is_overtaken(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls] * 2) as (one, other):
        await one.wishes((A_KEY, DRAINING))
        late = WishStore(
            other.etcd, PREFIX, lambda: Base(CONFIGURED, other.registry, 60.0), chance=lambda: 0.5
        )
        with pytest.raises(Overtaken):
            await late.put({A_KEY: BackendWish(patch={"weight": 2})}, Stamp(op="2"))
        await late.put({B_KEY: DRAINING}, Stamp(op="3"))


async def test_of_two_who_must_be_alone_in_a_pool_one_is_overtaken(etcd: EtcdServers) -> None:
    """Each drains another backend, so that two would be gone where one may be."""
    results = list[str]()

    async def drains(one: One, key: str) -> None:
        try:
            await one.store.put({key: DRAINING}, Stamp(op=key), alone_in=["default"])
        except Overtaken:
            results.append("overtaken")
        else:
            results.append("done")

    async with cluster([etcd.urls] * 2) as ones:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drains, ones[0], A_KEY)
            nursery.start_soon(drains, ones[1], B_KEY)
        assert sorted(results) == ["done", "overtaken"]


async def test_a_wish_in_another_pool_overtakes_nobody(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        late = WishStore(one.etcd, PREFIX, lambda: Base(CONFIGURED, one.registry, 60.0), chance=lambda: 0.5)
        late.revision = one.store.revision
        await one.wishes((C_KEY, DRAINING))
        await late.put({A_KEY: DRAINING}, Stamp(), alone_in=["default"])


async def test_a_wish_that_cannot_be_read_changes_nothing(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        await one.wishes((A_KEY, DRAINING))
        await etcd.ctl("put", f"{PREFIX}{A_KEY}", '{"admin_state": "ready", "canary": true}')
        await one.wishes((B_KEY, DRAINING))
        assert one.state("a") is AdminState.DRAINING
        assert "unknown field `canary`" in one.store.unread[A_KEY]
        with pytest.raises(Overtaken):
            await one.wishes((A_KEY, BackendWish()))


async def test_a_wish_that_is_deleted_is_none(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        added = BackendWish(spec=msgspec.structs.replace(A, id="d", url="http://d.test:80"))
        await one.wishes((A_KEY, DRAINING), (backend_key("web", "d"), added))
        await etcd.ctl("del", "--prefix", f"{PREFIX}wishes/backends/")
        await one.wishes((C_KEY, DRAINING))
        assert one.state("a") is AdminState.READY
        assert "d" not in one.registry.backends


async def test_a_wish_that_does_not_fit_is_tried_again(etcd: EtcdServers) -> None:
    key = backend_key("web", "a")
    async with cluster([etcd.urls]) as (one,):
        await one.wishes((key, BackendWish(spec=A)))
        assert one.store.unfit == {key: "backend 'a' is in pool 'default'"}
        await one.wishes((A_KEY, BackendWish(admin_state="removed")))
        assert one.store.unfit == {}
        assert one.registry.backend("a").pool == "web"


async def test_an_answer_that_is_lost_is_looked_for(etcd: EtcdServers) -> None:
    async with relay(etcd[0].port) as line, cluster([[line.url, *etcd.urls]]) as (one,):
        line.loses("down", to=b"POST /v3/kv/txn")
        revision = await one.wishes((A_KEY, DRAINING), op="mine")
        assert one.store.applied[A_KEY].revision == revision


async def test_without_etcd_nothing_changes_and_nothing_is_queued(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls], patience=0.3) as (one,):
        await one.wishes((A_KEY, DRAINING))
        etcd[0].dies()
        with pytest.raises(NoAnswer):
            await one.store.put({A_KEY: BackendWish()}, Stamp(op="lost"))
        await one.until(lambda: one.store.failure is not None)
        assert one.state("a") is AdminState.DRAINING
        etcd[0].start()
        await etcd.all_ready()
        await one.hears_of(one.store.revision)
        await etcd.ctl("put", f"{PREFIX}{B_KEY}", '{"admin_state": "maintenance"}')
        await one.until(lambda: one.state("b") is AdminState.MAINTENANCE)
        assert one.state("a") is AdminState.DRAINING
        assert one.store.failure is None


# -- another etcd ----------------------------------------------------------------------------------------


async def wiped(etcd: EtcdServers) -> None:
    etcd[0].dies()
    etcd[0].wipe()
    etcd[0].start()
    await etcd.all_ready()


async def holds(one: One) -> None:
    await one.until(lambda: isinstance(one.store.failure, AnotherEtcd))
    assert one.state("a") is AdminState.DRAINING
    assert one.store.held == {A_KEY: ("it is not there", 0)}


async def test_an_etcd_that_was_wiped_takes_nothing_back(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        await one.wishes((A_KEY, DRAINING), (B_KEY, BackendWish()))
        await wiped(etcd)
        with pytest.raises((AnotherEtcd, NoAnswer)):
            await one.store.put({B_KEY: DRAINING}, Stamp())
        await holds(one)
        with pytest.raises(AnotherEtcd, match="wiped or restored"):
            await one.store.put({B_KEY: DRAINING}, Stamp())
        assert await etcd.ctl("get", "--prefix", PREFIX) == ""


async def test_nothing_is_put_into_an_etcd_that_was_wiped_before_that_is_known(etcd: EtcdServers) -> None:
    async with relay(etcd[0].port) as line, cluster([[line.url]]) as (one,):
        await one.wishes((A_KEY, DRAINING))
        line.stalls(to=b"POST /v3/watch")
        await wiped(etcd)
        with pytest.raises(AnotherEtcd):
            await one.store.put({B_KEY: DRAINING}, Stamp())
        assert await etcd.ctl("get", "--prefix", PREFIX) == ""


async def test_what_a_person_puts_back_holds_on_everywhere(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls] * 3) as ones:
        revision = await ones[0].wishes((A_KEY, DRAINING), (B_KEY, BackendWish()))
        for one in ones:
            await one.hears_of(revision)
        await wiped(etcd)
        for one in ones:
            await holds(one)
        assert await ones[0].store.put_back() == 1
        for one in ones:
            await one.until(lambda one=one: one.store.failure is None)  # type: ignore[misc]
            assert one.state("a") is AdminState.DRAINING
            assert one.store.held == {}
            assert len(one.events) == 2, "nothing has happened to the backend"
        await ones[1].wishes((A_KEY, BackendWish()), op="2")
        assert ones[1].state("a") is AdminState.READY


async def test_what_a_person_accepts_is_undone(etcd: EtcdServers) -> None:
    added = BackendWish(spec=msgspec.structs.replace(A, id="d", url="http://d.test:80"))
    async with cluster([etcd.urls]) as (one,):
        assert one.store.accept() == []
        await one.wishes((A_KEY, DRAINING), (backend_key("web", "d"), added))
        await wiped(etcd)
        await etcd.ctl("put", f"{PREFIX}{B_KEY}", '{"admin_state": "maintenance"}')
        await one.until(lambda: isinstance(one.store.failure, AnotherEtcd))
        assert one.state("b") is AdminState.READY
        assert sorted(one.store.accept()) == [A_KEY, backend_key("web", "d")]
        await one.until(lambda: [*one.store.applied] == [B_KEY])  # one after the other, in slices
        await one.until(lambda: "d" not in one.registry.backends)
        assert one.state("a") is AdminState.READY
        assert one.state("b") is AdminState.MAINTENANCE
        assert one.store.failure is None


async def test_an_etcd_that_was_wiped_is_followed_where_nothing_is_lost(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        await one.wishes((A_KEY, DRAINING))
        await one.wishes((A_KEY, BackendWish()))
        await wiped(etcd)
        await one.until(lambda: one.store.revision == 1)
        await one.wishes((B_KEY, DRAINING))
        assert one.state("b") is AdminState.DRAINING


# -- many ------------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, Wish]:
    """Half of them are removed, in the middle of the others."""
    removed = BackendWish(admin_state="removed")
    specs = (msgspec.structs.replace(A, id=f"x{number}") for number in range(count))
    return {
        backend_key("web", spec.id): BackendWish(spec=spec) if at % 2 else removed
        for at, spec in enumerate(specs)
    }


async def test_many_are_put_in_several_transactions(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        revision = await one.store.put(many(300), Stamp(op="1"), alone_in=["web"])
        await one.hears_of(revision)
        assert len(one.registry.pool("web").backends) == 151
        revisions = {one.store.applied[key].revision for key in many(300)}
        assert len(revisions) == 3
        last_come = max(one.store.applied[key].revision for key, wish in many(300).items() if wish.spec)  # type: ignore[union-attr]
        first_gone = min(one.store.applied[key].revision for key, wish in many(300).items() if not wish.spec)  # type: ignore[union-attr]
        assert last_come <= first_gone, "newcomers are there before others go"


async def test_of_many_the_first_are_put_when_one_is_overtaken(etcd: EtcdServers) -> None:
    wishes = many(300)
    last = [*wishes][-2]
    async with cluster([etcd.urls]) as (one,):
        await one.wishes((last, DRAINING))
        late = WishStore(one.etcd, PREFIX, lambda: Base(CONFIGURED, one.registry, 60.0), chance=lambda: 0.5)
        with pytest.raises(Overtaken, match="254 wishes were put before that") as caught:
            await late.put(wishes, Stamp(op="2"))
        assert caught.value.count == 2 * MOST_AT_ONCE
        await one.hears_of(caught.value.revision)
        assert sum(applied.wish.op == "2" for applied in one.store.applied.values()) == 254


async def test_who_is_overtaken_between_two_transactions_is_told(etcd: EtcdServers) -> None:
    """Its own watch has heard of the other wish by then, which must not count as known before."""
    wishes = many(200)
    last = [*wishes][-2]
    async with cluster([etcd.urls]) as (one,):
        transact = one.etcd.transact

        async def slowly(transaction: Transaction) -> TransactionAnswer:
            answer = await transact(transaction)
            await etcd.ctl("put", f"{PREFIX}{last}", '{"admin_state": "draining"}')
            await one.until(lambda: last in one.store.applied)
            return answer

        one.etcd.transact = slowly  # type: ignore[method-assign]
        with pytest.raises(Overtaken):
            await one.store.put(wishes, Stamp(op="1"))


async def test_of_many_the_first_are_put_when_etcd_fails(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls], patience=0.3) as (one,):
        transact = one.etcd.transact

        async def once(transaction: Transaction) -> TransactionAnswer:
            answer = await transact(transaction)
            etcd[0].dies()
            return answer

        one.etcd.transact = once  # type: ignore[method-assign]
        with pytest.raises(PutInPart, match="127 wishes were put before that") as caught:
            await one.store.put(many(200), Stamp(op="1"))
        assert not caught.value.is_undone


async def test_too_many_pools(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls]) as (one,):
        pools = [f"p{number}" for number in range(127)]
        with pytest.raises(ValueError, match="127 pools at once are too many: 126 is the most"):
            await one.store.put({A_KEY: DRAINING}, Stamp(), alone_in=pools)


async def test_what_has_no_effect_may_be_swept(etcd: EtcdServers) -> None:
    async with cluster([etcd.urls] * 2) as (one, other):
        revision = await one.wishes((A_KEY, DRAINING), (B_KEY, DRAINING), (C_KEY, BackendWish()))
        await other.hears_of(revision)
        await one.wishes((A_KEY, BackendWish()))
        assert await one.store.sweep([A_KEY, C_KEY]) == 2
        for each in one, other:
            await each.until(lambda each=each: [*each.store.applied] == [B_KEY])  # type: ignore[misc]
            assert each.state("a") is AdminState.READY
        assert await other.store.sweep([A_KEY]) == 1, "there is none, as it was known"
        late = WishStore(one.etcd, PREFIX, lambda: Base(CONFIGURED, one.registry, 60.0), chance=lambda: 0.5)
        assert await late.sweep([B_KEY]) == 0, "it was put since"
        await one.wishes((A_KEY, DRAINING), op="again")
        assert one.state("a") is AdminState.DRAINING
