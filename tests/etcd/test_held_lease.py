"""A lease that is kept alive: it holds its key, and our own clock says for how long others can see us."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import LeaseLost, NoAnswer
from lb.etcd.etcd_messages import Operation, Put, Transaction
from lb.etcd.held_lease import HeldLease
from lb.etcd.login import Login
from lb.http_client.server_url import server_of
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd

pytestmark = needs_etcd
TTL = 60


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        self.time += 0.5  # so long does etcd take
        return self.time


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


@pytest.fixture
async def etcd(servers: EtcdServers) -> AsyncIterator[Etcd]:
    etcd = Etcd([server_of(servers.urls[0])[0]], login=Login(), chance=lambda: 0.0, patience=0.0)
    yield etcd
    etcd.close()


async def test_it_is_good_for_its_ttl_from_when_the_last_word_was_sent(etcd: Etcd) -> None:
    clock = Clock()
    lease = HeldLease(etcd, TTL, clock)
    assert not lease.is_good
    await lease.take()
    assert lease.is_good
    clock.time = 1000.5 + TTL - 0.6
    assert lease.is_good
    assert not lease.is_good
    await lease.beat(etcd.current)
    assert lease.is_good
    clock.time += TTL
    assert not lease.is_good


async def test_a_word_that_does_not_arrive_does_not_count(etcd: Etcd, servers: EtcdServers) -> None:
    clock = Clock()
    lease = HeldLease(etcd, TTL, clock)
    await lease.take()
    servers[0].dies()
    clock.time = 1000.5 + TTL - 2
    assert lease.is_good
    with pytest.raises(NoAnswer):
        await lease.beat(etcd.current)
    clock.time += 2
    assert not lease.is_good
    assert lease.id, "it may be there still"


async def test_a_lease_that_etcd_has_let_go(etcd: Etcd) -> None:
    lease = HeldLease(etcd, TTL, Clock())
    await etcd.revoke(await lease.take())
    with pytest.raises(LeaseLost):
        await lease.beat(etcd.current)
    assert not lease.is_good
    assert (lease.id, lease.lost) == (0, 1)
    await lease.take()
    assert lease.is_good


async def test_what_hangs_on_it_is_gone_when_it_is_given_up(etcd: Etcd) -> None:
    lease = HeldLease(etcd, TTL, Clock())
    put = Put(key=b"/m", value=b"1", lease=await lease.take())
    await etcd.transact(Transaction(success=(Operation(request_put=put),)))
    await lease.give_up()
    assert not lease.is_good
    assert await etcd.get(b"/m") is None
    await lease.give_up()
    await etcd.revoke(await lease.take())
    await lease.give_up()
