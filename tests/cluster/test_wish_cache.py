"""The wishes in a file: what is applied without etcd, what is left aside, and how often it is written."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from lb.cluster.shared_wishes import Applied, BackendWish, PoolWish, Stamp, Wish, encoded, pool_key
from lb.cluster.wish_cache import WishCache, decoded, encoding
from lb.cluster.wish_store import WishStore
from lb.core.backend import AdminState
from lb.etcd.etcd_failed import AnotherEtcd
from lb.slices import at_once
from tests.cluster.test_wish_store import A_KEY, B_KEY, DRAINING, PREFIX, One, cluster
from tests.kit.etcd_servers import etcd_servers, needs_etcd

STAMP = Stamp(op="1", by="deploy", at="2026-11-27T14:00:00Z")
WISHES: dict[str, Wish] = {
    A_KEY: DRAINING,
    pool_key("web"): PoolWish(settings={"queue": 3}),
    'wishes/"\n': BackendWish(admin_state="removed"),
}
APPLIED = {
    key: Applied(wish, number, encoded(wish, STAMP)) for number, (key, wish) in enumerate(WISHES.items())
}


OWN: dict[str, Wish] = {B_KEY: BackendWish(admin_state="maintenance", by="ann")}


def content(prefix: str = PREFIX) -> bytes:
    return at_once(encoding(2**64 - 1, 4711, OWN, APPLIED, prefix))


def test_what_is_written_is_read() -> None:
    cached = decoded(content(), PREFIX)
    assert (cached.cluster_id, cached.revision) == (2**64 - 1, 4711)
    assert cached.wishes == {key: (each.revision, each.value) for key, each in APPLIED.items()}
    assert cached.own == OWN
    assert cached.keys(PREFIX)[0].key == f"{PREFIX}{A_KEY}".encode()


def test_without_wishes() -> None:
    assert decoded(at_once(encoding(1, 2, {}, {}, PREFIX)), PREFIX) == (1, 2, {}, {})


@pytest.mark.parametrize("end", range(0, len(content()) - 2, 7))
def test_one_that_is_torn(end: int) -> None:
    with pytest.raises(ValueError, match="is torn, or holds no wishes"):
        decoded(content()[:end], PREFIX)


BAD = [
    (b"[]", "holds no wishes of trio-lb"),
    (b'{"format": "trio-lb state", "version": 1}', "holds no wishes of trio-lb"),
    (
        content().replace(b'"version":1', b'"version":2'),
        "written by a newer trio-lb .version 2; this one reads 1",
    ),
    (content().replace(b'"revision":4711', b'"revision":"x"'), "is invalid: Expected `int`"),
    (content().replace(b'"revision":4711', b'"more":1,"revision":4711'), "unknown field `more`"),
    (
        content("/trio-lb/other/v1/"),
        "is of the cluster /trio-lb/other/v1/, and this one is /trio-lb/main/v1/",
    ),
    (b"[" * 100_000, "is torn"),
    (b"\xff", "is torn"),
]


@pytest.mark.parametrize(("data", "why"), BAD)
async def test_one_that_is_of_no_use_is_left_aside_with_a_warning(
    tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        decoded(data, PREFIX)
    path = tmp_path / "cluster.json"
    path.write_bytes(data)
    one = One(["http://127.0.0.1:1"])
    with capture_logs() as logs:
        assert not await WishCache(path, PREFIX).begin(one.store)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert logs[0]["path"] == str(path)
    assert path.read_bytes() == data
    assert one.store.applied == {}


async def test_no_file_is_no_fault(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert not await WishCache(tmp_path / "none", PREFIX).begin(One(["http://127.0.0.1:1"]).store)
    assert logs == []


async def test_one_that_cannot_be_read_or_written_is_told_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert WishCache(tmp_path, PREFIX).read() is None
        assert logs[0]["note"] == "is not a regular file"
        (tmp_path / "file").touch()
        assert WishCache(tmp_path / "file" / "cluster.json", PREFIX).read() is None
        assert logs[1]["note"] == "cannot be read: Not a directory"
        one = One(["http://127.0.0.1:1"])
        one.store.revision = 5
        cache = WishCache(tmp_path / "none" / "cluster.json", PREFIX)
        await cache._write(one.store)
        await cache._write(one.store)
    assert [line["note"] for line in logs[2:]] == ["cannot be written: No such file or directory"]
    (tmp_path / "none").mkdir()
    await cache._write(one.store)
    assert decoded((tmp_path / "none" / "cluster.json").read_bytes(), PREFIX).revision == 5


@needs_etcd
async def test_a_balancer_that_starts_without_etcd_does_what_was_wished(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    async with etcd_servers(tmp_path) as etcd:
        async with cluster([etcd.urls]) as (one,), trio.open_nursery() as nursery:
            nursery.start_soon(WishCache(path, PREFIX).run, one.store)
            await one.wishes((A_KEY, DRAINING), (B_KEY, BackendWish(patch={"weight": 7})))
            revision = one.store.revision
            one.store.override(B_KEY, BackendWish(patch={"weight": 9}))
            nursery.cancel_scope.cancel()
        etcd[0].dies()
        other = One(etcd.urls, patience=0.2)
        assert await WishCache(path, PREFIX).begin(other.store)
        assert other.state("a") is AdminState.DRAINING
        assert other.registry.backend("b").spec.weight == 9
        assert other.store.revision == revision
        count = len(other.events)
        etcd[0].start()
        await etcd.all_ready()
        await etcd.ctl("put", f"{PREFIX}{A_KEY}", "{}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.store.run)
            await other.until(lambda: other.state("a") is AdminState.READY)
            nursery.cancel_scope.cancel()
        assert len(other.events) == count + 1, "what is as it was is not applied again"
        other.etcd.close()


@needs_etcd
async def test_an_etcd_that_was_wiped_while_nobody_ran_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_bytes(content())
    async with etcd_servers(tmp_path) as etcd:
        one = One(etcd.urls)
        await WishCache(path, PREFIX).begin(one.store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.store.run)
            await one.until(lambda: isinstance(one.store.failure, AnotherEtcd))
            assert one.state("a") is AdminState.DRAINING
            assert one.store.held.keys() == {A_KEY, pool_key("web")}
            nursery.cancel_scope.cancel()
        one.etcd.close()


class Noting(WishCache):
    """One that notes when it has written what."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, PREFIX, rest=0.2)
        self.writes: list[tuple[float, int]] = []

    async def _write(self, store: WishStore) -> None:
        self.writes.append((trio.current_time(), store.revision))
        await super()._write(store)


async def test_it_is_written_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    one, cache = One(["http://127.0.0.1:1"]), Noting(tmp_path / "cluster.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.run, one.store)
        with trio.fail_after(30):
            while len(cache.writes) < 4:
                one.store.revision += 1
                one.store._progressed()
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    times, revisions = zip(*cache.writes, strict=True)
    assert all(later - sooner >= 0.2 for sooner, later in pairwise(times[:4]))
    assert decoded((tmp_path / "cluster.json").read_bytes(), PREFIX).revision == one.store.revision
    assert revisions[-1] == one.store.revision, "the last one is not lost"
