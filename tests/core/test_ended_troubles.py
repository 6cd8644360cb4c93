"""The last troubles that have ended are remembered: what flaps as one, and no kind without the others."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.ended_troubles import AGAIN_SECONDS, LONGEST, REMEMBERED, EndedTrouble, EndedTroubles
from lb.core.measures.rates import Rates
from lb.core.tenses import IS, clause
from lb.core.trouble_kinds import THRESHOLDS, Found
from lb.core.trouble_rules import Survey, of_pool
from lb.slices import at_once
from tests.core.scene import Scene, spec


def found(kind: str = "down", subject: str = "web1", why: str = "") -> Found:
    return Found(kind, subject, clause(f"{subject} ", IS, f" {kind}"), why)


def test_one_that_ends_is_remembered_in_the_past_tense() -> None:
    it = EndedTroubles()
    it.add(found(why="refused")._replace(pool="default", backend="web1"), 3.0, 10.0)
    assert it.newest() == [
        EndedTrouble("down", "web1", "default", "web1", "web1 was down", "refused", True, 3.0, 10.0, 7.0)
    ]
    assert it.remembered_since == -inf


def test_the_last_one_comes_first_and_of_those_at_once_the_gravest() -> None:
    it = EndedTroubles()
    it.add(found("slow"), 0.0, 10.0)
    for kind in ("errors", "nobody", "down"):
        it.add(found(kind), 5.0, 20.0)
    assert [each.kind for each in it.newest()] == ["nobody", "down", "errors", "slow"]
    assert [each.kind for each in it.newest(since=20.0)] == ["nobody", "down", "errors"]
    assert it.newest(since=20.1) == []


def test_one_that_flaps_is_one_entry_and_takes_no_room() -> None:
    it = EndedTroubles()
    it.add(found("slow"), 0.0, 5.0)
    for at in range(500):
        it.add(found(why=f"{at}"), 10.0 * at, 10.0 * at + 4.0)
    down, slow = it.newest()
    assert (down.times, down.began, down.ended, down.seconds) == (500, 0.0, 4994.0, 2000.0)
    assert (down.why, slow.times) == ("499", 1)


@pytest.mark.parametrize(("pause", "entries"), [(AGAIN_SECONDS - 1, 1), (AGAIN_SECONDS, 2)])
def test_what_comes_back_much_later_is_another(pause: float, entries: int) -> None:
    it = EndedTroubles()
    it.add(found(), 0.0, 10.0)
    it.add(found(), 10.0 + pause, 20.0 + pause)
    assert len(it.newest()) == entries
    it.add(found(), 25.0 + pause, 30.0 + pause)
    assert (len(it.newest()), it.newest()[0].times) == (entries, 4 - entries)


def test_another_backend_or_kind_is_another() -> None:
    it = EndedTroubles()
    for each in (found(), found(subject="web2"), found("ejected")):
        it.add(each, 0.0, 10.0)
    assert [each.times for each in it.newest()] == [1, 1, 1]


def test_one_that_says_it_is_since_before_the_former_has_ended_counts_no_second_twice() -> None:
    """A backend that is down, meanwhile in maintenance for a look."""
    it = EndedTroubles()
    it.add(found(), 0.0, 10.0)
    it.add(found(), 0.0, 16.0)
    [one] = it.newest()
    assert (one.times, one.began, one.ended, one.seconds) == (2, 0.0, 16.0, 16.0)


def test_thousands_of_one_kind_leave_the_others() -> None:
    it = EndedTroubles()
    it.add(found("nobody", "default"), 0.0, 5.0)
    it.add(found("errors"), 0.0, 6.0)
    for number in range(3000):
        it.add(found(subject=f"web{number}"), 1.0, 9.0)
    kept = it.newest()
    assert len(kept) == REMEMBERED
    assert [each.kind for each in kept[-2:]] == ["errors", "nobody"]
    assert kept[0].subject.startswith("web")
    assert it.remembered_since == 9.0


def test_it_says_since_when_all_are_remembered() -> None:
    it = EndedTroubles(most=2)
    for number in range(4):
        it.add(found(subject=f"web{number}"), 0.0, float(number))
    assert [each.subject for each in it.newest()] == ["web3", "web2"]
    assert it.remembered_since == 1.0


def test_texts_are_cut() -> None:
    it = EndedTroubles()
    it.add(Found("file", "configuration", clause("x" * 9000, IS), why="y" * 9000), 0.0, 1.0)
    [one] = it.newest()
    assert (len(one.was), len(one.why)) == (LONGEST, LONGEST)


def test_nothing_keeps_a_removed_backend_alive() -> None:
    scene, it, survey = Scene(spec("web1")), EndedTroubles(), Survey()
    scene.registry.maintenance(scene["web1"])
    survey.see(scene["web1"], Rates())
    for each in at_once(of_pool(scene.pool, survey, Rates())):
        it.add(each, 0.0, 1.0)
    [one] = it.newest()
    assert {type(value) for value in one} == {str, bool, float, int}


ENDS = st.tuples(st.sampled_from(["slow", "down", "queue"]), st.sampled_from("abcd"), st.floats(0, 9000))


@given(st.lists(ENDS, max_size=60))
def test_it_keeps_the_newest_of_each_and_knows_what_it_forgot(ends: list[tuple[str, str, float]]) -> None:
    it, now, last = EndedTroubles(most=5), 0.0, dict[tuple[str, str], float]()
    for kind, subject, pause in ends:
        now += pause
        it.add(found(kind, subject), now - pause / 2, now)
        last[kind, subject] = now
    kept = it.newest()
    assert len(kept) <= 5
    assert [each.ended for each in kept] == sorted((each.ended for each in kept), reverse=True)
    listed = {(each.kind, each.subject) for each in kept}
    assert listed >= {key for key, ended in last.items() if ended > it.remembered_since}
    assert {each.kind for each in kept} <= THRESHOLDS.keys()
