"""Deadlines that move with every phase of every exchange, and are hardly ever reached.

Moving the deadline of a Trio scope is exact bookkeeping each time, and was a sixth of our own time. Here a
move is two attributes: what is in the heap for somebody is only never later than their deadline. When its
time comes and the deadline has moved on, it goes back in for the new one; so a deadline still ends a wait at
its very instant, and one that is moved a thousand times a second costs one entry a minute.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

import trio

PRUNE_FROM = 1000
LATE_SECONDS = 0.25
TURNS = 3
"""Of the event loop: in one the readiness of sockets is told, in the next their tasks receive."""


class Timer:
    """Somebody's deadline, on Trio's clock: `scope` is cancelled when it is reached; `cancel` ends it."""

    __slots__ = ("_deadlines", "at", "entered", "scope")

    def __init__(self, deadlines: "Deadlines", scope: trio.CancelScope) -> None:
        self._deadlines = deadlines
        self.scope: trio.CancelScope | None = scope
        self.at = inf
        self.entered = inf  # when the heap looks at us next

    def move(self, at: float) -> None:
        """From now on it is at this time; `inf` is never."""
        self.at = at
        if at < self.entered:
            self.entered = at
            self._deadlines.enter(self)

    def cancel(self) -> None:
        """Nothing will be cancelled any more; the scope is let go."""
        self.scope = None
        self.at = inf


class Deadlines:
    """The timers of one balancer; `run` is the task that keeps them."""

    def __init__(self) -> None:
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
        """Forget those who were cancelled: with short connections they are nearly all."""
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
                continue  # cancelled, or there is an earlier entry that has been looked at
            timer.entered = inf
            if timer.at <= now:
                timer.scope.cancel()
            else:
                timer.move(timer.at)


async def _let_others_catch_up() -> None:
    """This process was stopped, or held up: what came meanwhile is in the sockets, and came in time."""
    for _ in range(TURNS):
        await trio.lowlevel.checkpoint()
