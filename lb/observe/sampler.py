"""The sampler reads the counters once a second, so that rates are known when the API is asked for them.

It is not on the path of a request. The admin service calls it from its ticking task, so without an admin side
there are no samples. To read ten thousand backends takes long, so `sampling` reads one with each step, and
a reading has the time of a look at the clock shortly before it.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from operator import add
from typing import TYPE_CHECKING

from lb.core.exchange_record import CLIENTS_DOING
from lb.core.measures.histogram import Histogram
from lb.core.measures.rates import NO_BUCKETS, STEP, Point, Reading, Trend
from lb.core.measures.track import Track
from lb.observe.counters import NO_ANSWER

if TYPE_CHECKING:
    from lb.core.backend import Backend
    from lb.core.registry import Registry
    from lb.observe.counters import Flow, Metrics

NO_CODES, NO_ANSWERS = (0, 0, 0, 0), array("Q", Histogram().counts)
AT_ONE_TIME = 50
"""So many backends are read between two looks at the clock."""


class Sampler:
    """The trends of the whole balancer, of each pool and of each backend in the registry."""

    def __init__(self, registry: "Registry", metrics: "Metrics") -> None:
        self._registry = registry
        self._metrics = metrics
        self._ticks = 0
        self.total = Trend()
        self.pools: dict[str, Trend] = {}
        self.backends: dict[Backend, Trend] = {}
        self._tracks: dict[Backend, Track] = {}

    def sample(self, now: float) -> None:
        """Read every counter at once; `now` is a time of the registry's clock."""
        for _ in self.sampling(lambda: now):
            pass

    def sampling(self, now: Callable[[], float]) -> Iterator[None]:
        """Read every counter, once a second; `now` is the registry's clock."""
        is_step = self._ticks % STEP == 0
        self._ticks += 1
        self._read_flows(now(), is_step)
        available = yield from self._reading_backends(now, is_step)
        if is_step and self._ticks > 1:
            self._add_points(available)

    def of(self, backend: "Backend") -> Trend:
        """The trend of a backend; empty where no sample was taken since it was added."""
        return self.backends.get(backend) or Trend()

    def track_of(self, backend: "Backend") -> Track:
        """Its last five minutes; empty where no step was taken since it was added."""
        return self._tracks.get(backend) or Track()

    def of_pool(self, name: str) -> Trend:
        return self.pools.get(name) or Trend()

    @property
    def in_flight(self) -> int:
        return in_flight(self._metrics)

    def _read_flows(self, now: float, is_step: bool) -> None:
        """Sum the flows of a pool over its listeners. The total has those of requests without a pool too."""
        flows: dict[str, list[Flow]] = {name: [] for name in self._registry.pools}
        for (_listener, pool), flow in self._metrics.flows.items():
            flows.setdefault(pool, []).append(flow)
        failed = self._failed()
        for name, of_pool in flows.items():
            reading = of_flows(of_pool, failed.get(name, 0), now)
            self.pools.setdefault(name, Trend()).take(reading, is_step)
        everything = of_flows(self._metrics.flows.values(), sum(failed.values()), now)
        self.total.take(everything, is_step)

    def _failed(self) -> dict[str, int]:
        """How many requests of each pool have failed at another fault than the client's."""
        failed: dict[str, int] = {}
        for (pool, reason), count in self._metrics.failures.items():
            if reason not in CLIENTS_DOING:
                failed[pool] = failed.get(pool, 0) + count
        return failed

    def _reading_backends(
        self, now: Callable[[], float], is_step: bool
    ) -> Generator[None, None, Mapping[str, int]]:
        """Drop the history of removed backends; a backend added again under the same id starts fresh.

        Returns how many of each pool would take a request when they were read.
        """
        free = Counter[str]()
        gone = [backend for backend in self.backends if backend.removed]
        while gone:
            self._tracks.pop(gone[-1], None)
            del self.backends[gone.pop()]
            yield
        at = now()
        for number, backend_id in enumerate([*self._registry.backends]):
            if number % AT_ONE_TIME == 0:
                at = now()
            if (backend := self._registry.backends.get(backend_id)) is not None:
                if (trend := self.backends.get(backend)) is None:
                    trend = self.backends[backend] = Trend()
                trend.take(of_backend(backend, at), is_step)
                if is_step and self._ticks > 1:
                    self._tracks.setdefault(backend, Track()).take(trend.last_step(), backend.in_flight)
                free[backend.pool] += backend.is_open and not backend.is_full
            yield
        return free

    def _add_points(self, available: Mapping[str, int]) -> None:
        registry = self._registry
        for name, pool in registry.pools.items():
            trend = self.pools.setdefault(name, Trend())
            trend.points.append(_point(trend, pool.in_flight, available.get(name, 0), len(pool.backends)))
        counts = sum(available.values()), len(registry.backends)
        self.total.points.append(_point(self.total, self.in_flight, *counts))


def in_flight(metrics: "Metrics") -> int:
    """Requests that are being served now, of all listeners."""
    return sum(counts.in_flight for counts in metrics.listeners.values())


def _point(trend: Trend, in_flight: int, available: int, backends: int) -> Point:
    rates = trend.last_step()
    numbers = rates.requests_per_second, rates.share_5xx, rates.p50_seconds, rates.p99_seconds
    return Point(*numbers, in_flight, available, backends)


def of_flows(flows: Iterable["Flow"], failed: int, now: float) -> Reading:
    """What clients got. A client that left before the response counts as 4xx (499), as in the log."""
    classes, ended = [0] * 10, 0
    buckets = NO_BUCKETS
    for flow in flows:
        for (_method, code), count in flow.answers.items():
            classes[code // 100] += count
            ended += count
        counts = flow.durations.counts
        buckets = array("Q", map(add, buckets, counts) if buckets else counts)
    return Reading(now, ended, (classes[2], classes[3], classes[4], classes[5]), failed, buckets)


def of_backend(backend: "Backend", now: float) -> Reading:
    """How the attempts on a backend ended, and how long the first byte of a response took."""
    if not backend.codes and not backend.failures:
        return Reading(now, 0, NO_CODES, 0, NO_ANSWERS)
    classes, failed, ended = [0] * 10, 0, 0
    for code, count in backend.codes.items():
        ended += count
        if code != NO_ANSWER:
            classes[code // 100] += count
    for reason, count in backend.failures.items():
        ended += count
        if reason not in CLIENTS_DOING:
            failed += count
    buckets = array("Q", backend.response_start.counts)
    return Reading(now, ended, (classes[2], classes[3], classes[4], classes[5]), failed, buckets)
