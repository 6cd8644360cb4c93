"""The policy `hash`: requests with the same key go to the same backend, while it is there and has room.

This is rendezvous hashing, as a race: for a key each backend draws a time from an exponential distribution
with its weight as the rate, always the same time for the same key, and the earliest wins. Backends win in
proportion to their weights. The time of a backend does not depend on the other backends, so one that comes or
goes, or changes its weight, moves only the keys that it wins or loses. Balancers that do not know of each
other agree.

One popular key must not overwhelm its backend. So no backend gets more than `load` times its share of what is
in flight; beyond that the second in the race is taken, and so on ("Consistent Hashing with Bounded Loads", by
Mirrokni, Thorup and Zadimoghaddam).

Weights count here in full, also in slow start: a share that grows would move keys with every step.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import count
from math import log

from lb.core.backend import Backend
from lb.core.client_address import UNIX
from lb.core.policies.base import Asking
from lb.core.policies.kept import Kept
from lb.settings.pool_settings import Hash

BITS = (1 << 64) - 1


def digest(text: bytes) -> int:
    """64 bits that are the same in every process, unlike those of `hash`, which is salted."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def mixed(bits: int) -> int:
    """64 bits, each of which depends on each of those given: the last step of MurmurHash3.

    It makes independent numbers of digests that differ by a constant, and costs less than a digest of key and
    id together would.
    """
    bits = ((bits ^ (bits >> 33)) * 0xFF51AFD7ED558CCD) & BITS
    bits = ((bits ^ (bits >> 33)) * 0xC4CEB9FE1A85EC53) & BITS
    return bits ^ (bits >> 33)


def key_of(key: str) -> Callable[[Asking], bytes]:
    """The function that gives the key of a request; the client's address where a request has none.

    Clients on a Unix socket have no address, and must not all get the same backend: each request has a key of
    its own there.
    """
    number = count()
    kind, _, name = key.partition(":")
    lower = name.lower().encode()

    def address(request: Asking) -> bytes:
        return b"%d" % next(number) if request.address == UNIX else request.address.encode()

    match kind:
        case "path":
            return lambda request: request.target.partition(b"?")[0]
        case "field":
            return lambda request: request.field(lower) or address(request)
        case "cookie":
            return lambda request: request.cookie(name.encode()) or address(request)
        case _:
            return address


class HashPolicy:
    """The same key to the same backend, within the bound on its load."""

    def __init__(self, settings: Hash) -> None:
        self._load = settings.load
        self._key = key_of(settings.key)
        self._digests = Kept(lambda backend: digest(backend.id.encode()))

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        times = self._times(digest(self._key(request)), candidates)
        best = candidates[times.index(min(times))]
        if not self._load:
            return best
        bound = self._bound(candidates)
        if len(best.running) < bound * best.spec.weight:
            return best
        # load > 1 guarantees a backend below its bound; only float rounding can break that.
        order = [candidates[at] for at in sorted(range(len(times)), key=times.__getitem__)]
        return next((each for each in order if len(each.running) < bound * each.spec.weight), best)

    def _bound(self, candidates: Sequence[Backend]) -> float:
        """How many requests may be in flight for each unit of weight, the new one included."""
        in_flight = sum([len(backend.running) for backend in candidates])
        return self._load * (in_flight + 1) / sum([backend.spec.weight for backend in candidates])

    def _times(self, key: int, candidates: Sequence[Backend]) -> list[float]:
        """The time of each candidate in the race for this key; the 0.5 keeps the logarithm from 0."""
        return [
            -log((mixed(key ^ self._digests[backend]) + 0.5) / (BITS + 1)) / backend.spec.weight
            for backend in candidates
        ]
