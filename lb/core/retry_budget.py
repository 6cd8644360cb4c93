"""How many further attempts a pool can afford (Finagle's RetryBudget).

When a pool is ill, every request wants to be tried again, and those attempts are what keeps it ill. So
retries and hedges are paid for by requests: those of the last ten seconds are at most the share `share` of
the requests of these ten seconds. A pool with little traffic would never earn one, so beside that there are
`floor` for each second. What a retry may be sent for is another question (`lb.core.retry`).
"""

from lb.core.measures.window import Window

SECONDS = 10

ROUNDING = 1e-9
"""0.29 * 100 is a little less than 29 in floating point, and 29 is what was meant."""


class RetryBudget:
    """The budget of one pool; `spent` and `exhausted` count what it granted and refused since the start."""

    __slots__ = ("_floor", "_share", "_window", "exhausted", "spent")

    def __init__(self, share: float, floor: int) -> None:
        self._window = Window(SECONDS)
        self.spent = 0
        self.exhausted = 0
        self.respec(share, floor)

    def respec(self, share: float, floor: int) -> None:
        """Other terms from now on; what was earned and spent in the last seconds still counts."""
        self._share = share
        self._floor = floor

    def request(self, now: float) -> None:
        """A request has come, whatever becomes of it. 0.06 us."""
        self._window.add(now)

    def spend(self, now: float) -> bool:
        """Pay for one further attempt. False, and nothing is spent, where it cannot be afforded."""
        if not self.left(now):
            self.exhausted += 1
            return False
        self._window.add_rare(now)
        self.spent += 1
        return True

    def left(self, now: float) -> int:
        """How many could be spent now."""
        requests, retries = self._window.totals(now)
        earned = int(self._share * requests + ROUNDING) + self._floor * SECONDS
        return max(0, earned - retries)
