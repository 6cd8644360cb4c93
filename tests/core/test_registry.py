"""The registry: each wish of an operator is one function, and ends in one event."""

from math import inf

import msgspec
import pytest

from lb.core.backend import AdminState
from lb.core.drain import Outcome, Then
from lb.core.pool import Pool
from lb.core.registry import Conflict, NotThere
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings
from tests.core.scene import Request, Scene, spec


def _some(count: int) -> list[Request]:
    return [Request(str(number)) for number in range(count)]


def test_pools_and_backends_are_found_by_name_or_missed_by_name() -> None:
    scene = Scene(spec("a"))
    other = scene.registry.add_pool("other", PoolSettings(policy="least_requests", queue=3))
    assert scene.registry.pool("other") is other
    assert (other.settings.policy, other.settings.queue) == ("least_requests", 3)
    with pytest.raises(NotThere, match="no pool 'x'; there are: default, other"):
        scene.registry.pool("x")
    with pytest.raises(NotThere, match="no backend 'x'"):
        scene.registry.backend("x")


# -- add, change, replace ----------------------------------------------------------------------------------


def test_add_is_told_and_numbered() -> None:
    scene = Scene()
    backend, is_new = scene.registry.add(spec("a"), source="file")
    assert is_new
    assert scene.events == [("added", "a", "http://a.test:80")]
    assert (backend.source, backend.pool, backend.since) == ("file", "default", 1000.0)
    assert backend.revision == scene.registry.revision == 1
    assert scene.pool.backends == [backend]


def test_add_fills_in_the_id() -> None:
    backend, _ = Scene().registry.add(BackendSpec(url="http://web1:8000"))
    assert backend.id == "web1-8000"


def test_the_same_again_changes_nothing() -> None:
    scene = Scene(spec("a"))
    assert scene.registry.add(spec("a")) == (scene["a"], False)
    assert scene.events == []


def test_the_same_again_takes_back_a_drain_and_no_maintenance() -> None:
    scene = Scene(spec("a"), spec("b"))
    scene.occupy("a")
    drain = scene.registry.drain(scene["a"], 60, Then.REMOVE)
    scene.registry.maintenance(scene["b"])
    assert scene.registry.add(spec("a")) == (scene["a"], False)
    scene.registry.add(spec("b"))
    assert (drain.outcome, scene["a"].state) == (Outcome.CANCELLED, "ready")
    assert scene["b"].state == "maintenance"


@pytest.mark.parametrize(("said", "pool"), [(spec("a", weight=2), "default"), (spec("a"), "other")])
def test_another_under_the_same_id_is_a_conflict(said: BackendSpec, pool: str) -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    with pytest.raises(Conflict, match="'a' exists with other settings"):
        scene.registry.add(said, pool)
    assert scene.events == []


def test_add_refuses_what_breaks_a_rule_or_has_no_pool() -> None:
    scene = Scene()
    with pytest.raises(ValueError, match=r"^weight: "):
        scene.registry.add(spec("a", weight=-1))
    with pytest.raises(NotThere):
        scene.registry.add(spec("a"), "nowhere")
    assert scene.registry.backends == {}


def test_change_keeps_what_runs_and_says_what_changed() -> None:
    scene = Scene(spec("a"))
    scene.occupy("a")
    assert scene.registry.change(scene["a"], BackendSpec(id="a", url="http://b.test:80", weight=2), "default")
    assert scene.events == [("changed", "a", "url, weight")]
    assert (scene["a"].host, scene["a"].in_flight) == ("b.test", 1)
    assert not scene.registry.change(scene["a"], scene["a"].spec)
    assert len(scene.events) == 1


def test_change_keeps_the_id_and_the_pool() -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    with pytest.raises(Conflict, match="keeps its id"):
        scene.registry.change(scene["a"], spec("b"))
    with pytest.raises(Conflict, match="remove it there first"):
        scene.registry.change(scene["a"], spec("a"), "other")
    with pytest.raises(ValueError, match=r"^weight: "):
        scene.registry.change(scene["a"], spec("a", weight=-1))
    assert scene.events == []


def test_other_weights_hold_from_the_next_request_on() -> None:
    scene = Scene(spec("a", weight=1000), spec("b"))
    for request in _some(400):
        assert scene.pool.take(request)[0] is scene["a"]
    scene.registry.change(scene["a"], spec("a"))
    taken = [scene.pool.take(request)[0] for request in _some(6)]
    assert taken == [scene["b"], scene["a"]] * 3  # b is owed a part of a request from before


