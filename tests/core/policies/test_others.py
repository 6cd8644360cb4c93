"""Policies that see what other workers have: four that share a board choose almost as one would."""

from collections import deque
from collections.abc import Iterator
from random import Random
from statistics import mean

import pytest

from lb.core.backend import Backend
from lb.core.policies.load_based import Ewma, TwoChoices
from lb.settings.pool_settings import PoolSettings
from tests.core.lending_world import Waiting, World, world
from tests.core.scene import Request, backends

BACKENDS = 40
SPREAD = 2
"""How much wider the least requests in flight and the most may be apart over four workers than in one."""


def spreads(scene: World, workers: list[int], requests: int = 4000, busy: int = 130) -> Iterator[int]:
    """How far apart the backends are after each request, where so many run that end in any order."""
    chance, running = Random(7), deque[Waiting]()
    counts = dict.fromkeys([each.id for each in scene.registry.backends.values()], 0)
    for number in range(requests):
        request = scene.workers[chance.choice(workers)].request()
        assert request.backend is not None
        counts[request.backend.id] += 1
        running.append(request)
        if len(running) > busy:
            running.rotate(chance.randrange(busy))
            ended = running.popleft()
            assert ended.backend is not None
            counts[ended.backend.id] -= 1
            ended.end()
        if number > 2 * busy:
            yield max(counts.values()) - min(counts.values())


def many(workers: int, policy: str) -> World:
    return world(workers, *[None] * BACKENDS, policy=policy)


def test_least_requests_are_as_even_over_four_workers_as_in_one() -> None:
    one = [*spreads(many(1, "least_requests"), [1])]
    four = [*spreads(many(4, "least_requests"), [1, 2, 3, 4])]
    assert max(four) <= max(one) + SPREAD
    assert mean(four) <= mean(one) + 0.75


def test_blind_they_would_not_be() -> None:
    scene = many(4, "least_requests")
    for worker in scene.workers.values():
        for backend in worker.registry.backends.values():
            backend.row = 0
    assert mean(spreads(scene, [1, 2, 3, 4])) > mean(spreads(many(1, "least_requests"), [1])) + 1.2


@pytest.mark.parametrize("policy", [TwoChoices(lambda: 0.5), Ewma(lambda: 1.0, lambda: 0.5)])
def test_of_two_the_one_is_chosen_that_has_less_in_all_workers(policy: TwoChoices | Ewma) -> None:
    first, second = two = backends(1, 1)

    there: dict[Backend, int] = {}

    def look(backend: Backend) -> bool:
        backend.others = there[backend]
        return True

    policy.follow(two)
    for each in two:
        policy.choose([each], Request())
        if isinstance(policy, Ewma):
            policy.ended(each, 0.1)
    policy.see(look)
    for busy, other in ((first, second), (second, first)):
        there.update({busy: 50, other: 0})
        assert [policy.pick(Request()) for _ in range(5)] == [other] * 5


def test_the_bound_of_hash_is_on_what_runs_in_all_workers() -> None:
    scene = world(2, *[None] * 8, policy="hash")
    chosen = [worker.request().backend for _ in range(40) for worker in scene.workers.values()]
    counts: dict[str, int] = {}
    for backend in chosen:
        assert isinstance(backend, Backend)
        counts[backend.id] = counts.get(backend.id, 0) + 1
    assert max(counts.values()) <= 1.25 * 80 / 8 + 2


def test_a_look_is_at_the_chosen_and_one_more() -> None:
    scene = many(2, "least_requests")
    worker, looks = scene.workers[1], list[Backend]()
    look = worker.lent.look

    def counted(backend: Backend) -> bool:
        looks.append(backend)
        return look(backend)

    worker.pool.policy.see(counted)  # type: ignore[attr-defined]
    for _ in range(BACKENDS):
        worker.request()
    assert len(looks) == 2 * BACKENDS
    assert {*looks[::2]} == {*worker.registry.backends.values()}


def test_another_policy_sees_too() -> None:
    scene = world(2, None, None)
    registry = scene.registry
    registry.configure(registry.pools["default"], PoolSettings(policy="least_requests"))
    scene.trips()
    first, second = (scene.workers[1].request().backend for _ in range(2))
    third, fourth = (scene.workers[2].request().backend for _ in range(2))
    assert first is not None
    assert second is not None
    assert third is not None
    assert fourth is not None
    assert {first.id, second.id} == {third.id, fourth.id}
    scene.workers[1].running[0].end()
    fifth = scene.workers[2].request().backend
    assert fifth is not None
    assert fifth.id == first.id
