"""The sampler reads the counters once a second, so that rates are known when the API is asked for them.

It is not on the path of a request. `sample` takes the time as an argument; the admin service calls it from
its ticking task, so without an admin side there are no samples.
"""

from collections.abc import Iterable
from itertools import chain
from operator import add
from typing import TYPE_CHECKING

from lb.core.measures.rates import STEP, Point, Reading, Trend
from lb.errors import Reason
from lb.observe.counters import NO_ANSWER

if TYPE_CHECKING:
    from lb.core.backend import Backend
    from lb.core.registry import Registry
    from lb.observe.counters import Flow, Metrics

CLIENTS_DOING = frozenset({Reason.CLIENT_DISCONNECTED, Reason.HTTP_REQUEST_ERROR})
"""Reasons at the client's fault: they say nothing about a backend."""


class Sampler:
    """The trends of the whole balancer, of each pool and of each backend in the registry."""

    def __init__(self, registry: "Registry", metrics: "Metrics") -> None:
        self._registry = registry
        self._metrics = metrics
        self._ticks = 0
        self.total = Trend()
        self.pools: dict[str, Trend] = {}
        self.backends: dict[Backend, Trend] = {}

    def sample(self, now: float) -> None:
        """Read every counter. Call it once a second; `now` is a time of the registry's clock."""
        is_step = self._ticks % STEP == 0
        self._ticks += 1
        self._read_flows(now, is_step)
        self._read_backends(now, is_step)
        if is_step and self._ticks > 1:
            self._add_points()

    def of(self, backend: "Backend") -> Trend:
        """The trend of a backend; empty where no sample was taken since it was added."""
        return self.backends.get(backend) or Trend()

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

    def _read_backends(self, now: float, is_step: bool) -> None:
        """Drop the history of removed backends; a backend added again under the same id starts fresh."""
        trends = {}
        for backend in self._registry.backends.values():
            trend = trends[backend] = self.backends.get(backend) or Trend()
            trend.take(of_backend(backend, now), is_step)
        self.backends = trends

    def _add_points(self) -> None:
        pools = self._registry.pools
        for name, pool in pools.items():
            self.pools[name].points.append(_point(self.pools[name], pool.in_flight, pool.backends))
        backends = list(chain.from_iterable(pool.backends for pool in pools.values()))
        self.total.points.append(_point(self.total, self.in_flight, backends))


def in_flight(metrics: "Metrics") -> int:
    """Requests that are being served now, of all listeners."""
    return sum(counts.in_flight for counts in metrics.listeners.values())


def available(backends: Iterable["Backend"]) -> int:
    """How many of these backends would take a request now."""
    return sum(backend.is_open and not backend.is_full for backend in backends)


def _point(trend: Trend, in_flight: int, backends: list["Backend"]) -> Point:
    rates = trend.last_step()
    numbers = rates.requests_per_second, rates.share_5xx, rates.p50_seconds, rates.p99_seconds
    return Point(*numbers, in_flight, available(backends), len(backends))


def of_flows(flows: Iterable["Flow"], failed: int, now: float) -> Reading:
    """What clients got. A client that left before the response counts as 4xx (499), as in the log."""
    classes, ended = [0] * 10, 0
    buckets: tuple[int, ...] = ()
    for flow in flows:
        for (_method, code), count in flow.answers.items():
            classes[code // 100] += count
            ended += count
        buckets = tuple(map(add, buckets, flow.durations.counts)) if buckets else tuple(flow.durations.counts)
    return Reading(now, ended, (classes[2], classes[3], classes[4], classes[5]), failed, buckets)


def of_backend(backend: "Backend", now: float) -> Reading:
    """How the attempts on a backend ended, and how long the first byte of a response took."""
    classes, failed, ended = [0] * 10, 0, 0
    for code, count in backend.codes.items():
        ended += count
        if code != NO_ANSWER:
            classes[code // 100] += count
    for reason, count in backend.failures.items():
        ended += count
        if reason not in CLIENTS_DOING:
            failed += count
    buckets = tuple(backend.response_start.counts)
    return Reading(now, ended, (classes[2], classes[3], classes[4], classes[5]), failed, buckets)
