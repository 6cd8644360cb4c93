"""What exchanges show about one backend, and when that is enough to eject it (Envoy's outlier detection).

    admitted  it failed `consecutive` times in a row, or too often in the window  -> ejected
    ejected   its time is over, and no probe says that it is down                 -> trial
    trial     one request goes well                                               -> admitted
    trial     one request fails                                                   -> ejected, for longer

Each ejection lasts `base` seconds longer than the one before, `longest` at most. One of them is forgotten
whenever the backend has been admitted for as long as the last ejection lasted. So a backend that keeps
breaking is left out longer and longer, until it works for at least half of the time, and long ejections take
long to be forgotten. That needs no setting (Envoy forgets one for each of its `interval`s).

Whether a backend that is due is really ejected depends on how many others are out (`may_eject`), and only its
pool knows that. So `failed` returns the cause, again and again, until the pool calls `eject` or an attempt
succeeds.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from math import inf

from lb.core.measures.window import Window
from lb.settings.pool_settings import Ejection


class Cause(StrEnum):
    """Why a backend is ejected: failures in a row, too large a share of them, or a failed trial."""

    CONSECUTIVE = "consecutive"
    RATIO = "ratio"
    TRIAL = "trial"


class Standing(StrEnum):
    """A backend takes requests, takes none, or is tried with one at a time."""

    ADMITTED = "admitted"
    EJECTED = "ejected"
    TRIAL = "trial"


def may_eject(ready: int, out: int, share: float) -> bool:
    """May one more of `ready` backends be ejected, when `out` others are? At most `share` at a time."""
    # Divide, do not multiply: 29 / 100 is the same float as 0.29, but 100 * 0.29 is a little less than 29.
    return ready > 0 and (out + 1) / ready <= share


class Outcomes:
    """The outcomes of one backend's attempts, and the standing that follows from them.

    `since` is when the standing began; 0.0 before it ever changed. `until` is the end of the last ejection
    and `why` its reason in words, inf and "" when admitted. `times` is how many ejections were remembered
    when the last one began; `ejections` counts all of them.

    Where several processes have attempts, each has outcomes of its own, and one of them those that decide. It
    counts failures in a row by what the others tell it: every failure, and the next success (`watch`).
    """

    __slots__ = (
        "_lasted",
        "_settings",
        "_streak",
        "_tell",
        "_window",
        "ejections",
        "since",
        "standing",
        "times",
        "until",
        "why",
    )

    def __init__(self, settings: Ejection) -> None:
        self._settings = settings
        self._window = Window(settings.window)
        self._streak = 0
        self._tell: Callable[[], None] | None = None
        self._lasted = inf
        self.standing = Standing.ADMITTED
        self.since = 0.0
        self.until = inf
        self.why = ""
        self.times = 0
        self.ejections: Counter[Cause] = Counter()

    @property
    def settings(self) -> Ejection:
        return self._settings

    @settings.setter
    def settings(self, settings: Ejection) -> None:
        """Use other settings from now on; an ejection that runs keeps its end."""
        if settings.window != self._settings.window:
            self._window = Window(settings.window)
        self._settings = settings

    def copy(self) -> "Outcomes":
        """One of the same standing; the counts of attempts and ejections are those of both."""
        twin = Outcomes(self._settings)
        twin._window, twin._streak, twin._lasted = self._window, self._streak, self._lasted
        twin.standing, twin.since, twin.until, twin.why = self.standing, self.since, self.until, self.why
        twin.times, twin.ejections = self.times, self.ejections
        return twin

    # -- what attempts show ----------------------------------------------------------------------------

    def succeeded(self, now: float) -> None:
        """An attempt went well. Called for nearly every request, so it does as little as it can."""
        self._window.add(now)
        if self._streak:
            self._end_streak()

    def _end_streak(self) -> None:
        self._streak = 0
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def failed(self, now: float) -> Cause | None:
        """An attempt failed. The cause for which the backend is due to be ejected, or None.

        Failures during an ejection come from attempts that began before it, so they do not count again.
        """
        cause = self.failed_here(now)
        if self.standing is Standing.ADMITTED and self._is_row:
            return Cause.CONSECUTIVE
        return cause

    def failed_here(self, now: float) -> Cause | None:
        """As `failed`, by what was seen in this process alone, which cannot know what comes in a row."""
        if self.standing is Standing.EJECTED:
            return None
        if self.standing is Standing.TRIAL:
            return Cause.TRIAL
        self._streak += 1
        self._window.add_rare(now)
        return self._due_for_ratio(now)

    @property
    def _is_row(self) -> bool:
        return 0 < self._settings.consecutive <= self._streak

    def _due_for_ratio(self, now: float) -> Cause | None:
        settings = self._settings
        good, bad = self._window.totals(now)
        if settings.ratio and good + bad >= settings.minimum and bad / (good + bad) >= settings.ratio:
            return Cause.RATIO
        return None

    # -- where several processes have attempts ----------------------------------------------------------

    def watch(self, tell: Callable[[], None]) -> None:
        """Call `tell` once, at the next attempt that goes well; never if it is admitted anew before that."""
        self._streak = max(1, self._streak)
        self._tell = tell

    @property
    def is_failing(self) -> bool:
        """The last attempt has failed, as far as is known here."""
        return self._streak > 0

    def failed_elsewhere(self, count: int) -> bool:
        """So many attempts more have failed in a row. Whether the backend is due to be ejected for that."""
        if self.standing is not Standing.ADMITTED:
            return False
        self._streak += count
        return self._is_row

    def succeeded_elsewhere(self) -> None:
        """An attempt has gone well."""
        self._streak = 0

    # -- what becomes of it ----------------------------------------------------------------------------

    def eject(self, cause: Cause, now: float, why: str) -> float:
        """The backend takes no requests until the instant that is returned."""
        if self.standing is Standing.ADMITTED:
            self._forget(now)
        self.times += 1
        self.ejections[cause] += 1
        self._lasted = min(self._settings.base * self.times, self._settings.longest)
        self.standing, self.since, self.until, self.why = Standing.EJECTED, now, now + self._lasted, why
        return self.until

    def _forget(self, now: float) -> None:
        """Forget one ejection per healthy period as long as the last ejection."""
        self.times -= int(min(self.times, (now - self.since) / self._lasted))

    def begin_trial(self, now: float) -> None:
        """The ejection is over; the next request shows whether the backend works."""
        self.standing, self.since = Standing.TRIAL, now

    def admit(self, now: float) -> None:
        """The backend takes requests like the others; outcomes before the ejection do not count again."""
        self.standing, self.since, self.until, self.why = Standing.ADMITTED, now, inf, ""
        self._window = Window(self._settings.window)
        self._streak = 0
        self._tell = None

    def follow(self, standing: Standing, why: str, now: float) -> bool:
        """Another process has decided that this is its standing. True if it is another one than before."""
        if standing is self.standing:
            self.why = why
            return False
        if standing is Standing.ADMITTED:
            self.admit(now)
        else:
            self.standing, self.since, self.why = standing, now, why
        return True

    def clear(self, now: float) -> None:
        """An operator says that the backend is well: forget all but the count of its ejections."""
        self.times = 0
        self.admit(now)
