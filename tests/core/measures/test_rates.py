"""What has happened lately, from readings that come once a second or not quite."""

from array import array
from bisect import bisect_left
from itertools import count

import pytest

from lb.core.measures.histogram import LONGEST_TOLD, SECONDS, Histogram
from lb.core.measures.rates import HISTORY, MINUTE, STEP, WINDOW, Codes, Rates, Reading, Trend, between

FAST = 0.006
"""Seconds: in the bucket from 5 to 7 ms."""


def reading(at: float, ended: int, **more: object) -> Reading:
    took = Histogram()
    took.counts[bisect_left(SECONDS, FAST)] = ended
    ok = more.pop("ok", ended)
    return Reading(at, ended, more.pop("codes", (ok, 0, 0, 0)), buckets=array("Q", took.counts), **more)  # type: ignore[arg-type]


def trend(*ended: int) -> Trend:
    """A trend with a reading a second."""
    made = Trend()
    for at, number in enumerate(ended):
        made.take(reading(float(at), number), at % STEP == 0)
    return made


def test_nothing_is_known_before_there_are_two_readings() -> None:
    for quiet in (Trend(), trend(1000)):
        assert quiet.lately() == quiet.last_step() == Rates()
        assert quiet.minute() == Codes()


def test_the_rate_is_of_the_time_that_really_passed() -> None:
    rates = between(reading(10.0, 100), reading(12.5, 600))
    assert (rates.ended, rates.requests_per_second) == (500, 200.0)


@pytest.mark.parametrize(("seconds", "ended"), [(0.0, 5), (-1.0, 5), (1.0, 0), (1.0, -5)])
def test_what_cannot_be_said_is_quiet(seconds: float, ended: int) -> None:
    assert between(reading(10.0, 100), reading(10.0 + seconds, 100 + ended)) == Rates()


def test_shares_are_of_all_that_ended() -> None:
    before = reading(0.0, 0, codes=(0, 0, 0, 0))
    after = reading(1.0, 200, codes=(100, 40, 30, 20), failed=10)
    rates = between(before, after)
    assert (rates.share_4xx, rates.share_5xx, rates.share_failed) == (0.15, 0.1, 0.05)


def test_quantiles_are_interpolated_even_of_one() -> None:
    rates = between(reading(0.0, 0), reading(1.0, 1))
    assert rates.p50_seconds == 0.006
    assert rates.p99_seconds == 0.00698
    assert between(Reading(0.0), reading(1.0, 1)).p50_seconds == 0.006  # the first reading had no buckets


def test_of_a_quantile_above_the_last_bucket_only_the_bound_is_known() -> None:
    histogram = Histogram()
    for seconds in (29.0, 31.0, 500.0):
        histogram.observe(seconds)
    assert histogram.quantiles(0.3, 0.5, 0.99) == [pytest.approx(29.0), LONGEST_TOLD, LONGEST_TOLD]


def test_quantiles_agree_with_the_histogram_s_own() -> None:
    histogram = Histogram()
    for milliseconds in range(1, 200):
        histogram.observe(milliseconds**2 / 1000)
    shares = (0.01, 0.5, 0.9, 0.99, 1.0)
    assert histogram.quantiles(*shares) == pytest.approx([histogram.quantile(share) for share in shares])


def test_lately_looks_over_the_window_and_no_further() -> None:
    busy = trend(*range(0, 100 * (WINDOW + 1), 100))
    assert busy.lately().requests_per_second == 100.0
    at, rest = busy._lately[-1].at, busy._lately[-1].ended
    for second in range(1, WINDOW + 1):
        busy.take(reading(at + second, rest), is_step=False)
    assert busy.lately() == Rates()


def test_the_minute_counts_classes() -> None:
    made = Trend()
    for at, number in zip(range(MINUTE * STEP * 2 + 1), count(0, 2), strict=False):
        made.take(reading(float(at), number * 4, codes=(number, number, number, number)), at % STEP == 0)
    counted = made.minute()
    assert counted.ok == counted.redirected == counted.refused == counted.broken == 2 * MINUTE * STEP


def test_rings_never_grow() -> None:
    made = trend(*range(1000))
    assert (len(made._lately), len(made._steps)) == (WINDOW + 1, MINUTE + 1)
    assert made.points.maxlen == HISTORY
