"""Round robin among those that it follows: the very choices of a look at all, in fewer steps."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.rotation import LEFT, ONE, SLACK, Rotation
from lb.core.policies.round_robin import RoundRobin
from tests.core.policies.follow import STEPS, Twins
from tests.core.scene import Request, backends, many_backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=8)
ANY = Request()


def test_turns_are_in_the_backends_again_when_nobody_is_followed() -> None:
    pool = backends(1, 1, 1)
    policy = RoundRobin()
    policy.follow(pool)
    assert "".join(policy.pick(ANY).id for _ in range(4)) == "abca"
    policy.follow(())
    assert [3 * each.turn // ONE for each in pool] == [-2, 1, 1]
    assert "".join(policy.choose(pool, ANY).id for _ in range(3)) == "bca"


@given(weights=WEIGHTS, steps=STEPS)
def test_it_chooses_as_one_that_looks_at_all(weights: list[int], steps: list[tuple[int, int]]) -> None:
    """Whoever comes and goes in between, and with whatever share: to the last digit of each turn."""
    fast, slow = RoundRobin(), RoundRobin()
    twins = Twins(weights, fast)
    for step in steps:
        if twins.change(*step):
            continue
        chosen = fast.pick(ANY)
        assert chosen.id == slow.choose(twins.candidates, ANY).id
    fast.follow(())
    assert [each.turn for each in twins.fast] == [each.turn for each in twins.slow]


@given(turns=st.lists(st.integers(-9, 9), min_size=2, max_size=9))
def test_it_begins_with_what_is_owed(turns: list[int]) -> None:
    one, other = backends(*[1] * len(turns)), backends(*[1] * len(turns))
    for a, b, turn in zip(one, other, turns, strict=True):
        a.turn = b.turn = turn * ONE
    fast, slow = Rotation(), RoundRobin()
    fast.follow(one)
    assert [fast.pick(ANY).id for _ in range(30)] == [slow.choose(other, ANY).id for _ in range(30)]


def test_places_that_are_stale_do_not_pile_up() -> None:
    policy = Rotation()
    pool = backends(*[1] * 20)
    policy.follow(pool)
    for _ in range(1000):
        for each in pool[5:]:
            policy.leave(each)
            policy.enter(each)
    assert len(policy._places) == 20
    assert sum(len(heap) for heap in policy._heaps.values()) <= 20 + SLACK + 1


def test_few_of_many_places_are_stale() -> None:
    policy = Rotation()
    pool = many_backends(1000)
    policy.follow(pool)
    for each in reversed(pool[1:]):  # the first in the heap stays
        policy.leave(each)
        there = len(policy._places)
        assert sum(len(heap) for heap in policy._heaps.values()) <= there + there // LEFT + SLACK + 1


def test_a_share_that_nobody_has_any_more_is_not_looked_at() -> None:
    policy, pool = Rotation(), backends(*range(1, 11))
    policy.follow(pool)
    for each in pool[1:]:
        policy.leave(each)
    assert len(policy._heaps) == 1
    assert {policy.pick(ANY) for _ in range(3)} == {pool[0]}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3)), max_size=60))
def test_all_turns_add_up_to_nothing(moves: list[tuple[int, int]]) -> None:
    pool: list[Backend] = backends(*[1, 2, 3, 1, 2, 3, 1, 9])
    policy, there = RoundRobin(), set(pool)
    policy.follow(pool)
    for at, picks in moves:
        if pool[at] not in there:
            policy.enter(pool[at])
            there.add(pool[at])
        elif len(there) > 1:
            policy.leave(pool[at])
            there.remove(pool[at])
        assert {policy.pick(ANY) for _ in range(picks)} <= there
    policy.follow(())
    assert sum(each.turn for each in pool) == 0
    assert Counter(each.turn // (8 * ONE) for each in pool).keys() <= {0, -1}
