"""Faults f3.10 to f3.12: what a choice costs where many backends are there, many wait, or many are out."""

from collections.abc import Callable
from time import thread_time
from typing import Any

import pytest

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NAMED
from lb.core.policies.sticky import Sticky
from lb.core.pool import Pool
from lb.observe.access_log import json_line, text_line
from lb.settings import pool_settings
from lb.settings.pool_settings import PoolSettings
from tests.core.scene import Clock, Request, Scene, check, client_of, registry, spec
from tests.core.test_pool import Waiter

POLICIES = ("round_robin", "least_requests", "two_choices", "ewma", "hash", "random")
LINEAR = 4
"""A cost may grow so much more than its cause, for noise; what is quadratic grows eight times as much."""


def seconds(act: Callable[[], object]) -> float:
    began = thread_time()
    act()
    return thread_time() - began


def filled(count: int, **settings: Any) -> Scene:
    scene = Scene(**settings)
    with scene.registry.together():
        for number in range(count):
            scene.registry.add(spec(f"b{number}"))
    return scene


def grows(cost: Callable[[int], float]) -> float:
    """How many times as much it costs for 4000 backends as for 500: best of three."""
    few, many = (min(cost(count) for _ in range(3)) for count in (500, 4000))
    return many / few / 8


@pytest.mark.alone
@pytest.mark.parametrize("policy", POLICIES)
def test_f3_10_the_first_request_looks_at_each_backend_once(policy: str) -> None:
    def first(count: int) -> float:
        scene = filled(count, policy=policy)
        return seconds(lambda: scene.pool.take(Request()))

    assert grows(first) < LINEAR


CHANGES: dict[str, Callable[[Scene, int], object]] = {
    "other weights": lambda scene, count: scene.registry.replace(
        "default", [spec(f"b{number}", 2) for number in range(count)], 60
    ),
    "others": lambda scene, count: scene.registry.replace(
        "default", [spec(f"c{number}") for number in range(count)], 60
    ),
    "none": lambda scene, count: scene.registry.replace("default", [], 60),
}


@pytest.mark.alone
@pytest.mark.parametrize("change", CHANGES)
def test_f3_10_a_set_that_changes_costs_its_length(change: str) -> None:
    def cost(count: int) -> float:
        scene = filled(count)
        for _ in range(10):
            scene.pool.take(Request())
        return seconds(lambda: CHANGES[change](scene, count))

    assert grows(cost) < LINEAR


@pytest.mark.alone
@pytest.mark.parametrize("turn", ["down", "ejected", "maintenance", "removed"])
def test_f3_10_so_do_changes_one_by_one(turn: str) -> None:
    """All backends change, one after the other, as when a network breaks: no change looks at all of them."""

    def cost(count: int) -> float:
        probe = pool_settings.Probe(fall=1) if turn == "down" else None
        ejection = pool_settings.Ejection(consecutive=1, share=1.0)
        scene = filled(count, probe=probe, ejection=ejection)
        members = [*scene.pool.backends]
        acts: dict[str, Callable[[Backend], object]] = {
            "down": lambda backend: check(scene, backend.id, False),
            "ejected": lambda backend: scene.pool.failed(backend, "refused", 0.1, scene.clock.now),
            "maintenance": scene.registry.maintenance,
            "removed": scene.registry.remove,
        }
        return seconds(lambda: [acts[turn](backend) for backend in members])

    assert grows(cost) < LINEAR


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[list[object]]:
    """A list that gets an item with each call."""
    calls: list[object] = []
    whole = getattr(owner, name)

    def counted(*args: object) -> object:
        calls.append(args)
        return whole(*args)

    monkeypatch.setattr(owner, name, counted)
    return [calls]


def test_f3_11_a_release_costs_the_same_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """900 clients wait, whose cookies name any of 20 backends, and one backend drains: nobody may have it."""
    cookie = pool_settings.Sticky(cookie="at")
    scene = Scene(*(spec(f"b{number}", cap=2) for number in range(20)), queue=2000, sticky=cookie)
    held = [(backend, each) for backend in scene.pool.backends for each in scene.occupy(backend.id, 2)]
    drained = scene["b0"]
    waiters = []
    for number in range(900):
        client = client_of(scene, [*scene.pool.backends][1 + number % 19])
        waiters.append(client)
        scene.pool.queue(client, (), lambda: None)
    scene.registry.drain(drained, 60)
    scene.pool.release(*held[0])
    assert (drained.keeps_its_clients, scene.pool.waiting) == (True, 900)
    asked = count_calls(monkeypatch, Sticky, "names") + count_calls(monkeypatch, Pool, "take")
    for count, (backend, holder) in enumerate(held[2:12], start=1):
        scene.pool.release(backend, holder)
        assert scene.pool.waiting == 900 - count
    assert sum(map(len, asked)) <= 10 * 4


