"""A pool: hard caps, a queue in order, and nobody in it while a backend would take the request."""

import time

import pytest

from lb.core.backend import Backend
from lb.core.policies.round_robin import RoundRobin
from lb.core.pool import NOBODY, Pool, Ticket, Turn
from lb.errors import QueueFull, Unavailable
from lb.settings.pool_settings import PoolSettings
from tests.core.scene import Request, Scene, spec


class Waiter(Request):
    """A request in the queue that counts how often it was woken."""

    def __init__(self, pool: Pool, *tried: Backend) -> None:
        super().__init__()
        self.woken = 0
        self.ticket: Ticket = pool.queue(self, tried, self._wake)

    def _wake(self) -> None:
        assert (self.ticket.backend is not None) == (self.ticket.turn is Turn.GRANTED)
        self.woken += 1


def test_take_counts_and_release_gives_back() -> None:
    scene = Scene(spec("a"))
    request = Request()
    assert scene.pool.take(request) == (scene["a"], NOBODY)
    assert scene["a"].running == {request}
    scene.pool.release(scene["a"], request)
    assert scene["a"].in_flight == 0
    scene.pool.release(scene["a"], request)
    assert scene["a"].in_flight == 0


def test_requests_go_round() -> None:
    scene = Scene(spec("a"), spec("b"))
    taken = [scene.pool.take(Request())[0] for _ in range(4)]
    assert taken == [scene["a"], scene["b"]] * 2


def test_each_that_is_passed_over_is_named_with_its_reason() -> None:
    scene = Scene(spec("a", cap=1), spec("b"), spec("c", weight=0), spec("d"), spec("e"), spec("f"))
    scene.occupy("a")
    scene.registry.drain(scene["b"], 60)
    scene.registry.maintenance(scene["d"])
    backend, passed_over = scene.pool.take(Request(), [scene["e"]])
    assert backend is scene["f"]
    assert passed_over == (
        ("a", "full 1/1"),
        ("b", "draining"),
        ("c", "weight 0"),
        ("d", "maintenance"),
        ("e", "tried already"),
    )
    backend, passed_over = scene.pool.take(Request(), [scene["e"], scene["f"]])
    assert backend is None
    assert scene.pool.explain(passed_over).startswith("no backend is available: a (full 1/1), b (draining)")


def test_an_empty_pool_says_so() -> None:
    pool = Scene().pool
    assert pool.take(Request()) == (None, NOBODY)
    with pytest.raises(Unavailable, match="'default' has no backends"):
        pool.queue(Request(), (), lambda: None)


def test_a_pool_by_itself_needs_nobody_to_tell_when_it_is_idle() -> None:
    scene = Scene(spec("a"))
    pool = Pool("alone", PoolSettings(), RoundRobin())
    pool.backends.append(scene["a"])
    request = Request()
    pool.take(request)
    scene.registry.drain(scene["a"], 60)
    pool.release(scene["a"], request)
    assert scene["a"].in_flight == 0


@pytest.mark.parametrize("wish", ["drain", "maintenance", "weight", "tried"])
def test_nobody_waits_in_vain(wish: str) -> None:
    scene = Scene(spec("a", cap=1))
    scene.occupy("a")
    match wish:
        case "drain":
            scene.registry.drain(scene["a"], 60)
        case "maintenance":
            scene.registry.maintenance(scene["a"])
        case "weight":
            scene.registry.change(scene["a"], spec("a", 0, 1))
    tried = [scene["a"]] if wish == "tried" else []
    with pytest.raises(Unavailable) as caught:
        scene.pool.queue(Request(), tried, lambda: None)
    assert not isinstance(caught.value, QueueFull)
    assert scene.pool.waiting == 0


def test_the_queue_has_a_limit() -> None:
    scene = Scene(spec("a", cap=1), queue=2)
    [running] = scene.occupy("a")
    first, second = Waiter(scene.pool), Waiter(scene.pool)
    with pytest.raises(QueueFull, match="2 requests wait already for pool 'default'"):
        Waiter(scene.pool)
    scene.pool.release(scene["a"], running)
    assert (first.woken, second.woken, scene.pool.waiting) == (1, 0, 1)
    Waiter(scene.pool)


def test_first_come_first_served_and_never_above_the_cap() -> None:
    scene = Scene(spec("a", cap=2))
    running = scene.occupy("a", 2)
    waiters = [Waiter(scene.pool) for _ in range(3)]
    for number, request in enumerate([*running, waiters[0]], start=1):
        scene.pool.release(scene["a"], request)
        assert [waiter.woken for waiter in waiters] == [1] * number + [0] * (3 - number)
        assert scene["a"].in_flight == 2
    assert waiters[2].ticket.turn is Turn.GRANTED
    assert waiters[2].ticket.backend is scene["a"]


