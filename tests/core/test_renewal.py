"""When certificates are renewed, and tried again: tables, properties, and a year on a clock that jumps."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.renewal import (
    DAY,
    FAILURES_SPAN,
    HOUR,
    JITTER,
    LONGEST_HOLD,
    MINUTE,
    MOST_FAILURES,
    NO_FAILURES,
    Failures,
    Suggestion,
    Validity,
    Window,
    after_failure,
    after_success,
    believed,
    drawn,
    due,
    in_line,
    next_attempt,
    next_look,
    next_wished_attempt,
)

NOW = 1_800_000_000.0
CAS = ["one", "two"]
seconds = st.floats(0, 400 * DAY)
chances = st.floats(0, 1, exclude_max=True)


def valid(days: float) -> Validity:
    return Validity(NOW, NOW + days * DAY)


# -- when it is due ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "left"),
    [(90, 30), (45, 15), (398, 398 / 3), (10, 10 / 3), (9.9, 4.95), (6, 3), (1 / 24, 1 / 48)],
)
def test_a_share_of_the_lifetime_is_left(days: float, left: float) -> None:
    assert due(valid(days), None) == pytest.approx(NOW + (days - left) * DAY)


def test_a_moment_in_the_window_of_the_authority() -> None:
    window = Window(NOW + 10 * DAY, NOW + 12 * DAY)
    suggestion = drawn(window, None, 0.25)
    assert suggestion == Suggestion(window, NOW + 10.5 * DAY)
    assert due(valid(90), suggestion) == NOW + 10.5 * DAY


def test_the_moment_is_drawn_once_for_a_window() -> None:
    window = Window(NOW, NOW + DAY)
    first = drawn(window, None, 0.9)
    assert drawn(window, first, 0.1) == first
    other = Window(NOW - 2 * DAY, NOW - DAY)  # the authority has to revoke
    assert drawn(other, first, 0.5) == Suggestion(other, NOW - 1.5 * DAY)


@pytest.mark.parametrize(
    ("starts", "ends"),
    [(1.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0), (1.0, float("nan"))],
)
def test_a_window_that_is_none_says_nothing(starts: float, ends: float) -> None:
    assert drawn(Window(starts, ends), None, 0.5) is None


def test_a_window_after_the_end_is_not_waited_for() -> None:
    suggestion = drawn(Window(NOW + 3650 * DAY, NOW + 3651 * DAY), None, 0.5)
    assert due(valid(90), suggestion) == NOW + 81 * DAY


@pytest.mark.parametrize(("days", "age"), [(90, 1), (10, 1), (6, 0.6)])
def test_a_window_of_the_past_has_it_renewed_once_a_day(days: float, age: float) -> None:
    suggestion = drawn(Window(NOW - 2 * DAY, NOW - DAY), None, 0.5)
    assert due(valid(days), suggestion) == pytest.approx(NOW + age * DAY)


@given(st.floats(HOUR, 400 * DAY), seconds, st.floats(1, DAY), chances)
def test_it_is_due_before_the_end_whatever_the_authority_says(
    lifetime: float, starts: float, length: float, chance: float
) -> None:
    validity = Validity(NOW, NOW + lifetime)
    window = Window(NOW + starts, NOW + starts + length)
    assert due(validity, drawn(window, None, chance)) <= validity.ends - lifetime / 10.001
    assert NOW < due(validity, None) < validity.ends


@given(seconds, st.floats(1, 400 * DAY), chances)
def test_the_moment_is_within_its_window(starts: float, length: float, chance: float) -> None:
    window = Window(NOW + starts, NOW + starts + length)
    suggestion = drawn(window, None, chance)
    assert suggestion is not None
    assert window.starts <= suggestion.moment <= window.ends


@pytest.mark.parametrize(
    ("told", "pause"),
    [(None, 6 * HOUR), (0.0, MINUTE), (59.0, MINUTE), (3600.0, HOUR), (DAY + 1, DAY), (1e12, DAY)],
)
def test_the_authority_says_when_to_look_again_within_bounds(told: float | None, pause: float) -> None:
    assert next_look(NOW, told) == NOW + pause


# -- after failures ----------------------------------------------------------------------------------------


def failed(times: int, now: float = NOW, chance: float = 0.5) -> Failures:
    """So many failures in a row, each at the moment that the one before it gave."""
    failures = NO_FAILURES
    for _ in range(times):
        now = next_attempt(0.0, failures, CAS, now) if failures.times else now
        failures = after_failure(failures, now, chance, "why", {})
    return failures


@pytest.mark.parametrize(
    ("row", "pause"), [(1, MINUTE), (2, 10 * MINUTE), (3, HOUR), (4, DAY), (5, DAY), (50, DAY)]
)
def test_the_pauses_grow(row: int, pause: float) -> None:
    failures = failed(row)
    assert failures.again_at - failures.times[-1] == pytest.approx(pause)
    assert failures.in_a_row == row
    assert len(failures.times) == min(row, MOST_FAILURES)


def test_a_pause_of_a_day_differs_by_chance() -> None:
    pauses = [failed(4, chance=chance).again_at - failed(4).times[-1] for chance in (0.0, 0.999999)]
    assert pauses == pytest.approx([DAY * (1 - JITTER), DAY * (1 + JITTER)], rel=1e-5)


def test_after_a_success_the_pauses_begin_anew_but_the_last_hour_counts() -> None:
    failures = after_success(failed(3))
    assert (failures.in_a_row, failures.again_at, failures.why) == (0, 0.0, "")
    assert len(failures.times) == 3


def test_more_than_the_most_in_an_hour_wait_for_the_first_to_be_an_hour_old() -> None:
    failures = NO_FAILURES
    for minute in range(MOST_FAILURES):
        now = NOW + minute * MINUTE
        assert next_wished_attempt(failures, CAS, now) == now
        failures = after_failure(failures, now, 0.5, "why", {})
    now = NOW + MOST_FAILURES * MINUTE
    assert next_wished_attempt(failures, CAS, now) == NOW + FAILURES_SPAN
    assert next_wished_attempt(failures, CAS, NOW + FAILURES_SPAN) == NOW + FAILURES_SPAN


@given(st.lists(st.tuples(st.floats(0, 900), st.booleans(), st.booleans(), chances), max_size=60))
def test_no_hour_has_more_than_the_most_whoever_asks(
    story: list[tuple[float, bool, bool, float]],
) -> None:
    """Attempts fail or work, by schedule and by wish, at any pace: five failures in each span at most."""
    now, failures, times = NOW, NO_FAILURES, []
    for wait, is_wished, works, chance in story:
        now += wait
        at = next_wished_attempt(failures, CAS, now) if is_wished else next_attempt(0.0, failures, CAS, now)
        now = max(now, at)
        if works:
            failures = after_success(failures)
        else:
            failures = after_failure(failures, now, chance, "why", {})
            times.append(now)
    for index, time in enumerate(times[MOST_FAILURES:]):
        assert time - times[index] >= FAILURES_SPAN - 1e-3


def test_an_authority_that_refuses_is_passed_over_for_so_long() -> None:
    failures = after_failure(NO_FAILURES, NOW, 0.5, "why", {"one": NOW + 2 * DAY})
    assert next_attempt(0.0, failures, CAS, NOW) == NOW + MINUTE
    assert in_line(failures, CAS, NOW + MINUTE) == ["two"]
    assert in_line(failures, CAS, NOW + 2 * DAY) == CAS


def test_when_all_refuse_the_first_that_does_not_is_waited_for() -> None:
    failures = after_failure(NO_FAILURES, NOW, 0.5, "why", {"one": NOW + 2 * DAY, "two": NOW + DAY})
    assert next_attempt(0.0, failures, CAS, NOW) == NOW + DAY
    assert next_wished_attempt(failures, CAS, NOW) == NOW + DAY
    assert in_line(failures, CAS, NOW + DAY) == ["two"]
    assert next_attempt(0.0, failures, [*CAS, "three"], NOW) == NOW + MINUTE


def test_no_authority_holds_a_name_for_longer_than_a_week() -> None:
    failures = after_failure(NO_FAILURES, NOW, 0.5, "why", {"one": NOW + 900 * DAY})
    assert failures.held == {"one": NOW + LONGEST_HOLD}


def test_a_hold_outlives_other_failures_and_a_success() -> None:
    failures = after_failure(NO_FAILURES, NOW, 0.5, "why", {"one": NOW + DAY})
    failures = after_success(after_failure(failures, NOW + MINUTE, 0.5, "why", {}))
    assert in_line(failures, CAS, NOW + HOUR) == ["two"]
    assert after_failure(failures, NOW + 2 * DAY, 0.5, "why", {}).held == {}


def test_what_a_wrong_clock_has_written_is_not_believed() -> None:
    ahead = after_failure(NO_FAILURES, NOW + 900 * DAY, 0.5, "why", {"one": NOW + 901 * DAY})
    assert believed(ahead, NOW) == Failures(in_a_row=1, why="why")
    assert next_attempt(NOW, ahead, ["one"], NOW) == NOW
    assert in_line(ahead, ["one"], NOW) == ["one"]
    assert after_failure(ahead, NOW, 0.5, "why", {}).times == (NOW,)


def test_a_clock_that_is_a_little_behind_forgets_nothing() -> None:
    failures = failed(1)
    assert believed(failures, NOW - 30) == failures


# -- a year ------------------------------------------------------------------------------------------------


def a_year(
    days: float, fails: Callable[[float], bool], has_window: bool, seed: int
) -> tuple[list[float], list[float], float]:
    """A certificate of so many days for a year, where attempts fail at times.

    When it was renewed, when attempts failed, and the longest time without a valid one, all in days.
    """
    chance = Random(seed).random
    now, ends = NOW, 0.0
    validity: Validity | None = None
    failures, gap = NO_FAILURES, 0.0
    renewed: list[float] = []
    failing: list[float] = []
    while now < NOW + 365 * DAY:
        window = None
        if has_window and validity is not None:
            third = validity.lifetime / 3
            window = drawn(Window(validity.ends - third, validity.ends - third + DAY), None, chance())
        at = 0.0 if validity is None else due(validity, window)
        now = max(now, next_attempt(at, failures, CAS, now))
        if fails(now):
            failures = after_failure(failures, now, chance(), "why", {})
            failing.append((now - NOW) / DAY)
            continue
        gap = max(gap, now - ends) if renewed else gap
        validity, failures = Validity(now, now + days * DAY), after_success(failures)
        ends = validity.ends
        renewed.append((now - NOW) / DAY)
    return renewed, failing, gap / DAY


@pytest.mark.parametrize("has_window", [True, False])
@pytest.mark.parametrize(("days", "after"), [(90, 60), (45, 30), (6, 3), (1, 0.5)])
def test_a_year_without_mishap(days: float, after: float, has_window: bool) -> None:
    renewed, failing, gap = a_year(days, lambda now: False, has_window, seed=1)
    assert failing == []
    assert gap <= 0
    pauses = [later - earlier for earlier, later in pairwise(renewed)]
    if has_window:
        assert all(
            days * 2 / 3 - 1e-6 <= pause <= min(days * 2 / 3 + 1, days * 0.9 + 1e-6) for pause in pauses
        )
    else:
        assert pauses == pytest.approx([after] * len(pauses))
    assert len(renewed) >= 365 / days


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("days", [90, 47, 8])
def test_a_year_in_which_the_authority_is_often_away_for_a_day(days: float, seed: int) -> None:
    """A day away at the worst moments: always a valid certificate, and few attempts."""
    fate = Random(seed)
    away = [NOW + (start + fate.uniform(0, 3)) * DAY for start in range(5, 360, 5)]

    def is_away(now: float) -> bool:
        return any(start <= now < start + DAY for start in away)

    renewed, failing, gap = a_year(days, is_away, has_window=False, seed=seed)
    assert gap <= 0
    assert len(failing) <= 4 * 4 * len(renewed)
    for first, sixth in zip(failing, failing[MOST_FAILURES:], strict=False):
        assert sixth - first >= FAILURES_SPAN / DAY - 1e-6
