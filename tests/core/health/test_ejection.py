"""Ejection: what outcomes add up to, how long it lasts, and what is forgotten."""

from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lb.core.health.ejection import Cause, Outcomes, Standing, may_eject
from lb.settings.pool_settings import Ejection
from tests.core.measures.test_window import Timestamps

ROW = Ejection(consecutive=3, ratio=0)
SHARE = Ejection(consecutive=0, ratio=0.5, minimum=4)


def tell(outcomes: Outcomes, marks: str, now: float = 100.0) -> list[Cause | None]:
    """A `+` went well and a `-` did not. What each failure was answered with."""
    causes = []
    for mark in marks:
        if mark == "+":
            outcomes.succeeded(now)
        else:
            causes.append(outcomes.failed(now))
    return causes


def ejected(settings: Ejection, *instants: float) -> Outcomes:
    """Ejected at each of these instants, and admitted again as soon as its time was over."""
    outcomes = Outcomes(settings)
    for now in instants:
        if outcomes.standing is Standing.EJECTED:
            outcomes.admit(outcomes.until)
        outcomes.eject(Cause.CONSECUTIVE, now, "connection refused")
    return outcomes


# -- when it is due ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "marks", "cause"),
    [
        (ROW, "--", None),
        (ROW, "---", Cause.CONSECUTIVE),
        (ROW, "----", Cause.CONSECUTIVE),
        (ROW, "--+--", None),
        (ROW, "--+---", Cause.CONSECUTIVE),
        (SHARE, "---", None),
        (SHARE, "----", Cause.RATIO),
        (SHARE, "++--", Cause.RATIO),
        (SHARE, "+++--", None),
        (SHARE, "+++---", Cause.RATIO),
        (Ejection(consecutive=3, ratio=0.5, minimum=3), "---", Cause.CONSECUTIVE),
        (Ejection(consecutive=3, ratio=0.5, minimum=3), "-+-", Cause.RATIO),
        (Ejection(consecutive=0, ratio=0, minimum=1), "-" * 50, None),
        (Ejection(consecutive=0, ratio=1, minimum=1), "-", Cause.RATIO),
        (Ejection(consecutive=0, ratio=1, minimum=1), "+---", None),
        (Ejection(consecutive=0, ratio=0.07, minimum=100), "+" * 93 + "-" * 7, Cause.RATIO),
        (Ejection(consecutive=0, ratio=0.07, minimum=100), "+" * 94 + "-" * 6, None),
    ],
)
def test_the_last_failure_is_answered_with(settings: Ejection, marks: str, cause: Cause | None) -> None:
    outcomes = Outcomes(settings)
    assert tell(outcomes, marks)[-1] is cause
    assert outcomes.standing is Standing.ADMITTED


def test_a_backend_that_may_not_go_is_due_until_a_success() -> None:
    outcomes = Outcomes(ROW)
    assert tell(outcomes, "-----+-") == [None, None] + [Cause.CONSECUTIVE] * 3 + [None]


def test_a_streak_does_not_age_but_the_ratio_does() -> None:
    in_a_row, in_the_window = Outcomes(ROW), Outcomes(SHARE)
    for outcomes in (in_a_row, in_the_window):
        tell(outcomes, "--", 100.0)
    assert in_a_row.failed(1e6) is Cause.CONSECUTIVE
    assert in_the_window.failed(109.9) is None
    assert in_the_window.failed(110.0) is None
    assert tell(in_the_window, "--", 110.0) == [None, Cause.RATIO]


# -- what becomes of it ------------------------------------------------------------------------------------


def test_it_begins_admitted() -> None:
    outcomes = Outcomes(ROW)
    assert outcomes.standing is Standing.ADMITTED
    assert (outcomes.since, outcomes.until, outcomes.why, outcomes.times) == (0.0, inf, "", 0)
    assert not outcomes.ejections


def test_ejected_tried_and_admitted() -> None:
    outcomes = Outcomes(ROW)
    assert outcomes.eject(Cause.CONSECUTIVE, 100.0, "connection refused") == 110.0
    assert outcomes.standing is Standing.EJECTED
    assert (outcomes.since, outcomes.until, outcomes.why) == (100.0, 110.0, "connection refused")
    outcomes.begin_trial(112.0)
    assert outcomes.standing.value == "trial"
    assert (outcomes.since, outcomes.until, outcomes.why) == (112.0, 110.0, "connection refused")
    outcomes.admit(113.0)
    assert outcomes.standing.value == "admitted"
    assert (outcomes.since, outcomes.until, outcomes.why, outcomes.times) == (113.0, inf, "", 1)
    assert outcomes.ejections == {Cause.CONSECUTIVE: 1}


def test_failures_during_an_ejection_are_old_news() -> None:
    outcomes = ejected(ROW, 100.0)
    assert tell(outcomes, "-----", 101.0) == [None] * 5
    outcomes.admit(110.0)
    assert tell(outcomes, "--", 110.0) == [None, None]


