"""A pool whose backends fail: who is left out, for how long, and how they come back."""

from typing import Any

import pytest

from lb.core.backend import FULL_SHARE, Backend
from lb.core.drain import Outcome
from lb.core.health.probe_verdict import Check
from lb.core.pool import Turn
from lb.errors import QueueFull, Unavailable
from lb.settings.pool_settings import Ejection, Hedge, PoolSettings, Probe, Sticky
from tests.core.scene import Request, Scene, spec

OUT_FOR = 10.0


def fail(scene: Scene, id: str, times: int = 3) -> None:
    for _ in range(times):
        scene.pool.failed(scene[id], "refused", 0.0, scene.clock.now)


def succeed(scene: Scene, id: str) -> None:
    scene.pool.answered(scene[id], 200, 0.0, scene.clock.now)


def check(scene: Scene, id: str, ok: bool) -> None:
    scene.registry.checked(scene[id], Check(ok, "ok 200" if ok else "refused", 0.1, scene.clock.now))


def taken(scene: Scene, count: int = 6) -> set[str]:
    """Who gets the next requests, each of which ends at once."""
    ids = set()
    for _ in range(count):
        request = Request()
        backend, _ = scene.pool.take(request)
        if backend is not None:
            ids.add(backend.id)
            scene.pool.release(backend, request)
    return ids


def later(scene: Scene, seconds: float) -> float | None:
    scene.clock.now += seconds
    return scene.registry.expire(scene.clock.now)


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
    ids = "abcd"[:count]
    scene = Scene(*(spec(id) for id in ids), ejection=Ejection(share=share))
    for id in ids:
        fail(scene, id, 9)
    assert [scene[id].state for id in ids].count("ejected") == out


def test_when_others_leave_who_was_ejected_first_is_tried_before_its_time() -> None:
    scene = Scene(*(spec(id) for id in "abcd"))
    fail(scene, "a")
    scene.clock.now += 1
    fail(scene, "b")
    scene.registry.drain(scene["c"], 60)
    assert (scene["a"].state, scene["b"].state) == ("trial", "ejected")


def test_ready_forgives() -> None:
    scene = Scene(spec("a"), spec("b"))
    fail(scene, "a")
    scene.registry.ready(scene["a"])
    assert scene["a"].state == "ready"
    assert scene.events[-1] == ("admitted", "a", "an operator said that it is ready")


def test_who_waits_is_told_when_the_last_that_could_serve_is_ejected() -> None:
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


def test_since_when_it_is_in_its_state_is_told_by_who_put_it_there() -> None:
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
    assert scene.pool.take(Request()) == (None, (("a", "checking: no probe has ended yet"),))
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
    scene = Scene(*(spec(id) for id in "abc"), probe=Probe(fall=1, rise=1), panic=0.5)
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


# -- backups, caps, urgency --------------------------------------------------------------------------------


def test_backups_help_out_when_nobody_else_can() -> None:
    scene = Scene(spec("a", cap=1), spec("b", backup=True))
    backend, passed_over = scene.pool.take(Request())
    assert (backend, passed_over) == (scene["a"], (("b", "not needed"),))
    assert taken(scene) == {"b"}


def test_a_cap_on_connections_is_a_cap_on_requests() -> None:
    scene = Scene(spec("a", cap=3, max_connections=2))
    scene.occupy("a", 2)
    assert scene["a"].why_not() == "full 2/2"


def test_a_full_pool_queues_and_serves_in_order() -> None:
    scene = Scene(spec("a"), spec("b"), max_in_flight=1)
    first = Request()
    backend, _ = scene.pool.take(first)
    assert backend is not None
    assert scene.pool.take(Request()) == (None, (("a", "pool full 1/1"), ("b", "pool full 1/1")))
    tickets = [scene.pool.queue(Request(str(n)), (), lambda: None) for n in range(2)]
    scene.pool.release(backend, first)
    assert [ticket.turn for ticket in tickets] == [Turn.GRANTED, Turn.WAITING]
    assert scene.pool.in_flight == 1


