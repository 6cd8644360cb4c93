"""The policies: exact shares, and no chance in them."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policy import POLICIES, least_requests, round_robin
from tests.core.scene import Request, backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=6)


def rounds(candidates: Sequence[Backend], count: int) -> str:
    return "".join(round_robin(candidates).id for _ in range(count))


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ((1,), "aaa"),
        ((1, 1), "abab"),
        ((1, 1, 1), "abcabc"),
        ((7, 7, 7), "abcabc"),
        ((5, 1, 1), "aabacaa" * 2),
        ((2, 1), "abaaba"),
        ((1, 3), "babb" * 2),
    ],
)
def test_round_robin_is_smooth(weights: tuple[int, ...], order: str) -> None:
    assert rounds(backends(*weights), len(order)) == order


@given(number=st.integers(1, 8), weight=st.integers(1, 1_000_000), before=st.integers(0, 40))
def test_any_n_requests_in_a_row_go_to_n_equal_backends(number: int, weight: int, before: int) -> None:
    candidates = backends(*[weight] * number)
    rounds(candidates, before)
    assert len(set(rounds(candidates, number))) == number


@given(weights=WEIGHTS, cycles=st.integers(1, 3))
def test_a_full_cycle_gives_each_exactly_its_weight(weights: list[int], cycles: int) -> None:
    candidates = backends(*weights)
    chosen = Counter(rounds(candidates, sum(weights) * cycles))
    assert chosen == {b.id: b.spec.weight * cycles for b in candidates}
    assert [b.turn for b in candidates] == [0] * len(weights)


@given(weights=WEIGHTS, requests=st.integers(1, 200))
def test_nobody_is_a_whole_request_ahead_of_its_share(weights: list[int], requests: int) -> None:
    candidates = backends(*weights)
    chosen = Counter(rounds(candidates, requests))
    for backend in candidates:
        assert chosen[backend.id] < requests * backend.spec.weight / sum(weights) + 1


def test_one_that_sits_out_neither_loses_nor_saves_up_its_turns() -> None:
    a, b, c = candidates = backends(1, 1, 1)
    assert rounds([a, b], 100) == "ab" * 50
    assert rounds(candidates, 6) == "abcabc"
    assert rounds([a, c], 4) == "acac"


def test_one_that_joins_disturbs_nobody() -> None:
    a, b, c = backends(1, 1, 1)
    assert rounds([a, b], 3) == "aba"
    assert set(rounds([a, b, c], 3)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("weights", "in_flight", "chosen"),
    [
        ((1, 1), (1, 0), "b"),
        ((1, 1), (0, 1), "a"),
        ((1, 1, 1), (2, 1, 1), "bcbc"),  # round robin among equals
        ((2, 1), (1, 1), "a"),
        ((3, 1), (2, 1), "a"),
        ((3, 1), (3, 1), "aaba"),
        ((1, 3), (1, 3), "babb"),
        ((3, 6), (1, 2), "bab"),  # thirds are equal, whatever floats make of them
        ((1, 1000), (0, 999), "a"),
    ],
)
def test_least_requests_for_the_weight(
    weights: tuple[int, ...], in_flight: tuple[int, ...], chosen: str
) -> None:
    candidates = backends(*weights)
    for backend, count in zip(candidates, in_flight, strict=True):
        backend.running = {Request() for _ in range(count)}
    assert "".join(least_requests(candidates).id for _ in chosen) == chosen


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_least_requests_takes_nobody_who_has_more(loads: list[tuple[int, int]]) -> None:
    candidates = backends(*(weight for weight, _ in loads))
    for backend, (_, count) in zip(candidates, loads, strict=True):
        backend.running = {Request() for _ in range(count)}
    best = least_requests(candidates)
    assert all(
        best.in_flight * other.spec.weight <= other.in_flight * best.spec.weight for other in candidates
    )


@given(weights=WEIGHTS)
def test_an_idle_pool_rotates_under_least_requests_as_under_round_robin(weights: list[int]) -> None:
    one, other = backends(*weights), backends(*weights)
    for _ in range(sum(weights)):
        assert least_requests(one).id == round_robin(other).id


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(data=st.data(), weights=WEIGHTS)
def test_every_policy_chooses_one_of_the_candidates(
    name: str, data: st.DataObject, weights: list[int]
) -> None:
    everybody = backends(*weights)
    for _ in range(20):
        candidates = data.draw(st.lists(st.sampled_from(everybody), min_size=1, unique_by=id))
        assert POLICIES[name](candidates) in candidates