@pytest.mark.parametrize("settings", [ROW, SHARE, Ejection(consecutive=0, ratio=0)])
def test_any_failure_ends_a_trial(settings: Ejection) -> None:
    outcomes = ejected(settings, 100.0)
    outcomes.begin_trial(110.0)
    assert outcomes.failed(111.0) is Cause.TRIAL
    assert outcomes.eject(Cause.TRIAL, 111.0, "no answer in 60 s") == 131.0
    assert outcomes.ejections == {Cause.CONSECUTIVE: 1, Cause.TRIAL: 1}


@pytest.mark.parametrize(("settings", "before"), [(ROW, "--"), (SHARE, "---")])
def test_what_was_before_does_not_count_when_it_is_admitted(settings: Ejection, before: str) -> None:
    outcomes = Outcomes(settings)
    tell(outcomes, before, 100.0)
    outcomes.eject(Cause.CONSECUTIVE, 100.0, "connection refused")
    outcomes.admit(100.5)
    assert tell(outcomes, before, 100.5) == [None] * len(before)


def test_successes_of_the_ejected_do_not_dilute_what_follows() -> None:
    outcomes = ejected(SHARE, 100.0)
    tell(outcomes, "+" * 50, 100.5)
    outcomes.admit(101.0)
    assert tell(outcomes, "----", 101.0)[-1] is Cause.RATIO


# -- how long ----------------------------------------------------------------------------------------------


def test_each_ejection_is_longer_and_none_longer_than_the_longest() -> None:
    outcomes = Outcomes(Ejection(base=10, longest=35))
    now, lasted = 100.0, []
    for _ in range(5):
        until = outcomes.eject(Cause.TRIAL, now, "connection refused")
        lasted.append(until - now)
        now = until
        outcomes.begin_trial(now)
    assert lasted == [10, 20, 30, 35, 35]
    assert outcomes.times == 5


@pytest.mark.parametrize(
    ("admitted_for", "times", "lasts"),
    [
        (0, 4, 40),
        (29.9, 4, 40),
        (30, 3, 30),
        (59.9, 3, 30),
        (60, 2, 20),
        (90, 1, 10),
        (1e9, 1, 10),
    ],
)
def test_one_is_forgotten_for_each_time_as_long_as_the_last(
    admitted_for: float, times: int, lasts: float
) -> None:
    outcomes = ejected(Ejection(base=10, longest=300), 100.0, 110.0, 130.0)
    assert (outcomes.times, outcomes.until) == (3, 160.0)
    outcomes.begin_trial(160.0)
    outcomes.admit(170.0)
    now = 170.0 + admitted_for
    assert outcomes.eject(Cause.RATIO, now, "status 503") == now + lasts
    assert outcomes.times == times


def test_after_many_the_longest_is_what_it_takes_to_forget_one() -> None:
    outcomes = ejected(Ejection(base=10, longest=20), 100.0, 110.0, 130.0, 150.0)
    outcomes.admit(170.0)
    outcomes.eject(Cause.RATIO, 210.0, "status 503")
    assert outcomes.times == 4 - 2 + 1


@pytest.mark.parametrize("standing", [Standing.EJECTED, Standing.TRIAL])
def test_only_time_spent_admitted_forgets(standing: Standing) -> None:
    outcomes = ejected(Ejection(base=10), 100.0)
    if standing is Standing.TRIAL:
        outcomes.begin_trial(110.0)
    assert outcomes.eject(Cause.TRIAL, 1e6, "connection refused") == 1e6 + 20


def test_times_as_short_as_settings_allow_are_forgotten_too() -> None:
    outcomes = ejected(Ejection(base=5e-324, longest=5e-324), 100.0)
    outcomes.admit(100.0)
    outcomes.eject(Cause.TRIAL, 1e9, "connection refused")
    assert outcomes.times == 1


def test_an_operator_makes_it_forget_all_but_the_totals() -> None:
    outcomes = ejected(ROW, 100.0, 110.0)
    outcomes.clear(120.0)
    assert outcomes.standing is Standing.ADMITTED
    assert (outcomes.since, outcomes.until, outcomes.why, outcomes.times) == (120.0, inf, "", 0)
    assert outcomes.ejections == {Cause.CONSECUTIVE: 2}
    tell(outcomes, "--", 120.0)
    outcomes.clear(120.0)
    assert tell(outcomes, "--", 120.0) == [None, None]
    assert outcomes.eject(Cause.CONSECUTIVE, 120.0, "connection refused") == 130.0


# -- other settings ----------------------------------------------------------------------------------------


def test_other_settings_judge_what_was_counted_under_the_old() -> None:
    outcomes = Outcomes(Ejection(consecutive=9, ratio=0.9, minimum=9))
    tell(outcomes, "--++-")
    outcomes.settings = Ejection(consecutive=2, ratio=0.9, minimum=9)
    assert outcomes.failed(100.0) is Cause.CONSECUTIVE
    outcomes.settings = Ejection(consecutive=0, ratio=0.7, minimum=7)
    assert outcomes.settings.ratio == 0.7
    assert outcomes.failed(100.0) is Cause.RATIO


