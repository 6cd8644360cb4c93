"""An operator's change of a copy becomes wishes, by which other balancers get to the same."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from lb.cluster.shared_changes import Known, LocalChange, RehearsedChange, WatchedRegistry
from lb.cluster.shared_wishes import EVERYWHERE, BackendWish, PoolWish, Wish, Wishes, backend_key
from lb.config.state_file import changes
from lb.core.announced import Notice
from lb.core.drain import Then
from lb.core.registry import Conflict, Registry
from lb.core.simulation.registry_copy import copying
from lb.settings.backend_spec import BackendSpec
from lb.slices import at_once
from tests.cluster.test_shared_wishes import A_KEY, CONFIGURED, apply, balancer, is_busy, shared

E = BackendSpec(id="e", url="http://e.test:80")
E_KEY = backend_key("web", "e")


async def difference(registry: Registry, change: Callable[[Registry], object]) -> dict[str, Wish]:
    """The wishes of a change that is made to a copy of this registry."""
    copy = at_once(copying(registry))
    watched = WatchedRegistry(CONFIGURED, copy)
    await watched.begin(is_copy=True)
    change(copy)
    return await watched.difference()


def finds(registry: Registry, notice: Notice = Notice.HERE) -> None:
    """A source names a backend."""
    registry.found.enter(E, registry.pools["web"], "dns", notice)


@pytest.mark.parametrize(
    ("change", "wish"),
    [
        (lambda r: r.drain(r.backend("a"), 5), BackendWish(admin_state="draining", drain=5)),
        (lambda r: r.drain(r.backend("a"), 5, Then.REMOVE), BackendWish(admin_state="removed", drain=5)),
        (
            lambda r: r.drain(r.backend("a"), 5, Then.MAINTENANCE),
            BackendWish(admin_state="maintenance", drain=5),
        ),
        (lambda r: r.remove(r.backend("a")), BackendWish(admin_state="removed", drain=0)),
        (lambda r: r.maintenance(r.backend("a")), BackendWish(admin_state="maintenance")),
    ],
)
@pytest.mark.parametrize("busy", [False, True])
async def test_how_long_it_may_take_is_part_of_the_wish(
    change: Callable[[Registry], object], wish: BackendWish, busy: bool
) -> None:
    """Whatever runs on the balancer that was asked: another one may be busy."""
    registry = balancer()
    if busy:
        is_busy(registry, "a")
    assert await difference(registry, change) == {A_KEY: wish}


async def test_a_removal_by_force_of_one_that_drains() -> None:
    registry = balancer()
    is_busy(registry, "a")
    registry.drain(registry.backend("a"), 60)
    assert await difference(registry, lambda r: r.remove(r.backend("a"))) == {
        A_KEY: BackendWish(admin_state="removed", drain=0)
    }


async def test_what_changes_nothing_is_no_wish() -> None:
    registry = balancer()
    registry.maintenance(registry.backend("a"))
    assert await difference(registry, lambda r: r.maintenance(r.backend("a"))) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.drain(r.backend("e"), 5),
        lambda r: r.maintenance(r.backend("e")),
        lambda r: r.change(r.backend("e"), BackendSpec(id="e", url=E.url, weight=7)),
        lambda r: r.remove(r.backend("e")),
        lambda r: r.drain(r.backend("e"), 5, Then.REMOVE),
    ],
)
@pytest.mark.parametrize("is_here", [True, False])
async def test_what_is_said_of_one_that_a_source_names(
    change: Callable[[Registry], object], is_here: bool
) -> None:
    """It holds where the source has named it, and where it will."""
    registry, other, told = balancer(), balancer(), balancer()
    finds(registry)
    finds(told)
    wishes = shared(await difference(registry, change))
    assert list(wishes) == [E_KEY]
    if is_here:
        finds(other)
    assert apply(wishes, other) == {}
    if not is_here and not other.found.hidden.get("web"):
        finds(other)
    change(told)
    assert changes(CONFIGURED, other) == changes(CONFIGURED, told)


async def test_what_was_said_of_it_is_taken_back() -> None:
    registry, other = balancer(), balancer()
    for each in (registry, other):
        finds(each)
        each.drain(each.backend("e"), 5)
    wishes = shared(await difference(registry, lambda r: r.ready(r.backend("e"))))
    assert wishes.keys() == {E_KEY}
    apply(wishes, other)
    assert changes(CONFIGURED, other) == {}
    assert "e" in other.backends


class Puts:
    """What was put, by whom and alone where."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def __call__(self, wishes: Wishes, by: str, alone_in: set[str]) -> int:
        await trio.lowlevel.checkpoint()
        self.calls.append((dict(wishes), by, alone_in))
        return 9


