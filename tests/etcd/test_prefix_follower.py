"""A prefix that is followed on real etcds which are stopped, killed, cut off, compacted, wiped, locked.

After each of them the mirror is right again. It never tells a state that there was not, or one from before.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import AnotherEtcd, EtcdFailed, NoAnswer, Refused
from lb.etcd.login import Login
from lb.etcd.prefix_follower import Follower, Pace
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.http_client.server_url import server_of
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd
from tests.kit.registrations import Listener, Registrations
from tests.kit.relay import relay

pytestmark = needs_etcd
PACE = Pace(beat=0.3, compare=60.0, under_way=0.2, steady=1.0)
WATCH = b"POST /v3/watch"


class Following:
    """A follower that runs, what it has told, and how its last run has failed."""

    def __init__(self, kind: type[Follower], urls: Sequence[str], listener: Listener, **more: object) -> None:
        login = more.get("login", Login())
        patience, pace = more.get("patience", 20.0), more.get("pace", PACE)
        assert isinstance(login, Login)
        assert isinstance(patience, float)
        assert isinstance(pace, Pace)
        servers = [server_of(url)[0] for url in urls]
        self.etcd = Etcd(servers, login=login, chance=lambda: 0.5, seconds=1.0, patience=patience)
        self.mirror = Mirror(b"/s/")
        self.listener = listener
        self.failure: EtcdFailed | None = None
        self.failed = trio.Event()
        self.follower = kind(
            self.etcd, self.mirror, self._tell, chance=lambda: 0.5, pace=pace, ended=lambda why: None
        )

    async def run(self) -> None:
        self.failure, self.failed = None, trio.Event()
        try:
            await self.follower.run()
        except EtcdFailed as exc:
            self.failure = exc
            self.failed.set()
        finally:
            self.etcd.close()

    async def fails(self) -> EtcdFailed:
        with trio.fail_after(30):
            await self.failed.wait()
        assert self.failure is not None
        return self.failure

    def _tell(self, difference: Difference) -> None:
        self.listener.hears({kv.key.decode(): kv.value.decode() for kv in self.mirror.keys.values()})


@asynccontextmanager
async def following(
    servers: EtcdServers, urls: Sequence[str] = (), kind: type[Follower] = Follower, **more: object
) -> AsyncIterator[tuple[Registrations, Listener, Following]]:
    """A follower of /s/ at these URLs that has listed a key, and heard of another by its watch."""
    registrations = Registrations(servers)
    await registrations.put("/s/a", "1")
    listener = Listener(registrations)
    it = Following(kind, urls or servers.urls, listener, **more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await listener.is_right()
        await registrations.put("/s/b", "1")
        await listener.is_right()
        listener.heard.clear()
        yield registrations, listener, it
        nursery.cancel_scope.cancel()


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path, 3) as servers:
        yield servers


async def test_it_tells_each_change(one: EtcdServers) -> None:
    async with following(one) as (etcd, listener, it):
        await etcd.put("/s/c", "1")
        await listener.is_right()
        await etcd.put("/s/a", "2")
        await listener.is_right()
        await etcd.delete("/s/b")
        await listener.is_right()
        assert listener.heard == etcd.states[3:]
        assert not it.follower.ends


# -- the line is cut -------------------------------------------------------------------------------------


async def cut_changed_and_compacted(servers: EtcdServers, kind: type[Follower], patience: float) -> None:
    async with relay(servers[0].port) as line, following(servers, [line.url], kind) as (etcd, listener, _):
        line.refuses()
        await etcd.delete("/s/a")
        await etcd.put("/s/c", "1")
        await etcd.compact()
        line.heals()
        await listener.is_right(patience)


async def test_what_happens_while_it_is_cut_off_is_found_by_a_list(one: EtcdServers) -> None:
    await cut_changed_and_compacted(one, Follower, patience=30)


class Resuming(Follower):
    """One that lists at its start only, and resumes its watch from memory."""

    async def _list(self):  # type: ignore[no-untyped-def] # noqa: ANN202
        return self._etcd.current if self._mirror.is_listed else await super()._list()


async def test_one_that_does_not_list_again_is_found_out(one: EtcdServers) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="it has heard"), flatten_subgroups=True):
        await cut_changed_and_compacted(one, Resuming, patience=3)


async def test_a_connection_that_is_reset(one: EtcdServers) -> None:
    async with relay(one[0].port) as line, following(one, [line.url]) as (etcd, listener, it):
        for number in range(3):
            line.resets()
            await etcd.put("/s/a", f"after {number}")
            await listener.is_right()
        assert it.follower.ends["broken"] >= 1


async def test_silence_is_noticed_and_the_next_endpoint_followed(one: EtcdServers) -> None:
    async with relay(one[0].port) as line, following(one, [line.url, *one.urls]) as (etcd, listener, it):
        line.stalls()
        await etcd.put("/s/a", "2")
        await listener.is_right()
        assert it.follower.ends == {"silent": 1}
        assert it.etcd.current is it.etcd.endpoints[1]


async def test_a_watch_that_is_late_is_late_only(one: EtcdServers) -> None:
    async with relay(one[0].port) as line, following(one, [line.url]) as (etcd, listener, it):
        line.delay = 0.2
        await etcd.put("/s/a", "2")
        await etcd.delete("/s/b")
        await listener.is_right()
        assert not it.follower.ends


async def test_a_watch_that_keeps_something_back_is_found_by_comparing(one: EtcdServers) -> None:
    pace = PACE._replace(compare=0.3)
    async with (
        relay(one[0].port) as line,
        following(one, [line.url, *one.urls], pace=pace) as (
            etcd,
            listener,
            it,
        ),
    ):
        line.loses("down", to=WATCH)
        await etcd.put("/s/c", "1")
        await listener.is_right()
        assert it.follower.ends == {"behind": 1}
        assert it.etcd.current is it.etcd.endpoints[1], "its lists may be good, and its watch is not"
        await etcd.delete("/s/a")
        await listener.is_right()


async def test_now_and_then_it_lists_though_all_is_well(one: EtcdServers) -> None:
    async with following(one, pace=PACE._replace(compare=0.1, life=0.3)) as (etcd, listener, it):
        await listener.until(lambda: len(listener.heard) >= 3)
        assert it.follower.ends.keys() == {"routine"}
        await etcd.put("/s/a", "2")
        await listener.is_right()


async def test_a_compaction_under_a_watch_that_is_to_begin(one: EtcdServers) -> None:
    """Between the list and the watch so much happens that the watch cannot tell it any more."""
    async with relay(one[0].port) as line, following(one, [line.url]) as (etcd, listener, it):
        line.stalls("up", to=WATCH)
        line.resets()
        await listener.until(lambda: len(listener.heard) >= 1)  # it has listed again
        await etcd.delete("/s/a")
        await etcd.put("/s/b", "2")
        await etcd.compact()
        line.heals()
        await listener.is_right()
        assert it.follower.ends.keys() <= {"broken", "compacted", "silent"}


async def test_a_compaction_under_a_watch_that_runs(one: EtcdServers) -> None:
    async with following(one) as (etcd, listener, _):
        for number in range(5):
            await etcd.put("/s/a", str(number))
            await etcd.compact()
        await etcd.delete("/s/a")
        await etcd.compact()
        await listener.is_right()


# -- servers that fail -----------------------------------------------------------------------------------


async def test_the_server_is_killed_and_comes_back(one: EtcdServers) -> None:
    async with following(one) as (etcd, listener, it):
        one[0].dies()
        one[0].start()
        await one.all_ready()
        await etcd.put("/s/a", "2")
        await listener.is_right()
        assert it.failure is None


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_the_leader_is_lost(three: EtcdServers, how: str) -> None:
    leader = await three.leader()
    urls = [three[leader].url, *(url for at, url in enumerate(three.urls) if at != leader)]
    async with following(three, urls) as (etcd, listener, it):
        etcd.at = (leader + 1) % 3
        if how == "killed":
            three[leader].dies()
        else:
            three[leader].stops()
        await is_writable(three, etcd.at)
        await etcd.put("/s/c", "1")
        await listener.is_right()
        if how == "stopped":
            three[leader].goes_on()
        await etcd.delete("/s/a")
        await listener.is_right()
        assert it.failure is None, "another endpoint has told it"


async def is_writable(servers: EtcdServers, at: int) -> None:
    """Wait until there is a leader again."""
    with trio.fail_after(30):
        while True:
            try:
                await servers.ctl("put", "elsewhere", "1", at=at)
            except AssertionError:
                continue
            return


async def test_a_follower_of_the_leader_that_stands_still(three: EtcdServers) -> None:
    """A watch there is silent, as if all were calm."""
    follower = (await three.leader() + 1) % 3
    other = (follower + 1) % 3
    async with following(three, [three[follower].url, three[other].url]) as (etcd, listener, it):
        etcd.at = other
        three[follower].stops()
        await etcd.put("/s/c", "1")
        await listener.is_right()
        assert it.follower.ends == {"silent": 1}
        three[follower].goes_on()
        await etcd.delete("/s/c")
        await listener.is_right()


async def test_most_are_lost_and_come_back(three: EtcdServers) -> None:
    async with following(three, patience=1.0) as (etcd, listener, it):
        three[1].stops()
        three[2].stops()
        assert isinstance(await it.fails(), NoAnswer)
        assert not [heard for heard in listener.heard if heard != etcd.now], "nothing has changed"
        three[1].goes_on()
        three[2].goes_on()
        await is_writable(three, 0)
        await etcd.put("/s/a", "2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            await listener.is_right()
            nursery.cancel_scope.cancel()


async def test_one_of_several_that_is_down_at_the_start(three: EtcdServers) -> None:
    three[0].dies()
    await is_writable(three, 1)
    registrations = Registrations(three)
    registrations.at = 1
    listener = Listener(registrations)
    it = Following(Follower, three.urls, listener)
    await registrations.put("/s/a", "1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await listener.is_right()
        nursery.cancel_scope.cancel()


# -- another etcd ----------------------------------------------------------------------------------------


async def test_an_etcd_whose_data_were_wiped_is_not_followed(one: EtcdServers) -> None:
    async with following(one) as (_, listener, it):
        for number in range(5):
            await one.ctl("put", "elsewhere", str(number))
        one[0].dies()
        one[0].wipe()
        one[0].start()
        failure = await it.fails()
        assert isinstance(failure, AnotherEtcd)
        assert "its data were wiped or restored" in str(failure)
        assert not listener.heard
        assert len(it.mirror.keys) == 2
        it.mirror.take_over(failure.cluster_id, failure.revision)
        listener.truth.now = {}
        listener.truth.states.append({})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            await listener.is_right()
            nursery.cancel_scope.cancel()


async def test_another_cluster_is_not_followed(one: EtcdServers, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with etcd_servers(tmp_path / "other") as other:
        for number in range(20):
            await other.ctl("put", "elsewhere", str(number))
        async with following(one, [*one.urls, *other.urls]) as (_, listener, it):
            one[0].dies()
            failure = await it.fails()
            assert isinstance(failure, AnotherEtcd)
            assert "it is cluster" in str(failure)
            assert not listener.heard


# -- users -----------------------------------------------------------------------------------------------


async def test_users_are_switched_on_while_it_runs(one: EtcdServers) -> None:
    async with following(one, login=Login("reader", "secret")) as (etcd, listener, it):
        await one.protect()
        changed = Registrations(one, user="root:root")
        changed.now, changed.states = etcd.now, etcd.states
        listener.truth = changed
        await changed.put("/s/a", "2")
        await listener.is_right()
        assert it.failure is None


async def test_a_role_that_is_revoked_is_a_failure(one: EtcdServers) -> None:
    """The watch goes on: etcd asks for the rights at its beginning only."""
    await one.protect()
    login = Login("reader", "secret")
    truth = Registrations(one, user="root:root")
    await truth.put("/s/a", "1")
    listener = Listener(truth)
    it = Following(Follower, one.urls, listener, login=login, patience=1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await listener.is_right()
        await one.ctl("user", "revoke-role", "reader", "reading", user="root:root")
        failure = await it.fails()
        assert isinstance(failure, Refused)
        assert "permission denied" in str(failure)
        assert listener.heard == [{"/s/a": "1"}]
