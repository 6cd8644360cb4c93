"""The queue of a pool: the more urgent requests first, and first come, first served among equals.

The queue keeps the order and nothing else. Which backend a ticket gets, and when, is decided by the pool.

A thousand tickets may wait for other backends than the one that has just come free. So they stand in lines,
by their urgency and by the backends that they may not have, and to find the first for a backend is to look at
the head of each line. There are few lines: requests that were never tried share one, and no request is tried
often. Clients whose cookie ties them to a backend stand in a second line too, for that backend may take them,
and nobody else, while it drains.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from itertools import count
from typing import Protocol, TypeVar

from lb.core.backend import Backend, Running
from lb.core.passed_over import NONE_PASSED_OVER
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
    there is none left to wait for. `is_beyond` the length of the queue: it waits only for a place that is on
    its way from another worker. `number` grows with each ticket; `named` is the id of the backend that its
    cookie names, or None.
    """

    __slots__ = (
        "backend",
        "holder",
        "is_beyond",
        "named",
        "number",
        "passed_over",
        "tried",
        "turn",
        "urgency",
        "wake",
    )

    def __init__(
        self,
        holder: Holder,
        tried: Collection[Backend],
        wake: Callable[[], None],
        urgency: int,
        number: int,
    ) -> None:
        self.holder = holder
        self.tried = frozenset(tried)
        self.is_beyond = False
        self.wake = wake
        self.urgency = urgency
        self.number = number
        self.named: str | None = None
        self.turn = Turn.WAITING
        self.backend: Backend | None = None
        self.passed_over = NONE_PASSED_OVER


Key = TypeVar("Key")
Line = OrderedDict[int, Ticket]
"""Tickets by their number. Any of them can leave, and the first be found, in one step."""


class RequestQueue:
    """Tickets in the order in which they are served; `waiting` is how many there are.

    `on_change` is called when that is another number.
    """

    __slots__ = ("_lines", "_names", "_numbers", "_tied", "on_change", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.on_change: Callable[[], None] = lambda: None
        self._numbers = count()
        self._lines: list[dict[frozenset[Backend], Line]] = [{} for _ in range(URGENCIES)]
        self._tied: list[dict[str, Line]] = [{} for _ in range(URGENCIES)]
        self._names: Callable[[Holder], str | None] | None = None

    def tie(self, names: Callable[[Holder], str | None] | None) -> None:
        """From now on `names` says which backend a cookie names; also for those that wait already."""
        self._names = names
        self._tied = [{} for _ in range(URGENCIES)]
        for ticket in self:
            self._tie(ticket)

    def _tie(self, ticket: Ticket) -> None:
        ticket.named = None if self._names is None else self._names(ticket.holder)
        if ticket.named is not None:
            tied = self._tied[ticket.urgency]
            tied.setdefault(ticket.named, OrderedDict())[ticket.number] = ticket

    def add(
        self,
        holder: Holder,
        tried: Collection[Backend],
        wake: Callable[[], None],
        urgency: int,
        is_beyond: bool = False,
    ) -> Ticket:
        """A ticket behind all others of its urgency."""
        ticket = Ticket(holder, tried, wake, urgency, next(self._numbers))
        ticket.is_beyond = is_beyond
        self._lines[urgency].setdefault(ticket.tried, OrderedDict())[ticket.number] = ticket
        self._tie(ticket)
        self.waiting += 1
        self.on_change()
        return ticket

    def first(self, free: Sequence[Backend], keeping: Sequence[Backend] = ()) -> Ticket | None:
        """The first ticket that may have one of the `free` backends, or that is tied to one of `keeping`.

        Its cost grows with the lines, and not with the tickets in them.
        """
        for lines, tied in zip(self._lines, self._tied, strict=True):
            heads = [
                head(line) for tried, line in lines.items() if any(backend not in tried for backend in free)
            ]
            heads += [head(line) for backend in keeping if (line := tied.get(backend.id))]
            if heads:
                return min(heads, key=lambda ticket: ticket.number)
        return None

    @property
    def most_tried(self) -> int:
        """How many backends a ticket has tried at most. Its cost is that of `first`."""
        return max((len(tried) for lines in self._lines for tried in lines), default=0)

    def hopeless(self, worth_waiting_for: Collection[Backend]) -> list[Ticket]:
        """The tickets that have tried all of these, in their order."""
        found = [
            ticket
            for lines in self._lines
            for tried, line in lines.items()
            if tried.issuperset(worth_waiting_for)
            for ticket in line.values()
        ]
        return sorted(found, key=place)

    def __iter__(self) -> Iterator[Ticket]:
        """All tickets in their order; they may be called or removed meanwhile."""
        every = (ticket for lines in self._lines for line in lines.values() for ticket in line.values())
        return iter(sorted(every, key=place))

    def remove(self, ticket: Ticket, turn: Turn) -> None:
        leave(self._lines[ticket.urgency], ticket.tried, ticket)
        if ticket.named is not None:
            leave(self._tied[ticket.urgency], ticket.named, ticket)
        self.waiting -= 1
        ticket.turn = turn
        self.on_change()

    def call(self, ticket: Ticket, turn: Turn) -> None:
        """End the wait, and wake the holder."""
        self.remove(ticket, turn)
        ticket.wake()


def head(line: Line) -> Ticket:
    return next(iter(line.values()))


def leave(lines: dict[Key, Line], key: Key, ticket: Ticket) -> None:
    """Take a ticket out of the line of this key. An empty line goes too, so that there are few."""
    line = lines[key]
    del line[ticket.number]
    if not line:
        del lines[key]


def place(ticket: Ticket) -> tuple[int, int]:
    """Where a ticket stands among all others."""
    return ticket.urgency, ticket.number


def urgency(value: bytes | None) -> int:
    """0 is served first. The value is a number, or RFC 9218's `u=N` among other things."""
    for part in (value or b"").split(b","):
        number = part.strip().removeprefix(b"u=")
        if len(number) == 1 and b"0" <= number <= b"7":
            return int(number)
    return USUAL_URGENCY
