"""A sliding window with two counts: of usual things, and of the rare things among them.

A list of instants would be exact, but grows with the traffic. So time is cut into buckets of a tenth of the
window, and the oldest bucket falls out as a whole: the counts look back for at least nine tenths of `length`,
and always for less than all of it. Both counts share the buckets, so they are of the same time and may be
compared. Buckets turn when something is counted or asked, never by a timer: a window at rest costs nothing.
"""

from collections import deque
from math import inf

BUCKETS = 10


class Window:
    """Two counts over the last `length` seconds.

    An instant before the current bucket counts as now: the caller may have read the clock a little earlier.
    """

    __slots__ = ("_ends", "_past", "_rare", "_usual", "_width")

    def __init__(self, length: float) -> None:
        self._width = length / BUCKETS
        self._past: deque[tuple[int, int]] = deque(maxlen=BUCKETS - 1)
        self._ends = -inf  # of the current bucket, like the two counts
        self._usual = 0
        self._rare = 0

    def add(self, now: float) -> None:
        """Count a usual thing. Called for every request, so it does as little as it can."""
        if now >= self._ends:
            self._turn(now)
        self._usual += 1

    def add_rare(self, now: float) -> None:
        """Count a rare thing."""
        if now >= self._ends:
            self._turn(now)
        self._rare += 1

    def add_many(self, usual: int, rare: int, now: float) -> None:
        """Count things that have happened elsewhere a little while ago."""
        if now >= self._ends:
            self._turn(now)
        self._usual += usual
        self._rare += rare

    def totals(self, now: float) -> tuple[int, int]:
        """How many usual and how many rare things there were."""
        if now >= self._ends:
            self._turn(now)
        usual, rare = self._usual, self._rare
        for usual_then, rare_then in self._past:
            usual += usual_then
            rare += rare_then
        return usual, rare

    def _turn(self, now: float) -> None:
        """Begin the bucket that `now` is in, once `_ends` has passed."""
        behind = now - self._ends
        if behind < (BUCKETS - 1) * self._width:
            empty = int(behind / self._width)
            self._past.append((self._usual, self._rare))
            self._past.extend([(0, 0)] * empty)
            self._ends += (empty + 1) * self._width
        else:
            self._past.clear()
            self._ends = now + self._width
        self._usual = self._rare = 0
