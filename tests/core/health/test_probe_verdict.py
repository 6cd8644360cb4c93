"""Health: a verdict turns after a streak against it, and never otherwise."""

from itertools import groupby
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.health.probe_verdict import Check, Health, Verdict
from lb.settings.pool_settings import Probe

Initial = Literal["up", "down", "probe"]


def check(mark: str, at: float = 0.0) -> Check:
    """A `+` passed, a `-` did not."""
    return Check(ok=mark == "+", why="ok 200" if mark == "+" else "connection refused", seconds=0.01, at=at)


def tell(health: Health, marks: str) -> str:
    """The verdict after each result, by its first letter; large where `observe` said that it turned."""
    letters = ""
    for mark in marks:
        flipped = health.observe(check(mark))
        letter = health.verdict.value[0]
        letters += letter.upper() if flipped else letter
    return letters


@pytest.mark.parametrize(
    ("initial", "marks", "verdicts"),
    [
        ("up", "+++", "uuu"),
        ("up", "--+--+", "uuuuuu"),
        ("up", "---", "uuD"),
        ("up", "---+-++", "uuDdddU"),
        ("up", "---++---", "uuDdUuuD"),
        ("down", "---", "ddd"),
        ("down", "+-+-", "dddd"),
        ("down", "++", "dU"),
        ("down", "++--+---", "dUuuuuuD"),
        ("probe", "+--", "Uuu"),
        ("probe", "-+-++", "DdddU"),
    ],
)
def test_two_successes_make_it_up_three_failures_down(initial: Initial, marks: str, verdicts: str) -> None:
    assert tell(Health(Probe(initial=initial, rise=2, fall=3), 0.0), marks) == verdicts


@pytest.mark.parametrize(("initial", "marks"), [("up", "-+-+"), ("down", "+-+-"), ("probe", "-+-+")])
def test_one_of_each_turns_it_every_time_where_one_is_asked_for(initial: Initial, marks: str) -> None:
    assert tell(Health(Probe(initial=initial, rise=1, fall=1), 0.0), marks) in ("DUDU", "UDUD")


@pytest.mark.parametrize(
    ("initial", "verdict", "why"),
    [
        ("up", Verdict.UP, ""),
        ("down", Verdict.DOWN, "no probe has passed yet"),
        ("probe", Verdict.CHECKING, "no probe has ended yet"),
    ],
)
def test_where_it_begins(initial: Initial, verdict: Verdict, why: str) -> None:
    health = Health(Probe(initial=initial), 7.0)
    assert (health.verdict, health.why, health.since) == (verdict, why, 7.0)
    assert (health.last, health.passes, health.fails) == (None, 0, 0)
    assert not health.recent
    assert not health.flips


def test_the_time_is_that_of_the_turn_and_the_words_those_of_the_last_that_bears_it_out() -> None:
    health = Health(Probe(fall=2, rise=2), 1.0)
    health.observe(Check(False, "connection refused", 0.1, 2.0))
    assert (health.why, health.since) == ("", 1.0)
    health.observe(Check(False, "status 503, expected 200-399", 0.2, 3.0))
    assert (health.why, health.since) == ("status 503, expected 200-399", 3.0)
    last = Check(False, "no answer in 2 s", 2.0, 6.0)
    health.observe(last)
    assert (health.why, health.since, health.last) == ("no answer in 2 s", 3.0, last)
    health.observe(Check(True, "ok 200", 0.1, 8.0))
    assert (health.why, health.since) == ("no answer in 2 s", 3.0)
    health.observe(Check(True, "ok 204", 0.1, 9.0))
    assert (health.why, health.since) == ("ok 204", 9.0)


def test_it_counts_since_the_start_and_keeps_the_last_thirty() -> None:
    health = Health(Probe(rise=1, fall=1), 0.0)
    tell(health, "-+" * 3 + "+" * 40 + "-")
    assert (health.passes, health.fails) == (43, 4)
    assert health.flips == {Verdict.DOWN: 4, Verdict.UP: 3}
    assert list(health.recent) == [True] * 29 + [False]