def test_replace_adds_changes_and_drains_what_vanishes() -> None:
    scene = Scene(spec("a"), spec("b"), spec("c"))
    scene.occupy("a")
    a, c = scene["a"], scene["c"]
    leaving = scene.registry.replace("default", [spec("b", weight=5), spec("d")], 30)
    assert leaving == [a, c]
    assert scene.kinds == ["changed", "added", "draining", "draining", "drained", "removed"]
    assert sorted(scene.registry.backends) == ["a", "b", "d"]
    assert a.drain is not None
    assert (a.drain.deadline, a.drain.then, c.removed) == (1030.0, Then.REMOVE, True)


def test_replace_twice_with_the_same_is_told_once() -> None:
    scene = Scene(spec("a"))
    wanted = [spec("a"), spec("b")]
    scene.registry.replace("default", wanted, 30)
    scene.registry.replace("default", wanted, 30)
    assert scene.kinds == ["added"]


def test_replace_takes_back_those_that_were_leaving_and_no_others() -> None:
    scene = Scene(spec("a"), spec("b"), spec("c"))
    for id in "abc":
        scene.occupy(id)
    scene.registry.drain(scene["a"], 60, Then.REMOVE)
    scene.registry.drain(scene["b"], 60)
    scene.registry.maintenance(scene["c"])
    scene.registry.replace("default", [spec("a"), spec("b"), spec("c")], 30)
    assert [scene[id].state for id in "abc"] == ["ready", "draining", "maintenance"]


def test_replace_is_all_or_nothing() -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    scene.registry.add(spec("x"), "other")
    scene.events.clear()
    for wanted, expected in (
        ([spec("b"), spec("c", weight=-1)], ValueError),
        ([spec("b"), spec("x")], Conflict),
        ([spec("b"), spec("b", weight=2)], Conflict),
    ):
        with pytest.raises(expected):
            scene.registry.replace("default", wanted, 30)
    with pytest.raises(NotThere):
        scene.registry.replace("nowhere", [spec("b")], 30)
    assert (scene.events, sorted(scene.registry.backends)) == ([], ["a", "x"])


def test_what_is_done_together_is_looked_at_once_and_by_each_pool_that_it_is_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    looked: list[str] = []
    look = Pool.reconsider

    def counted(pool: Pool) -> None:
        looked.append(pool.name)
        look(pool)

    monkeypatch.setattr(Pool, "reconsider", counted)
    scene.registry.replace("default", [spec(id) for id in "bcd"], 30)
    assert looked == ["default"]
    with scene.registry.together():
        scene.registry.add(spec("x"), "other")
        scene.registry.replace("default", [spec("b"), spec("e")], 30)
        with pytest.raises(Conflict):
            scene.registry.add(spec("x", weight=2), "other")
        assert looked == ["default"]
    assert looked == ["default", "other", "default"]
    assert {scene.pool.take(request)[0] for request in _some(2)} == {scene["b"], scene["e"]}


# -- ready, maintenance, remove ----------------------------------------------------------------------------


def test_a_wish_that_is_fulfilled_already_is_no_event() -> None:
    scene = Scene(spec("a"))
    scene.registry.ready(scene["a"])
    assert scene.events == []
    scene.registry.maintenance(scene["a"])
    scene.registry.maintenance(scene["a"])
    assert scene.events == [("maintenance", "a", "")]


def test_maintenance_cuts_what_runs_and_ready_brings_it_back() -> None:
    scene = Scene(spec("a"))
    requests = scene.occupy("a", 2)
    scene.clock.now += 5
    assert scene.registry.maintenance(scene["a"]) == 2
    assert [request.cuts for request in requests] == [1, 1]
    assert (scene["a"].admin_state, scene["a"].since) == (AdminState.MAINTENANCE, 1005.0)
    assert scene.pool.take(requests[0])[0] is None
    scene.registry.ready(scene["a"])
    assert scene.pool.take(requests[0])[0] is scene["a"]
    assert scene.kinds == ["maintenance", "ready"]


def test_remove_cuts_what_runs_and_it_is_gone() -> None:
    scene = Scene(spec("a"), spec("b"))
    a, requests = scene["a"], scene.occupy("a", 2)
    assert scene.registry.remove(a) == 2
    assert [request.cuts for request in requests] == [1, 1]
    assert a.removed
    assert scene.kinds == ["removed"]
    assert scene.pool.backends == [scene["b"]]
    for request in requests:
        scene.pool.release(a, request)
    assert a.in_flight == 0
    assert scene.registry.remove(a) == 0
    assert scene.kinds == ["removed"]


