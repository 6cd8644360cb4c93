"""Five minutes of one backend: four numbers for each step.

There may be ten thousand backends, so the numbers stand in arrays, which take a kilobyte for each of them and
are nothing to the garbage collector. A latency that is not known is NaN there.
"""

from array import array
from math import isnan, nan

from lb.core.measures.rates import HISTORY, Rates


class Track:
    """The last steps of one backend, the oldest first."""

    __slots__ = ("failing", "in_flight", "p99", "requests")

    def __init__(self) -> None:
        self.requests, self.failing = array("f"), array("f")
        self.p99, self.in_flight = array("f"), array("f")

    def take(self, rates: Rates, in_flight: int) -> None:
        """Add what happened in a step, and what was in flight at its end."""
        failing = rates.share_5xx + rates.share_failed
        p99 = nan if rates.p99_seconds is None else rates.p99_seconds
        values = (rates.requests_per_second, failing, p99, in_flight)
        for column, value in zip(
            (self.requests, self.failing, self.p99, self.in_flight), values, strict=True
        ):
            column.append(value)
            if len(column) > HISTORY:
                del column[0]

    @property
    def latencies(self) -> list[float | None]:
        """The p99 of each step, None where no request ended."""
        return [None if isnan(value) else round(value, 6) for value in self.p99]
