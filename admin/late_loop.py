"""How late the event loop was lately, and why: it had too much to do, or other programs had the cores."""

import os
from collections.abc import Iterator
from pathlib import Path

from lb.control import Control
from lb.core.measures.histogram import Histogram
from lb.core.tenses import IS, clause
from lb.core.trouble_kinds import THRESHOLDS, Found
from lb.core.trouble_rules import percent, took

Times = tuple[int, int]
"""How long the loop of a process ran on a core, and how long it was ready to and had none; nanoseconds."""
OTHERS_HAVE_CORES = 0.3
"""From this part on of the time in which the loop had something to do, others are to blame."""


class LateLoop:
    """Looks at the loops of this process, or of the workers where there are some."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lags: list[int] = []
        self._times: dict[int, Times] = {}

    def found(self) -> Iterator[Found]:
        """What is found since the last call."""
        lately = Histogram()
        lately.counts = self._new_lags()
        [late] = lately.quantiles(0.5)
        if late is None or late < THRESHOLDS["late"].seconds:
            self._times = {}
            return
        share = self._share_without_core()
        why, advice = _blamed(share)
        yield Found(
            "late", "", what=clause("the event loop ", IS, f" late by {took(late)}"), why=why, advice=advice
        )

    def _new_lags(self) -> list[int]:
        counts, before = [*self._control.metrics.loop_lags.counts], self._lags
        self._lags = counts
        return [now - then for now, then in zip(counts, before or counts, strict=True)]

    def _share_without_core(self) -> float:
        """The part of the time in which a loop had something to do, and no core; 0 at the first call."""
        pids = [each.pid for each in self._control.workers.list() if each.pid is not None] or [os.getpid()]
        before, self._times = self._times, {pid: times for pid in pids if (times := _times(pid)) is not None}
        grown = [_grown(times, before[pid]) for pid, times in self._times.items() if pid in before]
        waited = sum(each for _, each in grown)
        return waited / max(1, waited + sum(ran for ran, _ in grown))


def _blamed(share: float) -> tuple[str, str]:
    """Why the loop is late, and what to do about it."""
    if share >= OTHERS_HAVE_CORES:
        return (
            f"other programs have the cores for {percent(share)} of the time that it wants one",
            "See in `top` what else runs on this machine, or give this process cores of its own.",
        )
    return (
        "this process has more to do than one core can",
        "Use more workers, or a faster machine; a policy of your own may be slow.",
    )


def _times(pid: int) -> Times | None:
    """Those of its main thread since its start, as Linux counts them; None where that is not known."""
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(ran), int(waited)


def _grown(now: Times, before: Times) -> Times:
    return now[0] - before[0], now[1] - before[1]
