"""What many noisy pairs of costs say: how much dearer one side is, how sure that is, and a verdict.

Noise on a shared machine only ever adds, comes in bursts and has a long tail, so means say little. Each
pair was measured within the same second, and its ratio cancels what lasts longer than that. Only the half of
the pairs that cost least together counts: which one of a pair was hit does not sway that choice. The median
of their ratios is the estimate. Its bounds are two of the ratios themselves: which ones follows from the
binomial distribution alone, whatever the noise looks like.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import comb, inf
from statistics import median, quantiles

TOLERANCE = 0.03
CONFIDENCE = 0.99
Pair = tuple[float, float]


class Verdict(Enum):
    """What the bounds of a ratio say of ±TOLERANCE."""

    SLOWER = "SLOWER"
    FASTER = "faster"
    SAME = "same"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios, their quartiles, and between which bounds the median is with CONFIDENCE."""

    middle: float
    quartiles: tuple[float, float]
    bounds: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        low, high = self.bounds
        if low > 1 + TOLERANCE:
            return Verdict.SLOWER
        if high < 1 - TOLERANCE:
            return Verdict.FASTER
        within = low >= 1 - TOLERANCE and high <= 1 + TOLERANCE
        return Verdict.SAME if within else Verdict.UNDECIDED


def ratio_of(pairs: Sequence[Pair]) -> Ratio:
    """The first of each pair as a multiple of the second."""
    ratios = sorted(first / second for first, second in quieter_half(pairs))
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    rank = outer_rank(len(ratios))
    bounds = (ratios[rank - 1], ratios[-rank]) if rank else (0.0, inf)
    return Ratio(median(ratios), (low, high), bounds)


def ratio_of_steady(pairs: Sequence[Pair]) -> Ratio:
    """The same of what has no noise: the bounds are the lowest and the highest."""
    ratios = sorted(first / second for first, second in pairs)
    ends = ratios[0], ratios[-1]
    return Ratio(median(ratios), ends, ends)


def quieter_half(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=sum)[: -(-len(pairs) // 2)]


def outer_rank(count: int) -> int:
    """The largest r so that the r-th lowest and r-th highest of `count` values hold the median between them.

    Each value is below the median as a coin falls: the r-th lowest is above it when fewer than r are below.
    0 where even the lowest and the highest are not sure enough.
    """
    outside, rank = 0.0, 0
    while rank < count // 2:
        outside += 2 * comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        rank += 1
    return rank
