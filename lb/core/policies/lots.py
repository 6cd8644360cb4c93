"""Drawing backends by chance in proportion to their shares, without a look at each.

Those of one share stand in one list, and the lists stand in a line, each as long as the shares of its members
together. A draw is a point of that line: bisection finds the list, and a division who stands there. Who
leaves is replaced by the last of its list.
"""

from bisect import bisect, bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul

from lb.core.backend import Backend


class Lots:
    """The backends that may be drawn, with the shares that they had when they came."""

    __slots__ = ("_chance", "_ends", "_lists", "_places", "_shares")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.follow(())

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        self._shares: list[int] = []
        self._lists: list[list[Backend]] = []
        self._places: dict[Backend, tuple[int, int]] = {}
        for backend in candidates:
            self._append(backend)
        self._line_up()

    def _append(self, backend: Backend) -> None:
        share = backend.share
        at = bisect_left(self._shares, share)
        if at == len(self._shares) or self._shares[at] != share:
            self._shares.insert(at, share)
            self._lists.insert(at, [])
        self._places[backend] = share, len(self._lists[at])
        self._lists[at].append(backend)

    def _line_up(self) -> None:
        """Work out where each list ends on the line."""
        self._ends: list[int] = list(accumulate(map(mul, self._shares, map(len, self._lists))))

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        self._append(backend)
        self._line_up()

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        share, place = self._places.pop(backend)
        at = bisect_left(self._shares, share)
        equals = self._lists[at]
        last = equals.pop()
        if last is not backend:
            equals[place] = last
            self._places[last] = share, place
        if not equals:
            del self._shares[at], self._lists[at]
        self._line_up()

    def draw(self) -> Backend:
        """One of them, of which there is at least one."""
        ends = self._ends
        # The product may be rounded up to the end of the line.
        point = min(int(self._chance() * ends[-1]), ends[-1] - 1)
        at = bisect(ends, point)
        return self._lists[at][(point - ends[at]) // self._shares[at]]

    def draw_other(self, first: Backend) -> Backend:
        """One of those that are left when this one is out; there are two at least."""
        ends, share = self._ends, self._places[first][0]
        length = ends[-1] - share
        point = min(int(self._chance() * length), length - 1)
        # The end of its list is taken out, so the last of the list stands for the one that is out.
        if point >= ends[bisect_left(self._shares, share)] - share:
            point += share
        at = bisect(ends, point)
        equals = self._lists[at]
        found = equals[(point - ends[at]) // self._shares[at]]
        return equals[-1] if found is first else found
