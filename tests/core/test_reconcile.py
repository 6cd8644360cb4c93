"""What follows from what a source says: each rule, with its exact times."""

import msgspec
import pytest

from lb.core.announced import Announcement, Notice
from lb.core.backend import AdminState
from lb.core.drain import Then
from lb.core.following import spec_of
from lb.core.reconcile import FLAP_SECONDS, FLAP_WAIT_SECONDS, LAST_ONES, NOBODY, TOO_FEW
from lb.settings.discover_settings import Defaults
from lb.settings.pool_settings import Probe
from tests.core.discovery_world import World, said

TEN = tuple("abcdefghij")


# -- entering and changing ---------------------------------------------------------------------------------


def test_who_is_named_enters_with_what_is_said_of_it() -> None:
    world = World()
    world.say(said("a", weight=7, labels={"zone": "x"}), "b?")
    assert world.there == {"a": "here", "b": "not_ready"}
    assert world.used == ["a"]
    a = world["a"]
    assert (a.source, a.spec.weight, a.spec.labels, a.said) == ("dns", 7, {"zone": "x"}, a.spec)
    assert world["b"].state == "not_ready"
    assert world["b"].why_not() == "not ready, says dns"


def test_the_same_set_again_is_no_event() -> None:
    world = World()
    world.say("a", "b?", "c")
    world.events.clear()
    revision = world.registry.revision
    plan = world.say("a", "b?", "c")
    assert (plan.changes, plan.due, world.events) == (0, None, [])
    assert world.registry.revision == revision


def test_defaults_hold_where_the_source_says_nothing() -> None:
    defaults = Defaults(weight=3, max_in_flight=50, labels={"by": "dns", "zone": "?"})
    plain = spec_of(said("a"), defaults)
    assert (plain.weight, plain.max_in_flight, plain.labels) == (3, 50, {"by": "dns", "zone": "?"})
    full = spec_of(said("a", weight=1, max_in_flight=2, labels={"zone": "x"}), defaults)
    assert (full.weight, full.max_in_flight, full.labels) == (1, 2, {"by": "dns", "zone": "x"})


def test_an_entry_of_no_use_is_told_and_costs_no_other() -> None:
    world = World()
    bad = Announcement(id="bad id", url="http://x"), Announcement(id="b", url="ftp://x")
    world.say("a", *bad, "a", "c")
    assert world.there == {"a": "here", "c": "here"}
    first, second, third = world.source.skipped
    assert first.startswith("bad id: id: ")
    assert second.startswith("b: url: ")
    assert third == "a: it is named twice"


def test_what_the_source_changes_is_merged_key_by_key_with_what_the_operator_changed() -> None:
    world = World()
    world.say(said("a", weight=1, max_in_flight=5))
    world.registry.change(world["a"], msgspec.structs.replace(world["a"].spec, weight=9))
    world.say(said("a", weight=2, max_in_flight=6))
    assert (world["a"].spec.weight, world["a"].spec.max_in_flight) == (9, 6)
    world.registry.change(world["a"], msgspec.structs.replace(world["a"].spec, weight=2))
    world.say(said("a", weight=3, max_in_flight=6))
    assert world["a"].spec.weight == 3


def test_another_address_under_the_same_id_is_the_same_backend() -> None:
    world = World()
    world.say("a")
    a = world["a"]
    world.say(Announcement(id="a", url="http://elsewhere:80"))
    assert world["a"] is a
    assert a.host == "elsewhere"


def test_another_id_at_the_same_address_is_another_backend() -> None:
    world = World(keep=0)
    world.say(Announcement(id="pod-1", url="http://10.0.0.1:80"))
    world.registry.maintenance(world["pod-1"])
    world.say(Announcement(id="pod-2", url="http://10.0.0.1:80"))
    assert world["pod-2"].admin_state is AdminState.READY
    assert world.used == ["pod-2"]


# -- missing is not gone -----------------------------------------------------------------------------------


def test_who_is_missing_is_used_for_the_grace_and_then_drained_and_removed() -> None:
    world = World(keep=0)
    world.say("a", "b")
    request = world.run_on("b")
    world.say("a")
    assert world.there == {"a": "here", "b": "missing"}
    assert world.used == ["a", "b"]
    world.wait(29.999)
    assert world.there["b"] == "missing"
    world.wait(0.001)
    b = world["b"]
    assert (b.state, b.why_not(), world.used) == ("leaving", "leaving, says dns", ["a"])
    assert b.admin_state is AdminState.READY
    assert b.drain is not None
    assert b.drain.deadline == world.clock.now + 60
    world.pool.release(b, request)
    assert world.there == {"a": "here"}


