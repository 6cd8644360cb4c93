"""Counting into buckets."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.measures.histogram import FEWEST, HALF_SECONDS, SECONDS, TOLD, Histogram, Recent


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        (1.0, 0),  # a bound belongs to its own bucket, as Prometheus's `le` says
        (1.001, 1),
        (2.0, 1),
        (2.5, 2),
        (1e9, 2),
    ],
)
def test_each_observation_falls_into_one_bucket(seconds: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(seconds)
    assert histogram.counts == [int(bucket == number) for number in range(3)]
    assert histogram.total == seconds


def test_nothing_observed_is_all_zeros() -> None:
    histogram = Histogram()
    assert histogram.total == 0.0
    assert histogram.cumulative() == [(str(bound), 0) for bound in TOLD] + [("+Inf", 0)]


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_cumulative_counts_what_is_at_most_each_bound(observed: list[float]) -> None:
    histogram = Histogram()
    for seconds in observed:
        histogram.observe(seconds)
    expected = [(str(bound), sum(seconds <= bound for seconds in observed)) for bound in TOLD]
    assert histogram.cumulative() == [*expected, ("+Inf", len(observed))]
    assert histogram.total == pytest.approx(sum(observed))


def test_those_with_bounds_of_their_own_tell_of_each() -> None:
    assert Histogram((0.5, 2.0)).cumulative() == [("0.5", 0), ("2.0", 0), ("+Inf", 0)]


@given(st.floats(min_value=0.0011, max_value=20.0))
def test_a_quantile_is_not_more_than_a_third_too_long_nor_a_fifth_too_short(seconds: float) -> None:
    histogram = Histogram()
    histogram.add({bisect_left(SECONDS, seconds): 1000}, 0.0)
    [median] = histogram.quantiles(0.5)
    assert median is not None
    assert 0.8 <= median / seconds <= 4 / 3


OBSERVED = st.lists(st.floats(min_value=0, max_value=100))


@given(here=OBSERVED, elsewhere=OBSERVED)
def test_what_was_observed_elsewhere_is_as_if_it_was_here(here: list[float], elsewhere: list[float]) -> None:
    ours, theirs, both = Histogram(), Histogram(), Histogram()
    for seconds in here:
        ours.observe(seconds)
        both.observe(seconds)
    for seconds in elsewhere:
        theirs.observe(seconds)
        both.observe(seconds)
    ours.add({index: count for index, count in enumerate(theirs.counts) if count}, theirs.total)
    assert ours.counts == both.counts
    assert ours.total == pytest.approx(both.total)


def test_what_was_observed_elsewhere_grows_old_too() -> None:
    recent, elsewhere = Recent(), Histogram()
    for _ in range(FEWEST):
        elsewhere.observe(0.3)
    recent.add(dict(enumerate(elsewhere.counts)), elsewhere.total, now=0.0)
    quantile = recent.quantile(0.5, now=1.0)
    assert quantile is not None
    assert 0.25 < quantile <= 0.5
    assert recent.quantile(0.5, now=HALF_SECONDS + 1) == quantile
    assert recent.quantile(0.5, now=3 * HALF_SECONDS) is None
    recent.add({}, 0.0, now=100 * HALF_SECONDS)