def test_a_queue_is_no_longer_than_it_may_be_whoever_comes() -> None:
    scene = Scene(spec("a", cap=1), queue=1, priority_field="Priority")
    scene.occupy("a")
    scene.pool.queue(Request(), (), lambda: None)
    with pytest.raises(QueueFull):
        scene.pool.queue(Request(priority=b"u=0"), (), lambda: None)


def test_the_more_urgent_are_served_first_and_equals_in_their_order() -> None:
    scene = Scene(spec("a", cap=1), priority_field="Priority")
    [running] = scene.occupy("a")
    values = [b"u=5", b"nonsense", b"1, i", b"u=3, i", b"u=0"]
    order: list[bytes] = []
    for value in values:
        request = Request(priority=value)
        scene.pool.queue(request, (), lambda value=value: order.append(value))  # type: ignore[misc]
    holder = running
    while scene.pool.waiting:
        scene.pool.release(scene["a"], holder)
        [holder] = scene["a"].running  # type: ignore[assignment]
    assert order == [b"u=0", b"1, i", b"nonsense", b"u=3, i", b"u=5"]


# -- slow start --------------------------------------------------------------------------------------------


def test_the_share_of_one_that_comes_back_grows_to_all_of_it() -> None:
    scene = Scene(spec("a"), spec("b", weight=2), slow_start=100.0, probe=Probe(fall=1, rise=1))
    full = 2 * FULL_SHARE
    for id in "ab":
        scene[id].ramp(scene.clock.now + 1000)
    check(scene, "b", ok=False)
    check(scene, "b", ok=True)
    assert (scene["b"].state, scene["b"].share) == ("warming", full // 10)
    shares = []
    while (then := scene.registry.expire(scene.clock.now)) is not None:
        scene.clock.now = then
        scene.registry.expire(then)
        shares.append(scene["b"].share)
    assert shares == sorted(shares)
    assert (shares[-1], scene["b"].state) == (full, "ready")
    assert len(shares) == 50


def test_without_slow_start_it_is_there_at_once() -> None:
    scene = Scene(spec("a"))
    scene.registry.maintenance(scene["a"])
    scene.registry.ready(scene["a"])
    assert (scene["a"].share, scene["a"].state) == (FULL_SHARE, "ready")


# -- sticky clients and drains -----------------------------------------------------------------------------


def client_of(scene: Scene, backend: Backend) -> Request:
    """A client that has been on this backend before."""
    request = Request()
    assert scene.pool.sticky is not None
    line = scene.pool.cookie_line(scene.pool.sticky, backend, request)
    name, _, value = line.removeprefix(b"Set-Cookie: ").partition(b"=")
    request.cookies[name] = value.partition(b";")[0]
    return request


def sticky(**settings: Any) -> Scene:
    return Scene(spec("a"), spec("b"), sticky=Sticky(cookie="at"), **settings)


def test_a_client_comes_back_to_its_backend() -> None:
    scene = sticky()
    for _ in range(4):
        request = client_of(scene, scene["b"])
        assert scene.pool.take(request)[0] is scene["b"]
        assert scene.pool.sticky is not None
        assert scene.pool.cookie_line(scene.pool.sticky, scene["b"], request) == b""
        scene.pool.release(scene["b"], request)


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


# -- hedging -----------------------------------------------------------------------------------------------


def test_a_second_attempt_is_due_when_nearly_all_answers_would_have_been_there() -> None:
    scene = Scene(spec("a"), spec("b"), hedge=Hedge(after=0.5, at_least=0.2))
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) is None
    for _ in range(20):
        scene.pool.answered(scene["a"], 200, 0.75, scene.clock.now)
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) == pytest.approx(0.75)
    for _ in range(40):
        scene.pool.answered(scene["b"], 200, 0.001, scene.clock.now)
    assert scene.pool.hedge_after(scene["b"], Request(), scene.clock.now) == 0.2
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now + 61) is None


def test_a_backend_alone_is_never_hedged() -> None:
    scene = Scene(spec("a"), hedge=Hedge())
    for _ in range(20):
        succeed(scene, "a")
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) is None
