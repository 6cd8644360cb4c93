"""A member of a cluster in a real etcd: there before it lists, under a name of its own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import trio

from lb.cluster.applied_wishes import Base
from lb.cluster.member import About, Member, NameTaken, Status
from lb.cluster.shared_wishes import BackendWish, Stamp, backend_key
from lb.cluster.wish_store import WishStore
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import LeaseLost, NoAnswer
from lb.etcd.etcd_messages import KeyValue
from lb.etcd.login import Login
from lb.http_client.server_url import server_of
from tests.cluster.test_shared_wishes import CONFIGURED, balancer
from tests.cluster.test_wish_store import PACE, PREFIX
from tests.core.scene import Clock
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd

pytestmark = needs_etcd
TTL = 60
ABOUT = About(instance="first", version="1", config="abc")
KEY = f"{PREFIX}members/lb-1".encode()
STATUS_KEY = f"{PREFIX}status/lb-1".encode()


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


@pytest.fixture
async def etcd(servers: EtcdServers) -> AsyncIterator[Etcd]:
    etcd = Etcd([server_of(servers.urls[0])[0]], login=Login(), chance=lambda: 0.0, patience=0.0)
    yield etcd
    etcd.close()


def member(
    etcd: Etcd,
    instance: str = "first",
    clock: Clock | None = None,
    applied: Callable[[], int] = lambda: 1000,
) -> Member:
    about = msgspec.structs.replace(ABOUT, instance=instance)
    return Member(etcd, PREFIX, "lb-1", about, ttl=TTL, now=clock or Clock(), applied=applied)


async def key(etcd: Etcd, name: bytes = KEY) -> KeyValue:
    kv = await etcd.get(name)
    assert kv is not None
    return kv


async def test_it_is_there_and_stays(etcd: Etcd) -> None:
    clock = Clock()
    it = member(etcd, clock=clock)
    assert not it.is_heard
    await it.beat(etcd.current)
    assert msgspec.json.decode((await key(etcd)).value, type=About) == ABOUT
    clock.now += TTL - 1
    assert it.is_heard
    await it.beat(etcd.current)
    clock.now += TTL - 1
    assert it.is_heard
    clock.now += 1
    assert not it.is_heard
    assert (await key(etcd)).version == 1


async def test_it_is_gone_when_it_leaves(etcd: Etcd) -> None:
    it = member(etcd)
    await it.beat(etcd.current)
    await it.says(Status(instance="first", applied=7))
    await it.leave()
    assert not it.is_heard
    assert await etcd.get(KEY) is None
    assert await etcd.get(STATUS_KEY) is None


async def test_a_second_one_of_its_name_is_refused(etcd: Etcd) -> None:
    it, other = member(etcd), member(etcd, "second")
    await it.beat(etcd.current)
    for _ in range(2):
        with pytest.raises(NameTaken, match="the name 'lb-1' is held by another"):
            await other.beat(etcd.current)
    assert not other.is_heard
    assert (await key(etcd)).version == 1
    await it.leave()
    await other.beat(etcd.current)
    assert b'"second"' in (await key(etcd)).value


async def test_of_two_that_come_at_once_one_is_refused(etcd: Etcd) -> None:
    ends = list[str]()

    async def come(it: Member) -> None:
        try:
            await it.beat(etcd.current)
        except NameTaken:
            ends.append("refused")
        else:
            ends.append("there")

    async with trio.open_nursery() as nursery:
        for instance in ("first", "second", "third"):
            nursery.start_soon(come, member(etcd, instance))
    assert sorted(ends) == ["refused", "refused", "there"]


async def test_a_lease_that_etcd_has_let_go_is_no_end(etcd: Etcd) -> None:
    it = member(etcd)
    await it.beat(etcd.current)
    await it.says(Status(instance="first", applied=7))
    await etcd.revoke((await key(etcd)).lease)
    assert await etcd.get(KEY) is None
    assert await it.beat(etcd.current)
    assert it.times_lost == 1
    assert it.is_heard
    assert b'"first"' in (await key(etcd)).value
    assert msgspec.json.decode((await key(etcd, STATUS_KEY)).value, type=Status).applied == 7


async def test_it_is_not_heard_before_it_knows_what_was_wished_while_it_was_not_there(etcd: Etcd) -> None:
    applied = 0
    it = member(etcd, applied=lambda: applied)
    for _ in range(2):
        assert await it.beat(etcd.current)
        assert not it.is_heard
        applied = (await key(etcd)).mod_revision - 1
        assert not it.is_heard
        applied += 1
        assert it.is_heard
        assert not await it.beat(etcd.current)
        await etcd.revoke((await key(etcd)).lease)


async def test_its_own_key_of_a_lease_that_ends_is_taken_over(etcd: Etcd) -> None:
    """The lease was granted and the answer has not come; or it was lost, and its key is still there."""
    await member(etcd).beat(etcd.current)
    it = member(etcd)
    await it.beat(etcd.current)
    kv = await key(etcd)
    assert kv.version == 2
    await it.leave()
    assert await etcd.get(KEY) is None


async def test_a_status_is_put_once(etcd: Etcd) -> None:
    it = member(etcd)
    await it.beat(etcd.current)
    for _ in range(3):
        await it.says(Status(instance="first", applied=7, left={"a": 2}))
    assert (await key(etcd, STATUS_KEY)).version == 1
    await it.says(Status(instance="first", applied=7))
    assert (await key(etcd, STATUS_KEY)).version == 2


async def test_no_status_without_the_member(etcd: Etcd, servers: EtcdServers) -> None:
    it = member(etcd)
    with pytest.raises(LeaseLost):
        await it.says(Status(instance="first"))
    await it.beat(etcd.current)
    await servers.ctl("del", KEY.decode())
    with pytest.raises(LeaseLost):
        await it.says(Status(instance="first"))
    assert await etcd.get(STATUS_KEY) is None
    assert not it.is_heard
    await it.beat(etcd.current)
    await it.says(Status(instance="first"))
    assert await etcd.get(STATUS_KEY) is not None


async def test_without_etcd_it_is_heard_no_more_when_its_time_is_over(
    etcd: Etcd, servers: EtcdServers
) -> None:
    clock = Clock()
    it = member(etcd, clock=clock)
    await it.beat(etcd.current)
    servers[0].dies()
    clock.now += TTL - 1
    with pytest.raises(NoAnswer):
        await it.beat(etcd.current)
    assert it.is_heard
    clock.now += 1
    assert not it.is_heard


async def test_it_is_there_before_it_lists(etcd: Etcd) -> None:
    """Whoever makes a wish and then looks who is there finds it; or it will list that wish."""
    base = Base(CONFIGURED, balancer(), 60.0)
    it = member(etcd, applied=lambda: store.known_until)
    store = WishStore(etcd, PREFIX, lambda: base, chance=lambda: 0.5, pace=PACE, beat=it.beat)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        with trio.fail_after(30):
            await store.until_applied(1)
        assert store.revision >= (await key(etcd)).mod_revision
        await etcd.revoke((await key(etcd)).lease)
        store.follower.ends.clear()
        revision = await store.put({backend_key("default", "a"): BackendWish()}, Stamp())
        with trio.fail_after(30):
            await store.until_applied(revision)
            while await etcd.get(KEY) is None:
                pass
        assert it.times_lost == 1
        with trio.fail_after(30):
            await store.until(lambda: it.is_heard)
        assert store.follower.ends == {"unseen": 1}, "it has listed again, at the same endpoint"
        nursery.cancel_scope.cancel()
