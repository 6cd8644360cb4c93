"""Round robin: exact shares without chance, whichever candidates come and go."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.rotation import ONE
from lb.core.policies.round_robin import RoundRobin, hand_over
from tests.core.scene import Request, backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=6)
ANY_WEIGHT = st.one_of(st.integers(1, 5), st.integers(1, 1_000_000))


def rounds(candidates: Sequence[Backend], count: int) -> str:
    policy = RoundRobin()
    return "".join(policy.choose(candidates, Request()).id for _ in range(count))


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
def test_no_backend_is_a_whole_request_ahead_of_its_share(weights: list[int], requests: int) -> None:
    candidates = backends(*weights)
    chosen = Counter(rounds(candidates, requests))
    for backend in candidates:
        assert chosen[backend.id] < requests * backend.spec.weight / sum(weights) + 1


def test_one_that_sits_out_neither_loses_nor_saves_up_its_turns() -> None:
    a, b, c = candidates = backends(1, 1, 1)
    assert rounds([a, b], 100) == "ab" * 50
    assert rounds(candidates, 6) == "abcabc"
    assert rounds([a, c], 4) == "acac"


def test_one_that_joins_does_not_disturb_the_others() -> None:
    a, b, c = backends(1, 1, 1)
    assert rounds([a, b], 3) == "aba"
    assert set(rounds([a, b, c], 3)) == {"a", "b", "c"}


def test_what_was_saved_among_many_buys_no_more_among_few() -> None:
    a, b, c = backends(1000, 1, 1)
    assert "b" not in rounds([a, b, c], 300)  # a third of a request is owed to b, and to c
    assert rounds([b, c], 6) == "bcbcbc"


def test_two_sets_that_alternate_are_each_shared_exactly() -> None:
    a, b, c = backends(1, 1, 1)
    policy = RoundRobin()
    chosen = Counter(
        policy.choose([a, b, c] if number % 2 else [a, b], Request()).id for number in range(600)
    )
    assert chosen == {"a": 250, "b": 250, "c": 100}


def test_a_leaver_hands_over_its_turn() -> None:
    a, b, _ = candidates = backends(1, 1, 1)
    rounds(candidates, 2)  # the third would be next
    hand_over(1, [a, b])
    assert a.turn + b.turn == 0
    assert rounds([a, b], 4) == "abab"


def test_nobody_is_left_to_hand_over_to() -> None:
    hand_over(1, [])


@given(turns=st.lists(st.integers(-5, 5), min_size=1, max_size=9), data=st.data())
def test_to_leave_together_is_to_leave_one_after_the_other(turns: list[int], data: st.DataObject) -> None:
    both = [backends(*[1] * len(turns)) for _ in range(2)]
    for members in both:
        for member, turn in zip(members, turns, strict=True):
            member.turn = turn * ONE
        members[0].turn -= sum(turns) * ONE
    leaving = data.draw(st.lists(st.sampled_from(range(len(turns))), unique=True))
    other = [both[1][at] for at in leaving]
    stay, rest = ([each for at, each in enumerate(members) if at not in leaving] for members in both)
    hand_over(len(leaving), stay)
    for each in other:
        both[1].remove(each)
        hand_over(1, both[1])
    assert [each.turn for each in stay] == pytest.approx([each.turn for each in rest], abs=20)
    assert sum(each.turn for each in stay) == 0 or not stay


@given(number=st.integers(2, 12), data=st.data())
def test_the_bound_holds_for_those_that_are_left(number: int, data: st.DataObject) -> None:
    """In the worst state there is, in which any k are owed as much as the bound allows."""
    story = Story()
    for at in range(number):
        story.join(1)
        story.pool[at].turn = (number - 1 - 2 * at) * ONE // 2
    story.begin_stretch()
    story.check()
    while story.pool:
        story.leave(data.draw(st.sampled_from(story.pool)))
        story.check()


class Story:
    """A pool over time, with what each backend is owed kept beside it in exact fractions."""

    def __init__(self) -> None:
        self.policy = RoundRobin()
        self.pool: list[Backend] = []
        self.owed: dict[Backend, Fraction] = {}
        self.lows: dict[Backend, Fraction] = {}
        self.highs: dict[Backend, Fraction] = {}

    def join(self, weight: int) -> None:
        (backend,) = backends(weight)
        self.pool.append(backend)
        self.begin_stretch()

    def leave(self, backend: Backend) -> None:
        self.pool.remove(backend)
        hand_over(1, self.pool)
        self.begin_stretch()

    def begin_stretch(self) -> None:
        """What was is settled: from here on it is counted how much each gets."""
        self.owed = {each: Fraction(each.turn, ONE) for each in self.pool}
        self.lows, self.highs = dict(self.owed), dict(self.owed)

    def request(self, candidates: list[Backend]) -> None:
        total = sum(each.share for each in candidates)
        chosen = self.policy.choose(candidates, Request())
        for each in candidates:
            self.owed[each] += Fraction(each.share, total)
        self.owed[chosen] -= 1
        for each in candidates:
            self.lows[each] = min(self.lows[each], self.owed[each])
            self.highs[each] = max(self.highs[each], self.owed[each])

    def check(self) -> None:
        number, rounding = len(self.pool), Fraction(1, 1000)
        assert sum(each.turn for each in self.pool) == 0
        turns = sorted((Fraction(each.turn, ONE) for each in self.pool), reverse=True)
        for count in range(number):
            assert sum(turns[:count]) <= Fraction(count * (number - count), 2)
        for each in self.pool:
            assert abs(self.owed[each] - Fraction(each.turn, ONE)) < rounding
            assert self.highs[each] - self.lows[each] <= number - 1 + rounding


@given(data=st.data(), weights=st.lists(ANY_WEIGHT, min_size=1, max_size=7))
def test_each_has_had_its_share_whichever_come_and_go(data: st.DataObject, weights: list[int]) -> None:
    """Within (n-1)/2 at any time, and within n-1 in any stretch: joins, leaves, pauses, other weights."""
    story = Story()
    for weight in weights:
        story.join(weight)
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(("pause", "pause", "pause", "join", "leave", "share"))):
            case "join" if len(story.pool) < 9:
                story.join(data.draw(ANY_WEIGHT))
            case "leave" if len(story.pool) > 1:
                story.leave(data.draw(st.sampled_from(story.pool)))
            case "share":
                data.draw(st.sampled_from(story.pool)).share = data.draw(ANY_WEIGHT)
            case _:
                candidates = data.draw(st.lists(st.sampled_from(story.pool), min_size=1, unique_by=id))
                for _ in range(data.draw(st.integers(1, 12))):
                    story.request(candidates)
                    story.check()
        story.check()


@given(shares=st.lists(st.integers(1, 9), min_size=2, max_size=12), data=st.data())
def test_no_order_can_push_the_debts_further(shares: list[int], data: st.DataObject) -> None:
    """An opponent that offers the backends that are owed most, or least, again and again."""
    story = Story()
    for share in shares:
        story.join(share)
    for _ in range(40):
        ranked = sorted(story.pool, key=lambda each: each.turn, reverse=data.draw(st.booleans()))
        story.request(ranked[: data.draw(st.integers(2, len(ranked)))])
        story.check()


@given(weights=WEIGHTS, before=st.lists(st.sets(st.integers(0, 5), min_size=1)), requests=st.integers(1, 99))
def test_a_quiet_stretch_adds_less_than_one_to_what_was_owed_before(
    weights: list[int], before: list[set[int]], requests: int
) -> None:
    pool, policy = backends(*weights), RoundRobin()
    for present in before:
        policy.choose([b for at, b in enumerate(pool) if at in present] or pool, Request())
    owed = {b.id: max(b.turn / ONE, 0.0) for b in pool}
    chosen = Counter(policy.choose(pool, Request()).id for _ in range(requests))
    for backend in pool:
        exact = requests * backend.spec.weight / sum(weights)
        assert chosen[backend.id] < exact + owed[backend.id] + 1
