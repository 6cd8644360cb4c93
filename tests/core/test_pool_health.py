"""The health of a pool: which backends are left out, for how long, and how they come back."""

import pytest

from lb.core.request_queue import Turn
from lb.errors import Unavailable
from lb.settings.pool_settings import Ejection, PoolSettings, Probe
from tests.core.scene import Request, Scene, check, later, spec, taken

OUT_FOR = 10.0


def fail(scene: Scene, name: str, times: int = 3) -> None:
    for _ in range(times):
        scene.pool.failed(scene[name], "refused", 0.0, scene.clock.now)


def succeed(scene: Scene, name: str) -> None:
    scene.pool.answered(scene[name], 200, 0.0, scene.clock.now)


# -- ejection ----------------------------------------------------------------------------------------------


def test_an_ejected_backend_is_tried_after_its_time_and_admitted_by_one_success() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    assert (scene["a"].state, taken(scene)) == ("ejected", {"b"})
    assert scene["a"].why_not() == "ejected: refused"
    assert scene.registry.expire(scene.clock.now) == scene.clock.now + OUT_FOR
    later(scene, OUT_FOR)
    assert (scene["a"].state, taken(scene)) == ("trial", {"a", "b"})
    succeed(scene, "a")
    assert scene["a"].state == "ready"
    assert scene.kinds == ["ejected", "trial", "admitted"]
    assert scene.events[0] == ("ejected", "a", "refused (consecutive); for 10 s")


def test_on_trial_one_request_at_a_time_goes_there() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    later(scene, OUT_FOR)
    [first] = scene.occupy("a")
    assert taken(scene) == {"b"}
    assert scene["a"].why_not() == "full 1/1"
    scene.pool.release(scene["a"], first)
    assert taken(scene) == {"a", "b"}


def test_what_began_before_a_trial_says_nothing_about_it() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    later(scene, OUT_FOR)
    scene.pool.failed(scene["a"], "slow", OUT_FOR, scene.clock.now)
    scene.pool.answered(scene["a"], 200, OUT_FOR, scene.clock.now)
    assert scene["a"].state == "trial"


def test_a_failed_trial_ejects_for_longer() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    later(scene, OUT_FOR)
    fail(scene, "a", 1)
    assert scene.events[-1] == ("ejected", "a", "refused (trial); for 20 s")


def test_success_between_failures_is_no_streak_and_answers_may_count_as_failures() -> None:
    scene = Scene(spec("a"), spec("b"), ejection=Ejection(statuses=("500-599",)))
    fail(scene, "a", 2)
    succeed(scene, "a")
    fail(scene, "a", 2)
    assert scene["a"].state == "ready"
    scene.pool.answered(scene["a"], 503, 0.1, scene.clock.now)
    assert scene.events == [("ejected", "a", "status 503 (consecutive); for 10 s")]


@pytest.mark.parametrize(
    ("count", "share", "out"), [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (3, 1.0, 3)]
)
def test_never_more_than_the_share_is_out(count: int, share: float, out: int) -> None:
    names = "abcd"[:count]
    scene = Scene(*map(spec, names), ejection=Ejection(share=share))
    for name in names:
        fail(scene, name, 9)
    assert [scene[name].state for name in names].count("ejected") == out


def test_when_others_leave_the_first_that_was_ejected_is_tried_before_its_time() -> None:
    scene = Scene(*map(spec, "abcd"))
    fail(scene, "a")
    scene.clock.now += 1
    fail(scene, "b")
    scene.registry.drain(scene["c"], 60)
    assert (scene["a"].state, scene["b"].state) == ("trial", "ejected")


def test_of_many_that_are_out_those_are_tried_whose_ejections_end_first() -> None:
    names = [f"b{number}" for number in range(100)]
    scene = Scene(*map(spec, names))
    for name in names[:50]:
        fail(scene, name)
        scene.clock.now += 0.1
    for name in names[:40:2]:  # they leave the row, and come back at its end
        scene.registry.ready(scene[name])
        fail(scene, name)
    for name in names[50:60]:
        scene.registry.maintenance(scene[name])
    assert {name for name in names if scene[name].state == "trial"} == {"b1", "b3", "b5", "b7", "b9"}


def test_one_that_was_down_is_tried_when_it_is_not() -> None:
    scene = Scene(*map(spec, "abcd"), probe=Probe(fall=1, rise=1))
    for name in "ab":
        fail(scene, name)
        check(scene, name, ok=False)
    scene.registry.maintenance(scene["d"])
    assert (scene["a"].state, scene["b"].state) == ("down", "down")
    scene.registry.configure(scene.pool, PoolSettings())  # without probes
    assert sorted([scene["a"].state, scene["b"].state]) == ["ejected", "trial"]


def test_ready_forgives() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    scene.registry.ready(scene["a"])
    assert scene["a"].state == "ready"
    assert scene.events[-1] == ("admitted", "a", "an operator said that it is ready")


def test_the_queue_is_told_when_the_last_backend_is_ejected() -> None:
    scene = Scene(spec("a", cap=1), spec("b"))
    scene.registry.maintenance(scene["b"])
    scene.registry.ready(scene["b"])
    scene.occupy("a")
    scene.registry.change(scene["b"], spec("b", weight=0))
    woken: list[int] = []
    ticket = scene.pool.queue(Request(), (), lambda: woken.append(1))
    scene.registry.configure(scene.pool, PoolSettings(ejection=Ejection(share=1.0)))
    fail(scene, "a")
    assert (ticket.turn, woken) == (Turn.REFUSED, [1])


