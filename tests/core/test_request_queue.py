"""The queue by itself: its order, and tickets that come and go while it is walked."""

import pytest

from lb.core.request_queue import USUAL_URGENCY, RequestQueue, Ticket, Turn, urgency
from tests.core.scene import Request


def add(queue: RequestQueue, name: str, level: int = USUAL_URGENCY) -> Ticket:
    return queue.add(Request(name), (), lambda: None, level)


def names(queue: RequestQueue) -> list[str]:
    return [str(ticket.holder) for ticket in queue]


def test_the_more_urgent_come_first_and_equals_in_their_order() -> None:
    queue = RequestQueue()
    for name, level in (("a", 3), ("b", 7), ("c", 0), ("d", 3), ("e", 0)):
        add(queue, name, level)
    assert names(queue) == ["c", "e", "a", "d", "b"]
    assert queue.waiting == 5


def test_tickets_may_leave_while_the_queue_is_walked() -> None:
    queue = RequestQueue()
    tickets = [add(queue, name) for name in "abc"]
    seen = []
    for ticket in queue:
        seen.append(ticket)
        queue.remove(ticket, Turn.LEFT)
    assert seen == tickets
    assert (queue.waiting, names(queue)) == (0, [])


def test_a_call_ends_the_wait_before_it_wakes() -> None:
    queue = RequestQueue()
    woken: list[tuple[Turn, int]] = []
    ticket = queue.add(Request(), (), lambda: woken.append((ticket.turn, queue.waiting)), USUAL_URGENCY)
    queue.call(ticket, Turn.REFUSED)
    assert woken == [(Turn.REFUSED, 0)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 3), (b"", 3), (b"0", 0), (b"7", 7), (b"8", 3), (b"u=0", 0), (b"i, u=5", 5), (b" u=1 ", 1),
        (b"u=10", 3), (b"u=x, 2", 2), (b"-1", 3), (b"\xff", 3),
    ],
)  # fmt: skip
def test_urgency_is_a_number_or_a_priority_field(value: bytes | None, expected: int) -> None:
    assert urgency(value) == expected