def test_a_grant_says_who_was_passed_over() -> None:
    scene = Scene(spec("a", cap=1), spec("b"))
    [running] = scene.occupy("a")
    scene.registry.maintenance(scene["b"])
    waiter = Waiter(scene.pool)
    scene.pool.release(scene["a"], running)
    assert waiter.ticket.passed_over == (("b", "maintenance"),)


def test_who_has_tried_all_that_is_free_lets_others_pass() -> None:
    scene = Scene(spec("a", cap=1), spec("b", cap=1))
    [on_a], [_on_b] = scene.occupy("a"), scene.occupy("b")
    picky, other = Waiter(scene.pool, scene["a"]), Waiter(scene.pool)
    scene.pool.release(scene["a"], on_a)
    assert (picky.woken, other.woken) == (0, 1)
    assert scene.pool.waiting == 1


def test_a_newcomer_gets_what_those_who_wait_cannot_use() -> None:
    scene = Scene(spec("a"), spec("b", cap=1))
    scene.occupy("b")
    picky = Waiter(scene.pool, scene["a"])
    assert scene.pool.take(Request())[0] is scene["a"]
    assert picky.ticket.turn is Turn.WAITING


@pytest.mark.parametrize("leaves", ["drain", "maintenance", "remove", "weight 0"])
def test_who_waits_for_nobody_any_more_is_told_at_once(leaves: str) -> None:
    scene = Scene(spec("a", cap=1))
    scene.occupy("a")
    waiters = [Waiter(scene.pool) for _ in range(3)]
    match leaves:
        case "drain":
            scene.registry.drain(scene["a"], 60)
        case "maintenance":
            scene.registry.maintenance(scene["a"])
        case "remove":
            scene.registry.remove(scene["a"])
        case _:
            scene.registry.change(scene["a"], spec("a", cap=1, weight=0))
    assert [(waiter.woken, waiter.ticket.turn) for waiter in waiters] == [(1, Turn.REFUSED)] * 3
    assert scene.pool.waiting == 0


def test_a_newcomer_overtakes_nobody() -> None:
    scene = Scene(spec("a", cap=1))
    [running] = scene.occupy("a")
    first = Waiter(scene.pool)
    scene.pool.release(scene["a"], running)
    assert scene.pool.take(Request()) == (None, (("a", "full 1/1"),))
    assert first.woken == 1


def test_leaving_the_queue() -> None:
    scene = Scene(spec("a", cap=1))
    [running] = scene.occupy("a")
    first, second, third = (Waiter(scene.pool) for _ in range(3))
    scene.pool.leave(second.ticket)
    assert (second.ticket.turn, scene.pool.waiting) == (Turn.LEFT, 2)
    scene.pool.release(scene["a"], running)
    scene.pool.leave(first.ticket)  # granted in the very moment in which it gave up
    assert scene["a"].running == {third}
    assert [w.woken for w in (first, second, third)] == [1, 0, 1]
    scene.pool.leave(first.ticket)
    assert scene["a"].running == {third}


@pytest.mark.parametrize("wish", ["ready", "weight", "cap", "new", "replace"])
def test_whatever_makes_room_serves_the_queue(wish: str) -> None:
    scene = Scene(spec("a", cap=1), spec("b", weight=0), spec("c"))
    scene.registry.maintenance(scene["c"])
    scene.occupy("a")
    waiter = Waiter(scene.pool)
    match wish:
        case "ready":
            scene.registry.ready(scene["c"])
        case "weight":
            scene.registry.change(scene["b"], spec("b", weight=1))
        case "cap":
            scene.registry.change(scene["a"], spec("a", cap=2))
        case "new":
            scene.registry.add(spec("d"))
        case "replace":
            scene.registry.replace("default", [spec("d")], 60)
    assert waiter.woken == 1
    assert scene.pool.waiting == 0


def test_many_places_serve_many_at_once() -> None:
    scene = Scene(spec("a", cap=1))
    scene.occupy("a")
    waiters = [Waiter(scene.pool) for _ in range(4)]
    scene.registry.change(scene["a"], spec("a", cap=3))
    assert [waiter.woken for waiter in waiters] == [1, 1, 0, 0]


@pytest.mark.alone
def test_a_release_looks_at_nobody_who_has_tried_what_came_free() -> None:
    scene = Scene(*(spec(f"b{number}", cap=1) for number in range(100)), queue=2000)
    held = [(scene.pool.take(request)[0], request) for request in [Request() for _ in range(100)]]
    backend, request = held[0]
    assert backend is not None
    for _ in range(1000):
        scene.pool.queue(Request(), (backend,), lambda: None)
    began = time.perf_counter()
    scene.pool.release(backend, request)
    assert time.perf_counter() - began < 0.02  # 90 ms, when it was looked at what each could have
