"""The policy `least_requests`: the fewest in flight for its share, and in turn among equals.

Of equals, such as all in an idle pool, the one is chosen whose turn is first. A turn lasts 1/share, and a
backend is *due* in the middle of its own; then its next turn begins. One that was busier when it was due has
missed that turn: once it is chosen again, its turns go on from there. So of any two that are equals for a
time each gets its share, give or take half a request.

Those that it follows stand in a heap, by load and then by when they are due. To be chosen, to end a request,
to come or to leave costs O(log n).
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Look
from lb.core.policies.kept import Kept
from lb.core.policies.others import LOOKS, Others

TURN = 1 << 50
"""How long the turn of a share of 1 lasts; of so much the division by a share loses nothing that counts."""
SLACK = 16
"""So many places may be stale whatever the number of backends."""
LEFT = 32
"""Stale places of those that have left keep them from being freed. So there may be one for LEFT backends, and
SLACK more."""
RUN = 1000
"""After so many stale places in a row the heap is made anew, which takes less time than to go on."""

Place = tuple[float, int, int, Backend]
"""The load of a backend, when it is due, the order in which it came, and itself."""


class LeastRequests:
    """The fewest in flight for its share.

    The backend that it picks has one more in flight at once, which `counted` is told. Then it has another
    place in the heap, and the old one is *stale*: that is never the first. With several workers it looks at
    what the others have (`lb.core.policies.others`): again at the first until it stays the first.
    """

    few = 0

    def __init__(self) -> None:
        self._numbers = count()
        self._now = 0
        self._left = 0
        self._due = Kept(lambda backend: self._now + TURN // backend.share // 2)
        self._others: Others | None = None
        self.follow(())

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        if self._others is not None:
            for backend in candidates:
                self._others.look(backend)
        loads = [(len(backend.running) + backend.others) / backend.share for backend in candidates]
        least = min(loads)
        equals = [backend for backend, load in zip(candidates, loads, strict=True) if load == least]
        best = min(equals, key=self._due.__getitem__)
        self._take_turn(best)
        return best

    def _take_turn(self, backend: Backend) -> None:
        now = self._now = max(self._now, self._due[backend])
        self._due[backend] = now + TURN // backend.share

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        self._places = {backend: self._new_place(backend) for backend in candidates}
        self._heap_up()
        if self._others is not None:
            self._others.follow(candidates)

    def see(self, look: Look) -> None:
        """From now on look at what other workers have."""
        if self._others is None or self._others.look != look:
            self._others = Others(look, self._places)

    def _new_place(self, backend: Backend) -> Place:
        load = (len(backend.running) + backend.others) / backend.share
        return load, self._due[backend], next(self._numbers), backend

    def _heap_up(self) -> None:
        """Make the heap of the places, without stale ones."""
        self._left = 0
        self._heap = list(self._places.values())
        heapify(self._heap)

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        place = self._places[backend] = self._new_place(backend)
        heappush(self._heap, place)
        if self._others is not None:
            self._others.enter(backend)

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        del self._places[backend]
        self._left += 1
        if LEFT * (self._left - SLACK) > len(self._places):
            self._heap_up()
        else:
            self._clear()
        if self._others is not None:
            self._others.leave(backend)

    def forget(self, backend: Backend) -> None:
        """This one has left for good."""
        self._due.pop(backend, None)

    def counted(self, backend: Backend) -> None:
        """Another number of requests runs on this candidate."""
        before = self._places[backend]
        load = (len(backend.running) + backend.others) / backend.share
        place = (load, self._due[backend], before[2], backend)
        self._places[backend] = place
        if self._heap[0] == before:
            heapreplace(self._heap, place)
        else:
            heappush(self._heap, place)
        self._clear()

    def _clear(self) -> None:
        """No stale place is the first, and they are not many."""
        heap, places = self._heap, self._places
        if len(heap) > 2 * len(places) + SLACK:
            self._heap_up()
            return
        most = len(heap) - RUN
        while heap and places.get(heap[0][3]) != heap[0]:
            heappop(heap)
            if len(heap) < most:
                self._heap_up()
                return

    def pick(self, request: Asking) -> Backend:
        """One of those that have least, whose turn is first."""
        if self._others is not None:
            self._look_at_others(self._others)
        backend = self._heap[0][3]
        self._take_turn(backend)
        return backend

    def _look_at_others(self, others: Others) -> None:
        if (backend := others.next()) is not None:
            self.counted(backend)
        for _ in range(LOOKS):
            first = self._heap[0][3]
            if not others.look(first):
                return
            self.counted(first)
