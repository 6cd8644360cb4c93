"""Whether the event loop was late, so that a probe that failed for it is not held against a backend.

The loop is late when the process was stopped and continued, moved to another machine, or held up by code
that does not await. Lateness is measured by the monotonic clock. A machine that sleeps stops that clock too,
so sleeping makes nothing late.
"""

from math import inf

import trio

from lb.net.timers import LATE_SECONDS

TICK_SECONDS = 0.1


class LoopDelay:
    """A task that should wake every tenth of a second, and notices when it woke much later.

    A caller of `was_late_since` may run before that task does, so the call looks at the clock too.
    """

    def __init__(self) -> None:
        self.is_wanted = trio.Event()
        self._due = inf
        self._late_at = -inf

    async def run(self) -> None:
        """Wait until `is_wanted` is set, then watch until cancelled."""
        await self.is_wanted.wait()
        while True:
            self._due = trio.current_time() + TICK_SECONDS
            await trio.sleep_until(self._due)
            self._look()

    def was_late_since(self, moment: float) -> bool:
        """Whether a delay of LATE_SECONDS or more ended after `moment`, a time of Trio's clock."""
        self._look()
        return self._late_at > moment

    def _look(self) -> None:
        """Count each delay once: a probe that starts right after it has not been late."""
        now = trio.current_time()
        if now - self._due > LATE_SECONDS:
            self._late_at, self._due = now, now + TICK_SECONDS
