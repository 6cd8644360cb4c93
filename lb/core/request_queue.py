"""The queue of a pool: the more urgent requests first, and first come, first served among equals.

The queue keeps the order and nothing else. Which backend a ticket gets, and when, is decided by the pool.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from typing import Protocol

from lb.core.backend import Backend, Running
from lb.core.exchange_record import PassedOver
from lb.core.policies.base import Asking

URGENCIES = 8
USUAL_URGENCY = 3  # RFC 9218 section 4.1


class Holder(Running, Asking, Protocol):
    """A request that has or wants a place on a backend: policies look at it, and it can be cut."""


class Turn(Enum):
    """What became of a wait in the queue."""

    WAITING = 0
    GRANTED = 1
    LEFT = 2
    REFUSED = 3


class Ticket:
    """One wait in the queue, of a request that may not have the backends it has `tried`.

    `wake` is called once, unless the ticket leaves before: when `backend` was taken for its holder, or when
    there is none left to wait for.
    """

    __slots__ = ("backend", "holder", "line", "passed_over", "tried", "turn", "wake")

    def __init__(
        self,
        holder: Holder,
        tried: Collection[Backend],
        wake: Callable[[], None],
        line: "deque[Ticket]",
    ) -> None:
        self.holder = holder
        self.tried = tried
        self.wake = wake
        self.line = line
        self.turn = Turn.WAITING
        self.backend: Backend | None = None
        self.passed_over: PassedOver = ()


class RequestQueue:
    """Tickets in the order in which they are served; `waiting` is how many there are."""

    __slots__ = ("_lines", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._lines: list[deque[Ticket]] = [deque() for _ in range(URGENCIES)]

    def add(
        self, holder: Holder, tried: Collection[Backend], wake: Callable[[], None], urgency: int
    ) -> Ticket:
        """A ticket at the end of the line of its urgency."""
        line = self._lines[urgency]
        ticket = Ticket(holder, tried, wake, line)
        line.append(ticket)
        self.waiting += 1
        return ticket

    def __iter__(self) -> Iterator[Ticket]:
        """All tickets in their order; they may be called or removed meanwhile."""
        for line in self._lines:
            if line:
                yield from list(line)

    def remove(self, ticket: Ticket, turn: Turn) -> None:
        ticket.line.remove(ticket)
        self.waiting -= 1
        ticket.turn = turn

    def call(self, ticket: Ticket, turn: Turn) -> None:
        """End the wait, and wake the holder."""
        self.remove(ticket, turn)
        ticket.wake()


def urgency(value: bytes | None) -> int:
    """0 is served first. The value is a number, or RFC 9218's `u=N` among other things."""
    for part in (value or b"").split(b","):
        number = part.strip().removeprefix(b"u=")
        if len(number) == 1 and b"0" <= number <= b"7":
            return int(number)
    return USUAL_URGENCY
