"""The retry budget: a share of the requests and a floor, over the last ten seconds."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lb.core.retry_budget import RetryBudget
from tests.core.measures.test_window import Timestamps


def after(requests: int, share: float, floor: int) -> RetryBudget:
    """A budget at 100.0, when so many requests came at once."""
    budget = RetryBudget(share, floor)
    for _ in range(requests):
        budget.request(100.0)
    return budget


@pytest.mark.parametrize(
    ("requests", "share", "floor", "left"),
    [
        (0, 0.2, 10, 100),
        (0, 0.2, 0, 0),
        (4, 0.2, 0, 0),
        (5, 0.2, 0, 1),
        (9, 0.2, 0, 1),
        (50, 0.2, 3, 40),
        (100, 0.0, 0, 0),
        (100, 1.0, 0, 100),
        (100, 0.29, 0, 29),
        (100, 0.07, 0, 7),
    ],
)
def test_what_can_be_spent(requests: int, share: float, floor: int, left: int) -> None:
    budget = after(requests, share, floor)
    assert budget.left(100.0) == left
    spent = [budget.spend(100.0) for _ in range(left + 2)]
    assert spent == [True] * left + [False] * 2
    assert (budget.spent, budget.exhausted, budget.left(100.0)) == (left, 2, 0)


def test_nothing_is_earned_for_longer_than_ten_seconds() -> None:
    budget = after(50, share=0.2, floor=0)
    assert budget.left(109.9) == 10
    assert budget.left(110.0) == 0
    assert not budget.spend(110.0)


def test_what_was_spent_comes_back_after_ten_seconds() -> None:
    budget = after(0, share=0.2, floor=1)
    assert [budget.spend(100.0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.spend(109.9)
    assert budget.spend(110.0)
    assert (budget.spent, budget.exhausted) == (11, 2)


def test_other_terms_hold_at_once_and_what_was_spent_still_counts() -> None:
    budget = after(100, share=0.2, floor=0)
    assert all(budget.spend(100.0) for _ in range(20))
    budget.respec(0.5, 1)
    assert budget.left(100.0) == 40
    budget.respec(0.1, 0)
    assert budget.left(100.0) == 0
    assert (budget.spent, budget.exhausted) == (20, 0)


class AgainstTimestamps(RuleBasedStateMachine):
    """Beside a list of every instant: what is left is what some look back of nine to ten seconds gives."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.share, self.floor = 0.5, 0
        self.budget = RetryBudget(self.share, self.floor)
        self.model = Timestamps(10.0)
        self.spent = self.exhausted = 0

    def possible(self) -> set[int]:
        """The shares are binary fractions, so that the model needs no rounding."""
        return {
            max(0, int(self.share * requests) + 10 * self.floor - retries)
            for requests, retries in self.model.possible(self.now)
        }

    @rule(eighths=st.sampled_from([1, 3, 8, 20, 71, 72, 73, 80, 200]))
    def pass_time(self, eighths: int) -> None:
        self.now += eighths / 8

    @rule(count=st.integers(1, 9))
    def request(self, count: int) -> None:
        for _ in range(count):
            self.budget.request(self.now)
            self.model.add(self.now, is_rare=False)

    @rule()
    def spend(self) -> None:
        possible = self.possible()
        if self.budget.spend(self.now):
            assert max(possible) > 0
            self.model.add(self.now, is_rare=True)
            self.spent += 1
        else:
            assert min(possible) == 0
            self.exhausted += 1

    @rule(share=st.sampled_from([0.0, 0.125, 0.5, 1.0]), floor=st.integers(0, 1))
    def respec(self, share: float, floor: int) -> None:
        self.share, self.floor = share, floor
        self.budget.respec(share, floor)

    @invariant()
    def left(self) -> None:
        assert self.budget.left(self.now) in self.possible()
        assert (self.budget.spent, self.budget.exhausted) == (self.spent, self.exhausted)


TestAgainstTimestamps = AgainstTimestamps.TestCase


def test_what_others_have_spent_is_spent() -> None:
    budget = RetryBudget(0.5, 0)
    budget.add(20, 4, 3, 100.0)
    assert (budget.left(100.0), budget.spent, budget.exhausted) == (6, 4, 3)
    assert budget.left(110.0) == 0