def test_an_id_that_was_removed_is_free_again() -> None:
    scene = Scene(spec("a"))
    before = scene["a"]
    scene.registry.remove(before)
    after, is_new = scene.registry.add(spec("a", weight=3))
    assert is_new
    assert after is not before


# -- drains ------------------------------------------------------------------------------------------------


def test_g150_a_drain_takes_nothing_more_and_ends_with_the_last_request() -> None:
    scene = Scene(spec("a"), spec("b"))
    first, second = scene.occupy("a", 2)
    told: list[str] = []
    drain = scene.registry.drain(scene["a"], 30)
    drain.when_ended(lambda: told.append("ended"))
    assert (drain.started_with, drain.deadline, drain.then) == (2, 1030.0, Then.KEEP)
    assert [scene.pool.take(r)[0] for r in _some(3)] == [scene["b"]] * 3
    scene.clock.now += 2
    scene.pool.release(scene["a"], first)
    assert told == []
    scene.pool.release(scene["a"], second)
    assert told == ["ended"]
    assert (drain.outcome, drain.aborted, drain.ended) == (Outcome.COMPLETED, 0, 1002.0)
    assert scene.events == [("draining", "a", "2 in flight"), ("drained", "a", "after 2.00 s")]
    assert scene["a"].state == "drained"
    assert scene.registry.drain_durations["default", Outcome.COMPLETED].total == 2.0


def test_a_drain_of_an_idle_backend_ends_at_once() -> None:
    scene = Scene(spec("a"))
    drain = scene.registry.drain(scene["a"], None)
    assert (drain.outcome, drain.deadline) == (Outcome.COMPLETED, 1060.0)
    assert scene.kinds == ["draining", "drained"]


def test_g150_repeated_it_is_the_same_drain_and_what_is_given_anew_replaces() -> None:
    scene = Scene(spec("a"))
    scene.occupy("a")
    drain = scene.registry.drain(scene["a"], 30)
    scene.clock.now += 10
    assert scene.registry.drain(scene["a"], None) is drain
    assert (drain.deadline, drain.then) == (1030.0, Then.KEEP)
    assert scene.registry.drain(scene["a"], 5, Then.REMOVE) is drain
    assert scene.registry.drain(scene["a"], None) is drain
    assert (drain.deadline, drain.then, drain.started) == (1015.0, Then.REMOVE, 1000.0)
    assert scene.registry.drain(scene["a"], 0).deadline == 1010.0
    assert scene.kinds == ["draining"] * 5


def test_a_drain_after_one_that_ended_is_another() -> None:
    scene = Scene(spec("a"))
    before = scene.registry.drain(scene["a"], 30)
    after = scene.registry.drain(scene["a"], 30, Then.MAINTENANCE)
    assert after is not before
    assert scene.kinds == ["draining", "drained", "draining", "drained", "maintenance"]


@pytest.mark.parametrize(
    ("then", "state", "removed", "kinds"),
    [
        (Then.KEEP, "drained", False, ["draining", "drained"]),
        (Then.MAINTENANCE, "maintenance", False, ["draining", "drained", "maintenance"]),
        (Then.REMOVE, "drained", True, ["draining", "drained", "removed"]),
    ],
)
def test_what_becomes_of_it(then: Then, state: str, removed: bool, kinds: list[str]) -> None:
    scene = Scene(spec("a"))
    a, [request] = scene["a"], scene.occupy("a")
    scene.registry.drain(a, 30, then)
    scene.pool.release(a, request)
    assert (a.state, a.removed, scene.kinds) == (state, removed, kinds)
    assert (scene.registry.backends == {}) is removed


def test_ready_takes_a_drain_back() -> None:
    scene = Scene(spec("a"))
    [request] = scene.occupy("a")
    drain = scene.registry.drain(scene["a"], 30, Then.REMOVE)
    scene.registry.ready(scene["a"])
    assert (drain.outcome, scene["a"].drain, request.cuts) == (Outcome.CANCELLED, None, 0)
    scene.pool.release(scene["a"], request)
    assert scene["a"].state == "ready"
    assert scene.kinds == ["draining", "ready"]


def test_maintenance_takes_a_drain_back_and_cuts() -> None:
    scene = Scene(spec("a"))
    [request] = scene.occupy("a")
    drain = scene.registry.drain(scene["a"], 30, Then.REMOVE)
    assert scene.registry.maintenance(scene["a"]) == 1
    assert drain.outcome is Outcome.CANCELLED
    scene.pool.release(scene["a"], request)
    assert (scene["a"].state, scene["a"].removed) == ("maintenance", False)


