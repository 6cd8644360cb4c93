"""What if the pool were another one? Recorded requests, replayed on simulated backends.

The code of the real pool decides, with a real policy: it takes, it queues, it refuses. Only time and chance
are simulated: a request lasts as long as it did, wherever it goes now. So the forecast says which backend
gets which requests, not how a backend would bear them. Address and target of a request are known, its fields
and its client's certificate are not: a hash over these, and cookies, choose as if it had none. Probes,
ejections, hedges and retries are left out.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count

import msgspec

from lb.core.backend import Backend
from lb.core.pool import Pool, Ticket, Turn
from lb.core.registry import Registry
from lb.errors import QueueFull, Unavailable
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings

MOST, LEAST = 1000, 100
"""Requests that are replayed: the last ones, if there are more."""
LOOKS = 500_000
"""With some policies a request looks at each backend. Where all would look more often, fewer are replayed."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when it came, how long it was on a backend, and what a policy may look at."""

    at: float
    seconds: float
    address: str = ""
    target: bytes = b"/"


@dataclass(slots=True, eq=False)
class Guest:
    """A request in the simulation."""

    arrival: Arrival
    ticket: Ticket | None = None

    @property
    def address(self) -> str:
        return self.arrival.address

    @property
    def subject(self) -> str | None:
        return None

    @property
    def target(self) -> bytes:
        return self.arrival.target

    def field(self, name: bytes) -> bytes | None:
        return None

    def cookie(self, name: bytes) -> bytes | None:
        return None

    def cookies(self, name: bytes) -> Sequence[bytes]:
        return ()

    def cut(self) -> None:
        """Nothing is cut in a simulation."""


@dataclass(slots=True)
class Forecast:
    """How many requests each backend gets, and at once; how many had to wait, and how many were refused."""

    requests: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    played: int = 0
    served: int = 0
    queued: int = 0
    refused: int = 0
    longest_wait: float = 0.0


def simulation(
    arrivals: Iterable[Arrival],
    backends: Sequence[BackendSpec],
    settings: PoolSettings,
    queue_timeout: float,
    chance: Callable[[], float],
) -> Generator[None, None, Forecast]:
    """Replay these on a pool of these backends. The same `chance` gives the same forecast.

    It takes its time, so it is made step by step: the iterator returns the forecast when it ends.
    """
    replay = _Simulation(settings, queue_timeout, chance)
    yield from replay.add(backends)
    forecast = yield from replay.run(arrivals, max(LEAST, LOOKS // max(1, len(backends))))
    yield from replay.emptying()
    return forecast


class _Simulation:
    """A heap of what is due: a request comes, is done, or has waited too long."""

    def __init__(self, settings: PoolSettings, queue_timeout: float, chance: Callable[[], float]) -> None:
        self._now = 0.0
        self._patience = queue_timeout
        self._registry = Registry(lambda: self._now, chance, lambda _file: b"-" * 32)
        self._pool = _pool(self._registry, settings)
        self._order = count()
        self._due: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._woken: list[Guest] = []
        self.forecast = Forecast()

    def add(self, backends: Sequence[BackendSpec]) -> Iterator[None]:
        for spec in backends:
            self._registry.add(spec, self._pool.name, source="config")
            yield
        yield from self._pool.settling()

    def emptying(self) -> Iterator[None]:
        """Take it apart: its parts lead to each other, so all of them would go with one collection."""
        self._due.clear()
        yield from self._registry.emptying()

    def run(self, arrivals: Iterable[Arrival], most: int) -> Generator[None, None, Forecast]:
        ordered = sorted(arrivals, key=lambda each: each.at)[-min(most, MOST) :]
        self._due = [(each.at, True, next(self._order), partial(self._comes, each)) for each in ordered]
        heapify(self._due)
        self.forecast.played = len(ordered)
        while self._due:
            self._now, *_, happens = heappop(self._due)
            happens()
            self._serve_woken()
            yield
        return self.forecast

    def _at(self, when: float, happens: Callable[[], None], *, late: bool) -> None:
        """Put it on the heap; at the same instant requests that are done (not `late`) go first."""
        heappush(self._due, (when, late, next(self._order), happens))

    def _comes(self, arrival: Arrival) -> None:
        guest = Guest(arrival)
        backend, _ = self._pool.take(guest)
        if backend is not None:
            self._runs(guest, backend)
            return
        try:
            guest.ticket = self._pool.queue(guest, (), partial(self._woken.append, guest))
        except (QueueFull, Unavailable):
            self.forecast.refused += 1
            return
        self.forecast.queued += 1
        self._at(self._now + self._patience, partial(self._gives_up, guest), late=True)

    def _serve_woken(self) -> None:
        while self._woken:
            guest = self._woken.pop(0)
            if guest.ticket is not None and guest.ticket.backend is not None:
                waited = self._now - guest.arrival.at
                self.forecast.longest_wait = max(self.forecast.longest_wait, waited)
                self._runs(guest, guest.ticket.backend)

    def _gives_up(self, guest: Guest) -> None:
        if guest.ticket is not None and guest.ticket.turn is Turn.WAITING:
            self._pool.leave_queue(guest.ticket)
            self.forecast.refused += 1
            self.forecast.longest_wait = max(self.forecast.longest_wait, self._patience)

    def _runs(self, guest: Guest, backend: Backend) -> None:
        self.forecast.served += 1
        self.forecast.requests[backend.id] += 1
        self.forecast.peak[backend.id] = max(self.forecast.peak[backend.id], backend.in_flight)
        self._at(self._now + guest.arrival.seconds, partial(self._is_done, guest, backend), late=False)

    def _is_done(self, guest: Guest, backend: Backend) -> None:
        self._pool.answered(backend, 200, guest.arrival.seconds, self._now)
        self._pool.release(backend, guest)


def _pool(registry: Registry, settings: PoolSettings) -> Pool:
    """The pool, whose backends will all be fit and at their full share, and without cookies and probes."""
    plain = msgspec.structs.replace(settings, probe=None, sticky=None, hedge=None, slow_start=0.0)
    return registry.add_pool("what-if", plain)
