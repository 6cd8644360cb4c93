"""Deadlines that move with every phase of every exchange, and are hardly ever reached.

Moving the deadline of a Trio cancel scope changes Trio's heap each time. Here a move mostly sets an
attribute: a timer's heap entry may be earlier than its deadline, never later. When an entry's time comes and
the deadline has moved on, the timer is pushed again for the new deadline. So waits still end at the exact
deadline, and the cost of moving it does not depend on how often it moves.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

import trio

from lb.errors import LBError

PRUNE_FROM = 1000
"""Heap entries from which those of cancelled timers are searched for and dropped."""
LATE_SECONDS = 0.25
"""If the task of `Deadlines` wakes up this much after an entry's time, the process was stopped or held up."""
TURNS = 3
"""Passes of the event loop: in one, sockets are reported readable; in a later one, their tasks receive."""


class Cancellable(Protocol):
    """What a timer cancels: a cancel scope, or what stands for one."""

    def cancel(self) -> None: ...


class Timer:
    """Cancels `scope` when the time `at` on Trio's clock is reached. Its owner must `cancel` it at the end.

    `at` is `inf` while there is no deadline.
    """

    __slots__ = ("_deadlines", "at", "entered", "scope")

    def __init__(self, deadlines: "Deadlines", scope: Cancellable) -> None:
        self._deadlines = deadlines
        self.scope: Cancellable | None = scope
        self.at = inf
        self.entered = inf  # the time of the earliest heap entry

    def move(self, at: float) -> None:
        """Set the deadline; `inf` means none. Not after `cancel`."""
        self.at = at
        if at < self.entered:
            self.entered = at
            self._deadlines.enter(self)

    def strike(self) -> None:
        """Cancel the scope: the deadline has been reached. Only `Deadlines` calls this."""
        if self.scope is not None:
            self.scope.cancel()

    def cancel(self) -> None:
        """End the timer for good. It drops its scope, which its heap entry would otherwise keep alive."""
        self.scope = None
        self.at = inf


class Deadline(Timer):
    """The deadline of one direction of an exchange, and the error that missing it means; None for no error.

    Two deadlines may share a scope (`lb.proxy.guard`). `struck` is the error with which this one has
    cancelled it, whatever is expected since; the owner resets it for a fresh scope.
    """

    __slots__ = ("error", "struck")

    def __init__(self, deadlines: "Deadlines", scope: Cancellable) -> None:
        super().__init__(deadlines, scope)
        self.error: type[LBError] | None = None
        self.struck: type[LBError] | None = None

    def expect(self, seconds: float, error: type[LBError] | None) -> None:
        """Set the deadline to `seconds` from now; `error` is what missing it means.

        As `move`, written out because every exchange takes this step.
        """
        self.error = error
        at = self.at = self._deadlines.now() + seconds
        if at < self.entered:
            self.entered = at
            self._deadlines.enter(self)

    def rest(self) -> None:
        """Remove the deadline: nothing is waited for in this direction."""
        self.error, self.at = None, inf

    def strike(self) -> None:
        self.struck = self.error
        super().strike()


class Deadlines:
    """The timers of one balancer; `run` is the task that cancels their scopes. Made inside `trio.run`."""

    def __init__(self) -> None:
        self.now = trio.lowlevel.current_clock().current_time
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._looks_at = inf
        self._is_earlier = trio.Event()
        self._prune_at = PRUNE_FROM

    def enter(self, timer: Timer) -> None:
        """Push the timer for its time `entered`. Only timers call this."""
        heappush(self._heap, (timer.entered, next(self._count), timer))
        if timer.entered < self._looks_at:
            self._is_earlier.set()
        if len(self._heap) > self._prune_at:
            self._prune()

    def _prune(self) -> None:
        """Drop the entries of cancelled timers: where connections are short, these are most of the heap."""
        self._heap = [entry for entry in self._heap if entry[2].scope is not None]
        heapify(self._heap)
        self._prune_at = PRUNE_FROM + 2 * len(self._heap)

    async def run(self) -> None:
        """Cancel the scopes of timers at their deadlines, until cancelled.

        Where its own wakeup is late, other tasks run first, so that what arrived in time still counts.
        """
        while True:
            self._is_earlier = trio.Event()
            self._looks_at = self._heap[0][0] if self._heap else inf
            with trio.move_on_at(self._looks_at):
                await self._is_earlier.wait()
            if trio.current_time() - self._looks_at > LATE_SECONDS:
                await _let_tasks_receive()
            self._end_all_until(trio.current_time())

    def _end_all_until(self, now: float) -> None:
        """Strike, or push again, whose entries are due. A wakeup for each cancelled one would cost more."""
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].scope is None):
            entered, _, timer = heappop(heap)
            if timer.scope is None or entered != timer.entered:
                continue  # the timer was cancelled, or an earlier entry of it was handled
            timer.entered = inf
            if timer.at <= now:
                timer.strike()
            else:
                timer.move(timer.at)


async def _let_tasks_receive() -> None:
    """Let tasks receive first what arrived in time while this process was stopped or held up."""
    for _ in range(TURNS):
        await trio.lowlevel.checkpoint()
