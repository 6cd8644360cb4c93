"""Drains: how they begin, go on and end, and what is told of them."""

from math import inf

import pytest

from lb.core.drain import Outcome, Then
from tests.core.scene import Request, Scene, client_of, later, spec, sticky, taken


def _some(count: int) -> list[Request]:
    return [Request(str(number)) for number in range(count)]


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


def test_the_outcome_is_set_before_anything_is_told_and_waits_are_ended_last() -> None:
    scene = Scene(spec("a"))
    [request] = scene.occupy("a")
    drain = scene.registry.drain(scene["a"], 60, Then.REMOVE)
    told: list[tuple[str, Outcome | None]] = []
    drain.when_ended(lambda: told.append(("ended", drain.outcome)))
    scene.registry.subscribe(lambda event: told.append((event.kind, drain.outcome)))
    scene.pool.release(scene["a"], request)
    assert told == [(kind, Outcome.COMPLETED) for kind in ("drained", "removed", "ended")]


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


def test_a_drain_lets_its_own_clients_come_for_half_of_its_time() -> None:
    scene = sticky()
    drain = scene.registry.drain(scene["a"], 60)
    assert drain.outcome is None
    assert scene["a"].state == "draining"
    mine = client_of(scene, scene["a"])
    assert scene.pool.take(mine)[0] is scene["a"]
    assert taken(scene) == {"b"}
    scene.pool.release(scene["a"], mine)
    assert drain.outcome is None
    assert scene.registry.expire(scene.clock.now) == drain.half_time
    later(scene, 30)
    assert drain.outcome is Outcome.COMPLETED
    assert scene["a"].state == "drained"
    assert scene.pool.take(mine)[0] is scene["b"]


def test_what_runs_at_half_time_has_the_other_half() -> None:
    scene = sticky()
    drain = scene.registry.drain(scene["a"], 60)
    mine = client_of(scene, scene["a"])
    scene.pool.take(mine)
    assert later(scene, 30) == drain.deadline
    later(scene, 30)
    assert mine.cuts == 1
    scene.pool.release(scene["a"], mine)
    assert drain.outcome is Outcome.TIMEOUT
