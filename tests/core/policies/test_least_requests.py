"""The policy `least_requests`: who has least, whose turn it is among equals, and what following changes."""

from collections import Counter
from heapq import heappop

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies import least_requests
from lb.core.policies.least_requests import LEFT, RUN, SLACK, LeastRequests
from tests.core.policies.follow import STEPS, Twins
from tests.core.scene import Request, backends, many_backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=6)
LOADS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6)
ANY = Request()


def busy(*loads: tuple[int, int]) -> list[Backend]:
    """Backends of these weights with so many in flight."""
    candidates = backends(*(weight for weight, _ in loads))
    for backend, (_, count) in zip(candidates, loads, strict=True):
        backend.running = {Request() for _ in range(count)}
    return candidates


@pytest.mark.parametrize(
    ("weights", "in_flight", "chosen"),
    [
        ((1, 1), (1, 0), "b"),
        ((1, 1), (0, 1), "a"),
        ((1, 1, 1), (2, 1, 1), "bcbc"),  # in turn among equals
        ((2, 1), (1, 1), "a"),
        ((3, 1), (2, 1), "a"),
        ((3, 1), (3, 1), "aaba"),
        ((1, 3), (1, 3), "bbab"),
        ((3, 6), (1, 2), "bab"),  # thirds are equal, whatever floats make of them
        ((1, 1000), (0, 999), "a"),
    ],
)
def test_the_fewest_for_the_weight(weights: tuple[int, ...], in_flight: tuple[int, ...], chosen: str) -> None:
    candidates, policy = busy(*zip(weights, in_flight, strict=True)), LeastRequests()
    assert "".join(policy.choose(candidates, ANY).id for _ in chosen) == chosen


@given(LOADS)
def test_no_backend_that_has_more_is_taken(loads: list[tuple[int, int]]) -> None:
    candidates = busy(*loads)
    best = LeastRequests().choose(candidates, ANY)
    assert all(best.in_flight * other.share <= other.in_flight * best.share for other in candidates)


def fair(got: Counter[str], candidates: list[Backend]) -> bool:
    """Any two have their shares, give or take half a request of each; a millionth is for divisions."""
    return all(
        abs(got[one.id] * other.share - got[other.id] * one.share)
        <= (one.share + other.share) / 2 * (1 + 1e-6)
        for one in candidates
        for other in candidates
    )


@given(weights=WEIGHTS, count=st.integers(1, 200))
def test_an_idle_pool_is_shared_by_weight_at_any_time(weights: list[int], count: int) -> None:
    candidates, policy, got = backends(*weights), LeastRequests(), Counter[str]()
    for _ in range(count):
        got[policy.choose(candidates, ANY).id] += 1
        assert fair(got, candidates)


def test_equal_weights_take_turns() -> None:
    candidates, policy = backends(*[1] * 7), LeastRequests()
    assert "".join(policy.choose(candidates, ANY).id for _ in range(21)) == "abcdefg" * 3


@pytest.mark.parametrize("count", [1, 1000])
def test_one_that_was_busy_for_long_gets_no_flood_afterwards(count: int) -> None:
    a, b = candidates = busy((1, 1), (1, 0))
    policy = LeastRequests()
    assert {policy.choose(candidates, ANY) for _ in range(count)} == {b}
    a.running.clear()
    assert "".join(policy.choose(candidates, ANY).id for _ in range(4)) in ("abab", "baba")


def test_so_does_one_that_comes() -> None:
    candidates, policy = backends(1, 1), LeastRequests()
    for _ in range(1000):
        policy.choose(candidates[:1], ANY)
    assert Counter(policy.choose(candidates, ANY).id for _ in range(10)) == {"a": 5, "b": 5}


def test_one_that_warms_up_gets_its_small_share() -> None:
    a, b = busy((1, 5), (1, 1))
    b.share = 10
    assert LeastRequests().choose([a, b], ANY) is a


@given(weights=WEIGHTS, steps=STEPS)
def test_one_that_follows_chooses_as_one_that_looks_at_all(
    weights: list[int], steps: list[tuple[int, int]]
) -> None:
    """The very same, whoever comes and goes, and whatever ends in between."""
    fast, slow = LeastRequests(), LeastRequests()
    twins = Twins(weights, fast)
    for each in twins.slow:
        slow._due[each]  # what follows them has met them, too
    for at, what in steps:
        one, other = (each[at % len(weights)] for each in (twins.fast, twins.slow))
        if twins.change(at, what):
            continue
        if what > 30 and one.running and other in twins.candidates:
            other.running.remove(one.running.pop())
            fast.counted(one)
            continue
        chosen, same = fast.pick(ANY), slow.choose(twins.candidates, ANY)
        assert chosen.id == same.id
        chosen.running.add(request := Request())
        same.running.add(request)
        fast.counted(chosen)


def test_few_of_those_that_have_left_are_in_the_heap() -> None:
    candidates, policy = many_backends(1000), LeastRequests()
    policy.follow(candidates)
    for each in reversed(candidates[1:]):  # the first in the heap stays
        policy.leave(each)
        there = len(policy._places)
        assert len(policy._heap) <= there + there // LEFT + SLACK + 1


@pytest.mark.pure
def test_of_many_stale_places_in_a_row_few_are_passed_over_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    popped: list[object] = []
    monkeypatch.setattr(least_requests, "heappop", lambda heap: popped.append(heappop(heap)))
    candidates, policy = many_backends(3 * RUN), LeastRequests()
    policy.follow(candidates)
    for _ in range(2):  # those that end leave as many stale places behind, which then are the first
        taken = []
        for _ in candidates:
            taken.append(policy.pick(ANY))
            taken[-1].running.add(ANY)
            policy.counted(taken[-1])
        for each in taken:
            each.running.clear()
            policy.counted(each)
    assert len(popped) == RUN + 1


def test_the_heap_does_not_grow_with_the_requests() -> None:
    candidates, policy = backends(*[1] * 20), LeastRequests()
    policy.follow(candidates)
    for _ in range(1000):
        chosen = policy.pick(ANY)
        chosen.running.add(request := Request())
        policy.counted(chosen)
        chosen.running.remove(request)
        policy.counted(chosen)
        assert len(policy._heap) <= 2 * 20 + SLACK
