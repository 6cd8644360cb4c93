"""A balancer in its cluster, on a real etcd, without traffic."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import structlog
import trio

from lb.cluster.joined import Joined
from lb.cluster.shared_wishes import BackendWish, Stamp, backend_key, encoded, named
from lb.cluster.wish_cache import encoding
from lb.config.loader import build
from lb.core.cluster_view import NotShared, SharedChange
from lb.core.simulation.registry_copy import copying
from lb.settings.balancer_settings import Config
from lb.slices import at_once
from tests.cluster.test_shared_wishes import A_KEY, CONFIGURED, balancer
from tests.kit.etcd_servers import etcd_servers, needs_etcd

LONG_AGO = Stamp(op="1", by="ann", at="2020-01-01T00:00:00Z")


def joined(urls: Sequence[str], own: Mapping[str, str] | None = None, **settings: str) -> Joined:
    config = build({"cluster": {"etcd": [*urls], "prefix": "/lb", "ttl": "2s", **settings}})
    return Joined(
        balancer(),
        lambda: Config(cluster=config.cluster, pools={**CONFIGURED}),
        read_secret=lambda _path: b"",
        one_at_a_time=trio.Lock(),
        settled=trio.lowlevel.checkpoint,
        own=own,
    )


@needs_etcd
async def test_what_has_had_no_effect_for_long_is_swept(tmp_path: Path) -> None:
    async with etcd_servers(tmp_path) as etcd:
        it = joined(etcd.urls)
        drained = backend_key("default", "b")
        for key, wish in ((A_KEY, BackendWish()), (drained, BackendWish(admin_state="draining"))):
            await etcd.ctl("put", f"/lb/v1/{key}", encoded(wish, LONG_AGO).decode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            with trio.fail_after(30):
                await it.known.wait()
            assert it.store.wishes.keys() == {A_KEY, drained}
            assert await it.sweep() == 1
            assert await it.sweep() == 0
            nursery.cancel_scope.cancel()
        left = await etcd.ctl("get", "--prefix", "--keys-only", "/lb/v1/wishes")
        assert left.split() == [f"/lb/v1/{drained}"]


async def test_a_bug_ends_its_part_and_the_balancer_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others must take it for lost: it may still use what they drain. So it does not leave."""
    it = joined(["http://127.0.0.1:1"])
    left: list[str] = []

    async def stumble() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async def leave() -> None:
        await trio.lowlevel.checkpoint()
        left.append(it.name)

    monkeypatch.setattr(it.store, "run", stumble)
    monkeypatch.setattr(it.member, "leave", leave)
    with structlog.testing.capture_logs() as logged:
        await it.run()
    assert [line["log_level"] for line in logged] == ["error"]
    assert (it.standing().failure, left) == ("a bug has ended its part; the log has it", [])
    change = await _rehearsed(it)
    with pytest.raises(NotShared, match="a bug has ended"):
        await change.make("ann", "keys")


async def _rehearsed(it: Joined) -> SharedChange:
    it.store.revision = 1  # the wishes were known before
    copy = at_once(copying(balancer()))
    change = await it.rehearse(copy, 1)
    copy.maintenance(copy.backend("a"))
    return change


async def test_what_is_handed_over_is_newer_than_the_cache(tmp_path: Path) -> None:
    """An override that was withdrawn a moment before the upgrade stays withdrawn."""
    cache = tmp_path / "cluster.json"
    old = encoding(7, 5, {A_KEY: BackendWish(admin_state="draining")}, {}, "/lb/v1/")
    cache.write_bytes(at_once(old))
    for own, there in (({}, set()), (None, {A_KEY})):
        it = joined(["http://127.0.0.1:1"], own, cache=str(cache))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            with trio.fail_after(30):
                await it.known.wait()
            assert {own.backend_id for own in it.own_wishes()} == {named(key)[1] for key in there}
            nursery.cancel_scope.cancel()
