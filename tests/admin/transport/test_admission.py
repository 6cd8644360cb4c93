"""How many connections the admin service takes, and which one gives way."""

from contextlib import AbstractContextManager

import pytest
import trio

import admin.transport.admission
from admin.transport.admission import Admission, Place


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.transport.admission, "MAX_CONNECTIONS", 2)


class Connection:
    """One that has come, until `leaves`."""

    def __init__(self, admission: Admission) -> None:
        self._block: AbstractContextManager[Place | None] = admission.place()
        self.place = self._block.__enter__()

    @property
    def has_a_place(self) -> bool:
        return self.place is not None and not self.place.scope.cancel_called

    def asks(self, *, is_probe: bool = False) -> bool:
        """A whole request; whether it may be served."""
        assert self.place is not None
        may = self.place.begins(is_probe=is_probe)
        self.place.is_whole()
        return may

    def leaves(self) -> None:
        self._block.__exit__(None, None, None)


async def test_the_one_that_has_waited_longest_gives_way() -> None:
    admission = Admission()
    one, two, three = (Connection(admission) for _ in range(3))
    assert [each.has_a_place for each in (one, two, three)] == [False, True, True]
    for each in (three, two, one):
        each.leaves()
    four, five = Connection(admission), Connection(admission)
    assert four.has_a_place
    assert five.has_a_place
    five.leaves()
    four.leaves()


async def test_one_that_was_answered_waits_anew() -> None:
    admission = Admission()
    one, two = Connection(admission), Connection(admission)
    assert one.asks()
    assert one.place is not None
    one.place.ends()
    three = Connection(admission)
    assert [each.has_a_place for each in (one, two, three)] == [True, False, True]
    for each in (three, two, one):
        each.leaves()


async def test_where_all_are_served_none_is_left_and_the_last_place_is_for_probes() -> None:
    admission = Admission()
    one, two = Connection(admission), Connection(admission)
    assert one.asks()
    assert not two.asks()
    assert two.asks(is_probe=True)
    three = Connection(admission)
    assert three.place is None
    for each in (three, two, one):
        each.leaves()
    assert Connection(admission).asks()


async def test_a_request_cancels_the_deadline_of_its_head() -> None:
    admission = Admission()
    with admission.place() as place:
        assert place is not None
        place.heard()
        assert place.scope.deadline == pytest.approx(trio.current_time() + 10, abs=1)
        place.begins(is_probe=False)
        place.heard()
        assert place.scope.deadline == float("inf")