def test_it_adds_up_how_long_it_was_down() -> None:
    health = Health(Probe(rise=1, fall=1, initial="probe"), 0.0)
    assert health.down_seconds(5.0) == 0.0
    for mark, at in ("+", 6.0), ("-", 10.0), ("-", 11.0), ("+", 14.0), ("-", 20.0):
        health.observe(check(mark, at))
    assert health.down_seconds(21.5) == health.copy().down_seconds(21.5) == 5.5
    health.follow(Verdict.UP, "ok 200", 22.0)
    assert health.down_seconds(90.0) == 6.0


def test_a_backend_that_is_down_until_it_was_seen_to_work_was_down_so_long() -> None:
    health = Health(Probe(rise=1, initial="down"), 3.0)
    health.observe(check("+", 5.0))
    assert (health.down_seconds(9.0), health.flips[Verdict.DOWN]) == (2.0, 0)


@pytest.mark.parametrize(
    ("initial", "marks", "is_changing"),
    [
        ("up", "", False),
        ("up", "+", False),
        ("up", "-", True),
        ("up", "--", True),
        ("up", "-+", False),
        ("up", "---", False),
        ("down", "", False),
        ("down", "+", True),
        ("down", "++", False),
        ("probe", "", True),
        ("probe", "+", False),
        ("probe", "-", False),
    ],
)
def test_probes_come_faster_while_the_verdict_may_turn(
    initial: Initial, marks: str, is_changing: bool
) -> None:
    health = Health(Probe(initial=initial, interval=8.0, changing_interval=1.0, jitter=0.25), 0.0)
    tell(health, marks)
    assert health.is_changing is is_changing
    interval = 1.0 if is_changing else 8.0
    assert [health.pause(chance) for chance in (0.0, 0.5, 0.75)] == [
        interval * 0.75,
        interval,
        interval * 1.125,
    ]


@given(
    chance=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 1),
    interval=st.floats(0.001, 1e9),
)
def test_a_pause_is_off_by_its_jitter_at_most(chance: float, jitter: float, interval: float) -> None:
    pause = Health(Probe(interval=interval, jitter=jitter), 0.0).pause(chance)
    assert pause >= 0
    assert abs(pause - interval) <= interval * jitter * (1 + 1e-9) + interval * 1e-9


def test_other_settings_keep_the_verdict_and_the_streak() -> None:
    health = Health(Probe(fall=5, interval=8.0), 1.0)
    tell(health, "---")
    health.respec(Probe(fall=4, changing_interval=3.0, initial="down"), 2.0)
    assert (health.verdict, health.since, health.is_changing) == (Verdict.UP, 1.0, True)
    assert health.pause(0.5) == 3.0
    assert tell(health, "-") == "D"


def test_a_streak_that_is_too_long_already_turns_with_the_next_of_its_kind() -> None:
    health = Health(Probe(fall=9), 0.0)
    tell(health, "-----")
    health.respec(Probe(fall=2), 0.0)
    assert tell(health, "-") == "D"


@given(
    initial=st.sampled_from(["up", "down", "probe"]),
    rise=st.integers(1, 4),
    fall=st.integers(1, 4),
    marks=st.text("+-", max_size=40),
)
def test_the_verdict_is_what_the_last_long_enough_run_says(
    initial: Initial, rise: int, fall: int, marks: str
) -> None:
    """Runs of the same result tell it all: the last that was long enough decides, or the first result
    where the verdict was awaited."""
    health = Health(Probe(initial=initial, rise=rise, fall=fall), 0.0)
    tell(health, marks)
    expected = {"up": "up", "down": "down", "probe": "checking"}[initial]
    if initial == "probe" and marks:
        expected = "up" if marks[0] == "+" else "down"
    for mark, run in groupby(marks):
        if len(list(run)) >= (rise if mark == "+" else fall):
            expected = "up" if mark == "+" else "down"
    assert health.verdict == expected
    assert sum(health.flips.values()) <= len(marks)


def test_doubts_are_told_before_they_turn_the_verdict() -> None:
    health = Health(Probe(fall=3, rise=2), 0.0)
    assert health.doubts == ""
    health.observe(Check(False, "refused", 0.1, 1.0))
    health.observe(Check(False, "refused", 0.1, 2.0))
    assert health.doubts == "2 of 3 probes failed: refused"
    health.observe(Check(False, "refused", 0.1, 3.0))
    assert health.doubts == ""
    health.observe(Check(True, "ok 200", 0.1, 4.0))
    assert health.doubts == "1 of 2 probes passed: ok 200"
