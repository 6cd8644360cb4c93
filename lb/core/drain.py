"""A drain: no new request from this moment; those that run may finish, at the longest until a deadline.

A drain belongs to the backend, not to the request that asked for it: a curl that is interrupted leaves it
running, a second one finds the same drain, and `ready` takes it back.
"""

from collections.abc import Callable
from enum import StrEnum


class Then(StrEnum):
    """What becomes of the backend when its last request has ended."""

    KEEP = "keep"
    REMOVE = "remove"
    MAINTENANCE = "maintenance"


class Outcome(StrEnum):
    """How a drain ended: by itself, by cutting what was left, or because an operator took it back."""

    COMPLETED = "completed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class Drain:
    """The progress of one drain; `started`, `deadline` and `ended` are on the caller's clock, in seconds.

    `keeps_clients`: clients that a cookie ties to the backend may still come, and the drain does not end
    before that. `aborted` counts the requests that were cut, `aborted_elsewhere` those that other processes
    have said they cut; what `aborted` says of them before is what was known when they were told to. `number`
    tells the drains of a backend apart, and is the same in all processes. `is_sources`: its source has begun
    it, and the operator's wish is another. `leaves`: its source wants it removed then, whatever `then` says.
    """

    __slots__ = (
        "_waiting",
        "aborted",
        "aborted_elsewhere",
        "deadline",
        "ended",
        "is_sources",
        "keeps_clients",
        "leaves",
        "number",
        "outcome",
        "started",
        "started_with",
        "then",
    )

    def __init__(self, started: float, started_with: int, deadline: float, then: Then) -> None:
        self.started = started
        self.started_with = started_with
        self.deadline = deadline
        self.then = then
        self.keeps_clients = False
        self.is_sources = self.leaves = False
        self.number = 0
        self.aborted = 0
        self.aborted_elsewhere = 0
        self.ended: float | None = None
        self.outcome: Outcome | None = None
        self._waiting: list[Callable[[], None]] = []

    def when_ended(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when the drain has ended; at once if it has."""
        if self.outcome is None:
            self._waiting.append(tell)
        else:
            tell()

    @property
    def half_time(self) -> float:
        """Until when the backend's own clients may come, if they may."""
        return (self.started + self.deadline) / 2

    def end(self, outcome: Outcome, now: float) -> None:
        """The drain is over, and those who wait for it are told."""
        self.settle(outcome, now)
        self.tell_ended()

    def settle(self, outcome: Outcome, now: float) -> None:
        """The first half of `end`: from now on the drain has an outcome, and nothing is told yet."""
        self.outcome, self.ended = outcome, now

    def tell_ended(self) -> None:
        """The second half of `end`."""
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()

    def duration(self, now: float) -> float:
        """Seconds that the drain took, or has taken so far."""
        return (now if self.ended is None else self.ended) - self.started
