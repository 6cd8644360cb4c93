"""Which exchanges are kept as the slowest, for how long, and that they stay small."""

from collections.abc import Callable
from typing import Any

import pytest

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.measures.histogram import Histogram
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.registry import Registry
from lb.observe import slowest
from lb.observe.recorder import Recorder
from lb.observe.slowest import KEPT_SECONDS, MINUTE_SECONDS, MOST, Kept, Slowest
from lb.slices import at_once
from tests.core.scene import registry, spec


class House:
    """A recorder, the durations of its only pool, and the registry of its backends."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.durations = Histogram()
        self.recorder = Recorder(durations=lambda _pool: self.durations)
        self.slowest = self.recorder.slowest
        self.registry: Registry = registry(lambda: 0.0)
        self.registry.add_pool("default")
        self.web1, _ = self.registry.add(spec("web1"))

    def ends(self, number: int, seconds: float, backend: Backend | None = None, **facts: Any) -> None:
        """An exchange ends now, after so many seconds in which it waited for its backend."""
        made = ExchangeRecord(b"%d" % number, "front", "192.0.2.1:5000", self.now - seconds)
        made.pool, made.status, made.ended = "default", 200, self.now
        waited = AttemptRecord(backend or self.web1, NONE_PASSED_OVER, made.started)
        waited.connected, waited.first_byte, waited.ended = made.started, self.now, self.now
        made.attempts = [waited]
        for name, fact in facts.items():
            setattr(made, name, fact)
        self.durations.observe(seconds)
        self.recorder.finished(made)

    def next_minute(self) -> None:
        self.now += MINUTE_SECONDS

    def kept(self, most: int = 99, fits: Callable[[Kept], bool] = lambda _: True) -> list[int]:
        return [int(each.id) for each in at_once(self.slowest.choosing(fits, most))]

    def record(self, number: int) -> ExchangeRecord:
        found = self.slowest.find(b"%d" % number, self.registry)
        assert found is not None
        return found


@pytest.fixture
def house() -> House:
    return House()


def test_the_slowest_of_a_minute_are_kept_and_come_first(house: House) -> None:
    for number, seconds in enumerate([0.2, 0.9, 0.1, 0.5, 0.3, 0.7]):
        house.ends(number, seconds)
    assert house.kept() == [1, 5, 3]
    assert house.kept(most=2) == [1, 5]
    assert house.slowest.find(b"0", house.registry) is None


def test_each_minute_has_its_own(house: House) -> None:
    for number in range(MOST):
        house.ends(number, 5.0 + number)
    house.next_minute()
    for number in range(10, 10 + MOST):
        house.ends(number, 0.01)
    assert sorted(house.kept()) == [0, 1, 2, 10, 11, 12]


def test_each_pool_has_its_own_and_none_has_what_no_pool_had(house: House) -> None:
    for number in range(2 * MOST):
        house.ends(number, 5.0)
    house.ends(77, 0.001, pool="quick")
    house.ends(78, 9.0, pool="")
    assert 77 in house.kept()
    assert 78 not in house.kept()
    assert len(house.kept()) == MOST + 1


def test_who_reads_slowly_hides_nobody(house: House) -> None:
    for number in range(MOST):
        house.ends(number, 1.0)
    for number in range(50, 60):
        house.ends(number, 0.5, ended=house.now + 30.0)  # the backend was done after half a second
    assert sorted(house.kept()) == [0, 1, 2]


def test_what_is_written_down_is_the_same(house: House) -> None:
    house.ends(1, 2.0, target=b"/cart", status=503)
    house.next_minute()
    house.ends(2, 0.1)
    found = house.record(1)
    assert (found.target, found.status, found.started, found.ended) == (b"/cart", 503, 998.0, 1000.0)
    assert found.attempts[0].backend is house.web1
    assert found.attempts[0].connected == 998.0


def test_a_backend_that_has_left_is_not_kept_alive(house: House) -> None:
    gone, _ = house.registry.add(spec("gone"))
    house.ends(1, 2.0, gone)
    house.registry.remove(gone)
    house.next_minute()
    house.ends(2, 0.1)
    assert house.record(1).attempts[0].backend is not gone
    assert house.record(1).attempts[0].backend.id == "gone"


def test_it_is_chosen_by_its_facts(house: House) -> None:
    house.ends(1, 2.0, status=503)
    house.next_minute()
    house.ends(2, 0.1)
    assert house.kept(fits=lambda each: each.status == 503) == [1]
    assert house.kept(fits=lambda each: "web1" in each.backends) == [1, 2]
    assert house.kept(fits=lambda each: each.ended > 1000.0) == [2]


def test_after_a_day_it_is_forgotten(house: House) -> None:
    house.ends(1, 9.0)
    house.next_minute()
    house.ends(2, 1.0)
    house.now = 1000.0 + KEPT_SECONDS
    house.ends(3, 1.0)
    assert house.kept() == [1, 2, 3]
    house.now += MINUTE_SECONDS + 1
    house.ends(4, 1.0)
    assert sorted(house.kept()) == [3, 4]


def test_of_too_many_bytes_the_oldest_are_forgotten(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowest, "BYTES", 5000)
    for number in range(40):
        house.ends(number, 1.0, target=b"/" + b"x" * 200)
        house.next_minute()
    kept = sorted(house.kept())
    assert kept == [*range(40 - len(kept), 40)]
    written = [each for each in at_once(house.slowest.choosing(lambda _: True, 99)) if each.id != b"39"]
    assert 3000 < sum(len(each.written) for each in written) + slowest.BESIDE * len(written) <= 5000


def test_the_median_is_that_of_the_minute(house: House) -> None:
    for number in range(100):
        house.ends(number, 4.0)
    house.next_minute()
    for number in range(100):
        house.ends(1000 + number, 0.02 if number else 3.0)
    house.next_minute()
    house.ends(2000, 0.1)
    slow = house.record(1000)
    assert slow.usual is not None
    assert 0.01 < slow.usual < 0.025


def test_of_a_minute_with_few_the_median_is_that_since_the_start(house: House) -> None:
    for number in range(100):
        house.ends(number, 0.02)
    house.next_minute()
    house.ends(1000, 3.0)
    house.next_minute()
    house.ends(2000, 0.1)
    usual = house.record(1000).usual
    assert usual is not None
    assert 0.01 < usual < 0.025


def test_there_is_no_median_of_few() -> None:
    house = House()
    house.ends(1, 1.0)
    assert house.slowest.usual("default") is None
    assert Slowest().usual("default") is None


def test_most_requests_are_only_compared(house: House) -> None:
    """The recorder asks no more than whether it took longer than the least of those that are kept."""
    for number in range(MOST):
        house.ends(number, 1.0)
    minute = house.slowest.minutes["default"]
    before = [*minute.slow]
    for number in range(100, 200):
        house.ends(number, 0.9)
    assert minute.slow == before
    assert minute.least == 1.0
