"""Circles: the search finds what a look at every point finds."""

from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.circles import CIRCLES, LOOKS, Circles, points_of, time_of
from tests.core.scene import Request, backends

INF = float("inf")
KEYS = st.binary(max_size=3)
WEIGHTS = st.lists(st.integers(4, 7), min_size=1, max_size=20)


def placed(members: list[Backend]) -> Circles:
    circles = Circles(7)
    circles.add([(each, points_of(each.id.encode())) for each in members])
    return circles


def when(key: bytes, backend: Backend) -> float:
    return time_of(points_of(key), points_of(backend.id.encode()), backend.spec.weight)


@given(key=KEYS, weights=WEIGHTS, data=st.data())
def test_the_first_of_the_candidates_is_found(key: bytes, weights: list[int], data: st.DataObject) -> None:
    members = backends(*weights)
    candidates = data.draw(st.sets(st.sampled_from(members), min_size=1))
    best, least = placed(members).first(points_of(key), candidates, INF, None, INF)
    assert best is min(candidates, key=lambda each: when(key, each))
    assert least == when(key, best)


@given(key=KEYS, weights=WEIGHTS, data=st.data())
def test_one_without_room_is_passed_over(key: bytes, weights: list[int], data: st.DataObject) -> None:
    members = backends(*weights, 5)
    full = data.draw(st.sampled_from(members))
    full.running = {Request() for _ in range(full.share)}
    best, _ = placed(members).first(points_of(key), members, 1.0, None, INF)
    assert best is min((each for each in members if each is not full), key=lambda each: when(key, each))


def test_no_more_than_a_few_are_looked_at() -> None:
    members = backends(*[5] * 26)
    for each in members[: CIRCLES * LOOKS]:
        each.running = {Request()}
    looked_at: list[object] = []

    class Looks(list[Backend]):
        def __contains__(self, backend: object) -> bool:
            looked_at.append(backend)
            return True

    best, least = placed(members).first(points_of(b"key"), Looks(), 0.0, None, INF)
    assert (best, least) == (None, INF)
    assert len(looked_at) == CIRCLES * LOOKS


def test_an_earlier_one_of_others_is_kept() -> None:
    members = backends(5, 5)
    other = backends(1)[0]
    assert placed(members).first(points_of(b"key"), members, INF, other, 0.0) == (other, 0.0)


@given(weights=WEIGHTS, keys=st.lists(KEYS, min_size=1, max_size=5), data=st.data())
def test_points_that_come_one_by_one_stand_as_if_they_came_at_once(
    weights: list[int], keys: list[bytes], data: st.DataObject
) -> None:
    members = backends(*weights, 5)
    gone = data.draw(st.sets(st.sampled_from(members[:-1])) if weights else st.just(set[Backend]()))
    one_by_one, at_once = Circles(7), placed([each for each in members if each not in gone])
    for each in members:
        one_by_one.add([(each, points_of(each.id.encode()))])
    swept = placed(members)
    swept.keep([each for each in members if each not in gone])
    for each in gone:
        one_by_one.drop(each, points_of(each.id.encode()))
    for circles in (one_by_one, swept):
        assert circles._points == at_once._points
        assert circles._owners == at_once._owners


def test_there_are_none_left_when_the_last_has_gone() -> None:
    (only,) = members = backends(5)
    circles = placed(members)
    assert not circles.is_empty
    circles.drop(only, points_of(b"a"))
    assert circles.is_empty
