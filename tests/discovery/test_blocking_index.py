"""Consul's rules for those who ask with an index."""

import pytest

from lb.discovery.blocking_index import BlockingIndex


@pytest.mark.parametrize(
    ("said", "indexes"),
    [
        (["10", "12", "12"], [10, 12, 12]),
        (["10", "9", "9"], [10, 0, 9]),
        (["0", "0"], [1, 0]),
        (["", "5"], [1, 5]),
        (["-5", "x", "٣", "9" * 5000], [1, 0, 1, 0]),
    ],
)
def test_an_index_that_goes_back_begins_anew_and_none_is_one(said: list[str], indexes: list[int]) -> None:
    at = BlockingIndex()
    found = []
    for each in said:
        at.answered(each, 0.0)
        found.append(at.index)
    assert found == indexes


def test_two_answers_follow_at_once_and_then_one_a_second() -> None:
    at = BlockingIndex()
    assert [at.answered("1", 0.0) for _ in range(2)] == [0.0, 0.0]
    now = 0.0
    for _ in range(5):
        pause = at.answered("1", now)
        assert pause == pytest.approx(1.0)
        now += pause
    assert at.answered("1", now + 100) == 0.0
