"""What is wrong, in sentences that name who it is, from when it is sure until it is surely over.

Rules look at what is counted and say what they find at one moment: of backends and pools in
`lb.core.trouble_rules`, of a cluster in `lb.core.cluster_trouble`, of all else in `admin.trouble_watch`. A
number that is near its threshold would come and go with each look. So a trouble begins when it has been found
for as long as its kind asks, and ends when it has not been found for as long as its kind asks. A fact is over
with the first look that does not find it; what comes from rates has to be away for a while. Those that have
ended are remembered (`lb.core.ended_troubles`).
"""

from collections.abc import Generator, Sequence
from typing import Literal, NamedTuple

from lb.core.ended_troubles import EndedTroubles
from lb.core.trouble_kinds import THRESHOLDS, Found

Change = Literal["began", "ended"]


class Trouble(NamedTuple):
    """One thing that is wrong: how it was found last, and since when, on the registry's clock.

    What was found may say itself since when it is; otherwise it is since it was found first. As the one of
    several requests that has waited longest may change, that may become later; of one that has ended it is
    when it began.
    """

    found: Found
    since: float


class Troubles:
    """All that is wrong with one balancer. Its owner does a `looking` every few seconds."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], float] = {}
        self._last: dict[tuple[str, str], tuple[float, Found]] = {}
        self._begun: dict[tuple[str, str], float] = {}
        self.ended = EndedTroubles()

    def looking(
        self, found: Sequence[Found], now: float
    ) -> Generator[None, None, list[tuple[Change, Trouble]]]:
        """Take what is found now, one trouble with each step: what has begun by that, and what has ended.

        Only one look may be under way.
        """
        for each in found:
            key = each.kind, each.subject
            first = self._first.setdefault(key, now)
            self._first[key] = first if each.since is None else each.since
            self._last[key] = now, each
            yield
        began, ended = list[tuple[Change, Trouble]](), list[tuple[Change, Trouble]]()
        for key, (seen, _) in [*self._last.items()]:
            self._judge(key, seen, now, began, ended)
            yield
        return began + ended

    def _judge(
        self,
        key: tuple[str, str],
        seen: float,
        now: float,
        began: list[tuple[Change, Trouble]],
        ended: list[tuple[Change, Trouble]],
    ) -> None:
        """Whether it begins or ends by this look."""
        has_begun = key in self._begun
        if not has_begun and seen == now and now - self._first[key] >= THRESHOLDS[key[0]].lasts:
            self._begun[key] = self._first[key]
            began.append(("began", self._trouble(key)))
        elif self._is_over(key, now - seen):
            if has_begun:
                over = Trouble(self._last[key][1], min(self._begun.pop(key), self._first[key]))
                self.ended.add(over.found, over.since, now)
                ended.append(("ended", over))
            del self._last[key], self._first[key]

    def current(self) -> list[Trouble]:
        """Those that have begun and not ended, the gravest kind first, then the oldest."""
        order = list(THRESHOLDS)
        begun = [self._trouble(key) for key in self._begun]
        return sorted(begun, key=lambda each: (order.index(each.found.kind), each.since, each.found.subject))

    @property
    def count(self) -> int:
        """How many these are."""
        return len(self._begun)

    def _trouble(self, key: tuple[str, str]) -> Trouble:
        return Trouble(self._last[key][1], self._first[key])

    def _is_over(self, key: tuple[str, str], unseen: float) -> bool:
        """What has not begun yet must be found each time."""
        return unseen > 0 and (key not in self._begun or unseen >= THRESHOLDS[key[0]].calm)
