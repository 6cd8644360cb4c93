"""A pool: hard caps, a queue in order, and no request in it while a backend would take one."""

import time

import pytest

from lb.core.backend import Backend
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.policies.round_robin import RoundRobin
from lb.core.pool import Pool
from lb.core.request_queue import Ticket, Turn
from lb.errors import QueueFull, Unavailable
from lb.settings.pool_settings import Hedge, PoolSettings, Sticky
from tests.core.scene import Request, Scene, client_of, spec, sticky, taken


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
    assert scene.pool.take(request) == (scene["a"], NONE_PASSED_OVER)
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
    assert [*passed_over] == [
        ("b", "draining"),
        ("c", "weight 0"),
        ("d", "maintenance"),
        ("a", "full 1/1"),
        ("e", "tried already"),
    ]
    backend, passed_over = scene.pool.take(Request(), [scene["e"], scene["f"]])
    assert backend is None
    assert scene.pool.explain(passed_over).startswith("no backend is available: b (draining), c (weight 0)")


def test_an_empty_pool_says_so() -> None:
    pool = Scene().pool
    assert pool.take(Request()) == (None, NONE_PASSED_OVER)
    with pytest.raises(Unavailable, match="'default' has no backends"):
        pool.queue(Request(), (), lambda: None)


def test_a_pool_without_a_registry_works() -> None:
    scene = Scene(spec("a"))
    pool = Pool("alone", PoolSettings(), RoundRobin())
    pool.enter(scene["a"])
    request = Request()
    pool.take(request)
    scene.registry.drain(scene["a"], 60)
    pool.release(scene["a"], request)
    assert scene["a"].in_flight == 0


@pytest.mark.parametrize("wish", ["drain", "maintenance", "weight", "tried"])
def test_no_request_waits_in_vain(wish: str) -> None:
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


def test_a_grant_says_which_backends_were_passed_over() -> None:
    scene = Scene(spec("a", cap=1), spec("b"))
    [running] = scene.occupy("a")
    scene.registry.maintenance(scene["b"])
    waiter = Waiter(scene.pool)
    scene.pool.release(scene["a"], running)
    assert [*waiter.ticket.passed_over] == [("b", "maintenance")]


def test_a_request_that_has_tried_all_that_is_free_lets_others_pass() -> None:
    scene = Scene(spec("a", cap=1), spec("b", cap=1))
    [on_a], [_on_b] = scene.occupy("a"), scene.occupy("b")
    picky, other = Waiter(scene.pool, scene["a"]), Waiter(scene.pool)
    scene.pool.release(scene["a"], on_a)
    assert (picky.woken, other.woken) == (0, 1)
    assert scene.pool.waiting == 1


def test_a_newcomer_gets_what_the_queue_cannot_use() -> None:
    scene = Scene(spec("a"), spec("b", cap=1))
    scene.occupy("b")
    picky = Waiter(scene.pool, scene["a"])
    assert scene.pool.take(Request())[0] is scene["a"]
    assert picky.ticket.turn is Turn.WAITING


@pytest.mark.parametrize("leaves", ["drain", "maintenance", "remove", "weight 0"])
def test_a_request_with_no_backend_left_to_wait_for_is_told_at_once(leaves: str) -> None:
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


def test_a_newcomer_does_not_overtake() -> None:
    scene = Scene(spec("a", cap=1))
    [running] = scene.occupy("a")
    first = Waiter(scene.pool)
    scene.pool.release(scene["a"], running)
    backend, passed_over = scene.pool.take(Request())
    assert (backend, [*passed_over]) == (None, [("a", "full 1/1")])
    assert first.woken == 1


def test_leaving_the_queue() -> None:
    scene = Scene(spec("a", cap=1))
    [running] = scene.occupy("a")
    first, second, third = (Waiter(scene.pool) for _ in range(3))
    scene.pool.leave_queue(second.ticket)
    assert (second.ticket.turn, scene.pool.waiting) == (Turn.LEFT, 2)
    scene.pool.release(scene["a"], running)
    scene.pool.leave_queue(first.ticket)  # granted in the very moment in which it gave up
    assert scene["a"].running == {third}
    assert [w.woken for w in (first, second, third)] == [1, 0, 1]
    scene.pool.leave_queue(first.ticket)
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
def test_a_release_skips_requests_that_have_tried_what_came_free() -> None:
    scene = Scene(*(spec(f"b{number}", cap=1) for number in range(100)), queue=2000)
    held = [(scene.pool.take(request)[0], request) for request in [Request() for _ in range(100)]]
    backend, request = held[0]
    assert backend is not None
    for _ in range(1000):
        scene.pool.queue(Request(), (backend,), lambda: None)
    began = time.perf_counter()
    scene.pool.release(backend, request)
    assert time.perf_counter() - began < 0.02  # 90 ms, when it was looked at what each could have


