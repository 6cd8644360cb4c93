"""How many connections the admin service takes, and which one is closed where there is no place left.

A connection without a whole request waits for nothing of ours: it is idle, or its client has sent half of a
head or of a body. For a new connection the one that has waited longest so gives way. And some places are kept
for what orchestrators ask: however many requests are being served, /readyz is answered.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import trio

MAX_CONNECTIONS = 512
SHARE_OF_DESCRIPTORS = 20
"""At most one descriptor in so many is for the admin service: clients and backends have nine tenths."""
SHARE_KEPT = 8
"""One place in so many is kept for the probes, and for requests that have not come whole."""
HEAD_SECONDS = 10.0
"""How long the head of a request may take from its first byte on, as for the traffic."""


def most_connections() -> int:
    """How many connections there may be at once; the descriptors for the traffic are never used up here."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(16, soft // SHARE_OF_DESCRIPTORS))


class Admission:
    """The connections that are open, and those of them that wait for a whole request, longest first."""

    def __init__(self) -> None:
        self._open = 0
        self._busy = 0
        self._waiting: dict[Place, None] = {}

    @contextmanager
    def place(self) -> Iterator["Place | None"]:
        """A place for a new connection, which may be cancelled in the block. None where there is none."""
        if self._open >= most_connections() and not self.make_room():
            yield None
            return
        place = Place(self)
        self._open += 1
        self._waiting[place] = None
        try:
            with place.scope:
                yield place
        finally:
            self._busy -= place.is_busy
            if not place.is_evicted:
                self._open -= 1
                self._waiting.pop(place, None)

    def make_room(self) -> bool:
        """Close the connection that has waited longest for a whole request. False if there is none."""
        if not self._waiting:
            return False
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        self._open -= 1
        oldest.evict()
        return True

    def begins(self, place: "Place", *, is_probe: bool) -> bool:
        """A head has come whole. False where only places for the probes are left, and it is none."""
        most = most_connections()
        if not is_probe:
            if self._busy >= most - max(1, most // SHARE_KEPT):
                return False
            self._busy += 1
            place.is_busy = True
        return True

    def is_whole(self, place: "Place") -> None:
        """The request has come whole, so the connection stays until it is answered."""
        self._waiting.pop(place, None)

    def ends(self, place: "Place") -> None:
        """The request was answered, and the connection waits for another one."""
        self._busy -= place.is_busy
        place.is_busy = False
        if not place.is_evicted:
            self._waiting.pop(place, None)
            self._waiting[place] = None


class Place:
    """One connection, as far as it concerns the others. `scope` is what it runs in."""

    __slots__ = ("_admission", "_has_next", "_is_between", "_is_served", "is_busy", "is_evicted", "scope")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._is_between = True
        self._is_served = False
        self._has_next = False
        self.is_busy = False
        self.is_evicted = False
        self.scope = trio.CancelScope()

    def evict(self) -> None:
        self.is_evicted = True
        self.scope.cancel()

    def heard(self) -> None:
        """Bytes have come. The first of a head set its deadline, once the request before it was answered."""
        if self._is_served:
            self._has_next = True
        elif self._is_between and self.scope.deadline == inf:
            self.scope.deadline = trio.current_time() + HEAD_SECONDS

    def begins(self, *, is_probe: bool) -> bool:
        """A head has come whole. False where it cannot be served now."""
        self._is_between = self._has_next = False
        self.scope.deadline = inf
        return self._admission.begins(self, is_probe=is_probe)

    def is_whole(self) -> None:
        """The rest of the request has come too."""
        self._is_served = True
        self._admission.is_whole(self)

    def ends(self) -> None:
        """The request was answered."""
        self._is_between, self._is_served = True, False
        if self._has_next:
            self.heard()
        self._admission.ends(self)
