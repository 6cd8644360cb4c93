"""Round robin among candidates that come and go, without a look at each: it follows them.

The choices are those that `lb.core.policies.round_robin` describes: with every request each candidate gains
its share of it, the one that is owed most is chosen, and pays for all of it. What a candidate of share s has
gained since it came is s times what one of share 1 has gained, and that is one number for all: the *tide*. So
of each is kept what it owed when the tide was 0, which changes only when it is chosen. Among those of one
share this alone says who is owed most, whatever the tide: they stand in a heap, and a choice compares the
first of each heap. It costs O(log n) and a look for each different share; to come or to leave O(log n).
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import lcm

from lb.core.backend import FULL_SHARE, Backend
from lb.core.policies.base import Asking

ONE = FULL_SHARE * lcm(*range(1, 37))
"""One request. What a request costs is a multiple of the sum of all shares, the largest that is not above
ONE, so that the division by shares is exact. Where the weights add up to 36 or less that is ONE itself, else
less by one part in a million at most."""

LEFT = 32
SLACK = 16
"""Of the places one in LEFT may be stale, and SLACK more. A stale one keeps who has left from being freed; to
pass over thousands in a row, or to free them, would be one long step."""

Place = tuple[int, int, Backend, int]
"""What a candidate owed at tide 0, the order in which it came, itself, and its share."""


class Rotation:
    """The candidates that it follows, by what they are owed. In `Backend.turn` that is only after they left.

    A place whose candidate has left, or has another one, is *stale*: it is never the first of its heap.
    """

    __slots__ = ("_grain", "_heaps", "_numbers", "_only", "_places", "_price", "_stale", "_tide", "_total")

    few = 0

    def __init__(self) -> None:
        self._numbers = count()
        self._empty()

    def _empty(self) -> None:
        self._places: dict[Backend, Place] = {}
        self._heaps: dict[int, list[Place]] = {}
        self._only: list[Place] | None = None
        self._stale = 0
        self._tide = 0
        self._weigh(0)

    def _weigh(self, total: int) -> None:
        self._total = total
        self._grain = ONE // total if total else 0
        self._price = total * self._grain
        self._only = next(iter(self._heaps.values())) if len(self._heaps) == 1 else None

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        for owed, _, backend, share in self._places.values():
            backend.turn = share * self._tide - owed
        self._empty()
        for backend in candidates:
            self._places[backend] = (-backend.turn, next(self._numbers), backend, backend.share)
        self._heap_up()
        self._weigh(sum([share * len(heap) for share, heap in self._heaps.items()]))

    def _heap_up(self) -> None:
        """Make the heaps of the places, without stale ones."""
        self._stale = 0
        places = [*self._places.values()]
        if places and self._only is not None:  # all have one share, as is usual
            self._heaps = {places[0][3]: places}
        else:
            self._heaps = {}
            for place in places:
                self._heaps.setdefault(place[3], []).append(place)
        for heap in self._heaps.values():
            heapify(heap)

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        share = backend.share
        place = (share * self._tide - backend.turn, next(self._numbers), backend, share)
        self._places[backend] = place
        heappush(self._heaps.setdefault(share, []), place)
        self._weigh(self._total + share)

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        owed, _, _, share = self._places.pop(backend)
        backend.turn = share * self._tide - owed
        self._stale += 1
        if LEFT * (self._stale - SLACK) > len(self._places):
            self._heap_up()
        else:
            self._clear_top(self._heaps[share])
            if not self._heaps[share]:
                del self._heaps[share]
        self._weigh(self._total - share)

    def _clear_top(self, heap: list[Place]) -> None:
        while heap and self._places.get(heap[0][2]) != heap[0]:
            heappop(heap)
            self._stale -= 1

    def pick(self, request: Asking) -> Backend:
        """The one that is owed most."""
        self._tide += self._grain
        heap = self._only or self._first_heap()
        owed, number, best, share = heap[0]
        place = (owed + self._price, number, best, share)
        self._places[best] = place
        heapreplace(heap, place)
        if self._stale:
            self._clear_top(heap)
        return best

    def _first_heap(self) -> list[Place]:
        """The heap of the one that is owed most, of equals the one that came first."""
        tide, best, least, first = self._tide, None, 0, 0
        for heap in self._heaps.values():
            owed, number, _, share = heap[0]
            owed -= share * tide
            if best is None or owed < least or (owed == least and number < first):
                best, least, first = heap, owed, number
        assert best is not None
        return best
