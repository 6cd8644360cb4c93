"""The policies that draw candidates by chance and compare their load, and `random`, which looks at nothing.

All divide the load of a backend by its share, so twice the weight takes twice the load. They differ in what
they look at: the requests in flight, or how long responses take. They follow the candidates
(`lb.core.policies.lots`).
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import exp, inf

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Look
from lb.core.policies.kept import Kept
from lb.core.policies.lots import Lots

DECAY = 10.0
"""Seconds in which what is known of a backend's latency fades to 1/e; Finagle and linkerd have the same."""
UNHEARD = 60.0
"""Seconds that a backend is assumed to take until its first response has come."""


class Random(Lots):
    """By chance, in proportion to the shares."""

    few = 3

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        ends = list(accumulate([backend.share for backend in candidates]))
        # The random point may round up to the total; `hi` keeps the index in range.
        return candidates[bisect(ends, self._chance() * ends[-1], hi=len(ends) - 1)]

    def pick(self, request: Asking) -> Backend:
        return self.draw()


class TwoChoices(Lots):
    """Two by chance, and of these the one with fewer in flight for its share (the power of two choices).

    With least requests, balancers that do not know of each other would all choose the same idle backend. Both
    are drawn in proportion to the shares, so weights count in an idle pool too.
    """

    few = 3

    def __init__(self, chance: Callable[[], float]) -> None:
        super().__init__(chance)
        self._draw = Random(chance)
        self._look: Look | None = None

    def see(self, look: Look) -> None:
        """From now on look at what other workers have on the two."""
        self._look = look

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        first = self._draw.choose(candidates, request)
        others = [backend for backend in candidates if backend is not first]
        if not others:
            return first
        return self._less_busy(first, self._draw.choose(others, request))

    def pick(self, request: Asking) -> Backend:
        first = self.draw()
        return first if len(self._places) == 1 else self._less_busy(first, self.draw_other(first))

    def _less_busy(self, first: Backend, second: Backend) -> Backend:
        if self._look is not None:
            self._look(first)
            self._look(second)
        of_first, of_second = len(first.running) + first.others, len(second.running) + second.others
        return second if of_second * first.share < of_first * second.share else first


class Latency:
    """How long the responses of one backend take.

    A longer time counts at once and in full, shorter ones only as time passes: trouble is believed quickly
    and forgotten slowly. `asked` is when the backend was last chosen or observed.
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
        """Seconds. They decay while the backend is not chosen, so that a slow one is tried again.

        When the backend is chosen, `asked` undoes the decay: it gets one request, not a flood, until the
        response to that one has come.
        """
        return self._seconds * exp((self.asked - now) / DECAY)


class Ewma(Lots):
    """The shortest expected wait: the peak EWMA of Finagle and linkerd.

    The wait is the backend's recent latency, times the requests that it would have in flight, for its share.
    With few backends all are compared, with more two, which are drawn by their shares, as by `TwoChoices`.
    """

    few = 4

    def __init__(self, now: Callable[[], float], chance: Callable[[], float]) -> None:
        super().__init__(chance)
        self._now = now
        self._draw = Random(chance)
        self._latencies = Kept(lambda _backend: Latency())
        self._look: Look | None = None

    def see(self, look: Look) -> None:
        """From now on look at what other workers have on those that are compared."""
        self._look = look

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        if len(candidates) > self.few:
            first = self._draw.choose(candidates, request)
            others = [backend for backend in candidates if backend is not first]
            candidates = first, self._draw.choose(others, request)
        return self._quickest(candidates)

    def pick(self, request: Asking) -> Backend:
        first = self.draw()
        return self._quickest((first,) if len(self._places) == 1 else (first, self.draw_other(first)))

    def _quickest(self, candidates: Sequence[Backend]) -> Backend:
        now = self._now()
        best, least = candidates[0], inf
        for backend in candidates:
            if self._look is not None:
                self._look(backend)
            in_flight = len(backend.running) + backend.others
            cost = self._latencies[backend].expected(now) * (in_flight + 1) / backend.share
            if cost < least:
                best, least = backend, cost
        self._latencies[best].asked = now
        return best

    def forget(self, backend: Backend) -> None:
        """This one has left for good."""
        self._latencies.pop(backend, None)

    def ended(self, backend: Backend, seconds: float) -> None:
        # A backend that was removed meanwhile is not in the table any more.
        if (latency := self._latencies.get(backend)) is not None:
            latency.observe(seconds, self._now())