def test_f3_11_its_own_clients_come_back_to_a_backend_that_drains_before_others() -> None:
    scene = Scene(spec("a", cap=1), spec("b", cap=1), sticky=pool_settings.Sticky(cookie="at"))
    [on_a], [on_b] = scene.occupy("a"), scene.occupy("b")
    other = Waiter(scene.pool)
    own = client_of(scene, scene["a"])
    ticket = scene.pool.queue(own, (), lambda: None)
    scene.registry.drain(scene["a"], 60)
    scene.pool.release(scene["a"], on_a)
    assert (ticket.backend, other.woken) == (scene["a"], 0)
    scene.pool.release(scene["b"], on_b)
    assert other.ticket.backend is scene["b"]


def test_f3_11_those_that_wait_keep_their_cookies_through_another_policy() -> None:
    scene = Scene(spec("a", cap=1), spec("b", cap=1), sticky=pool_settings.Sticky(cookie="at"))
    [on_a], _ = scene.occupy("a"), scene.occupy("b")
    own = client_of(scene, scene["a"])
    ticket = scene.pool.queue(own, (), lambda: None)
    changed = PoolSettings(policy="random", sticky=pool_settings.Sticky(cookie="at"))
    scene.registry.configure(scene.pool, changed)
    scene.registry.drain(scene["a"], 60)
    scene.pool.release(scene["a"], on_a)
    assert ticket.backend is scene["a"]


def test_f3_11_a_thousand_that_have_tried_what_came_free_stand_in_one_line() -> None:
    scene = Scene(spec("a", cap=1), spec("b", cap=1), queue=2000)
    [on_a], _ = scene.occupy("a"), scene.occupy("b")
    for _ in range(1000):
        scene.pool.queue(Request(), (scene["a"],), lambda: None)
    assert len(scene.pool.request_queue._lines[3]) == 1
    last = Waiter(scene.pool)
    scene.pool.release(scene["a"], on_a)
    assert last.ticket.backend is scene["a"]


def many_out(**settings: Any) -> Scene:
    """200 backends, of which 100 are out."""
    scene = Scene(*(spec(f"web{number:03}", cap=3) for number in range(200)), queue=10, **settings)
    with scene.registry.together():
        for backend in [*scene.pool.backends][100:]:
            scene.registry.maintenance(backend)
    return scene


def logged(scene: Scene, *, line: Callable[..., bytes] = json_line) -> bytes:
    backend, passed_over = scene.pool.take(Request())
    assert backend is not None
    exchange = ExchangeRecord(b"1", "", "192.0.2.1:5", 1.0)
    exchange.ended = 2.0
    exchange.attempts.append(AttemptRecord(backend, passed_over, 1.0))
    return line(exchange, lambda moment: moment)


def test_f3_12_all_requests_share_one_list_of_those_that_are_out_until_one_changes() -> None:
    scene = many_out()
    (_, one), (_, other) = scene.pool.take(Request()), scene.pool.take(Request())
    assert one is other
    assert len(one) == 100
    scene.registry.ready(scene["web150"])
    _, later = scene.pool.take(Request())
    assert (len(later), len(one)) == (99, 100)
    assert "web150" not in dict(later)


@pytest.mark.parametrize("line", [json_line, text_line])
def test_f3_12_a_line_of_the_log_counts_them_and_names_a_few(line: Callable[..., bytes]) -> None:
    alone = logged(Scene(spec("web000")), line=line)
    written = logged(many_out(), line=line)
    assert len(written) - len(alone) < 200
    assert line is text_line or b'"passed_over_count":100' in written


def test_f3_12_those_that_are_full_are_counted_and_the_first_are_named() -> None:
    scene = many_out()
    for number in range(99):
        scene.occupy(f"web{number:03}", 3)
    backend, passed_over = scene.pool.take(Request())
    assert backend is scene["web099"]
    assert (len(passed_over), len([*passed_over])) == (199, 100 + NAMED)
    assert passed_over.out is scene.pool.take(Request())[1].out


def test_f3_12_where_none_is_left_the_sentence_names_a_few() -> None:
    scene = many_out()
    with scene.registry.together():
        for backend in [*scene.pool.backends][:100]:
            scene.registry.drain(backend, 60)
    _, passed_over = scene.pool.take(Request())
    assert scene.pool.explain(passed_over).endswith("web004 (draining) and 195 more")


def test_f3_12_one_that_was_tried_and_is_out_now_was_tried() -> None:
    registered = registry(Clock())
    pool = registered.add_pool("default")
    for name in "abc":
        registered.add(spec(name))
    registered.maintenance(registered.backend("a"))
    _, passed_over = pool.take(Request(), (registered.backend("a"), registered.backend("b")))
    assert dict(passed_over) == {"a": "tried already", "b": "tried already"}
