"""The last troubles that have ended, for somebody who asks later what was wrong.

A trouble that comes and goes would take the room of all others. So where it begins again within AGAIN_SECONDS
it stays one entry, which counts. One that comes back on another day is another entry, so that what was wrong
last night is not told as something that began last week. Thousands of one kind may end at once, as when a
network is back, and would take that room too: what is dropped is the oldest of the kind that has most.

Texts and numbers alone are kept, and texts are cut: no removed backend stays alive, and memory is bounded.
"""

from math import inf
from typing import NamedTuple

from lb.core.trouble_kinds import THRESHOLDS, Found

REMEMBERED = 200
AGAIN_SECONDS = 3600.0
LONGEST = 500
"""Of a text that is kept; those that are told are shorter."""


class EndedTrouble(NamedTuple):
    """One thing that was wrong; `began` and `ended` are on the registry's clock.

    If it was there several `times`, it began first then and ended last then, and was there for `seconds` in
    all. `was` is a clause in the past tense; `why`, which may be "", is what was found last; `lasted` says
    whether the clause goes on with for how long.
    """

    kind: str
    subject: str
    pool: str
    backend: str
    was: str
    why: str
    lasted: bool
    began: float
    ended: float
    seconds: float
    times: int = 1

    def after(self, former: "EndedTrouble") -> "EndedTrouble":
        """Both as one. Both may say that they are since one moment; what they have in common counts once."""
        return self._replace(
            began=min(former.began, self.began),
            seconds=former.seconds + self.ended - max(former.ended, self.began),
            times=former.times + 1,
        )


class EndedTroubles:
    """Those of one balancer, `most` of them."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._of_kind: dict[str, list[EndedTrouble]] = {}
        self.remembered_since = -inf
        """All that ended after this moment are remembered; -inf where none was dropped."""

    def add(self, found: Found, since: float, now: float) -> None:
        """Remember one that was wrong since then and is over now. `now` must not go back."""
        entries = self._of_kind.setdefault(found.kind, [])
        ended = _ended(found, since, now)
        at = _newest_of(entries, found.subject)
        if at is not None and since - entries[at].ended < AGAIN_SECONDS:
            ended = ended.after(entries.pop(at))
        entries.append(ended)
        if sum(map(len, self._of_kind.values())) > self._most:
            self._drop()

    def _drop(self) -> None:
        dropped = max(self._of_kind.values(), key=len).pop(0)
        self.remembered_since = max(self.remembered_since, dropped.ended)

    def newest(self, since: float = -inf) -> list[EndedTrouble]:
        """Those that ended since then, the last one first; of those that ended at once the gravest first."""
        each_kind = [self._of_kind.get(kind, []) for kind in THRESHOLDS]
        found = [each for entries in each_kind for each in entries if each.ended >= since]
        return sorted(found, key=lambda each: each.ended, reverse=True)


def _ended(found: Found, since: float, now: float) -> EndedTrouble:
    return EndedTrouble(
        kind=found.kind,
        subject=found.subject,
        pool=found.pool,
        backend=found.backend,
        was=found.what.was[:LONGEST],
        why=found.why[:LONGEST],
        lasted=found.lasts,
        began=since,
        ended=now,
        seconds=now - since,
    )


def _newest_of(entries: list[EndedTrouble], subject: str) -> int | None:
    """Where the newest about this subject is."""
    return next((at for at in range(len(entries) - 1, -1, -1) if entries[at].subject == subject), None)
