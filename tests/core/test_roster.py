"""The roster: who may be chosen, kept up to date, and at the same cost however many there are."""

import gc
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import AdminState, Backend
from lb.core.passed_over import NAMED, NONE_PASSED_OVER
from lb.core.policies.load_based import Ewma
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.errors import Unavailable
from lb.settings.pool_settings import POLICIES, PoolSettings, Sticky
from tests.core.scene import Request, Scene, client_of, spec, tie
from tests.core.steps import steps

SHAPES_OF_POOLS: list[dict[str, Any]] = [
    {},
    {"weights": (1, 2, 3, 7)},
    {"cap": 9},
    {"cap": 1},
    {"sticky": Sticky(cookie="at")},
    {"max_in_flight": 9},
]
every_policy = pytest.mark.parametrize("policy", POLICIES)


def pool_of(
    count: int, policy: str, cap: int | None = None, weights: tuple[int, ...] = (1,), **more: Any
) -> Pool:
    """A pool that has served requests before."""
    registry = Registry(lambda: 1000.0, random.Random(1).random, lambda _file: b"k" * 32)
    pool = registry.add_pool("default", PoolSettings(policy=policy, **more))
    with registry.together():
        for number in range(count):
            registry.add(spec(f"b{number}", weights[number % len(weights)], cap), source="config")
    if isinstance(pool.policy, Ewma):
        for backend in pool.backends:
            pool.policy.choose([backend], Request())
    for number in range(200):
        serve(pool, Request(address=f"client {number}"))
    return pool


def serve(pool: Pool, request: Request) -> Backend:
    """Choose for this request, which ends at once."""
    backend, _ = pool.take(request)
    assert backend is not None
    pool.release(backend, request)
    return backend


def cost(pool: Pool, serve: Callable[[Pool, Request], object] = serve) -> float:
    """The steps of one request, on average over a hundred from as many clients."""

    def requests() -> None:
        for number in range(100):
            serve(pool, Request(address=f"another {number}"))

    return steps(requests) / 100


@every_policy
@pytest.mark.parametrize("shape", SHAPES_OF_POOLS)
def test_a_choice_among_10_000_takes_the_steps_of_one_among_3(policy: str, shape: dict[str, Any]) -> None:
    few, many = (cost(pool_of(count, policy, **shape)) for count in (3, 10_000))
    assert many <= 1.5 * few