def test_back_within_the_grace_nothing_has_happened() -> None:
    world = World()
    world.say("a", "b")
    b = world["b"]
    world.say("a")
    world.wait(29)
    world.say("a", "b")
    assert world["b"] is b
    assert b.notice is Notice.HERE
    world.wait(100)
    assert world.used == ["a", "b"]
    assert [kind for kind, name, _ in world.events if name == "b"] == ["added", "missing", "found"]


def test_back_while_it_leaves_its_drain_is_taken_back() -> None:
    world = World(keep=0)
    world.say("a", "b")
    request = world.run_on("b")
    b = world["b"]
    world.say("a")
    world.wait(30)
    assert b.state == "leaving"
    world.say("a", "b")
    assert (world["b"], b.state, b.drain) == (b, "ready", None)
    world.pool.release(b, request)
    assert world.used == ["a", "b"]


def test_a_failure_begins_the_grace_anew() -> None:
    world = World(keep=0)
    world.say("a", "b")
    world.say("a")
    world.wait(20)
    world.fail()
    world.wait(600)
    assert world.used == ["a", "b"]
    world.say("a")
    world.wait(29.9)
    assert world.used == ["a", "b"]
    world.wait(0.1)
    assert world.there == {"a": "here"}


def test_who_is_missing_and_bad_leaves_at_once() -> None:
    world = World(probe=Probe())
    world.say("a", "b", "c", "d")
    world.probed("d", ok=False)
    world.say("a", "b", "c")
    assert world.there == {"a": "here", "b": "here", "c": "here"}


def test_who_is_named_and_bad_stays() -> None:
    world = World(probe=Probe())
    world.say("a", "b")
    world.probed("b", ok=False)
    world.say("a", "b")
    world.wait(1000)
    assert world.there == {"a": "here", "b": "here"}


# -- what the source says itself ---------------------------------------------------------------------------


def test_who_leaves_drains_at_once() -> None:
    world = World()
    world.say("a", "b")
    request = world.run_on("b")
    world.say("a", "b!")
    assert world.used == ["a"]
    world.say("a", "b!")
    world.pool.release(world["b"], request)
    assert world.there == {"a": "here"}
    world.say("a", "b!")
    assert world.there == {"a": "here"}


def test_if_all_leave_they_serve_on_until_there_is_another() -> None:
    world = World()
    world.say("a", "b")
    world.say("a!", "b!")
    assert world.used == ["a", "b"]
    assert world.source.held == {"a": LAST_ONES, "b": LAST_ONES}
    world.wait(300)
    assert world.used == ["a", "b"]
    world.say("a!", "b!", "c")
    assert world.there == {"c": "here"}


def test_if_all_leave_at_the_start_they_are_used() -> None:
    world = World()
    world.say("a!", "b!")
    assert world.used == ["a", "b"]


def test_who_is_not_ready_rests_and_comes_back() -> None:
    world = World()
    world.say("a", "b", "c")
    world.say("a", "b?", "c")
    assert world.used == ["a", "c"]
    world.wait(1000)
    assert world.there["b"] == "not_ready"
    world.say("a", "b", "c")
    assert world.used == ["a", "b", "c"]


# -- keep --------------------------------------------------------------------------------------------------


def test_an_empty_answer_takes_nobody_who_is_of_use() -> None:
    world = World()
    world.say(*TEN)
    world.say()
    world.wait(30)
    assert len(world.used) == 10
    assert set(world.source.held.values()) == {NOBODY}
    world.wait(10_000)
    assert len(world.used) == 10


def test_a_small_answer_takes_half_and_holds_the_rest() -> None:
    world = World()
    world.say(*TEN)
    world.say("a")
    world.wait(29)
    assert len(world.used) == 10
    world.wait(1)
    assert len(world.used) == 5
    assert set(world.source.held.values()) == {TOO_FEW}
    world.wait(10_000)
    assert len(world.used) == 5