# -- backups, caps, urgency --------------------------------------------------------------------------------


def test_backups_help_out_when_no_other_can() -> None:
    scene = Scene(spec("a", cap=1), spec("b", backup=True))
    backend, passed_over = scene.pool.take(Request())
    assert (backend, [*passed_over]) == (scene["a"], [("b", "not needed")])
    assert taken(scene) == {"b"}


def test_a_cap_on_connections_is_a_cap_on_requests() -> None:
    scene = Scene(spec("a", cap=3, max_connections=2))
    scene.occupy("a", 2)
    assert scene["a"].why_not() == "full 2/2"


@pytest.mark.parametrize("tried", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("backup", [False, True])
def test_a_place_in_the_pool_goes_to_one_that_has_not_tried_all(tried: str, backup: bool) -> None:
    scene = Scene(spec("a"), spec("b"), spec("c"), spec("d", backup=backup), max_in_flight=1)
    first, _ = scene.pool.take(before := Request())
    assert first is not None
    ticket = scene.pool.queue(Request(), [scene[name] for name in tried], lambda: None)
    scene.pool.release(first, before)
    assert ticket.backend is not None
    assert ticket.backend.id not in tried


def test_a_client_of_a_draining_backend_gets_the_place_in_the_pool() -> None:
    scene = Scene(spec("a"), spec("b"), max_in_flight=1, sticky=Sticky(cookie="at"))
    client = client_of(scene, scene["a"])
    first, _ = scene.pool.take(client)
    assert first is scene["a"]
    scene.registry.drain(scene["a"], 60.0)
    ticket = scene.pool.queue(other := client_of(scene, scene["a"]), (), lambda: None)
    scene.pool.release(first, client)
    assert ticket.backend is scene["a"]
    scene.pool.release(scene["a"], other)


def test_a_full_pool_queues_and_serves_in_order() -> None:
    scene = Scene(spec("a"), spec("b"), max_in_flight=1)
    first = Request()
    backend, _ = scene.pool.take(first)
    assert backend is not None
    nobody, passed_over = scene.pool.take(Request())
    assert (nobody, [*passed_over]) == (None, [("a", "pool full 1/1"), ("b", "pool full 1/1")])
    tickets = [scene.pool.queue(Request(str(n)), (), lambda: None) for n in range(2)]
    scene.pool.release(backend, first)
    assert [ticket.turn for ticket in tickets] == [Turn.GRANTED, Turn.WAITING]
    assert scene.pool.in_flight == 1


def test_a_queue_is_no_longer_than_it_may_be_however_urgent_the_request() -> None:
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


# -- clients that are tied, and hedges ---------------------------------------------------------------------


def test_a_client_comes_back_to_its_backend() -> None:
    scene = sticky()
    for _ in range(4):
        request = client_of(scene, scene["b"])
        assert scene.pool.take(request)[0] is scene["b"]
        assert scene.pool.sticky is not None
        assert scene.pool.sticky.cookie_line(request, scene["b"]) == b""
        scene.pool.release(scene["b"], request)


def test_a_second_attempt_is_due_when_nearly_all_answers_would_have_been_there() -> None:
    scene = Scene(spec("a"), spec("b"), hedge=Hedge(after=0.5, at_least=0.2))
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) is None
    for _ in range(20):
        scene.pool.answered(scene["a"], 200, 0.75, scene.clock.now)
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) == pytest.approx(0.85), (
        "the middle of 0.7 to 1 s"
    )
    for _ in range(40):
        scene.pool.answered(scene["b"], 200, 0.001, scene.clock.now)
    assert scene.pool.hedge_after(scene["b"], Request(), scene.clock.now) == 0.2
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now + 61) is None


def test_a_backend_alone_is_never_hedged() -> None:
    scene = Scene(spec("a"), hedge=Hedge())
    for _ in range(20):
        scene.pool.answered(scene["a"], 200, 0.0, scene.clock.now)
    assert scene.pool.hedge_after(scene["a"], Request(), scene.clock.now) is None
