"""The roster: who may be chosen, kept up to date, and at the same cost however many there are."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import AdminState, Backend
from lb.core.passed_over import NAMED, NONE_PASSED_OVER
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.settings.pool_settings import PoolSettings, Sticky
from tests.core.scene import Request, Scene, client_of, spec
from tests.core.steps import steps

FLAT = ("round_robin", "random", "two_choices", "ewma", "least_requests")
"""The policies whose choices cost the same for any number of backends."""
FEW = {"least_requests": 20}
"""Where less is cheaper: so many are followed. Of the others 3."""


def pool_of(count: int, policy: str, cap: int | None = None, **settings: Any) -> Pool:
    registry = Registry(lambda: 1000.0, random.Random(1).random, lambda _file: b"k" * 32)
    pool = registry.add_pool("default", PoolSettings(policy=policy, **settings))
    with registry.together():
        for number in range(count):
            registry.add(spec(f"b{number}", cap=cap), source="config")
    pool.release(pool.take(first := Request())[0] or pool.backends[0], first)
    return pool


def cost(pool: Pool, then: Callable[[Backend, Request], None] | None = None) -> float:
    """The steps of one request, on average over a hundred."""

    def requests() -> None:
        for _ in range(100):
            request = Request()
            backend, _ = pool.take(request)
            assert backend is not None
            if then is not None:
                then(backend, request)
            pool.release(backend, request)

    return steps(requests) / 100


@pytest.mark.parametrize("policy", FLAT)
@pytest.mark.parametrize("settings", [{}, {"cap": 9}, {"sticky": Sticky(cookie="at")}, {"max_in_flight": 9}])
def test_a_choice_among_10_000_takes_the_steps_of_one_among_3(policy: str, settings: dict[str, Any]) -> None:
    few, many = (cost(pool_of(count, policy, **settings)) for count in (FEW.get(policy, 3), 10_000))
    assert many <= 1.5 * few


@pytest.mark.parametrize("policy", FLAT)
def test_so_does_one_where_each_is_full_after_one_request(policy: str) -> None:
    few, many = (cost(pool_of(count, policy, cap=1)) for count in (20, 10_000))
    assert many <= 1.5 * few


@pytest.mark.parametrize("policy", FLAT)
def test_so_does_another_attempt(policy: str) -> None:
    few, many = (pool_of(count, policy) for count in (20, 10_000))

    def retry(pool: Pool) -> Callable[[Backend, Request], None]:
        def then(backend: Backend, _request: Request) -> None:
            other, passed_over = pool.take(second := Request(), (backend,))
            assert other not in (None, backend)
            assert [*passed_over] == [(backend.id, "tried already")]
            pool.release(other or backend, second)

        return then

    assert cost(many, retry(many)) <= 1.5 * cost(few, retry(few))


@pytest.mark.parametrize("policy", FLAT)
def test_a_change_of_one_is_no_look_at_all(policy: str) -> None:
    def change(pool: Pool) -> None:
        pool.backends[50].admin_state = AdminState.DRAINING
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
        backend = data.draw(st.sampled_from(scene.pool.backends))
        match data.draw(st.sampled_from(("take", "take", "take", "release", "out", "in", "change"))):
            case "take":
                tried = data.draw(st.lists(st.sampled_from(scene.pool.backends), max_size=3))
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
