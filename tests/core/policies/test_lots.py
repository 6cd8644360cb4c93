"""Lots: drawn in proportion to the shares, whoever came and went before."""

from collections import Counter
from math import sqrt
from random import Random as Chance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Follows
from lb.core.policies.load_based import Ewma, Random, TwoChoices
from lb.core.policies.lots import Lots
from tests.core.policies.follow import STEPS, Twins
from tests.core.scene import Clock, Request, backends

COUNT = 20_000
ANY = Request()


class Drawn(Lots):
    """Lots as a policy."""

    few = 0

    def pick(self, request: Asking) -> Backend:
        return self.draw()


def within(count: int, part: float) -> bool:
    return abs(count - COUNT * part) <= 4.5 * sqrt(COUNT * part * (1 - part)) + 1


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1), (1, 2, 1, 5), (1, 1000, 1)])
def test_each_is_drawn_by_its_share(weights: tuple[int, ...]) -> None:
    lots, pool = Lots(Chance(1).random), backends(*weights)
    lots.follow(pool)
    drawn = Counter(lots.draw() for _ in range(COUNT))
    assert all(within(drawn[each], each.share / sum(one.share for one in pool)) for each in pool)


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (1, 2, 1, 5), (1, 1000, 1), (5, 5, 1)])
@pytest.mark.parametrize("out", [0, 1, -1])
def test_the_other_is_drawn_by_share_among_those_that_are_left(weights: tuple[int, ...], out: int) -> None:
    lots, pool = Lots(Chance(1).random), backends(*weights)
    lots.follow(pool)
    drawn = Counter(lots.draw_other(pool[out]) for _ in range(COUNT))
    left = [each for each in pool if each is not pool[out]]
    assert drawn.keys() <= {*left}
    assert all(within(drawn[each], each.share / sum(one.share for one in left)) for each in left)


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-53, 1.0])
def test_the_ends_are_drawn_too(chance: float) -> None:
    """1.0 is never drawn, but a product may be rounded up to as much."""
    lots, pool = Lots(lambda: chance), backends(3, 1, 3, 7)
    lots.follow(pool)
    assert lots.draw() in pool
    assert all(lots.draw_other(each) not in (None, each) for each in pool)


@pytest.mark.pure
@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=8), steps=STEPS, seed=st.integers(0, 99))
def test_only_those_that_are_there_are_drawn(
    weights: list[int], steps: list[tuple[int, int]], seed: int
) -> None:
    lots = Drawn(Chance(seed).random)
    twins = Twins(weights, lots)
    for step in steps:
        twins.change(*step)
        there = {one for one, other in zip(twins.fast, twins.slow, strict=True) if other in twins.candidates}
        assert len(lots._places) == len(there)
        assert lots._ends[-1] == sum(each.share for each in there)
        first = lots.draw()
        assert first in there
        assert len(there) == 1 or lots.draw_other(first) in there - {first}


@pytest.mark.parametrize("make", [Random, TwoChoices, lambda chance: Ewma(Clock(), chance)])
@pytest.mark.parametrize("busy", [(0, 0, 0, 0, 0, 0), (0, 1, 2, 3, 2, 9)])
def test_those_that_follow_choose_as_those_that_look_at_all(
    make: type[Random], busy: tuple[int, ...]
) -> None:
    """The same share of the requests for each backend, whatever its weight and however busy it is."""
    fast, slow = backends(1, 2, 1, 2, 5, 1), backends(1, 2, 1, 2, 5, 1)
    for one, other, count in zip(fast, slow, busy, strict=True):
        one.running.update(Request() for _ in range(count))
        other.running.update(one.running)
    policy, oracle = make(Chance(1).random), make(Chance(2).random)
    assert isinstance(policy, Follows)
    policy.follow(fast)
    picked = Counter(policy.pick(ANY).id for _ in range(COUNT))
    chosen = Counter(oracle.choose(slow, ANY).id for _ in range(COUNT))
    for name in "abcdef":
        part = (picked[name] + chosen[name]) / (2 * COUNT)
        assert abs(picked[name] - chosen[name]) <= 4.5 * sqrt(2 * COUNT * part * (1 - part)) + 1
