"""How many further attempts a pool can afford (Finagle's RetryBudget).

When a pool is overloaded, every request is tried again, and the retries keep it overloaded. So retries and
hedges of the last ten seconds are at most the share `share` of the requests of the same ten seconds. A pool
with little traffic would never earn a retry, so it gets `floor` for each second beside that. Which requests
may be retried at all is decided in `lb.core.retry`.
"""

from lb.core.measures.window import Window

SECONDS = 10

ROUNDING = 1e-9
"""0.29 * 100 is a little less than 29 in floating point, and 29 is what was meant."""


class RetryBudget:
    """The budget of one pool; `spent` and `exhausted` count attempts granted and refused since the start."""

    __slots__ = ("_floor", "_share", "_window", "exhausted", "spent")

    def __init__(self, share: float, floor: int) -> None:
        self._window = Window(SECONDS)
        self.spent = 0
        self.exhausted = 0
        self.respec(share, floor)

    def respec(self, share: float, floor: int) -> None:
        """Use other settings from now on; what was earned and spent in the last seconds still counts."""
        self._share = share
        self._floor = floor

    def copy(self) -> "RetryBudget":
        """One with the same settings and counts; what traffic earns and spends is that of both."""
        twin = RetryBudget(self._share, self._floor)
        twin._window, twin.spent, twin.exhausted = self._window, self.spent, self.exhausted
        return twin

    def request(self, now: float) -> None:
        """A request has come, whatever becomes of it."""
        self._window.add(now)

    def spend(self, now: float) -> bool:
        """Pay for one further attempt. False, with nothing spent, where the budget does not allow it."""
        if not self.left(now):
            self.exhausted += 1
            return False
        self._window.add_rare(now)
        self.spent += 1
        return True

    def add(self, requests: int, spent: int, exhausted: int, now: float) -> None:
        """Count what has come, and what was granted and refused, in other processes."""
        self._window.add_many(requests, spent, now)
        self.spent += spent
        self.exhausted += exhausted

    def left(self, now: float) -> int:
        """How many further attempts the budget allows now."""
        requests, retries = self._window.totals(now)
        earned = int(self._share * requests + ROUNDING) + self._floor * SECONDS
        return max(0, earned - retries)