@every_policy
def test_so_does_one_where_many_are_full(policy: str) -> None:
    few, many = (pool_of(count, policy, cap=1) for count in (3, 10_000))
    for pool in (few, many):
        for number in range(len(pool.backends) // 2):
            pool.take(Request(address=f"held {number}"))
            serve(pool, Request(address=f"another {number}"))
    assert cost(many) <= 1.5 * cost(few)


@every_policy
def test_so_does_another_attempt(policy: str) -> None:
    def retry(pool: Pool, request: Request) -> None:
        backend, _ = pool.take(request)
        assert backend is not None
        other, passed_over = pool.take(second := Request(address=request.address), (backend,))
        assert other not in (None, backend)
        assert [*passed_over] == [(backend.id, "tried already")]
        pool.release(other or backend, second)
        pool.release(backend, request)

    few, many = (cost(pool_of(count, policy), retry) for count in (3, 10_000))
    assert many <= 1.5 * few


@every_policy
def test_so_does_one_with_a_cookie(policy: str) -> None:
    few, many = (pool_of(count, policy, sticky=Sticky(cookie="at")) for count in (3, 10_000))

    def come_back(pool: Pool, request: Request) -> None:
        tie(request, pool, [*pool.backends][1])
        assert serve(pool, request) is [*pool.backends][1]

    assert cost(many, come_back) <= 1.5 * cost(few, come_back)


@every_policy
def test_so_does_one_that_waits_in_the_queue(policy: str) -> None:
    few, many = (pool_of(count, policy, cap=1, queue=1) for count in (3, 10_000))
    held: dict[Pool, Request] = {}
    for pool in (few, many):
        for number in range(len(pool.backends)):
            backend, _ = pool.take(request := Request(address=f"held {number}"))
            if backend is next(iter(pool.backends)):
                held[pool] = request

    def wait(pool: Pool, request: Request) -> None:
        ticket, backend = pool.queue(request, (), lambda: None), next(iter(pool.backends))
        pool.release(backend, held[pool])
        assert ticket.backend is backend
        held[pool] = request

    assert cost(many, wait) <= 1.5 * cost(few, wait)


@every_policy
def test_so_does_one_that_waits_for_the_pool(policy: str) -> None:
    def wait(pool: Pool, request: Request) -> None:
        first, _ = pool.take(before := Request())
        assert first is not None
        ticket = pool.queue(request, [*pool.backends][:2], lambda: None)
        pool.release(first, before)
        assert ticket.backend not in (None, *[*pool.backends][:2])
        pool.leave_queue(ticket)

    few, many = (cost(pool_of(count, policy, max_in_flight=1, queue=1), wait) for count in (5, 10_000))
    assert many <= 1.5 * few


def test_one_popular_key_costs_a_few_looks_more() -> None:
    """Its backend is full again and again, and so are those that are next."""
    few, many = (pool_of(count, "hash") for count in (3, 10_000))
    for pool in (few, many):
        for _ in range(64):
            pool.take(Request(address="popular"))

    def popular(pool: Pool, _request: Request) -> None:
        serve(pool, Request(address="popular"))

    assert cost(many, popular) <= 2 * cost(few, popular)


@every_policy
def test_a_change_of_one_is_no_look_at_all(policy: str) -> None:
    def change(pool: Pool) -> None:
        [*pool.backends][50].admin_state = AdminState.DRAINING
        pool.take(Request())

    few, many = (steps(partial(change, pool_of(count, policy))) for count in (100, 10_000))
    assert many <= 1.5 * few


# -- who is where --------------------------------------------------------------------------------------


def test_what_is_out_is_told_by_the_same_object_until_something_changes() -> None:
    scene = Scene(spec("a"), spec("b"))
    scene.registry.maintenance(scene["b"])
    first, second = (scene.pool.take(Request())[1] for _ in range(2))
    assert first is second
    scene.registry.ready(scene["b"])
    assert scene.pool.take(Request())[1] is NONE_PASSED_OVER


def test_of_many_that_are_full_the_first_are_named() -> None:
    scene = Scene(*(spec(f"b{number}", cap=1) for number in range(30)))
    for number in range(30):
        backend, passed_over = scene.pool.take(Request())
        assert backend is not None
        assert len(passed_over) == number
        assert len([*passed_over]) == min(number, NAMED)


def test_a_backup_that_helps_out_is_free_when_it_has_room() -> None:
    scene = Scene(spec("a", cap=1), spec("b", backup=True, cap=1), spec("c", backup=True, cap=1))
    chosen = [scene.pool.take(Request()) for _ in range(4)]
    assert [backend and backend.id for backend, _ in chosen] == ["a", "b", "c", None]
    assert [*chosen[0][1]] == [("b", "not needed"), ("c", "not needed")]
    assert [*chosen[3][1]] == [(name, "full 1/1") for name in "abc"]


def test_backups_are_followed_while_no_other_is_open() -> None:
    scene = Scene(spec("a"), spec("b", backup=True), spec("c", backup=True))
    scene.registry.maintenance(scene["a"])
    assert [scene.pool.take(Request())[0] for _ in range(4)] == [scene["b"], scene["c"]] * 2
    scene.registry.ready(scene["a"])
    assert {scene.pool.take(Request())[0] for _ in range(4)} == {scene["a"]}


def test_a_client_with_a_cookie_gets_its_backend_unless_it_is_full_or_tried() -> None:
    scene = Scene(spec("a", cap=1), spec("b"), spec("c"), sticky=Sticky(cookie="at"))
    client = client_of(scene, scene["a"])
    assert scene.pool.take(client, [scene["a"]])[0] in (scene["b"], scene["c"])
    assert scene.pool.take(client)[0] is scene["a"]
    other, passed_over = scene.pool.take(client_of(scene, scene["a"]))
    assert other in (scene["b"], scene["c"])
    assert [*passed_over] == [("a", "full 1/1")]


def test_a_share_that_grows_is_heard_of_without_another_change() -> None:
    scene = Scene(spec("a"), slow_start=100.0)
    scene.clock.now += 200
    scene.registry.expire(scene.clock.now)
    scene.registry.add(spec("b"))
    chosen = []
    for _ in range(2):
        chosen.append([scene.pool.take(Request())[0] for _ in range(110)].count(scene["b"]))
        scene.clock.now += 100
        scene.registry.expire(scene.clock.now)
    assert chosen[0] == pytest.approx(10, abs=1)
    assert chosen[1] == pytest.approx(55, abs=1)


@every_policy
def test_a_request_may_end_on_one_whose_change_has_not_been_heard_of(policy: str) -> None:
    scene = Scene(spec("a"), spec("b"), policy=policy)
    held = [(scene.pool.take(request := Request(address=f"{n}"))[0] or scene["a"], request) for n in range(9)]
    scene.registry.change(scene["a"], spec("a", 0))
    for backend, request in held:
        scene.pool.release(backend, request)
    assert {serve(scene.pool, Request(address=f"{n}")) for n in range(9)} == {scene["b"]}


SHAPES = st.tuples(st.integers(0, 5), st.sampled_from((None, 1, 2)), st.booleans())


@given(shapes=st.lists(SHAPES, min_size=1, max_size=24), data=st.data())
def test_everyone_is_in_the_place_that_a_look_at_all_gives(
    shapes: list[tuple[int, int | None, bool]], data: st.DataObject
) -> None:
    """Whatever changes, and in whatever order: few changes are caught up with one by one."""
    specs = [spec(f"b{at}", weight, cap, backup=backup) for at, (weight, cap, backup) in enumerate(shapes)]
    scene = Scene(*specs)
    held: list[tuple[Backend, Request]] = []
    for _ in range(data.draw(st.integers(1, 30))):
        backend = data.draw(st.sampled_from([*scene.pool.backends]))
        match data.draw(st.sampled_from(("take", "take", "take", "release", "out", "in", "change"))):
            case "take":
                tried = data.draw(st.lists(st.sampled_from([*scene.pool.backends]), max_size=3))
                taken, passed_over = scene.pool.take(request := Request(), tried)
                assert len(passed_over) == len({*scene.pool.backends} - candidates(scene.pool, tried, taken))
                if taken is not None:
                    held.append((taken, request))
            case "release" if held:
                scene.pool.release(*held.pop(data.draw(st.integers(0, len(held) - 1))))
            case "out":
                scene.registry.maintenance(backend)
            case "in":
                scene.registry.ready(backend)
            case _:
                weight, cap, backup = data.draw(SHAPES)
                scene.registry.change(backend, spec(backend.id, weight, cap, backup=backup))


def candidates(pool: Pool, tried: list[Backend], taken: Backend | None) -> set[Backend]:
    """Who could have been chosen, by a look at each just after the choice; the chosen one is among them."""

    def had_room(each: Backend) -> bool:
        return each.cap is None or each.in_flight - (each is taken) < each.cap

    open_ones = {each for each in pool.backends if each.is_open and had_room(each) and each not in tried}
    found = {each for each in open_ones if not each.spec.backup} or open_ones
    assert (taken in found) if found else (taken is None)
    return found


def refused(pool: Pool, request: Request) -> None:
    backend, _ = pool.take(request)
    assert backend is None
    with pytest.raises(Unavailable):
        pool.queue(request, (), lambda: None)


def test_in_a_total_outage_a_request_is_refused_without_a_look_at_all() -> None:
    few, many = (pool_of(count, "round_robin") for count in (3, 10_000))
    for pool in (few, many):
        for backend in pool.backends:
            backend.admin_state = AdminState.MAINTENANCE
            pool.reconsider()
    assert cost(many, refused) <= 1.5 * cost(few, refused)


def test_a_place_goes_to_the_queue_without_a_look_at_all() -> None:
    def reconsidered(pool: Pool, _request: Request) -> None:
        pool.reconsider()

    few, many = (pool_of(count, "round_robin", cap=1) for count in (3, 10_000))
    for pool in (few, many):
        for number in range(len(pool.backends)):
            pool.take(Request(address=f"held {number}"))
        pool.queue(Request(), (), lambda: None)
    assert cost(many, reconsidered) <= 1.5 * cost(few, reconsidered)


@every_policy
def test_backends_that_have_left_are_freed(policy: str) -> None:
    """But for a few, however many there were, so that thousands are never freed in one step."""
    registry = Registry(lambda: 1000.0, random.Random(1).random, lambda _file: b"k" * 32)
    pool = registry.add_pool("default", PoolSettings(policy=policy))
    registry.replace("default", [spec(f"left-{policy}-{number}") for number in range(600)], 0.0)
    for number in range(900):
        serve(pool, Request(address=f"client {number}"))
    registry.replace("default", [spec(f"c{number}") for number in range(600)], 0.0)
    gone = [each for each in gc.get_objects() if isinstance(each, Backend) and each.removed]
    assert len([each for each in gone if each.spec.id.startswith(f"left-{policy}-")]) < 60


@every_policy
def test_another_policy_takes_few_steps_at_once_and_nobody_waits_for_its_end(policy: str) -> None:
    registry = Registry(lambda: 1000.0, random.Random(1).random, lambda _file: b"k" * 32)
    pool = registry.add_pool("default", PoolSettings(policy="random" if policy != "random" else "hash"))
    with registry.together():
        for number in range(5000):
            registry.add(spec(f"b{number}", cap=1), source="config")
    changes = registry.configuring(pool, PoolSettings(policy=policy, queue=9))
    while pool.settings.policy != policy:
        next(changes)
    taken = {pool.take(Request(address=f"{number}"))[0] for number in range(600)}
    assert None not in taken
    assert len(taken) == 600
    for _ in changes:
        pass
    left = {pool.take(Request(address=f"{number}"))[0] for number in range(4400)}
    assert len(taken | left) == 5000
    assert None not in left
