"""How slow a body may be: never silent for long, and not slower than a rate on average.

A limit on silence alone lets one byte every few seconds hold a backend for days (slowhttptest's "R U Dead
Yet"). So the time spent waiting for the sender may be the idle limit, and one second more for each `rate`
bytes that came: Apache's RequestReadTimeout and Kestrel's MinRequestBodyDataRate (240 bytes a second) do the
same. Only waiting counts, because a body may also be slow because its receiver is.

What one second buys grows with the body: `rate` bytes at its beginning, twice as many at `DOUBLED_AT` bytes,
three times at twice that. At a fixed rate one gigabyte might take 47 days; so it may take eight hours.
"""

from math import log1p

DOUBLED_AT = 1024 * 1024


class Pace:
    """How long to wait for the next piece of one body; the caller tells the pieces and the waits."""

    __slots__ = ("_came", "_idle", "_rate", "_waited")

    def __init__(self, idle: float, rate: int) -> None:
        self._idle = idle
        self._rate = rate
        self._waited = 0.0
        self._came = 0

    def patience(self) -> float:
        """Seconds to wait for the next piece; a `rate` of 0 asks for no rate."""
        if not self._rate:
            return self._idle
        bought = DOUBLED_AT / self._rate * log1p(self._came / DOUBLED_AT)
        return max(0.0, min(self._idle, self._idle + bought - self._waited))

    def came(self, count: int, after: float) -> None:
        """A piece of so many bytes came after a wait of so many seconds."""
        self._came += count
        self._waited += after
