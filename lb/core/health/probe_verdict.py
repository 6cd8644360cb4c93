"""What probes say about one backend: a verdict that only a streak of results turns.

One failure may be an accident and one success luck, so it takes several in a row against the verdict:

    up        `fall` failures in a row     -> down
    down      `rise` successes in a row    -> up
    checking  the first result             -> up or down

A backend begins as *checking* where it may not be used before it was seen to work (`initial = "probe"`); no
verdict leads back to that. During a streak the verdict may be about to turn, so probes come faster.

`lb.probes` sends the probes and decides what counts as a success. The outcomes of exchanges are judged apart
from this, in `lb.core.health.ejection`.
"""

from collections import Counter, deque
from enum import StrEnum
from typing import NamedTuple

from lb.settings.pool_settings import Probe

RECENT = 30


class Verdict(StrEnum):
    """Up takes requests; down and checking do not."""

    UP = "up"
    DOWN = "down"
    CHECKING = "checking"


INITIALLY = {
    "up": (Verdict.UP, ""),
    "down": (Verdict.DOWN, "no probe has passed yet"),
    "probe": (Verdict.CHECKING, "no probe has ended yet"),
}


class Check(NamedTuple):
    """The result of one probe: `why` in words ("connection refused", "ok 200"), its length, and its end."""

    ok: bool
    why: str
    seconds: float
    at: float


class Health:
    """The verdict about one backend, and since when.

    `why` has the words of the last check that bears the verdict out, so it tells what is wrong now: a server
    that was killed in the middle of a probe has closed that connection, and refuses since.

    `passes`, `fails` and `flips` (by the new verdict) count since the start; `recent` has the results of the
    last RECENT checks, the newest at its right end.
    """

    __slots__ = (
        "_against",
        "_down_before",
        "_probe",
        "fails",
        "flips",
        "last",
        "passes",
        "recent",
        "since",
        "verdict",
        "why",
    )

    def __init__(self, probe: Probe, now: float) -> None:
        self._probe = probe
        self._against = 0
        self._down_before = 0.0
        self.verdict, self.why = INITIALLY[probe.initial]
        self.since = now
        self.last: Check | None = None
        self.passes = 0
        self.fails = 0
        self.flips: Counter[Verdict] = Counter()
        self.recent: deque[bool] = deque(maxlen=RECENT)

    def copy(self) -> "Health":
        """One of the same verdict; the counts of flips and the last results are those of both."""
        twin = Health(self._probe, self.since)
        twin._against, twin._down_before = self._against, self._down_before
        twin.verdict, twin.why = self.verdict, self.why
        twin.last, twin.passes, twin.fails = self.last, self.passes, self.fails
        twin.flips, twin.recent = self.flips, self.recent
        return twin

    def respec(self, probe: Probe, now: float) -> None:
        """Use other settings from the next check on; the verdict and the streak stay."""
        self._probe = probe

    def follow(self, verdict: Verdict, why: str, now: float) -> bool:
        """Another process has found this. True if it turned the verdict."""
        has_turned = verdict is not self.verdict
        if has_turned:
            self._turn(verdict, now)
        self.why = why
        return has_turned

    def observe(self, check: Check) -> bool:
        """Take in the result of a probe. True if it turned the verdict."""
        self._record(check)
        said = Verdict.UP if check.ok else Verdict.DOWN
        if said is self.verdict:
            self._against, self.why = 0, check.why
            return False
        self._against += 1
        if self._against < self._needed:
            return False
        self._turn(said, check.at)
        self.why = check.why
        self.flips[said] += 1
        self._against = 0
        return True

    def _turn(self, verdict: Verdict, now: float) -> None:
        self._down_before = self.down_seconds(now)
        self.verdict, self.since = verdict, now

    def down_seconds(self, now: float) -> float:
        """How long it was down so far, in all; the time before a first verdict is not counted."""
        return self._down_before + (now - self.since if self.verdict is Verdict.DOWN else 0.0)

    def _record(self, check: Check) -> None:
        self.last = check
        self.recent.append(check.ok)
        if check.ok:
            self.passes += 1
        else:
            self.fails += 1

    @property
    def _needed(self) -> int:
        """The length of a streak that turns the verdict."""
        if self.verdict is Verdict.CHECKING:
            return 1
        return self._probe.fall if self.verdict is Verdict.UP else self._probe.rise

    @property
    def is_changing(self) -> bool:
        """The next checks may turn the verdict, or there is none yet."""
        return self._against > 0 or self.verdict is Verdict.CHECKING

    @property
    def doubts(self) -> str:
        """The streak against the verdict, in words; "" where there is none."""
        if not self._against or self.last is None:
            return ""
        how = "passed" if self.last.ok else "failed"
        return f"{self._against} of {self._needed} probes {how}: {self.last.why}"

    def pause(self, chance: float) -> float:
        """Seconds until the next probe; `chance`, 0 to 1, keeps backends and balancers out of step."""
        interval = self._probe.changing_interval if self.is_changing else self._probe.interval
        return interval * (1 + self._probe.jitter * (2 * chance - 1))
