"""What noisy pairs of costs say."""

import random

import pytest

from tests.bench.verdicts import Pair, Verdict, outer_rank, quieter_half, ratio_of, ratio_of_steady

PAIRS = 40


def measured(ratio: float, seed: int) -> list[Pair]:
    """Pairs as a busy machine gives them: one side or the other is hit now and then, and only ever dearer."""
    chance = random.Random(seed)

    def noisy(cost: float) -> float:
        return cost * (1 + chance.gauss(0, 0.01)) * (1 + (chance.random() < 0.3) * chance.expovariate(2))

    return [(noisy(50 * ratio), noisy(50)) for _ in range(PAIRS)]


@pytest.mark.parametrize("seed", range(20))
def test_a_side_against_itself_is_neither_slower_nor_faster(seed: int) -> None:
    ratio = ratio_of(measured(1.0, seed))
    assert ratio.middle == pytest.approx(1, abs=0.02)
    assert ratio.verdict in (Verdict.SAME, Verdict.UNDECIDED)


@pytest.mark.parametrize(("factor", "verdict"), [(1.1, Verdict.SLOWER), (0.9, Verdict.FASTER)])
def test_a_tenth_is_seen_through_the_noise(factor: float, verdict: Verdict) -> None:
    ratio = ratio_of(measured(factor, seed=1))
    assert ratio.verdict == verdict
    low, high = ratio.bounds
    assert low <= ratio.quartiles[0] <= ratio.middle <= ratio.quartiles[1] <= high


def test_a_few_pairs_decide_nothing() -> None:
    assert ratio_of([(2.0, 1.0)] * 4).verdict == Verdict.UNDECIDED
    assert ratio_of([(2.0, 1.0)]).middle == 2


def test_what_has_no_noise_is_decided_by_one() -> None:
    assert ratio_of_steady([(2.0, 1.0)]).verdict == Verdict.SLOWER
    assert ratio_of_steady([(1.0, 1.0), (1.1, 1.0)]).verdict == Verdict.UNDECIDED


def test_the_cheaper_pairs_count_whichever_side_was_hit() -> None:
    assert quieter_half([(9, 1), (1, 1), (1, 9), (2, 1)]) == [(1, 1), (2, 1)]
    assert quieter_half([(9, 1)]) == [(9, 1)]


@pytest.mark.parametrize(("count", "rank"), [(1, 0), (7, 0), (8, 1), (20, 4)])
def test_bounds_hold_the_median_with_99_percent(count: int, rank: int) -> None:
    """The ranks that the tables of the sign test have for a level of one percent."""
    assert outer_rank(count) == rank
