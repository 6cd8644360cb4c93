"""Histograms of durations: one bisect for each observation, so that every exchange can be counted.

Those of exchanges have more buckets than Prometheus is told of. So a quantile that people read is not far
off, and a scrape has no more series than it needs.
"""

from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from itertools import accumulate

TOLD = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""OpenTelemetry's buckets for HTTP, with 1 and 2.5 ms before (what a proxy takes) and 30 s behind."""
SECONDS = (
    *(0.0001, 0.00025, 0.0005),
    *(0.001, 0.0015, 0.002, 0.0025, 0.0035, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 7.0),
    *(10.0, 15.0, 20.0, 30.0),
)
"""Those of `TOLD` and others between them: from 1 ms to 20 s a bound is at most 5/3 of the one before."""
LONGEST_TOLD = SECONDS[-1]
"""A quantile that is so long may be longer: how much is not known of what is above the last bound."""

FEWEST = 20
"""A quantile of fewer observations means nothing."""
HALF_SECONDS = 30.0
"""The length of each of the two histograms in a `Recent`."""


class Histogram:
    """How many observations fell into each bucket, and their sum in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def add(self, counts: Mapping[int, int], total: float) -> None:
        """Add observations that were made elsewhere: how many for each bucket, by index, and their sum."""
        for index, count in counts.items():
            self.counts[index] += count
        self.total += total

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, count up to it) for each bucket, ending with ("+Inf", all), as for Prometheus.

        Of those in `SECONDS` for each in `TOLD` only.
        """
        counts = [*accumulate(self.counts)]
        return [*((name, counts[index]) for name, index in _told(self.bounds)), ("+Inf", counts[-1])]

    def quantile(self, share: float) -> float | None:
        """The time within which this share of all observations fell; None of too few.

        It is interpolated within its bucket, as Prometheus' histogram_quantile does, and the last bound where
        it is above that.
        """
        count = sum(self.counts)
        if count < FEWEST:
            return None
        wanted, below = share * count, 0
        for index, here in enumerate(self.counts):
            if here and below + here >= wanted:
                return self._within(index, (wanted - below) / here)
            below += here
        return self.bounds[-1]

    def quantiles(self, *shares: float) -> list[float | None]:
        """As `quantile`, but even of one observation, so that a few requests sent by hand can be seen."""
        counts = list(accumulate(self.counts))
        if not counts[-1]:
            return [None for _ in shares]
        wanted = [(share * counts[-1], bisect_left(counts, share * counts[-1])) for share in shares]
        return [
            self._within(index, 1 - (counts[index] - count) / self.counts[index]) for count, index in wanted
        ]

    def _within(self, index: int, part: float) -> float:
        low = self.bounds[index - 1] if index else 0.0
        high = self.bounds[min(index, len(self.bounds) - 1)]
        return low + (high - low) * part


@cache
def _told(bounds: tuple[float, ...]) -> tuple[tuple[str, int], ...]:
    """The name and the index of each bound that Prometheus is told of."""
    told = TOLD if bounds == SECONDS else bounds
    return tuple((str(bound), bounds.index(bound)) for bound in told)


class Recent:
    """Observations of the current half-minute and of the one before."""

    __slots__ = ("_before", "_now", "_until")

    def __init__(self) -> None:
        self._before = Histogram()
        self._now = Histogram()
        self._until = 0.0

    def observe(self, seconds: float, now: float) -> None:
        if now >= self._until:
            self._turn(now)
        self._now.observe(seconds)

    def add(self, counts: Mapping[int, int], total: float, now: float) -> None:
        """Add observations that were made elsewhere just now, as `Histogram.add`."""
        if now >= self._until:
            self._turn(now)
        self._now.add(counts, total)

    def quantile(self, share: float, now: float) -> float | None:
        """Quantile of the previous half-minute, or of the current one if that has too few samples."""
        if now >= self._until:
            self._turn(now)
        return self._before.quantile(share) or self._now.quantile(share)

    def _turn(self, now: float) -> None:
        is_next = now < self._until + HALF_SECONDS
        self._before, self._now = (self._now if is_next else Histogram()), Histogram()
        self._until = now + HALF_SECONDS
