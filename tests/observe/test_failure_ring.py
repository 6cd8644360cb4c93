"""How many exchanges the ring of failures keeps: by their number, and by what they take."""

import tracemalloc
from math import inf

import pytest

from lb.core.backend import Backend
from lb.core.exchange_record import Announced, AttemptRecord, ExchangeRecord, Noted
from lb.core.passed_over import PassedOver
from lb.errors import Reason
from lb.observe.failure_ring import FailureRing, taken_by
from tests.core.scene import spec


def failure(number: int, attempts: int = 0, full: int = 0, text: int = 20) -> ExchangeRecord:
    """One with texts of this length, whose attempts each passed over so many full backends."""
    made = ExchangeRecord(b"%032d" % number, "127.0.0.1:80", f"192.0.2.1:{number}", number + 0.1)
    made.ended = number + 0.5
    made.target, made.detail = b"/%d" % number + b"x" * text, f"{number}" + "y" * text
    made.reason = Reason.CONNECTION_REFUSED
    for _ in range(attempts):
        others = [(f"web{at}", f"full {at}/{number}") for at in range(full)]
        attempt = AttemptRecord(WEB, PassedOver((), others), number + 0.2)
        attempt.connected, attempt.sent, attempt.ended = number + 0.3, number + 0.4, number + 0.5
        made.attempts.append(attempt)
    return made


WEB = Backend(spec("web"), "default", "", 0.0)


def numbers(ring: FailureRing) -> list[int]:
    return [int(each.id) for each in ring]


def test_the_oldest_are_dropped_above_the_number() -> None:
    ring = FailureRing(3)
    for number in range(3):
        ring.add(failure(number))
    assert (numbers(ring), ring.since) == ([0, 1, 2], -inf)
    ring.add(failure(3))
    assert (numbers(ring), ring.since) == ([1, 2, 3], 0.5)


def test_of_large_ones_fewer_are_kept() -> None:
    ring = FailureRing(1000, size=10 * taken_by(failure(0)))
    for number in range(10):
        ring.add(failure(number))
    assert numbers(ring) == [*range(10)]
    large = failure(10, attempts=3, full=20)
    ring.add(large)
    assert (numbers(ring), ring.since) == ([10], 9.5)
    for number in range(11, 22):
        ring.add(failure(number, text=19))
    assert numbers(ring) == [*range(12, 22)]


@pytest.mark.pure  # what a compiled object takes is not what is traced
@pytest.mark.parametrize("shape", [(0, 0, 20), (1, 0, 20), (3, 0, 500), (3, 20, 500)])
def test_what_one_takes_is_reckoned_not_too_low_nor_much_too_high(shape: tuple[int, int, int]) -> None:
    tracemalloc.start()
    try:
        made = [failure(number, *shape) for number in range(200)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    reckoned = sum(map(taken_by, made))
    assert taken < reckoned < 2 * taken, (taken // 200, reckoned // 200)


def test_what_the_access_log_and_a_balancer_in_front_know_is_reckoned_too() -> None:
    plain, noted, announced = failure(1), failure(1), failure(1)
    noted.noted = Noted("HTTP/1.1", {b"user-agent": b"x" * 500, b"referer": b"y" * 300})
    assert taken_by(noted) - taken_by(plain) >= 800
    announced.announced = Announced("10.0.0.9:4000", ("10.0.0.1", 443), ((1, b"h2"), (5, b"z" * 900)))
    assert taken_by(announced) - taken_by(plain) >= 902
