"""Rates, shares and quantiles of the last seconds, from counters that only grow.

A reading is a copy of the counters at one instant. The difference of two readings is all that happened
between them, and numbers are worked out from it on demand. So counting costs nothing more, and a reading that
comes late makes no number wrong, because its time is part of it. Two rings hold the readings: one a second
for the last ten seconds, and every fifth for a minute.

There are many readings, and none can be part of a reference cycle, so the garbage collector need not visit
them (`gc=False`).
"""

from array import array
from collections import deque
from itertools import repeat
from operator import sub
from typing import NamedTuple

import msgspec

from lb.core.measures.histogram import Histogram

WINDOW = 10
"""Seconds, and readings: short enough to show a burst, long enough that one request is no burst."""
STEP = 5
"""One reading in so many is kept for longer, and makes a point of the history."""
MINUTE = 12
"""A minute, in steps."""
HISTORY = 60
"""Five minutes, in steps."""


NO_BUCKETS = array("Q")


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The counters at one instant: requests that ended, by class of status or `failed`, and by duration.

    The buckets are an array, which takes a quarter of what a tuple of numbers takes.
    """

    at: float
    ended: int = 0
    codes: tuple[int, int, int, int] = (0, 0, 0, 0)
    failed: int = 0
    buckets: "array[int]" = NO_BUCKETS


class Codes(msgspec.Struct, frozen=True, gc=False):
    """How many responses of each class there were; `failed` counts requests without a whole response."""

    ok: int = msgspec.field(default=0, name="2xx")
    redirected: int = msgspec.field(default=0, name="3xx")
    refused: int = msgspec.field(default=0, name="4xx")
    broken: int = msgspec.field(default=0, name="5xx")
    failed: int = 0


class Rates(msgspec.Struct, frozen=True, gc=False):
    """What happened between two readings: `ended` in all, shares of that, quantiles (null where it is 0).

    A quantile is interpolated within a bucket, as Prometheus does; one of 30 s may be longer.
    """

    ended: int = 0
    requests_per_second: float = 0.0
    share_4xx: float = 0.0
    share_5xx: float = 0.0
    share_failed: float = 0.0
    p50_seconds: float | None = None
    p90_seconds: float | None = None
    p99_seconds: float | None = None


class Point(NamedTuple):
    """One instant of a history: the numbers that people watch over time."""

    requests_per_second: float
    share_5xx: float
    p50_seconds: float | None
    p99_seconds: float | None
    in_flight: int
    available: int
    backends: int


QUIET, NONE = Rates(), Codes()


class Trend:
    """The last readings of one set of counters, oldest first, in rings of a fixed size."""

    __slots__ = ("_lately", "_steps", "points")

    def __init__(self) -> None:
        self._lately: deque[Reading] = deque(maxlen=WINDOW + 1)
        self._steps: deque[Reading] = deque(maxlen=MINUTE + 1)
        self.points: deque[Point] = deque(maxlen=HISTORY)

    def take(self, reading: Reading, is_step: bool) -> None:
        """Add a reading; later ones are compared with it."""
        self._lately.append(reading)
        if is_step or not self._steps:
            self._steps.append(reading)

    def lately(self) -> Rates:
        """Of the last WINDOW seconds, or of as many as there were."""
        return between(self._lately[0], self._lately[-1]) if self._lately else QUIET

    def last_step(self) -> Rates:
        """Between the last two steps."""
        return between(self._steps[-2], self._steps[-1]) if len(self._steps) > 1 else QUIET

    def minute(self) -> Codes:
        """The codes of the last minute and up to a step more."""
        if not self._steps or self._steps[0].ended == self._lately[-1].ended:
            return NONE
        before, after = self._steps[0], self._lately[-1]
        ok, redirected, refused, broken = map(sub, after.codes, before.codes)
        return Codes(ok, redirected, refused, broken, after.failed - before.failed)


def between(before: Reading, after: Reading) -> Rates:
    """What the counters say of the time between two readings."""
    ended, seconds = after.ended - before.ended, after.at - before.at
    if ended <= 0 or seconds <= 0:
        return QUIET
    took = Histogram()
    took.counts = list(map(sub, after.buckets, before.buckets or repeat(0)))
    return Rates(
        ended,
        round(ended / seconds, 2),
        _share(after.codes[2] - before.codes[2], ended),
        _share(after.codes[3] - before.codes[3], ended),
        _share(after.failed - before.failed, ended),
        *(None if each is None else round(each, 6) for each in took.quantiles(0.5, 0.9, 0.99)),
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if part else 0.0
