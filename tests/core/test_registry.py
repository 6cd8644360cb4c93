"""The registry: each wish of an operator is one function, and ends in one event."""

from collections.abc import Iterator, Sized

import msgspec
import pytest

from lb.core.backend import AdminState, Backend
from lb.core.drain import Outcome, Then
from lb.core.pool import Pool
from lb.core.registry import Conflict, NotThere
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings
from lb.slices import at_once
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
    assert [*scene.pool.backends] == [backend]


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
    for name in "abc":
        scene.occupy(name)
    scene.registry.drain(scene["a"], 60, Then.REMOVE)
    scene.registry.drain(scene["b"], 60)
    scene.registry.maintenance(scene["c"])
    scene.registry.replace("default", [spec("a"), spec("b"), spec("c")], 30)
    assert [scene[name].state for name in "abc"] == ["ready", "draining", "maintenance"]


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
    scene.registry.replace("default", [*map(spec, "bcd")], 30)
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
    assert [*scene.pool.backends] == [scene["b"]]
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


def test_every_event_has_the_next_number() -> None:
    scene = Scene(spec("a"))
    numbers: list[int] = []
    scene.registry.subscribe(lambda event: numbers.append(event.backend.revision))
    scene.registry.change(scene["a"], msgspec.structs.replace(scene["a"].spec, labels={"rack": "r1"}))
    scene.registry.drain(scene["a"], 60, Then.MAINTENANCE)
    scene.registry.remove(scene["a"])
    assert numbers == [2, 3, 4, 5, 6]
    assert scene.registry.revision == 6


def _until_one_is_settled(changes: Iterator[None], settled: Sized) -> None:
    while not settled:
        next(changes)


def test_while_a_set_is_applied_its_ids_are_taken() -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    settled: list[Backend] = []
    changes = scene.registry.replacing("default", [spec("b"), spec("c")], 60, settled.append)
    next(changes)
    assert [*scene.registry.backends] == ["a"]
    scene.registry.add(spec("x"), "other")
    with pytest.raises(Conflict, match="about to be added to pool 'default'"):
        scene.registry.add(spec("b"), "other")  # it was judged
    _until_one_is_settled(changes, settled)
    assert [*scene.registry.backends] == ["a", "x", "b"]
    with pytest.raises(Conflict, match="about to be added to pool 'default'"):
        scene.registry.add(spec("c"), "other")
    with pytest.raises(Conflict, match="another set"):
        next(scene.registry.replacing("default", [], 60))
    leaving = at_once(changes)
    assert ([*scene.registry.backends], [each.id for each in leaving]) == (["x", "b", "c"], ["a"])
    scene.registry.add(spec("a"), "other")


def test_a_set_that_is_refused_has_changed_nothing() -> None:
    scene = Scene(spec("a"))
    scene.registry.add_pool("other")
    changes = scene.registry.replacing("default", [spec("b"), spec("c")], 60)
    next(changes)
    scene.registry.add(spec("c"), "other")  # before it is judged
    with pytest.raises(Conflict, match="'c' is in pool 'other'"):
        at_once(changes)
    assert [*scene.registry.backends] == ["a", "c"]
    assert scene["a"].admin_state is AdminState.READY
    scene.registry.add(spec("b"), "other")


def test_between_the_steps_of_a_set_others_may_change_it() -> None:
    scene = Scene(spec("a"), spec("b"), spec("c"))
    settled: list[Backend] = []
    changes = scene.registry.replacing("default", [spec("c"), spec("d")], 60, settled.append)
    _until_one_is_settled(changes, settled)
    scene.registry.remove(scene["a"])  # it would have left
    scene.registry.remove(scene["c"])  # it has had its turn
    scene.registry.add(spec("d", weight=5))  # it has not
    scene.registry.add(spec("e"))  # nobody has asked about it
    assert [*changes]
    assert [*scene.registry.backends] == ["d", "e"]
    assert scene["d"].spec.weight == 1