def test_a_drain_out_of_maintenance() -> None:
    scene = Scene(spec("a"))
    scene.registry.maintenance(scene["a"])
    scene.registry.drain(scene["a"], 30)
    assert scene.kinds == ["maintenance", "draining", "drained"]


def test_expire_cuts_at_the_deadline_and_the_drain_ends_with_the_last_that_was_cut() -> None:
    scene = Scene(spec("a"), spec("b"))
    first, second = scene.occupy("a", 2)
    scene.occupy("b")
    drain = scene.registry.drain(scene["a"], 30)
    scene.registry.drain(scene["b"], 45)
    assert scene.registry.expire(1029.9) == 1030.0
    assert first.cuts == 0
    scene.clock.now = 1030.0
    assert scene.registry.expire(1030.0) == 1045.0
    assert scene.registry.expire(1031.0) == 1045.0
    assert (first.cuts, second.cuts, drain.outcome) == (1, 1, None)
    scene.pool.release(scene["a"], first)
    scene.pool.release(scene["a"], second)
    assert (drain.outcome, drain.aborted) == (Outcome.TIMEOUT, 2)
    assert scene.events[-1] == ("drained", "a", "after 30.00 s, 2 cut")
    assert scene.registry.expire(1046.0) == inf  # b is cut, and waits for nothing but the one it cut


def test_without_drains_nothing_expires() -> None:
    scene = Scene(spec("a"), spec("b"))
    assert scene.registry.expire(1e9) is None
    scene.registry.drain(scene["a"], 0)
    assert scene.registry.expire(1e9) is None


def test_g151_remove_ends_a_drain_with_its_count() -> None:
    scene = Scene(spec("a"))
    a, requests = scene["a"], scene.occupy("a", 3)
    drain = scene.registry.drain(a, 30)
    scene.pool.release(a, requests.pop())
    assert scene.registry.remove(a) == 2
    assert (drain.outcome, drain.aborted, a.removed) == (Outcome.TIMEOUT, 2, True)
    for request in requests:
        scene.pool.release(a, request)
    assert scene.kinds == ["draining", "drained", "removed"]


def test_remove_after_a_drain_that_ended() -> None:
    scene = Scene(spec("a"))
    a = scene["a"]
    drain = scene.registry.drain(a, 30)
    assert scene.registry.remove(a) == 0
    assert (drain.outcome, a.removed) == (Outcome.COMPLETED, True)


@pytest.mark.parametrize("how", ["remove", "expire"])
def test_a_request_that_is_cut_twice_counts_once(how: str) -> None:
    scene = Scene(spec("a"))
    a, requests = scene["a"], scene.occupy("a", 2)
    drain = scene.registry.drain(a, 30)
    scene.registry.expire(1030.0)
    if how == "remove":
        assert scene.registry.remove(a) == 2
    else:
        scene.registry.drain(a, 0)
        scene.registry.expire(1031.0)
    for request in requests:
        scene.pool.release(a, request)
    assert (drain.started_with, drain.aborted, drain.outcome) == (2, 2, Outcome.TIMEOUT)


def test_durations_are_counted_by_pool_and_outcome() -> None:
    scene = Scene(spec("a"), spec("b"))
    [request] = scene.occupy("a")
    scene.registry.drain(scene["a"], 60)
    scene.clock.now += 3
    scene.registry.ready(scene["a"])
    scene.registry.drain(scene["a"], 60)
    scene.clock.now += 4
    scene.registry.remove(scene["a"])
    scene.registry.drain(scene["b"], 60)
    totals = {key: histogram.total for key, histogram in scene.registry.drain_durations.items()}
    assert totals == {
        ("default", Outcome.CANCELLED): 3.0,
        ("default", Outcome.TIMEOUT): 4.0,
        ("default", Outcome.COMPLETED): 0.0,
    }
    assert request.cuts == 1


def test_every_event_has_the_next_number() -> None:
    scene = Scene(spec("a"))
    numbers: list[int] = []
    scene.registry.subscribe(lambda event: numbers.append(event.backend.revision))
    scene.registry.change(scene["a"], msgspec.structs.replace(scene["a"].spec, labels={"rack": "r1"}))
    scene.registry.drain(scene["a"], 60, Then.MAINTENANCE)
    scene.registry.remove(scene["a"])
    assert numbers == [2, 3, 4, 5, 6]
    assert scene.registry.revision == 6
