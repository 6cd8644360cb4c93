"""Points on circles: which backend comes first in the race for a key (`lb.core.policies.consistent_hash`).

On each circle the points stand in order, so the search begins at the point of the key and goes on only while
a backend could still be earlier than the best so far. Weights would spoil this: a heavy backend far away may
be earlier than many light ones. So those whose weights need as many bits have circles of their own, and there
a search goes at most twice as far as to the first point. Who is no candidate for the moment keeps its points.
"""

from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from hashlib import blake2b
from struct import Struct

from lb.core.backend import Backend

CIRCLES = 8
"""So many 64 bit numbers are in a digest, each a point of one circle."""
LOOKS = 2
"""After so many candidates without room the search on a circle ends."""
MANY = 8
"""Where more than one in so many comes or goes, all are looked at once; else each has its place found."""
RUN = 1000
NUMBERS = Struct(f"<{CIRCLES}Q")
ROUND = 2.0**-64

Points = list[float]
"""A point of each circle, from 0 up to 1."""


def points_of(text: bytes) -> Points:
    """The same in every process, unlike what `hash` gives, which is salted."""
    return [number * ROUND for number in NUMBERS.unpack(blake2b(text).digest())]


def time_of(key: Points, points: Points, weight: int) -> float:
    """When a backend with these points and this weight comes in in the race for a key."""
    return min([(point - start) % 1.0 for start, point in zip(key, points, strict=True)]) / weight


class Circles:
    """The points of backends whose weights are `heaviest`, or less, but more than half of it."""

    __slots__ = ("_heaviest", "_owners", "_points")

    def __init__(self, heaviest: int) -> None:
        self._heaviest = heaviest
        self._points: list[list[float]] = [[] for _ in range(CIRCLES)]
        self._owners: list[list[Backend]] = [[] for _ in range(CIRCLES)]

    @property
    def is_empty(self) -> bool:
        """There are no points."""
        return not self._owners[0]

    def add(self, members: Sequence[tuple[Backend, Points]]) -> None:
        """Give these backends their points."""
        if MANY * len(members) > len(self._owners[0]):
            self._add_many(members)
            return
        for backend, points in members:
            for circle, owners, point in zip(self._points, self._owners, points, strict=True):
                at = bisect_left(circle, point)
                circle.insert(at, point)
                owners.insert(at, backend)

    def _add_many(self, members: Sequence[tuple[Backend, Points]]) -> None:
        for _ in self.adding(members):
            pass

    def adding(self, members: Sequence[tuple[Backend, Points]]) -> Iterator[None]:
        """`add` with steps of about RUN points each; until the last one no choice may be made."""
        for number in range(CIRCLES):
            circle = self._points[number] + [points[number] for _, points in members]
            owners = self._owners[number] + [backend for backend, _ in members]
            order: list[int] = []
            for start in range(0, len(circle), RUN):
                order += sorted(range(start, min(start + RUN, len(circle))), key=circle.__getitem__)
                yield
            order.sort(key=circle.__getitem__)  # it merges the runs
            yield
            self._points[number] = [circle[at] for at in order]
            self._owners[number] = [owners[at] for at in order]
            yield

    def drop(self, backend: Backend, points: Points) -> None:
        """Take its points from this backend."""
        for circle, owners, point in zip(self._points, self._owners, points, strict=True):
            at = owners.index(backend, bisect_left(circle, point))
            del circle[at], owners[at]

    def keep(self, backends: Container[Backend]) -> None:
        """Take their points from all but these."""
        for number, owners in enumerate(self._owners):
            left = [at for at, owner in enumerate(owners) if owner in backends]
            self._points[number] = [self._points[number][at] for at in left]
            self._owners[number] = [owners[at] for at in left]

    def first(
        self, key: Points, candidates: Container[Backend], room: float, best: Backend | None, least: float
    ) -> tuple[Backend | None, float]:
        """The earliest candidate that has less than `room` in flight for its share, and when it comes in.

        That is `best` with its time `least` where none is earlier. On each circle the search ends at
        the LOOKS-th candidate without room.
        """
        for circle, owners, start in zip(self._points, self._owners, key, strict=True):
            first, full, end = bisect_left(circle, start), 0, least * self._heaviest
            for at in range(first - len(circle), first):
                distance = (circle[at] - start) % 1.0
                if distance >= end:
                    break
                backend = owners[at]
                if backend in candidates:
                    time = distance / backend.spec.weight
                    if len(backend.running) + backend.others >= room * backend.share:
                        full += 1
                        if full == LOOKS:
                            break
                    elif time < least:
                        best, least, end = backend, time, time * self._heaviest
        return best, least
