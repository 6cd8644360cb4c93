"""A trouble begins when it is sure, ends when it is over, and is told once each."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.tenses import IS, clause
from lb.core.trouble import Change, Trouble, Troubles
from lb.core.trouble_kinds import CALM, THRESHOLDS, Found
from lb.slices import at_once

SLOW = Found("slow", "web1", clause("web1 ", IS, " slow"))
DOWN = Found("down", "web2", clause("web2 ", IS, " down"), since=3.0)
OF_RATES = {"places", "errors", "pool errors", "slow", "slow tail", "queue", "late"}
"""Kinds that come and go with each request."""


def looked(it: Troubles, found: Sequence[Found], now: float) -> list[tuple[Change, Trouble]]:
    """What has begun and ended by this look."""
    return at_once(it.looking(found, now))


def test_it_begins_once_it_has_lasted_and_is_told_once() -> None:
    it = Troubles()
    told = [looked(it, [SLOW], at) for at in (10.0, 12.0, 14.0, 16.0, 18.0)]
    assert [[change for change, _ in each] for each in told] == [[], [], [], ["began"], []]
    assert [(each.found, each.since) for each in it.current()] == [(SLOW, 10.0)]


def test_what_is_not_found_each_time_before_it_begins_is_forgotten() -> None:
    it = Troubles()
    for at in range(10, 40, 4):
        assert looked(it, [SLOW], float(at)) == []
        assert looked(it, [], at + 2.0) == []
    assert it.current() == []


def test_one_look_without_it_does_not_end_what_comes_from_rates() -> None:
    it = Troubles()
    for at in (4.0, 8.0, 12.0):
        looked(it, [SLOW], at)
    assert looked(it, [], 14.0) == []
    assert looked(it, [SLOW], 16.0) == []
    [(change, trouble)] = looked(it, [], 16.0 + CALM)
    assert (change, trouble.since, it.current()) == ("ended", 4.0, [])


@pytest.mark.parametrize("kind", sorted(THRESHOLDS.keys() - OF_RATES))
def test_a_fact_is_over_with_the_first_look_without_it(kind: str) -> None:
    it, fact = Troubles(), DOWN._replace(kind=kind, since=None)
    looked(it, [fact], 0.0)
    looked(it, [fact], THRESHOLDS[kind].lasts)
    assert [each.found for each in it.current()] == [fact]
    [(change, _)] = looked(it, [], THRESHOLDS[kind].lasts + 2)
    assert (change, it.current()) == ("ended", [])


def test_what_says_itself_since_when_may_say_otherwise_later() -> None:
    """Of requests that wait the first has gone, and the next has not waited for so long."""
    it = Troubles()
    looked(it, [DOWN], 4.0)
    looked(it, [DOWN._replace(since=5.0)], 6.0)
    assert [each.since for each in it.current()] == [5.0]


def test_one_that_has_ended_began_when_it_was_found_first_and_is_remembered() -> None:
    it = Troubles()
    looked(it, [DOWN], 4.0)
    looked(it, [DOWN._replace(since=5.0, why="timeout")], 6.0)
    assert it.ended.newest() == []
    [(_, trouble)] = looked(it, [], 8.0)
    [ended] = it.ended.newest()
    assert (trouble.since, ended.began, ended.ended) == (3.0, 3.0, 8.0)
    assert (ended.was, ended.why) == ("web2 was down", "timeout")


def test_what_was_not_told_is_not_remembered() -> None:
    it = Troubles()
    looked(it, [SLOW], 4.0)
    looked(it, [], 6.0)
    assert it.ended.newest() == []


def test_the_newest_words_are_shown() -> None:
    it = Troubles()
    looked(it, [DOWN], 4.0)
    looked(it, [DOWN._replace(why="timeout")], 6.0)
    assert it.current()[0].found.why == "timeout"


def test_the_gravest_come_first_and_then_the_oldest() -> None:
    it = Troubles()
    other = DOWN._replace(subject="web1", since=1.0)
    for at in (0.0, 4.0, 8.0):
        looked(it, [SLOW, DOWN, other], at)
    assert [each.found.subject for each in it.current()] == ["web1", "web2", "web1"]
    assert it.current()[-1].found.kind == "slow"


FOUND = st.sampled_from(
    [Found(kind, name, clause("it ", IS, " wrong")) for kind in ("slow", "down", "queue") for name in "ab"]
)


@given(st.lists(st.lists(FOUND, max_size=4, unique=True), max_size=40))
def test_begin_and_end_take_turns_whatever_is_found(looks: list[list[Found]]) -> None:
    it, running = Troubles(), set[Found]()
    for number, found in enumerate(looks):
        for change, trouble in looked(it, found, 2.0 * number):
            assert (trouble.found in running) is (change == "ended")
            running ^= {trouble.found}
            assert 2.0 * number - trouble.since >= THRESHOLDS[trouble.found.kind].lasts
    assert {each.found for each in it.current()} == running
    assert it.count == len(running)
