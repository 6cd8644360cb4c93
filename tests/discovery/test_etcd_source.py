"""Backends that services register in etcd: what a value may say, and what is told when something is wrong."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.config.loader import build
from lb.core.announced import Announced, Announcement, Notice
from lb.core.discovery_view import SourceStanding
from lb.core.registry import Registry
from lb.discovery.backend_source import Source, SourceFailed
from lb.discovery.etcd_source import EtcdSource, parse_where
from lb.discovery.source_keeper import Discovery
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_messages import Operation, Put, Transaction
from lb.etcd.login import Login
from lb.etcd.prefix_follower import Pace
from lb.http_client.server_url import server_of
from tests.kit.balancer import open_sockets
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd
from tests.kit.files import secret
from tests.kit.registrations import Listener, Registrations

pytestmark = needs_etcd
PREFIX = "/services/web/"
PACE = Pace(beat=0.3)
ONE, TWO, THREE = (f"http://10.0.0.{number}:8000" for number in (1, 2, 3))


def source(servers: EtcdServers, user: str = "", password_file: str | None = None) -> EtcdSource:
    where = ",".join(servers.urls) + PREFIX
    return EtcdSource(where, user=user, password_file=password_file, patience=1.0, pace=PACE)


class Told:
    """What a source has told. Its sets must be true, as keys and URLs."""

    def __init__(self, servers: EtcdServers, of: EtcdSource) -> None:
        self.source = of
        self.truth = Registrations(servers)
        self.listener = Listener(self.truth)
        self.all: list[Announced] = []
        self._news = trio.Event()

    @property
    def last(self) -> Announced:
        return self.all[-1]

    @property
    def ids(self) -> list[str]:
        return [backend.id for backend in self.last.backends]

    def __call__(self, announced: Announced) -> None:
        self.all.append(announced)
        self._news.set()

    def checks(self, announced: Announced) -> None:
        self(announced)
        self.listener.hears({PREFIX + backend.id: backend.url for backend in announced.backends})

    def waits(self) -> None:
        """What comes from now on counts for `next`."""
        self._news = trio.Event()

    async def put(self, key: str, value: str) -> None:
        """Put it, and wait for the next set."""
        self.waits()
        await self.truth.put(PREFIX + key, value)
        await self.next()

    async def next(self) -> None:
        with trio.fail_after(30):
            await self._news.wait()

    async def fails(self) -> str:
        with pytest.raises(SourceFailed) as caught, trio.fail_after(30):
            await self.source.run(self)
        return str(caught.value)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as servers:
        yield servers


@asynccontextmanager
async def running(told: Told) -> AsyncIterator[None]:
    """The source runs within the block, from its first set on, and leaves no connection."""
    before = open_sockets()
    told.waits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.source.run, told)
        await told.next()
        yield
        nursery.cancel_scope.cancel()
    assert open_sockets() <= before


def test_it_is_a_source() -> None:
    source: Source = EtcdSource("http://a:1/services/web/")
    assert (source.kind, source.where) == ("etcd", "http://a:1/services/web/")


def test_where_it_is() -> None:
    assert parse_where("http://a:1,https://b:2/services/web/") == (["http://a:1", "https://b:2"], PREFIX)
    assert parse_where("http://a:1/x") == (["http://a:1"], "/x")


@pytest.mark.parametrize("where", ["", PREFIX, "http://a:1", "http://a:1/", "http://a:1/x,http://b:2/x"])
def test_where_it_is_not(where: str) -> None:
    with pytest.raises(ValueError, match="expected the URLs of endpoints"):
        parse_where(where)


def test_a_url_that_is_none() -> None:
    with pytest.raises(ValueError, match="expected http://host:port"):
        EtcdSource("ftp://a:1/x")


async def test_it_tells_whole_sets(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    await told.truth.put("/elsewhere", THREE)
    told.truth.now, told.truth.states = {}, [{}]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.source.run, told.checks)
        await told.listener.is_right()
        await told.truth.put(PREFIX + "two", TWO)
        await told.listener.is_right()
        await told.truth.put(PREFIX + "one", ONE)
        await told.listener.is_right()
        await told.truth.delete(PREFIX + "two")
        await told.listener.is_right()
        nursery.cancel_scope.cancel()
    assert [len(announced.backends) for announced in told.all] == [0, 1, 2, 1]
    assert all(announced.next_look is None for announced in told.all)


async def test_what_a_value_may_say(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    async with running(told):
        await told.put("a", f"  {ONE}\n")
        await told.put(
            "b",
            '{"url": "http://10.0.0.2:8000", "id": "other", "weight": 0, "backup": true, "max_in_flight": 9, '
            '"max_connections": 8, "labels": {"zone": "x"}, "notice": "leaving"}',
        )
        await told.put("c/7", THREE)
    assert told.last == Announced(
        (
            Announcement(id="a", url=ONE),
            Announcement(
                id="other",
                url=TWO,
                weight=0,
                backup=True,
                max_in_flight=9,
                max_connections=8,
                labels={"zone": "x"},
                notice=Notice.LEAVING,
            ),
            Announcement(id="c~7", url=THREE),
        )
    )


async def test_names_for_keys_that_are_none(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    async with running(told):
        await told.put("", ONE)
        await told.put("a b", TWO)
    assert told.ids[0] == "10.0.0.1-8000"
    assert told.ids[1].startswith("a-b-")


BAD = [
    ("8000", "expected http://host:port"),
    ("ftp://10.0.0.1", "expected http://host:port"),
    ('{"url": "http://10.0.0.1:8000", "weigth": 2}', "unknown field `weigth`"),
    ('{"url": "http://10.0.0.1:8000", "weight": -1}', "weight: -1 is not between"),
    ('{"url": "http://10.0.0.1:8000", "notice": "missing"}', "Invalid enum value 'missing'"),
    ('{"url": "http://10.0.0.1:80', "truncated"),
    ("{", "truncated"),
    ("http://10.0.0.1:8000 " + "x" * 70_000, "longer than 65536 bytes"),
]


async def test_a_value_that_cannot_be_read_keeps_its_former_one(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    etcd = Etcd([server_of(servers.urls[0])[0]], login=Login(), chance=lambda: 0.0)
    async with running(told):
        await told.put("one", ONE)
        await told.put("two", TWO)
        for value, why in BAD:
            told.waits()
            put = Put(key=f"{PREFIX}one".encode(), value=value.encode())
            await etcd.transact(Transaction(success=(Operation(request_put=put),)))
            await told.next()
            assert [backend.url for backend in told.last.backends] == [ONE, TWO]
            (skipped,) = told.last.skipped
            assert skipped.startswith("/services/web/one: ")
            assert why in skipped
            assert skipped.endswith("; its former value is kept")
        etcd.close()
    async with running(told):
        assert told.ids == ["one", "two"], "after another run too"
        assert len(told.last.skipped) == 1
        await told.put("one", THREE)
        assert [backend.url for backend in told.last.backends] == [THREE, TWO]
        assert not told.last.skipped


async def test_a_value_that_never_could_be_read_is_skipped(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    async with running(told):
        await told.put("one", ONE)
        await told.put("bad", "\x07")
        assert told.ids == ["one"]
        assert told.last.skipped[0].startswith("/services/web/bad: ")
        assert "kept" not in told.last.skipped[0]


async def test_of_two_with_one_id_the_first_counts(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    async with running(told):
        await told.put("b", ONE)
        await told.put("a", '{"id": "b", "url": "http://10.0.0.2:8000"}')
    assert [backend.url for backend in told.last.backends] == [TWO]
    assert told.last.skipped == (f"/services/web/b: {TWO} has the id b already",)


async def test_a_prefix_of_something_else_is_a_failure(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    await told.truth.put(PREFIX + "a", "1")
    await told.truth.put(PREFIX + "b", "2")
    assert (await told.fails()).startswith("none of its 2 keys is of use: /services/web/a: ")
    assert told.all == []


async def test_nobody_there_is_a_failure_and_no_set(servers: EtcdServers) -> None:
    servers[0].dies()
    told = Told(servers, source(servers))
    assert "connection refused" in await told.fails()
    assert told.all == []


async def test_an_etcd_that_was_wiped_is_a_failure_until_it_is_accepted(servers: EtcdServers) -> None:
    told = Told(servers, source(servers))
    async with running(told):
        await told.put("one", ONE)
    count = len(told.all)
    servers[0].dies()
    servers[0].wipe()
    servers[0].start()
    await servers.all_ready()
    for _ in range(2):
        why = await told.fails()
        assert "its data were wiped or restored; it is followed when that is accepted" in why
        assert len(told.all) == count
    assert told.source.accept()
    assert not told.source.accept()
    async with running(told):
        assert told.ids == []


async def test_users(servers: EtcdServers, tmp_path: Path) -> None:
    await servers.ctl("put", f"{PREFIX}one", ONE)
    await servers.protect()
    path = secret(tmp_path / "password", "secret\n")
    told = Told(servers, source(servers, user="reader", password_file=str(path)))
    async with running(told):
        assert told.ids == ["one"]
    path.write_text("guessed")
    told.source._login.token = None
    why = await told.fails()
    assert "authentication failed" in why
    assert "guessed" not in why


async def test_a_storm_of_changes_is_told_in_few_sets(servers: EtcdServers) -> None:
    etcd = Etcd([server_of(servers.urls[0])[0]], login=Login(), chance=lambda: 0.0)
    told = Told(servers, source(servers))
    async with running(told):
        for number in range(200):
            put = Put(key=f"{PREFIX}b{number}".encode(), value=ONE.encode())
            await etcd.transact(Transaction(success=(Operation(request_put=put),)))
        with trio.fail_after(30):
            while len(told.last.backends) < 200:
                told.waits()
                await told.next()
        etcd.close()
    assert len(told.all) < 60


async def test_an_etcd_that_was_wiped_is_accepted_and_then_that_it_names_nobody(servers: EtcdServers) -> None:
    """Nobody leaves before an operator has said both, and nothing is restarted."""
    where = servers.urls[0] + PREFIX
    wanted = build({"pools": {"web": {"discover": [{"etcd": where, "grace": 0.2, "settle": 0.1}]}}})
    registry = Registry(trio.current_time, lambda: 0.5, lambda _file: b"k" * 32)
    registry.add_pool("web")
    discovery = Discovery(registry, lambda: wanted, trio.Lock())

    async def until(is_so: Callable[[SourceStanding], bool]) -> None:
        with trio.fail_after(30):
            while not is_so(discovery.standings("web")[0]):  # noqa: ASYNC110  (no event tells of it)
                await trio.sleep(0.05)

    await servers.ctl("put", f"{PREFIX}one", ONE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discovery.run)
        await until(lambda standing: standing.here == 1)
        servers[0].dies()
        servers[0].wipe()
        servers[0].start()
        await servers.all_ready()
        await until(lambda standing: "it is followed when that is accepted" in standing.error)
        assert [*registry.backends] == ["one"]
        assert discovery.accept("web") == ([], ["etcd"])
        await until(lambda standing: standing.held.keys() == {"one"})
        assert discovery.standings("web")[0].error == ""
        assert [*registry.backends] == ["one"]
        assert discovery.accept("web") == (["one"], [])
        await until(lambda standing: standing.here == 0)
        await servers.ctl("put", f"{PREFIX}two", TWO)
        await until(lambda standing: standing.here == 1)
        assert [*registry.backends] == ["two"]
        nursery.cancel_scope.cancel()