def test_with_keep_of_one_nobody_leaves() -> None:
    world = World(keep=1)
    world.say(*TEN)
    world.say("a")
    world.wait(10_000)
    assert len(world.used) == 10


def test_with_keep_of_zero_all_may_leave() -> None:
    world = World(keep=0)
    world.say(*TEN)
    world.say()
    world.wait(30)
    assert (world.there, world.source.missing) == ({}, {})


def test_what_is_held_leaves_when_an_operator_accepts_it() -> None:
    world = World()
    world.say(*TEN)
    world.say("a")
    world.wait(30)
    assert len(world.source.held) == 4
    assert sorted(world.source.accept()) == sorted(set(world.used) - {"a"})
    world.follow()
    assert world.there == {"a": "here"}
    assert world.source.held == {}
    assert world.source.accepted == set()


def test_what_is_held_is_let_go_when_newcomers_are_seen_to_work() -> None:
    world = World(probe=Probe(initial="up"))
    world.say("a", "b", "c", "d")
    world.say("w", "x", "y", "z")
    world.wait(40)
    assert world.used == ["c", "d", "w", "x", "y", "z"]
    world.probed("w")
    world.wait(2)
    assert len(world.used) == 5
    world.probed("x")
    world.wait(2)
    assert world.used == ["w", "x", "y", "z"]


def test_a_good_answer_shows_that_a_newcomer_works() -> None:
    world = World()
    world.say("a", "b")
    world.say("x", "y")
    world.wait(31)
    assert world.used == ["b", "x", "y"]
    world["x"].codes[500] += 1
    world.wait(2)
    assert world.used == ["b", "x", "y"]
    world["x"].codes[204] += 1
    world.wait(2)
    assert world.used == ["x", "y"]


def test_one_who_was_there_before_need_not_show_itself() -> None:
    world = World()
    world.say("a")
    world.say("a", "b")
    world.say("b")
    world.wait(30)
    assert world.there == {"b": "here"}


def test_a_readiness_that_fails_everywhere_takes_half() -> None:
    world = World()
    world.say(*TEN)
    world.say(*(f"{name}?" for name in TEN))
    assert len(world.used) == 5
    assert len(world.source.held) == 5


def test_who_the_operator_has_taken_out_is_not_counted() -> None:
    world = World()
    world.say("a", "b", "c", "d")
    world.registry.maintenance(world["d"])
    world.say("a", "b")
    world.wait(30)
    assert world.there == {"a": "here", "b": "here"}


# -- the operator's word -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["drain", "maintenance"])
def test_a_wish_outlives_refreshes_failures_and_the_backend_itself(wish: str) -> None:
    world = World(keep=0)
    world.say("a", "b")
    if wish == "drain":
        world.registry.drain(world["b"], 60)
    else:
        world.registry.maintenance(world["b"])
    wanted = world["b"].admin_state
    world.say("a", "b?")
    world.say("a", "b")
    world.fail()
    world.say("a", "b")
    assert world["b"].admin_state is wanted
    world.say("a")
    world.wait(31)
    assert world.there == {"a": "here"}
    world.say("a", "b")
    assert world["b"].admin_state is wanted
    assert world.used == ["a"]


def test_ready_does_not_bring_back_one_that_leaves() -> None:
    world = World()
    world.say("a", "b")
    request = world.run_on("b")
    world.say("a", "b!")
    world.registry.ready(world["b"])
    assert world["b"].state == "leaving"
    world.registry.drain(world["b"], 5)
    assert world["b"].admin_state is AdminState.DRAINING
    world.registry.ready(world["b"])
    assert (world["b"].admin_state, world["b"].state) == (AdminState.READY, "leaving")
    world.pool.release(world["b"], request)
    assert world.there == {"a": "here"}


def test_maintenance_of_one_that_leaves_cuts_it_and_it_goes() -> None:
    world = World()
    world.say("a", "b")
    request = world.run_on("b")
    world.say("a", "b!")
    assert world.registry.maintenance(world["b"]) == 1
    world.pool.release(world["b"], request)
    assert world.there == {"a": "here"}


def test_a_drain_of_the_operator_goes_on_when_the_source_is_back() -> None:
    world = World(keep=0)
    world.say("a", "b")
    request = world.run_on("b")
    drain = world.registry.drain(world["b"], 600, Then.MAINTENANCE)
    world.say("a")
    world.wait(31)
    assert drain.leaves
    world.say("a", "b")
    assert (world["b"].drain, drain.leaves, drain.outcome) == (drain, False, None)
    world.pool.release(world["b"], request)
    assert world["b"].admin_state is AdminState.MAINTENANCE


