"""Deadlines that move with every phase of every exchange, and are hardly ever reached.

Moving the deadline of a Trio cancel scope is exact bookkeeping each time. Here a move sets two attributes: a
timer's heap entry may be earlier than its deadline, never later. When the entry's time comes and the deadline
has moved on, the timer is pushed again for the new one. So a deadline still ends a wait at its exact instant,
and one that moves a thousand times a second costs one heap entry a minute.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

import trio

from lb.errors import LBError

PRUNE_FROM = 1000
LATE_SECONDS = 0.25
TURNS = 3
"""Passes of the event loop: in one, sockets are reported readable; in the next, their tasks receive."""


class Timer:
    """A deadline on Trio's clock: `scope` is cancelled when it is reached. `cancel` ends the timer."""

    __slots__ = ("_deadlines", "at", "entered", "scope")

    def __init__(self, deadlines: "Deadlines", scope: trio.CancelScope) -> None:
        self._deadlines = deadlines
        self.scope: trio.CancelScope | None = scope
        self.at = inf
        self.entered = inf  # the time of the earliest heap entry

    def move(self, at: float) -> None:
        """Set the deadline; `inf` is never."""
        self.at = at
        if at < self.entered:
            self.entered = at
            self._deadlines.enter(self)

    def strike(self) -> None:
        """The deadline has been reached. Only `Deadlines` calls this."""
        if self.scope is not None:
            self.scope.cancel()

    def cancel(self) -> None:
        """End the timer and let its scope go, or the two would be a reference cycle through the heap."""
        self.scope = None
        self.at = inf


class Deadline(Timer):
    """The deadline of one direction of an exchange, and the error that missing it means.

    `error` None is a quiet end. `has_struck`: this deadline has cancelled the scope; two deadlines may share
    one (`lb.proxy.guard`), which reads and resets it.
    """

    __slots__ = ("error", "has_struck")

    def __init__(self, deadlines: "Deadlines", scope: trio.CancelScope) -> None:
        super().__init__(deadlines, scope)
        self.error: type[LBError] | None = None
        self.has_struck = False

    def expect(self, seconds: float, error: type[LBError] | None) -> None:
        """From now on wait at most so many seconds; `error` is what it means if it takes longer."""
        self.error = error
        at = self.at = self._deadlines.now() + seconds
        if at < self.entered:
            self.entered = at
            self._deadlines.enter(self)

    def rest(self) -> None:
        """Nothing is waited for in this direction."""
        self.error, self.at = None, inf

    def strike(self) -> None:
        self.has_struck = True
        super().strike()


class Deadlines:
    """The timers of one balancer; `run` is the task that keeps them. To be made inside `trio.run`."""

    def __init__(self) -> None:
        self.now = trio.lowlevel.current_clock().current_time
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._looks_at = inf
        self._is_earlier = trio.Event()
        self._prune_at = PRUNE_FROM

    def enter(self, timer: Timer) -> None:
        heappush(self._heap, (timer.entered, next(self._count), timer))
        if timer.entered < self._looks_at:
            self._is_earlier.set()
        if len(self._heap) > self._prune_at:
            self._prune()

    def _prune(self) -> None:
        """Drop the entries of cancelled timers: with short connections nearly all of them are."""
        self._heap = [entry for entry in self._heap if entry[2].scope is not None]
        heapify(self._heap)
        self._prune_at = PRUNE_FROM + 2 * len(self._heap)

    async def run(self) -> None:
        while True:
            self._is_earlier = trio.Event()
            self._looks_at = self._heap[0][0] if self._heap else inf
            with trio.move_on_at(self._looks_at):
                await self._is_earlier.wait()
            if trio.current_time() - self._looks_at > LATE_SECONDS:
                await _let_others_catch_up()
            self._end_all_until(trio.current_time())

    def _end_all_until(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            entered, _, timer = heappop(heap)
            if timer.scope is None or entered != timer.entered:
                continue  # the timer was cancelled, or an earlier entry of it was handled
            timer.entered = inf
            if timer.at <= now:
                timer.strike()
            else:
                timer.move(timer.at)


async def _let_others_catch_up() -> None:
    """Let tasks receive what came while this process was stopped or held up: it came in time."""
    for _ in range(TURNS):
        await trio.lowlevel.checkpoint()