# -- probes ------------------------------------------------------------------------------------------------


def test_probes_take_it_out_and_bring_it_back() -> None:
    scene = Scene(spec("a"), spec("b"), probe=Probe())
    for _ in range(3):
        check(scene, "a", ok=False)
    assert (scene["a"].state, taken(scene)) == ("down", {"b"})
    assert scene["a"].why_not() == "down: refused"
    check(scene, "a", ok=True)
    check(scene, "a", ok=True)
    assert (scene["a"].state, taken(scene)) == ("ready", {"a", "b"})
    assert scene.events == [("down", "a", "refused"), ("up", "a", "ok 200")]


def test_a_backend_that_comes_up_is_tried_before_its_ejection_is_over() -> None:
    scene = Scene(spec("a"), spec("b"), probe=Probe(fall=1, rise=1))
    check(scene, "a", ok=False)
    fail(scene, "a")
    assert scene["a"].state == "down"
    scene.clock.now += 1
    check(scene, "a", ok=True)
    assert (scene["a"].state, scene["a"].state_since) == ("trial", scene.clock.now)
    assert scene.kinds == ["down", "ejected", "trial", "up"]


def test_no_trial_begins_while_probes_say_that_it_is_down() -> None:
    scene = Scene(spec("a"), spec("b"), probe=Probe(fall=1, rise=1))
    fail(scene, "a")
    check(scene, "a", ok=False)
    assert later(scene, OUT_FOR) is None
    assert (scene["a"].state, scene.kinds) == ("down", ["ejected", "down"])
    scene.registry.maintenance(scene["b"])
    assert "trial" not in scene.kinds
    check(scene, "a", ok=True)
    assert (scene["a"].state, scene.kinds[-2:]) == ("trial", ["trial", "up"])


def test_since_when_it_is_in_its_state_is_told_by_what_put_it_there() -> None:
    scene = Scene(spec("a"), spec("b"), probe=Probe(fall=1, rise=1))
    assert scene["a"].state_since == 1000.0
    scene.clock.now += 5
    check(scene, "a", ok=False)
    assert scene["a"].state_since == 1005.0
    scene.clock.now += 5
    scene.registry.maintenance(scene["a"])
    assert scene["a"].state_since == 1010.0


def test_requests_wait_for_the_first_verdict_about_a_new_backend() -> None:
    scene = Scene(spec("a"), probe=Probe(initial="probe"))
    backend, passed_over = scene.pool.take(Request())
    assert (backend, [*passed_over]) == (None, [("a", "checking: no probe has ended yet")])
    granted = scene.pool.queue(Request(), (), lambda: None)
    check(scene, "a", ok=True)
    assert granted.backend is scene["a"]


def test_a_bad_first_verdict_sends_them_away() -> None:
    scene = Scene(spec("a"), probe=Probe(initial="probe"))
    ticket = scene.pool.queue(Request(), (), lambda: None)
    check(scene, "a", ok=False)
    assert ticket.turn is Turn.REFUSED
    with pytest.raises(Unavailable, match="a \\(down: refused\\)"):
        scene.pool.queue(Request(), (), lambda: None)


def test_a_probe_that_comes_too_late_means_nothing() -> None:
    scene = Scene(spec("a"), probe=Probe())
    scene.registry.configure(scene.pool, PoolSettings())
    check(scene, "a", ok=False)
    assert (scene["a"].health, scene.events) == (None, [])


def test_probing_can_begin_change_and_end_at_runtime() -> None:
    scene = Scene(spec("a"), spec("b"))
    assert scene.registry.configure(scene.pool, PoolSettings(probe=Probe(fall=1)))
    check(scene, "a", ok=False)
    assert scene["a"].state == "down"
    scene.registry.configure(scene.pool, PoolSettings(probe=Probe(rise=1)))
    check(scene, "a", ok=True)
    assert scene["a"].state == "ready"
    assert not scene.registry.configure(scene.pool, PoolSettings(probe=Probe(rise=1)))
    assert scene.pool_events == [("configured", "queue, probe"), ("configured", "probe")]


# -- panic -------------------------------------------------------------------------------------------------


def test_in_a_panic_all_that_are_ready_are_used() -> None:
    scene = Scene(*map(spec, "abc"), probe=Probe(fall=1, rise=1), panic=0.5)
    scene.registry.maintenance(scene["c"])
    check(scene, "a", ok=False)
    assert (scene.pool.is_panicking, taken(scene)) == (False, {"b"})
    check(scene, "b", ok=False)
    assert (scene.pool.is_panicking, taken(scene)) == (True, {"a", "b"})
    check(scene, "a", ok=True)
    assert (scene.pool.is_panicking, taken(scene)) == (False, {"a"})
    assert scene.pool_events == [
        ("panic", "too few backends are fit: all that are ready are used"),
        ("calm", "enough backends are fit: only they are used"),
    ]


def test_without_panic_a_pool_without_a_fit_backend_has_none() -> None:
    scene = Scene(spec("a"), probe=Probe(fall=1))
    check(scene, "a", ok=False)
    assert taken(scene) == set()
