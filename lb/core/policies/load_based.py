"""The policies that look at how busy the candidates are, and the one that looks at nothing.

All measure a backend by its share, so twice the weight stands twice the load. They differ in what they ask:
requests in flight of everybody, requests in flight of two, or how long answers take.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import exp, inf

from lb.core.backend import Backend
from lb.core.policies.base import Asking
from lb.core.policies.round_robin import RoundRobin

DECAY = 10.0
"""Seconds in which what is known of a backend's answers fades to 1/e; Finagle and linkerd have the same."""
UNHEARD = 60.0
"""Seconds that the answers of a backend are thought to take while its first one is awaited."""


class LeastRequests:
    """The fewest in flight for its share; round robin among equals, so that an idle pool rotates."""

    def __init__(self) -> None:
        self._rotation = RoundRobin()

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        loads = [len(backend.running) / backend.share for backend in candidates]
        least = min(loads)
        equals = [backend for backend, load in zip(candidates, loads, strict=True) if load == least]
        return equals[0] if len(equals) == 1 else self._rotation.choose(equals, request)


class Random:
    """By chance, in proportion to the shares."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        ends = list(accumulate([backend.share for backend in candidates]))
        # The product may round up to the last end, which is nobody's.
        return candidates[bisect(ends, self._chance() * ends[-1], hi=len(ends) - 1)]


class TwoChoices:
    """Two by chance, and of these the one with fewer in flight for its share (the power of two choices).

    Balancers that do not know of each other do not all run to the same idle backend, as with least requests.
    Both are drawn in proportion to the shares, so weights count in an idle pool too.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._draw = Random(chance)

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        first = self._draw.choose(candidates, request)
        others = [backend for backend in candidates if backend is not first]
        if not others:
            return first
        second = self._draw.choose(others, request)
        is_second_less_busy = len(second.running) * first.share < len(first.running) * second.share
        return second if is_second_less_busy else first


class Latency:
    """How long the answers of one backend take.

    A longer one counts at once and in full, shorter ones only as time passes: trouble is believed quickly
    and forgotten slowly. `asked` is when it was last chosen or heard of.
    """

    __slots__ = ("_heard", "_seconds", "asked")

    def __init__(self) -> None:
        self._seconds = UNHEARD
        self._heard = self.asked = -inf

    def observe(self, seconds: float, now: float) -> None:
        kept = exp((self._heard - now) / DECAY)
        faded = self._seconds * kept
        self._seconds = seconds if seconds >= faded else faded + seconds * (1 - kept)
        self._heard = self.asked = now

    def expected(self, now: float) -> float:
        """Seconds; the less, the longer nobody has tried it, so that it is tried again.

        Being chosen brings back what was thought before: so a backend of which little is known gets one
        request and not a flood, until its answer is there.
        """
        return self._seconds * exp((self.asked - now) / DECAY)


class Ewma:
    """The least time that the requests on it should take: the peak EWMA of Finagle and linkerd.

    That is what its answers took of late, times the requests that it would have in flight, for its share.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._latencies: dict[Backend, Latency] = {}

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        now = self._now()
        best, least = candidates[0], inf
        for backend in candidates:
            latency = self._latencies.get(backend) or self._met(backend)
            cost = latency.expected(now) * (len(backend.running) + 1) / backend.share
            if cost < least:
                best, least = backend, cost
        self._latencies[best].asked = now
        return best

    def ended(self, backend: Backend, seconds: float) -> None:
        """What ends on a backend that was removed meanwhile is of no more use."""
        if (latency := self._latencies.get(backend)) is not None:
            latency.observe(seconds, self._now())

    def _met(self, backend: Backend) -> Latency:
        """A new one; those that are gone make room for it."""
        self._latencies = {each: kept for each, kept in self._latencies.items() if not each.removed}
        latency = self._latencies[backend] = Latency()
        return latency
