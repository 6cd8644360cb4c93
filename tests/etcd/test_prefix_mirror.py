"""The mirror of a prefix: what is listed and heard, in any order of ends, repeats and losses."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.etcd.etcd_failed import AnotherEtcd
from lb.etcd.etcd_messages import Event, Header, KeyValue
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.slices import at_once

HERE = 7


def header(revision: int, cluster_id: int = HERE) -> Header:
    return Header(cluster_id=cluster_id, revision=revision)


def key(name: bytes, revision: int, value: bytes = b"") -> KeyValue:
    return KeyValue(key=name, value=value, mod_revision=revision)


def put(name: bytes, revision: int) -> Event:
    return Event(kv=key(name, revision))


def deleted(name: bytes, revision: int) -> Event:
    return Event(type="DELETE", kv=key(name, revision))


def relisted(mirror: Mirror, header: Header, keys: Sequence[KeyValue]) -> Difference:
    return at_once(mirror.listing(header, keys))


def listed(revision: int, *keys: KeyValue) -> Mirror:
    mirror = Mirror(b"/")
    relisted(mirror, header(revision), keys)
    return mirror


def test_the_first_list_is_all_new() -> None:
    mirror = Mirror(b"/")
    assert not mirror.is_listed
    assert relisted(mirror, header(5), [key(b"/a", 3)]) == Difference(put=(key(b"/a", 3),))
    assert mirror.is_listed
    assert mirror.revision == 5


def test_an_empty_list_is_one_too() -> None:
    mirror = Mirror(b"/")
    assert relisted(mirror, header(1), []) == Difference()
    assert mirror.is_listed


def test_a_list_again_says_what_has_happened_meanwhile() -> None:
    mirror = listed(5, key(b"/a", 3), key(b"/b", 4), key(b"/c", 5))
    difference = relisted(mirror, header(9), [key(b"/a", 3), key(b"/b", 8), key(b"/d", 9)])
    assert difference == Difference(put=(key(b"/b", 8), key(b"/d", 9)), gone=(b"/c",))


def test_events_change_it() -> None:
    mirror = listed(5, key(b"/a", 3))
    assert mirror.heard([put(b"/b", 6), deleted(b"/a", 6)]) == Difference((key(b"/b", 6),), (b"/a",))
    assert [*mirror.keys] == [b"/b"]
    assert mirror.revision == 6


def test_what_is_put_and_deleted_at_once_is_gone() -> None:
    mirror = listed(5)
    assert mirror.heard([put(b"/a", 6), deleted(b"/a", 7)]) == Difference(gone=(b"/a",))
    assert mirror.heard([deleted(b"/a", 8), put(b"/a", 9)]) == Difference(put=(key(b"/a", 9),))
    assert mirror.keys == {b"/a": key(b"/a", 9)}


def test_events_from_before_the_list_change_nothing() -> None:
    mirror = listed(5, key(b"/a", 3))
    assert mirror.heard([put(b"/a", 2), deleted(b"/a", 3), put(b"/gone", 5)]) == Difference()
    assert mirror.revision == 5


def test_an_event_that_comes_twice_counts_once() -> None:
    mirror = listed(5)
    mirror.heard([put(b"/a", 6), put(b"/a", 8)])
    assert mirror.heard([put(b"/a", 6), deleted(b"/a", 7)]) == Difference()
    assert mirror.keys == {b"/a": key(b"/a", 8)}


def test_a_revision_that_goes_back_is_another_etcd_and_changes_nothing() -> None:
    mirror = listed(5, key(b"/a", 3))
    mirror.heard([put(b"/b", 8)])
    with pytest.raises(AnotherEtcd, match="at revision 7, and was at 8 before"):
        relisted(mirror, header(7), [])
    assert [*mirror.keys] == [b"/a", b"/b"]


def test_another_cluster_is_another_etcd() -> None:
    mirror = listed(5, key(b"/a", 3))
    with pytest.raises(AnotherEtcd, match="it is cluster ff, and was cluster 7 before"):
        relisted(mirror, header(99, cluster_id=255), [])
    with pytest.raises(AnotherEtcd):
        mirror.recognise(header(99, cluster_id=255))


def test_a_key_whose_revision_goes_back_is_of_another_etcd() -> None:
    """Its data were wiped, and it has come further since than it was before."""
    mirror = listed(5, key(b"/a", 5))
    with pytest.raises(AnotherEtcd, match="changed at revision 2, and at 5 before"):
        relisted(mirror, header(99), [key(b"/a", 2)])


def test_a_key_that_was_not_heard_is_not_of_another_etcd() -> None:
    """etcd has bugs by which a watch loses an event. The next list heals that."""
    mirror = listed(5)
    mirror.heard([put(b"/b", 9)])
    assert relisted(mirror, header(9), [key(b"/a", 7), key(b"/b", 9)]) == Difference(put=(key(b"/a", 7),))


def test_a_key_that_a_list_would_have_had_is_of_another_etcd() -> None:
    """Its data were wiped, and it has come as far again with other keys. A list has no holes."""
    mirror = listed(5, key(b"/a", 3))
    mirror.heard([deleted(b"/a", 6)])
    with pytest.raises(AnotherEtcd, match="put at revision 4, and not listed at 5 before"):
        relisted(mirror, header(6), [key(b"/b", 4)])
    assert mirror.keys == {}


def test_a_key_that_cannot_have_been_deleted_yet_is_missing_in_another_etcd() -> None:
    mirror = listed(1)
    mirror.heard([put(b"/a", 2), put(b"/b", 2)])
    with pytest.raises(AnotherEtcd, match="a key is gone that was put at revision 2"):
        relisted(mirror, header(2), [key(b"/c", 2)])
    assert relisted(mirror, header(3), [key(b"/c", 2)]).gone == (b"/a", b"/b")


def test_a_key_with_another_value_of_one_revision_is_of_another_etcd() -> None:
    """Its data were wiped, and the same keys were put again in the same order."""
    mirror = listed(5, key(b"/a", 5, b"old"))
    with pytest.raises(AnotherEtcd, match="put at revision 5 had another value before"):
        relisted(mirror, header(5), [key(b"/a", 5, b"new")])
    assert mirror.keys == {b"/a": key(b"/a", 5, b"old")}


def test_an_answer_cannot_be_older_than_what_was_known_before() -> None:
    mirror = listed(7)
    mirror.recognise(header(4))
    mirror.recognise_since(header(5), 5)
    with pytest.raises(AnotherEtcd, match="at revision 4, and was at 5 before") as caught:
        mirror.recognise_since(header(4), 5)
    assert (caught.value.cluster_id, caught.value.revision) == (HERE, 4)


def test_another_etcd_may_be_taken_over() -> None:
    mirror = listed(5, key(b"/a", 5))
    mirror.take_over(8, 2)
    assert not mirror.keys
    with pytest.raises(AnotherEtcd):
        relisted(mirror, header(9), [])
    with pytest.raises(AnotherEtcd):
        relisted(mirror, header(1, cluster_id=8), [])
    assert relisted(mirror, header(2, cluster_id=8), [key(b"/a", 1)]) == Difference(put=(key(b"/a", 1),))


def test_keys_that_were_known_before_are_compared_with_the_first_list() -> None:
    mirror = Mirror(b"/")
    mirror.take_over(HERE, 5, [key(b"/a", 3), key(b"/b", 5)])
    difference = relisted(mirror, header(7), [key(b"/a", 3), key(b"/c", 7)])
    assert difference == Difference(put=(key(b"/c", 7),), gone=(b"/b",))


def test_a_list_holds_when_all_of_it_was_compared() -> None:
    mirror = listed(5, key(b"/a", 5))
    listing = mirror.listing(header(7), [key(b"/b", 6), key(b"/c", 7)])
    next(listing)
    next(listing)
    listing.close()
    assert mirror.keys == {b"/a": key(b"/a", 5)}
    assert mirror.revision == 5


def test_it_agrees_with_what_it_has_heard() -> None:
    mirror = listed(5, key(b"/a", 3), key(b"/b", 4))
    assert mirror.agrees(5, count=2, newest=4)
    assert mirror.agrees(99, count=2, newest=4), "other keys have changed"
    assert not mirror.agrees(6, count=3, newest=6), "a key was put"
    assert not mirror.agrees(6, count=2, newest=6), "a key was changed"
    assert not mirror.agrees(6, count=1, newest=4), "a key was deleted"
    assert Mirror(b"/").agrees(1, count=0, newest=0)


def test_it_does_not_compare_itself_with_what_is_older() -> None:
    mirror = listed(5, key(b"/a", 3))
    mirror.heard([put(b"/b", 8)])
    assert mirror.agrees(7, count=1, newest=3)


# -- any history -----------------------------------------------------------------------------------------


class Etcd:
    """A model of etcd with the keys 0 to 4: each change has a revision."""

    def __init__(self) -> None:
        self.revision = 1
        self.keys: dict[bytes, KeyValue] = {}
        self.history: list[Event] = []

    def change(self, name: int, *, puts: bool) -> None:
        at = b"/%d" % name
        if not puts and at not in self.keys:
            return
        self.revision += 1
        event = put(at, self.revision) if puts else deleted(at, self.revision)
        self.history.append(event)
        if puts:
            self.keys[at] = event.kv
        else:
            del self.keys[at]

    def since(self, revision: int) -> list[Event]:
        return [event for event in self.history if event.kv.mod_revision > revision]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("hear"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("list"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps)
def test_after_all_was_heard_it_has_what_etcd_has(done: list[tuple[str, int, int]]) -> None:
    """Lists at any time; events in order, any number at once, any number of the last ones again.

    Whoever follows the differences has the same, and so no set that was not there.
    """
    etcd, mirror = Etcd(), Mirror(b"/")
    follower: dict[bytes, KeyValue] = {}

    def follow(difference: Difference) -> None:
        follower.update({kv.key: kv for kv in difference.put})
        for name in difference.gone:
            follower.pop(name, None)
        assert follower == mirror.keys

    follow(relisted(mirror, header(etcd.revision), [*etcd.keys.values()]))
    for what, first, second in done:
        if what == "change":
            etcd.change(first, puts=bool(second))
        elif what == "list":
            follow(relisted(mirror, header(etcd.revision), [*etcd.keys.values()]))
            assert mirror.keys == etcd.keys
        else:
            news = etcd.since(mirror.revision)
            again = [event for event in etcd.history if event not in news][-second:] if second else []
            follow(mirror.heard(again + news[:first]))
    follow(mirror.heard(etcd.since(mirror.revision)))
    assert mirror.keys == etcd.keys
    count, newest = len(etcd.keys), max((kv.mod_revision for kv in etcd.keys.values()), default=0)
    assert mirror.agrees(etcd.revision, count, newest)


@settings(deadline=None)
@given(steps, st.integers(0, 10))
def test_an_event_that_is_lost_is_seen_by_comparing(done: list[tuple[str, int, int]], which: int) -> None:
    etcd = Etcd()
    mirror = listed(etcd.revision)
    for _, first, second in done:
        etcd.change(first, puts=bool(second % 2))
    news = etcd.since(mirror.revision)
    lost = news[which] if which < len(news) else None
    mirror.heard(event for event in news if event is not lost)
    count, newest = len(etcd.keys), max((kv.mod_revision for kv in etcd.keys.values()), default=0)
    has_all = mirror.keys == etcd.keys
    assert mirror.agrees(etcd.revision, count, newest) or not has_all
    if not has_all and len({kv.key for kv in etcd.keys.values()}) != len(mirror.keys):
        assert not mirror.agrees(etcd.revision, count, newest)