def test_what_an_operator_removed_is_hidden_for_as_long_as_it_is_named() -> None:
    world = World(keep=0)
    world.say("a", "b")
    world.registry.remove(world["b"])
    world.say("a", "b")
    assert (world.there, world.source.hidden) == ({"a": "here"}, ("b",))
    world.say("a")
    world.wait(29)
    world.say("a", "b")
    assert world.there == {"a": "here"}
    world.say("a")
    world.wait(31)
    world.say("a", "b")
    assert world.there == {"a": "here", "b": "here"}


def test_a_drain_to_remove_hides_too() -> None:
    world = World()
    world.say("a", "b")
    world.registry.drain(world["b"], 60, Then.REMOVE)
    world.say("a", "b")
    assert (world.there, world.source.hidden) == ({"a": "here"}, ("b",))


def test_to_add_what_is_hidden_shows_it_again() -> None:
    world = World()
    world.say("a", "b")
    spec = world["b"].spec
    world.registry.remove(world["b"])
    world.registry.add(spec)
    world.say("a", "b")
    assert world["b"].source == "api"
    assert world.source.shadowed == {"b": "api"}
    assert world.source.hidden == ()


def test_one_that_is_moved_is_the_operators() -> None:
    world = World()
    world.registry.add_pool("other")
    world.say("a", "b")
    world.registry.move(world["b"], world["b"].spec, "other")
    world.say("a", "b")
    b = world.registry.backends["b"]
    assert (b.pool, b.source, b.said) == ("other", "api", None)
    assert world.source.shadowed == {"b": "pool other"}


# -- precedence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["config", "api"])
def test_the_configuration_and_the_api_come_before_sources(source: str) -> None:
    world = World()
    spec = said("a", weight=5)
    world.registry.add(spec_of(said("a"), Defaults()), source=source)
    world.say(spec, "b")
    assert world["a"].spec.weight == 1
    assert world.source.shadowed == {"a": source}
    world.registry.remove(world["a"])
    world.follow()
    assert (world["a"].source, world["a"].spec.weight) == ("dns", 5)


def test_of_two_sources_the_first_wins_whoever_came_first() -> None:
    world = World("first", "second")
    world.say(said("a", weight=2), source=1)
    assert world["a"].source == "second"
    a = world["a"]
    world.say(said("a", weight=3), source=0)
    assert (world["a"], a.source, a.spec.weight) == (a, "first", 3)
    world.say(said("a", weight=2), source=1)
    assert world.sources[1].shadowed == {"a": "first"}


def test_what_one_source_does_not_name_any_more_another_takes_over() -> None:
    world = World("first", "second")
    world.say("a", "b", source=0)
    world.say("a", source=1)
    a = world["a"]
    world.say("b", source=0)
    assert a.notice is Notice.MISSING
    world.follow(1)
    assert (world["a"], a.source, a.notice) == (a, "second", Notice.HERE)
    world.wait(60)
    assert "a" in world.there


def test_a_source_leaves_the_backends_of_others_alone() -> None:
    world = World("first", "second", keep=0)
    world.say("a", source=0)
    world.say("b", source=1)
    world.say(source=0)
    world.wait(31)
    assert world.there == {"b": "here"}


# -- flaps -------------------------------------------------------------------------------------------------


def test_who_comes_and_goes_three_times_in_a_minute_waits() -> None:
    world = World()
    for _ in range(3):
        world.say("a", "b")
        came = world.clock.now
        world.say("a", "b!")
    world.say("a", "b")
    assert world.there == {"a": "here"}
    assert world.source.waiting == {"b": came + FLAP_WAIT_SECONDS}
    world.wait(came + FLAP_WAIT_SECONDS - world.clock.now)
    assert world.there == {"a": "here", "b": "here"}
    assert world.source.waiting == {}


def test_who_comes_and_goes_slowly_does_not_wait() -> None:
    world = World()
    for _ in range(5):
        world.say("a", "b")
        world.clock.now += FLAP_SECONDS / 3
        world.say("a", "b!")
        world.clock.now += 1
    world.say("a", "b")
    assert "b" in world.there
