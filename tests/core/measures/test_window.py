"""A window: exact at the edges of its buckets, and elsewhere never off by more than one of them."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.measures.window import BUCKETS, Window


class Timestamps:
    """The dumb model: when each thing happened, and what a window may say of that.

    A window looks back for at least nine tenths of its length, and for less than all of it.
    """

    def __init__(self, length: float) -> None:
        self._length = length
        self._at: list[tuple[float, bool]] = []

    def add(self, now: float, is_rare: bool) -> None:
        self._at.append((now, is_rare))

    def possible(self, now: float) -> set[tuple[int, int]]:
        """Every pair of (usual, rare) that it may say."""
        least = self._length * (BUCKETS - 1) / BUCKETS
        ages = [(now - at, is_rare) for at, is_rare in self._at]
        edges = {least, *(age for age, _ in ages if least < age < self._length)}
        return {self._within(ages, edge) for edge in edges}

    def _within(self, ages: list[tuple[float, bool]], edge: float) -> tuple[int, int]:
        counted = [is_rare for age, is_rare in ages if age <= edge]
        return counted.count(False), counted.count(True)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (100.0, (1, 0)),
        (101.0, (1, 0)),
        (109.9, (1, 0)),
        (110.0, (0, 0)),
        (1e9, (0, 0)),
    ],
)
def test_what_happened_at_100_is_seen_for_ten_seconds(asked: float, expected: tuple[int, int]) -> None:
    window = Window(10)
    window.add(100.0)
    assert window.totals(asked) == expected


def test_late_in_its_bucket_it_falls_out_with_those_that_were_early() -> None:
    window = Window(10)
    window.add(100.0)
    window.add_rare(100.9)
    assert window.totals(109.9) == (1, 1)
    assert window.totals(110.0) == (0, 0)


@pytest.mark.parametrize("looks", [1, 3, 7])
def test_buckets_fall_out_one_by_one_however_often_it_is_looked_at(looks: int) -> None:
    window = Window(10)
    for second in range(20):
        window.add_rare(100.0 + second)
        window.add(100.0 + second)
    assert window.totals(119.0) == (10, 10)
    for second in range(looks, 10, looks):
        assert window.totals(119.0 + second) == (10 - second, 10 - second)


def test_a_bucket_may_be_skipped() -> None:
    window = Window(10)
    window.add(100.0)
    window.add_rare(108.5)
    assert window.totals(108.5) == (1, 1)
    assert window.totals(110.0) == (0, 1)
    assert window.totals(117.9) == (0, 1)
    assert window.totals(118.0) == (0, 0)


def test_after_a_rest_the_buckets_begin_with_what_comes() -> None:
    window = Window(10)
    window.add(100.0)
    window.add_rare(200.75)
    assert window.totals(201.74) == (0, 1)
    assert window.totals(210.5) == (0, 1)
    assert window.totals(210.75) == (0, 0)


def test_an_instant_from_before_its_bucket_counts_as_now() -> None:
    window = Window(10)
    window.add(105.0)
    window.add(103.0)
    window.add_rare(90.0)
    assert window.totals(104.0) == (2, 1)
    assert window.totals(114.9) == (2, 1)


@pytest.mark.parametrize("length", [5e-324, 1e-300, 1e-9, 1e9])
def test_any_length_that_settings_allow_can_be_counted_in(length: float) -> None:
    window = Window(length)
    for now in (0.0, 0.0, 1e9, 1e9):
        window.add_rare(now)
    assert window.totals(2e9 + 1) == (0, 0)


@given(
    length=st.sampled_from([10.0, 1.25, 80.0]),
    events=st.lists(st.tuples(st.sampled_from([0, 0, 1, 3, 8, 30, 71, 72, 73, 80, 200]), st.booleans())),
)
def test_it_says_what_an_exact_list_might_say(length: float, events: list[tuple[int, bool]]) -> None:
    window, model = Window(length), Timestamps(length)
    instants = accumulate((gap for gap, _ in events), initial=0)
    next(instants)
    for eighths, (_, is_rare) in zip(instants, events, strict=True):
        now = eighths * length / 80  # eighths of a bucket, so that every sum is exact
        model.add(now, is_rare)
        (window.add_rare if is_rare else window.add)(now)
        assert window.totals(now) in model.possible(now)


def test_what_has_happened_elsewhere_counts_from_when_it_is_told() -> None:
    window = Window(10.0)
    window.add(0.0)
    window.add_many(5, 2, 0.5)
    assert window.totals(0.5) == (6, 2)
    window.add_many(1, 0, 5.0)
    assert window.totals(5.0) == (7, 2)
    assert window.totals(12.0) == (1, 0)
