"""A mirror becomes what it is told, whatever it was before, and decides nothing."""

from typing import Any

import pytest
from msgspec.structs import replace

from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Outcome
from lb.core.health.ejection import Cause, Standing
from lb.core.mirror import Mirror, PoolGone, PoolState, State, state_of, state_of_pool
from lb.core.pool import Turn
from lb.settings.pool_settings import Ejection, PoolSettings, Probe, Sticky
from tests.core.scene import Clock, Request, check, later, registry, spec
from tests.core.scene import Scene as Original


class Copy:
    """A mirror, the events of its registry, and what it proposed."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.registry = registry(clock)
        self.proposed: list[tuple[str, Cause | None, str]] = []
        self.events: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.mirror = Mirror(self.registry, self, lambda pool, why: self.refused.append((pool, why)))
        self.registry.subscribe(lambda event: self.events.append((event.kind, event.backend.id)))

    def failed(self, backend: Backend, why: str) -> None:
        self.failures.append((backend.id, why))

    def turned(self, backend: Backend, cause: Cause | None, why: str) -> None:
        self.proposed.append((backend.id, cause, why))

    def hears(self, original: Original, *names: str) -> None:
        """All that holds of the original, or of these backends."""
        pools: list[State] = [] if names else [state_of_pool(original.registry, "default")]
        ids = names or tuple(original.registry.backends)
        self.mirror.take([*pools, *(state_of(original.registry, id) for id in ids)])


def both(**settings: Any) -> tuple[Original, Copy]:
    """Two backends, and a mirror that knows of them."""
    original = Original(spec("a"), spec("b"), **settings)
    copy = Copy(original.clock)
    copy.hears(original)
    return original, copy


def same(original: Original, copy: Copy) -> bool:
    ids = original.registry.backends.keys() | copy.registry.backends.keys()
    return all(state_of(original.registry, id) == state_of(copy.registry, id) for id in ids)


def test_it_becomes_what_it_is_told() -> None:
    original, copy = both(probe=Probe(fall=1))
    check(original, "a", ok=False)
    original.registry.maintenance(original["b"])
    original.registry.add(spec("c", weight=5))
    copy.hears(original)
    assert same(original, copy)
    assert copy.registry.backends["a"].why_not() == "down: refused"


def test_what_is_told_twice_happens_once() -> None:
    original, copy = both()
    original.registry.drain(original["a"], 60)
    copy.hears(original)
    before = [*copy.events]
    copy.hears(original)
    assert copy.events == before


def test_a_drain_has_no_end_of_its_own_there() -> None:
    original, copy = both()
    pool, request = copy.registry.pools["default"], Request()
    backend, _ = pool.take(request)
    assert backend is not None
    original.registry.drain(original[backend.id], 1)
    copy.hears(original, backend.id)
    copy.clock.now += 1000
    copy.registry.expire(copy.clock.now)
    assert request.cuts == 0
    assert backend.drain is not None
    assert backend.drain.outcome is None
    pool.release(backend, request)
    assert backend.drain.outcome is Outcome.COMPLETED


def test_another_drain_than_the_one_that_it_knows_begins_anew() -> None:
    """It may never hear that the first one was taken back."""
    original, copy = both(sticky=Sticky())
    original.registry.drain(original["a"], 60)
    copy.hears(original)
    first = copy.registry.backends["a"].drain
    original.registry.ready(original["a"])
    original.registry.drain(original["a"], 60)
    copy.hears(original)
    second = copy.registry.backends["a"].drain
    assert first is not None
    assert first.outcome is Outcome.CANCELLED
    assert second is not first
    assert same(original, copy)


def test_it_keeps_clients_for_as_long_as_it_is_told() -> None:
    original, copy = both(sticky=Sticky())
    original.registry.drain(original["a"], 60)
    copy.hears(original)
    assert copy.registry.backends["a"].keeps_its_clients
    later(original, 30)
    copy.hears(original)
    assert not copy.registry.backends["a"].keeps_its_clients
    drain = copy.registry.backends["a"].drain
    assert drain is not None
    assert drain.outcome is Outcome.COMPLETED


def test_clients_are_kept_though_the_pool_knows_no_cookies_any_more() -> None:
    """The drain began before; a mirror that starts now hears of both."""
    original, _ = both(sticky=Sticky())
    original.registry.drain(original["a"], 60)
    original.registry.configure(original.pool, PoolSettings())
    copy = Copy(original.clock)
    copy.hears(original)
    assert same(original, copy)


def test_a_pool_that_is_gone_waits_for_its_last_backend() -> None:
    original, copy = both()
    original.registry.add_pool("other", PoolSettings())
    moved = original.registry.move(original["a"], spec("a"), "other")
    original.registry.remove(original["b"])
    original.registry.forget_pools({"other"})
    gone = [state_of_pool(original.registry, name) for name in ("other", "default")]
    copy.mirror.take([*gone, state_of(original.registry, "a")])
    assert set(copy.registry.pools) == {"other", "default"}
    copy.mirror.take([state_of(original.registry, "b")])
    assert set(copy.registry.pools) == {moved.pool}


def test_a_pool_that_comes_back_is_not_forgotten() -> None:
    original, copy = both()
    there = state_of_pool(original.registry, "default")
    copy.mirror.take([state_of_pool(registry(original.clock), "default"), there])
    original.registry.remove(original["a"])
    original.registry.remove(original["b"])
    copy.hears(original, "a", "b")
    assert set(copy.registry.pools) == {"default"}


def test_what_is_warm_stays_warm_where_it_is_new() -> None:
    original, _ = both(slow_start=10)
    later(original, 11)
    copy = Copy(original.clock)
    copy.hears(original)
    assert copy.registry.backends["a"].state == "ready"
    assert copy.registry.backends["a"].share == original["a"].share == 100


def test_what_warms_up_has_as_long_to_go() -> None:
    original, _ = both(slow_start=10)
    later(original, 6)
    copy = Copy(original.clock)
    copy.hears(original)
    assert copy.registry.backends["a"].ramp_until == original["a"].ramp_until
    assert copy.registry.backends["a"].share == original["a"].share


def test_who_announced_it_is_told_too() -> None:
    """A backend of the file was removed and added over the API, and the mirror hears of both at once."""
    original, copy = both()
    original.registry.remove(original["a"])
    original.registry.add(spec("a"), source="config")
    copy.hears(original, "a")
    assert copy.registry.backends["a"].source == "config"


def test_it_proposes_what_it_sees_and_waits_for_the_decision() -> None:
    """The share of its own requests; what comes in a row it cannot know."""
    original, copy = both(ejection=Ejection(consecutive=1, ratio=1, minimum=2))
    pool, a = copy.registry.pools["default"], copy.registry.backends["a"]
    pool.failed(a, "refused", 0.1, copy.clock.now)
    assert copy.proposed == []
    pool.failed(a, "refused", 0.1, copy.clock.now)
    assert copy.proposed == [("a", Cause.RATIO, "refused")]
    assert copy.failures == [("a", "refused")] * 2
    assert a.outcomes.standing is Standing.ADMITTED
    original.pool.health.turned(original["a"], Cause.CONSECUTIVE, "refused", original.clock.now)
    copy.hears(original, "a")
    assert a.why_not() == "ejected: refused"
    assert same(original, copy)


def test_the_reason_of_another_ejection_is_told() -> None:
    """What was between the two need not be."""
    original, copy = both()
    health, now = original.pool.health, original.clock.now
    health.turned(original["a"], Cause.CONSECUTIVE, "refused", now)
    copy.hears(original)
    later(original, 1000)
    health.turned(original["a"], Cause.TRIAL, "timed out", original.clock.now)
    copy.hears(original)
    assert copy.registry.backends["a"].why_not() == "ejected: timed out"


def test_who_waits_is_served_when_the_pool_panics() -> None:
    original, copy = both(panic=0.6)
    original.registry.change(original["a"], spec("a", cap=1))
    original.pool.health.turned(original["b"], Cause.CONSECUTIVE, "refused", original.clock.now)
    original.pool.reconsider()
    panics = state_of_pool(original.registry, "default")
    copy.mirror.take([state_of(original.registry, "a"), state_of(original.registry, "b")])
    pool, woken = copy.registry.pools["default"], list[bool]()
    assert pool.take(Request())[0] is copy.registry.backends["a"]
    ticket = pool.queue(Request(), (), lambda: woken.append(True))
    copy.mirror.take([panics])
    assert pool.is_panicking
    assert (ticket.turn, woken) == (Turn.GRANTED, [True])


def test_where_more_are_out_than_may_be_it_waits_for_what_is_decided() -> None:
    """It is told of the settings before it is told which of the backends are tried."""
    original, copy = both(ejection=Ejection(share=1.0))
    for name in "ab":
        original.pool.health.turned(original[name], Cause.CONSECUTIVE, "refused", original.clock.now)
    copy.hears(original)
    original.registry.configure(original.pool, PoolSettings())
    copy.mirror.take([state_of_pool(original.registry, "default")])
    assert [each.outcomes.standing for each in copy.registry.backends.values()] == [Standing.EJECTED] * 2
    copy.hears(original)
    assert same(original, copy)


# -- what is cut before it is told -------------------------------------------------------------------------


def running(copy: Copy, name: str) -> Request:
    """A request on this backend."""
    request = Request()
    copy.registry.pools["default"].occupy(copy.registry.backends[name], request)
    return request


def test_what_maintenance_has_cut_is_cut_though_it_is_over() -> None:
    original, copy = both()
    request = running(copy, "a")
    original.registry.maintenance(original["a"])
    original.registry.ready(original["a"])
    copy.hears(original)
    assert request.cuts == 1
    copy.hears(original)
    assert request.cuts == 1
    assert same(original, copy)


def test_what_maintenance_cuts_is_cut_once() -> None:
    original, copy = both()
    request = running(copy, "a")
    original.registry.maintenance(original["a"])
    copy.hears(original)
    original.registry.ready(original["a"])
    copy.hears(original)
    assert request.cuts == 1
    other = running(copy, "a")
    copy.hears(original)
    assert other.cuts == 0


def test_what_a_drain_has_cut_is_cut_though_it_was_taken_back() -> None:
    original, copy = both()
    original.occupy("a")
    request = running(copy, "a")
    original.registry.drain(original["a"], 0)
    original.registry.expire(original.clock.now)
    original.registry.ready(original["a"])
    copy.hears(original)
    assert request.cuts == 1


def test_a_drain_that_is_over_when_it_is_told_counts_what_it_cuts() -> None:
    original, copy = both()
    original.occupy("a")
    request = running(copy, "a")
    original.registry.drain(original["a"], 0)
    original.registry.expire(original.clock.now)
    copy.hears(original)
    drain = copy.registry.backends["a"].drain
    assert drain is not None
    assert (request.cuts, drain.aborted, drain.outcome) == (1, 1, None)


@pytest.mark.parametrize("pool", ["default", "other"])
def test_what_a_removal_has_cut_is_cut_though_another_of_that_name_came(pool: str) -> None:
    original, copy = both()
    original.registry.add_pool("other")
    request = running(copy, "a")
    original.registry.remove(original["a"])
    original.registry.add(spec("a"), pool)
    copy.mirror.take([state_of_pool(original.registry, "other"), state_of(original.registry, "a")])
    assert request.cuts == 1
    assert same(original, copy)


def test_what_moves_there_and_back_is_not_cut() -> None:
    original, copy = both()
    original.registry.add_pool("other")
    request = running(copy, "a")
    moved = original.registry.move(original["a"], original["a"].spec, "other")
    original.registry.move(moved, moved.spec, "default")
    copy.hears(original)
    assert request.cuts == 0
    assert same(original, copy)


# -- what a source says ------------------------------------------------------------------------------------


def found(original: Original, name: str) -> Backend:
    """A backend that a source has found."""
    return original.registry.found.enter(spec(name), original.pool, "dns", Notice.HERE)


def test_what_a_source_says_is_mirrored() -> None:
    original, copy = both()
    found(original, "c")
    original.registry.found.notice(original["c"], Notice.NOT_READY)
    copy.hears(original)
    there = copy.registry.backends["c"]
    assert (there.notice, there.source, there.is_open) == (Notice.NOT_READY, "dns", False)
    original.registry.found.notice(original["c"], Notice.MISSING)
    copy.hears(original)
    assert (there.notice, there.is_open) == (Notice.MISSING, True)
    assert same(original, copy)


def test_the_drain_of_a_source_is_mirrored_and_taken_back() -> None:
    original, copy = both()
    c = found(original, "c")
    original.pool.occupy(c, Request())
    copy.hears(original)
    there = copy.registry.backends["c"]
    request = Request()
    copy.registry.pools["default"].occupy(there, request)
    original.registry.found.leave(c, 60)
    copy.hears(original)
    assert there.drain is not None
    assert (there.state, there.admin_state, there.drain.is_sources) == ("leaving", AdminState.READY, True)
    assert same(original, copy)
    original.registry.found.notice(c, Notice.HERE)
    copy.hears(original)
    assert copy.registry.backend("c").drain is None
    assert there.state == "ready"
    original.registry.found.leave(c, 60)
    copy.hears(original)
    copy.registry.pools["default"].release(there, request)
    assert not there.removed
    assert there.drain is not None
    assert there.drain.outcome is Outcome.COMPLETED
    assert ("drained", "c") in copy.events


def test_an_operators_drain_on_top_of_a_sources_is_mirrored() -> None:
    original, copy = both()
    c = found(original, "c")
    original.pool.occupy(c, Request())
    copy.hears(original)
    there = copy.registry.backends["c"]
    copy.registry.pools["default"].occupy(there, Request())
    original.registry.found.leave(c, 60)
    copy.hears(original)
    original.registry.drain(c, 5)
    copy.hears(original)
    assert there.admin_state is AdminState.DRAINING
    original.registry.ready(c)
    copy.hears(original)
    assert (there.admin_state, there.state) == (AdminState.READY, "leaving")
    original.registry.maintenance(c)
    copy.hears(original)
    assert copy.registry.backend("c").admin_state is AdminState.MAINTENANCE
    assert same(original, copy)


# -- settings that cannot be used here ---------------------------------------------------------------------

BROKEN = "tests.core.test_mirror:Broken"


class Broken:
    """A policy that can be made in one process, and in no other."""

    def __init__(self) -> None:
        raise ValueError("it is in use elsewhere")

    def choose(self, candidates: Any, request: Any) -> Any:
        """Never called."""


def test_a_pool_whose_settings_cannot_be_used_keeps_those_that_it_had() -> None:
    original, copy = both(policy="ewma")
    settings = original.pool.settings
    wanted = replace(settings, policy=BROKEN, queue=7)
    copy.mirror.take([PoolState("default", wanted, panics=False)])
    pool = copy.registry.pools["default"]
    assert pool.settings == settings
    [(name, why)] = copy.refused
    assert name == "default"
    assert "it is in use elsewhere" in why
    copy.mirror.take([PoolState("default", replace(settings, queue=7), panics=False)])
    assert (pool.settings.queue, copy.refused[1:]) == (7, [("default", "")])


def test_a_new_pool_whose_settings_cannot_be_used_still_serves() -> None:
    copy = Copy(Clock())
    copy.mirror.take([PoolState("web", PoolSettings(policy=BROKEN, queue=7), panics=False)])
    settings = copy.registry.pools["web"].settings
    assert (settings.policy, settings.queue) == ("round_robin", 7)
    copy.mirror.take([PoolGone("web")])
    assert [why == "" for _, why in copy.refused] == [False, True]
