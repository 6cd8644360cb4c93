"""The policy `hash`: requests with the same key go to the same backend, while it is there and has room.

This is a race. A digest of its id gives each backend a point on each of eight circles, and a digest of the
key does so for the key. The way from the key's point to that of a backend, the shortest of the eight, divided
by the weight of the backend, is its time, and the earliest wins. The time of a backend does not depend on the
other backends, so one that comes or goes, or changes its weight, moves only the keys that it wins or loses.
Balancers that do not know of each other agree. To find the first takes no look at each
(`lb.core.policies.circles`).

With one circle this would be consistent hashing, where the stretches before the points differ widely. Here a
long one is of little use: seven other circles offer nearer points. Where each of n backends of one weight is
further away than t on a circle with probability exp(-nt), a backend gets no more than 8/7 of its share: on
each circle the integral of exp(-7nt), which is 1/7n, however long its stretch is (Appleton and O'Reilly,
"Multi-probe consistent hashing", where all probes are on one circle). Computed for equal weights and names
that are numbered, with 1 for an exact share:

    backends              2      3     10    100   1000  10,000
    most, on average   1.04   1.06   1.10   1.14   1.14    1.15
    standard deviation  .05    .07    .08    .09    .09     .09

With 160 points for each backend on one circle, as nginx and ketama have it, these are .08, and 1.3 for 10,000
backends. A light backend beside much heavier ones gets up to a ninth less than its share, unless there are
many.

One popular key must not overwhelm its backend. So no backend gets more than `load` times its share of what is
in flight; beyond that the second in the race is taken, and so on ("Consistent Hashing with Bounded Loads", by
Mirrokni, Thorup and Zadimoghaddam). The search on a circle ends at the second without room. Where none is
found, another one that has room takes the request, in rotation. Those without room have 1/load of the shares
at most, so with equal shares that takes load / (load - 1) looks on average: five for 1.25.

In the race weights count in full, also in slow start: a share that grows would move keys with every step. The
bound is on the share, so a backend that warms up passes on what is too much for it.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from math import inf

from lb.core.backend import Backend
from lb.core.client_address import UNIX
from lb.core.policies.base import Asking, Look
from lb.core.policies.circles import MANY, Circles, Points, points_of, time_of
from lb.core.policies.kept import Kept
from lb.core.policies.others import LOOKS, Others
from lb.settings.pool_settings import Hash

SPARSE = 8
"""Points are dropped when so many times as many have any as are candidates."""


def key_of(key: str) -> Callable[[Asking], bytes]:
    """The function that gives the key of a request; the client's address where a request has none.

    By certificate, a client keeps its backend wherever it comes from, also with one that was renewed.

    Clients on a Unix socket have no address, and must not all get the same backend: each request has a key of
    its own there.
    """
    number = count()
    kind, _, name = key.partition(":")
    lower = name.lower().encode()

    def address(request: Asking) -> bytes:
        return b"%d" % next(number) if request.address == UNIX else request.address.encode()

    match kind:
        case "certificate":
            return lambda request: request.subject.encode() if request.subject else address(request)
        case "path":
            return lambda request: request.target.partition(b"?")[0]
        case "field":
            return lambda request: request.field(lower) or address(request)
        case "cookie":
            return lambda request: request.cookie(name.encode()) or address(request)
        case _:
            return address


class HashPolicy:
    """The same key to the same backend, within the bound on its load.

    `choose` says who that is, and `pick` finds the same one while no more than one backend is without room.
    """

    few = 0

    def __init__(self, settings: Hash) -> None:
        self._load = settings.load
        self._key = key_of(settings.key)
        self._points: Kept[Points] = Kept(lambda backend: points_of(backend.id.encode()))
        self._circles: dict[int, Circles] = {}
        self._weights: dict[Backend, int] = {}
        self._others: Others | None = None
        self.follow(())

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        key = points_of(self._key(request))
        if self._others is not None:
            for backend in candidates:
                self._others.look(backend)
        times = [time_of(key, self._points[backend], backend.spec.weight) for backend in candidates]
        best = candidates[times.index(min(times))]
        room = self._room(
            sum([backend.in_flight for backend in candidates]),
            sum([backend.share for backend in candidates]),
        )
        if best.in_flight < room * best.share:
            return best
        # load > 1 guarantees a backend below its bound; only float rounding can break that.
        order = [candidates[at] for at in sorted(range(len(times)), key=times.__getitem__)]
        return next((each for each in order if each.in_flight < room * each.share), best)

    def _room(self, in_flight: int, total: int) -> float:
        """How many requests may be in flight for each part of a share, the new one included."""
        return self._load * (in_flight + 1) / total if self._load else inf

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        self._drop([each for each in self._weights if each.removed])
        self._shares = OrderedDict((backend, backend.share) for backend in candidates)
        self._counts = {backend: backend.in_flight for backend in candidates}
        self._total = sum(self._shares.values())
        self._in_flight = sum(self._counts.values())
        self._most = len(self._shares)
        self._settle([each for each in candidates if self._weights.get(each) != each.spec.weight])
        if candidates:
            self._sweep()
        if self._others is not None:
            self._others.follow(candidates)

    def see(self, look: Look) -> None:
        """From now on look at what other workers have (`lb.core.policies.others`)."""
        if self._others is None or self._others.look != look:
            self._others = Others(look, self._shares)

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        share = self._shares[backend] = backend.share
        count = self._counts[backend] = backend.in_flight
        if self._others is not None:
            self._others.enter(backend)
        self._total += share
        self._in_flight += count
        self._most = max(self._most, len(self._shares))
        if self._weights.get(backend) != backend.spec.weight:
            self._settle((backend,))

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        self._total -= self._shares.pop(backend)
        self._in_flight -= self._counts.pop(backend)
        if self._others is not None:
            self._others.leave(backend)
        if 2 * len(self._shares) < self._most:  # not while they come, one after another
            self._sweep()

    def forget(self, backend: Backend) -> None:
        """This one has left for good: its points are of no use any more."""
        self._unsettle(backend)
        self._points.pop(backend, None)

    def counted(self, backend: Backend) -> None:
        """Another number of requests runs on this candidate."""
        count = len(backend.running) + backend.others
        self._in_flight += count - self._counts[backend]
        self._counts[backend] = count

    def pick(self, request: Asking) -> Backend:
        """The first in the race that has room, where no circle was given up before it, else another one."""
        key = points_of(self._key(request))
        if self._others is None:
            return self._pick(key)
        if (changed := self._others.next()) is not None:
            self.counted(changed)
        for _ in range(LOOKS):
            backend = self._pick(key)
            if not self._others.look(backend):
                break
            self.counted(backend)
        return backend

    def _pick(self, key: Points) -> Backend:
        room = self._room(self._in_flight, self._total)
        best: Backend | None = None
        least = inf
        for circles in self._circles.values():
            best, least = circles.first(key, self._shares, room, best, least)
        return best or self._next_with_room(room)

    def _next_with_room(self, room: float) -> Backend:
        for _ in range(len(self._shares)):
            backend = next(iter(self._shares))
            self._shares.move_to_end(backend)
            if len(backend.running) + backend.others < room * backend.share:
                break
        return backend

    def preparing(self, backends: Collection[Backend]) -> Iterator[None]:
        """Give these their points, a few with each step, before the first choice is made."""
        groups: dict[int, list[tuple[Backend, Points]]] = {}
        for backend in backends:
            weight = self._weights[backend] = backend.spec.weight
            groups.setdefault(weight.bit_length(), []).append((backend, points_of(backend.id.encode())))
            yield
        for bits, members in groups.items():
            yield from self._circles_of(bits).adding(members)

    def _settle(self, backends: Sequence[Backend]) -> None:
        """Give these their points, on the circles of their weights."""
        groups: dict[int, list[tuple[Backend, Points]]] = {}
        for backend in backends:
            self._unsettle(backend)
            weight = self._weights[backend] = backend.spec.weight
            groups.setdefault(weight.bit_length(), []).append((backend, points_of(backend.id.encode())))
        for bits, members in groups.items():
            self._circles_of(bits).add(members)

    def _circles_of(self, bits: int) -> Circles:
        """The circles of the weights that need so many bits."""
        if bits not in self._circles:
            self._circles[bits] = Circles((1 << bits) - 1)
        return self._circles[bits]

    def _unsettle(self, backend: Backend) -> None:
        if backend in self._weights:
            bits = self._weights.pop(backend).bit_length()
            self._circles[bits].drop(backend, points_of(backend.id.encode()))
            if self._circles[bits].is_empty:
                del self._circles[bits]

    def _sweep(self) -> None:
        """Drop the points of those that are no candidates, once they are many."""
        if len(self._weights) > SPARSE * (len(self._shares) + 1):
            self._drop([each for each in self._weights if each not in self._shares])
            self._most = len(self._shares)

    def _drop(self, backends: Sequence[Backend]) -> None:
        if MANY * len(backends) <= len(self._weights):
            for backend in backends:
                self._unsettle(backend)
            return
        gone = {*backends}
        self._weights = {each: weight for each, weight in self._weights.items() if each not in gone}
        for circles in self._circles.values():
            circles.keep(self._weights)
        self._circles = {bits: circles for bits, circles in self._circles.items() if not circles.is_empty}
