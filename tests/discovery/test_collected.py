"""One entry that is of no use costs no other, and any name becomes an id of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.announced import Announcement
from lb.discovery.collected import Collected, usable_id
from lb.settings.backend_spec import ID


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Announcement(id="x", url="ftp://a"), "x: url: 'ftp://a': expected http"),
        (Announcement(id="x", url="http://a", weight=-1), "x: weight: -1"),
        (Announcement(id="x", url="http://a", max_in_flight=0), "x: max_in_flight: 0"),
        (Announcement(id="x", url="http://a", max_connections=0), "x: max_connections: 0"),
        (Announcement(id="a b", url="http://a"), "a b: id: 'a b' may hold"),
        (Announcement(id="a", url="http://b"), "a: http://a has the id a already"),
    ],
)
def test_what_is_of_no_use_is_skipped_with_a_sentence(said: Announcement, why: str) -> None:
    collected = Collected()
    collected.add(Announcement(id="a", url="http://a"))
    collected.add(said)
    collected.add(Announcement(id="z", url="http://z"))
    announced = collected.set(5)
    assert [each.id for each in announced.backends] == ["a", "z"]
    (sentence,) = announced.skipped
    assert sentence.startswith(why)
    assert announced.next_look == 5
    assert collected.why_empty == ""


def test_nothing_to_judge_is_no_complaint_but_nothing_of_use_is() -> None:
    collected = Collected()
    assert collected.why_empty == ""
    collected.add(Announcement(id="x", url="?"))
    assert collected.why_empty.startswith("none of its 1 entries is of use: x: ")


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_any_name_becomes_an_id(name: str) -> None:
    assert ID.fullmatch(usable_id(name))
    assert usable_id(name) == name or not ID.fullmatch(name)


def test_names_that_look_alike_have_different_ids() -> None:
    names = ["a/b", "a:b", "a b", "/a/b", "ü", "ö", "x" * 200, "x" * 201]
    assert len({usable_id(name) for name in names}) == len(names)
    assert usable_id("a/b").startswith("a-b-")