async def rehearsed(
    overridden: Wishes, put: Puts, wishes: Wishes | None = None
) -> tuple[Registry, RehearsedChange]:
    copy = at_once(copying(balancer()))
    watched = WatchedRegistry(CONFIGURED, copy)
    await watched.begin(is_copy=True)
    return copy, RehearsedChange(watched, Known(wishes or {}, overridden), put)


async def test_what_is_put() -> None:
    put = Puts()
    copy, change = await rehearsed({}, put)
    assert await change.make("ann", "pools") == 0
    copy.maintenance(copy.backend("a"))
    assert await change.make("ann", "pools") == 9
    assert put.calls == [({A_KEY: BackendWish(admin_state="maintenance")}, "ann", {"default"})]


async def test_what_is_otherwise_here_alone_is_not_shared() -> None:
    put = Puts()
    copy, change = await rehearsed({A_KEY: BackendWish()}, put)
    copy.maintenance(copy.backend("a"))
    with pytest.raises(Conflict, match="backend 'a' has a local override here"):
        await change.make("ann", "keys")
    assert not put.calls


async def test_a_change_of_this_balancer_alone() -> None:
    kept: list[tuple[Wishes, str]] = []

    async def keep(wishes: Wishes, by: str) -> None:
        await trio.lowlevel.checkpoint()
        kept.append((wishes, by))

    registry = balancer()
    watched = WatchedRegistry(CONFIGURED, registry)
    await watched.begin(is_copy=False)
    registry.maintenance(registry.backend("a"))
    registry.maintenance(registry.backend("b"))
    await LocalChange(watched, keep).made("ann", {"a"}, set())
    assert kept == [({A_KEY: BackendWish(admin_state="maintenance")}, "ann")]
    assert PoolWish() not in kept[0][0].values()


async def test_one_that_is_new_may_be_new_in_another_pool_too() -> None:
    put = Puts()
    copy, change = await rehearsed({}, put)
    copy.add(E, "web")
    assert await change.make("ann", "keys") == 9
    assert put.calls[0][2] == {EVERYWHERE}


@pytest.mark.parametrize("begins_anew", [True, False])
async def test_a_drain_that_is_over_here_goes_on_elsewhere(begins_anew: bool) -> None:
    """Another change of the same backend leaves it the time that was wished."""
    put, registry = Puts(), balancer()
    registry.drain(registry.backend("a"), 600)
    copy = at_once(copying(registry))
    watched = WatchedRegistry(CONFIGURED, copy)
    await watched.begin(is_copy=True)
    wished = {A_KEY: BackendWish(admin_state="draining", drain=600)}
    change = RehearsedChange(watched, Known(wished, {}), put)
    if begins_anew:
        copy.drain(copy.backend("a"), 5)
    copy.change(
        copy.backend("a"), BackendSpec(id="a", url="http://a.test:80", labels={"zone": "x"}, weight=7)
    )
    await change.make("ann", "keys")
    [(wishes, *_)] = put.calls
    assert wishes[A_KEY] == BackendWish(
        admin_state="draining", drain=5 if begins_anew else 600, patch={"weight": 7}
    )