def test_another_window_begins_empty_and_the_streak_goes_on() -> None:
    outcomes = Outcomes(Ejection(consecutive=0, ratio=0.5, minimum=4))
    tell(outcomes, "---")
    outcomes.settings = Ejection(consecutive=5, ratio=0.5, minimum=4, window=60)
    assert tell(outcomes, "--") == [None, Cause.CONSECUTIVE]
    assert tell(outcomes, "+-", 159.0) == [Cause.RATIO]
    assert tell(outcomes, "-", 160.0) == [None]


def test_an_ejection_that_runs_keeps_its_end() -> None:
    outcomes = ejected(Ejection(base=10), 100.0)
    outcomes.settings = Ejection(base=50, window=60)
    assert (outcomes.standing, outcomes.until) == (Standing.EJECTED, 110.0)
    assert outcomes.eject(Cause.TRIAL, 110.0, "connection refused") == 210.0


# -- how many at a time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "share", "most"),
    [
        (0, 1.0, 0),
        (1, 0.5, 0),
        (1, 1.0, 1),
        (2, 0.5, 1),
        (3, 0.5, 1),
        (4, 0.5, 2),
        (4, 0.0, 0),
        (5, 0.99, 4),
        (5, 1.0, 5),
        (3, 0.3333333333333333, 1),
        (100, 0.29, 29),
        (100, 0.07, 7),
    ],
)
def test_at_most_the_share_is_out(ready: int, share: float, most: int) -> None:
    assert [may_eject(ready, out, share) for out in range(ready + 1)] == [
        out < most for out in range(ready + 1)
    ]


# -- all of it ---------------------------------------------------------------------------------------------


class AgainstTimestamps(RuleBasedStateMachine):
    """Beside a list of every instant and the plainest words for each rule."""

    SETTINGS = Ejection(consecutive=4, ratio=0.5, minimum=6, window=10, base=16, longest=56)

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.outcomes = Outcomes(self.SETTINGS)
        self.standing = Standing.ADMITTED
        self.lengths: list[float] = []
        self.last = inf
        self.admitted_for = 0.0
        self.start_afresh()

    def start_afresh(self) -> None:
        self.model = Timestamps(self.SETTINGS.window)
        self.in_a_row = 0

    def causes(self) -> set[Cause | None]:
        """What a failure may be answered with, as far as the window may look back."""
        if self.standing is not Standing.ADMITTED:
            return {Cause.TRIAL if self.standing is Standing.TRIAL else None}
        if self.in_a_row >= 4:
            return {Cause.CONSECUTIVE}
        return {
            Cause.RATIO if good + bad >= 6 and bad >= good else None
            for good, bad in self.model.possible(self.now)
        }

    @rule(eighths=st.sampled_from([1, 3, 8, 20, 72, 128, 400]))
    def pass_time(self, eighths: int) -> None:
        self.now += eighths / 8
        if self.standing is Standing.ADMITTED:
            self.admitted_for += eighths / 8

    @rule(count=st.integers(1, 5))
    def succeed(self, count: int) -> None:
        for _ in range(count):
            self.outcomes.succeeded(self.now)
            self.model.add(self.now, is_rare=False)
        self.in_a_row = 0

    @rule(may_go=st.sampled_from([True, True, False]))
    def fail(self, may_go: bool) -> None:
        self.model.add(self.now, is_rare=True)
        self.in_a_row += 1
        cause = self.outcomes.failed(self.now)
        assert cause in self.causes()
        if cause is not None and (may_go or cause is Cause.TRIAL):
            self.eject(cause)

    def eject(self, cause: Cause) -> None:
        while self.lengths and self.admitted_for >= self.last:
            self.lengths.pop()
            self.admitted_for -= self.last
        self.lengths.append(16)
        self.last = min(56.0, sum(self.lengths))
        self.admitted_for = 0
        assert self.outcomes.eject(cause, self.now, "status 503") == self.now + self.last
        self.standing = Standing.EJECTED

    @precondition(lambda self: self.standing is Standing.EJECTED)
    @rule()
    def try_it(self) -> None:
        self.now = max(self.now, self.outcomes.until)
        self.outcomes.begin_trial(self.now)
        self.standing = Standing.TRIAL

    @precondition(lambda self: self.standing is Standing.TRIAL)
    @rule()
    def go_well(self) -> None:
        self.outcomes.succeeded(self.now)
        self.outcomes.admit(self.now)
        self.standing = Standing.ADMITTED
        self.start_afresh()

    @rule(sure=st.sampled_from([False, False, True]))
    def clear(self, sure: bool) -> None:
        if sure:
            self.outcomes.clear(self.now)
            self.standing = Standing.ADMITTED
            self.lengths = []
            self.start_afresh()

    @invariant()
    def agrees(self) -> None:
        assert self.outcomes.standing is self.standing
        assert self.outcomes.times == len(self.lengths)
        assert (self.outcomes.until == inf) is (self.standing is Standing.ADMITTED)
        assert bool(self.outcomes.why) is (self.standing is not Standing.ADMITTED)


TestAgainstTimestamps = AgainstTimestamps.TestCase
