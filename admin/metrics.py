"""/metrics: the numbers in Prometheus' words, read from where they are counted when somebody asks.

Every family is there from the start, with its help and type, so that a dashboard can be built before the
first request. Series of a backend are made from the registry, so they go when it goes.
"""

import platform
from collections.abc import Iterable, Iterator

import trio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from quart import Response

from admin.about import VERSION
from admin.operation import Ask, Operation
from lb.control import Control
from lb.core.backend import Backend
from lb.core.histogram import Histogram

STATES = ("ready", "draining", "drained", "maintenance")

Samples = Iterable[tuple[tuple[str, ...], float]]
Histograms = Iterable[tuple[tuple[str, ...], Histogram]]


def operations(control: Control, *, is_open: bool) -> tuple[Operation, ...]:
    """The one operation; open to those without the token where the operator says so."""
    exposition = Exposition(control)

    async def metrics(ask: Ask) -> Response:
        body, content_type = exposition.render(ask.request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)

    return (
        Operation(
            method="GET",
            path="/metrics",
            says="Prometheus text, or OpenMetrics where Accept asks for it",
            view=metrics,
            answers={200: "The metrics."},
            is_open=is_open,
        ),
    )


class Exposition:
    """A private registry: what other code of the process registers globally is not ours to show."""

    def __init__(self, control: Control) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Numbers(control))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their content type, in the format that `accept` prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class Numbers(Collector):
    """Our families. A fixed set of labels each, bounded by what is configured."""

    def __init__(self, control: Control) -> None:
        self.registry = control.registry
        self.metrics = control.metrics

    def collect(self) -> Iterator[Metric]:
        """Every family, with the values of this moment."""
        yield _gauge("build_info", "What runs here; always 1.", ("version", "python", "trio"), [_build()])
        yield from self._exchanges()
        yield from self._connections()
        yield from self._backends()
        yield from self._backend_connections()
        yield from self._pools()
        yield from self._ourselves()

    def _exchanges(self) -> Iterator[Metric]:
        flows = self.metrics.flows
        yield _counter(
            "requests",
            "Requests by the status that the client got.",
            ("listener", "pool", "method", "code"),
            (
                ((*key, method, str(code)), count)
                for key, flow in flows.items()
                for (method, code), count in flow.answers.items()
            ),
        )
        durations = ((key, flow.durations) for key, flow in flows.items())
        says = "From the first byte of a request to the last of its answer."
        yield _histogram("request_duration_seconds", says, ("listener", "pool"), durations)
        yield _counter(
            "request_body_bytes",
            "Bytes of request bodies.",
            ("listener", "pool"),
            ((key, flow.request_bytes) for key, flow in flows.items()),
        )
        yield _counter(
            "response_body_bytes",
            "Bytes of response bodies.",
            ("listener", "pool"),
            ((key, flow.response_bytes) for key, flow in flows.items()),
        )
        failures = self.metrics.failures.items()
        says = "Requests that ended badly, by the RFC 9209 reason."
        yield _counter("request_failures", says, ("pool", "error"), failures)

    def _connections(self) -> Iterator[Metric]:
        listeners = self.metrics.listeners.items()
        accepted = (((name,), counts.accepted) for name, counts in listeners)
        yield _counter("connections", "Client connections accepted.", ("listener",), accepted)
        are_open = (((name,), counts.open) for name, counts in listeners)
        yield _gauge("connections_open", "Client connections open now.", ("listener",), are_open)
        yield _counter(
            "connections_rejected",
            "Client connections closed without a request being read.",
            ("listener", "reason"),
            (((name, why), n) for name, counts in listeners for why, n in counts.rejected.items()),
        )
        in_flight = (((name,), counts.in_flight) for name, counts in listeners)
        yield _gauge("requests_in_flight", "Requests being served now.", ("listener",), in_flight)

    def _backends(self) -> Iterator[Metric]:
        labels = ("pool", "backend")
        backends = [(_key(backend), backend) for backend in self.registry.backends.values()]
        yield _counter(
            "backend_requests",
            "Attempts that a backend answered, by its status.",
            (*labels, "code"),
            (((*key, str(code)), n) for key, backend in backends for code, n in backend.codes.items()),
        )
        yield _counter(
            "backend_attempt_failures",
            "Attempts that failed on a backend, by the RFC 9209 reason.",
            (*labels, "error"),
            (((*key, error), n) for key, backend in backends for error, n in backend.failures.items()),
        )
        starts = ((key, backend.response_start) for key, backend in backends)
        says = "From the start of an attempt to the first byte of its answer."
        yield _histogram("backend_response_start_seconds", says, labels, starts)
        in_flight = ((key, backend.in_flight) for key, backend in backends)
        yield _gauge("backend_requests_in_flight", "Requests on a backend now.", labels, in_flight)
        weights = ((key, backend.spec.weight) for key, backend in backends)
        yield _gauge("backend_weight", "The share of requests, against the pool's others.", labels, weights)
        yield _gauge(
            "backend_state",
            "1 for the state that a backend is in.",
            (*labels, "state"),
            (((*key, state), float(backend.state == state)) for key, backend in backends for state in STATES),
        )

    def _backend_connections(self) -> Iterator[Metric]:
        labels = ("pool", "backend")
        backends = [(_key(backend), backend) for backend in self.registry.backends.values()]
        active = (
            ((*key, "active"), backend.connections - backend.idle_connections) for key, backend in backends
        )
        idle = (((*key, "idle"), backend.idle_connections) for key, backend in backends)
        says = "Connections to a backend, in use or waiting for reuse."
        yield _gauge("backend_connections", says, (*labels, "state"), (*active, *idle))
        opened = ((key, backend.connections_opened) for key, backend in backends)
        yield _counter("backend_connections_opened", "Connections made to a backend.", labels, opened)
        reused = ((key, backend.connections_reused) for key, backend in backends)
        says = "Attempts that found a connection waiting."
        yield _counter("backend_connections_reused", says, labels, reused)
        durations = (((pool,), took) for pool, took in self.metrics.connect_durations.items())
        says = "How long connecting to a backend took."
        yield _histogram("backend_connect_duration_seconds", says, ("pool",), durations)

    def _pools(self) -> Iterator[Metric]:
        pools = self.registry.pools.values()
        available = (((pool.name, "available"), _available(pool.backends)) for pool in pools)
        total = (((pool.name, "total"), len(pool.backends)) for pool in pools)
        yield _gauge("pool_backends", "Backends of a pool.", ("pool", "state"), (*available, *total))
        waiting = (((pool.name,), pool.waiting) for pool in pools)
        yield _gauge("queue_length", "Requests waiting for a backend below its cap.", ("pool",), waiting)
        waits = (((pool,), waited) for pool, waited in self.metrics.queue_waits.items())
        says = "How long requests that had to wait did wait."
        yield _histogram("queue_wait_seconds", says, ("pool",), waits)
        retries = self.metrics.retries.items()
        says = "Requests tried again, by what had failed."
        yield _counter("retries", says, ("pool", "error"), retries)
        drains = self.registry.drain_durations.items()
        says = "How long drains took, by how they ended."
        yield _histogram("drain_duration_seconds", says, ("pool", "outcome"), drains)

    def _ourselves(self) -> Iterator[Metric]:
        requests = (
            ((route, method, str(code)), count)
            for (route, method, code), count in self.metrics.admin_requests.items()
        )
        labels = ("route", "method", "code")
        yield _counter("admin_requests", "Requests to the admin API.", labels, requests)
        restarts = [((), self.metrics.admin_restarts)]
        yield _counter("admin_restarts", "Crashes of the admin service.", (), restarts)
        lags = [((), self.metrics.loop_lags)]
        yield _histogram("event_loop_lag_seconds", "How much later than due a task woke up.", (), lags)


def _key(backend: Backend) -> tuple[str, str]:
    return backend.pool, backend.id


def _build() -> tuple[tuple[str, ...], float]:
    return (VERSION, platform.python_version(), trio.__version__), 1.0


def _available(backends: Iterable[Backend]) -> int:
    return sum(backend.why_not() is None for backend in backends)


def _counter(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"lb_{name}", says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"lb_{name}", says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(name: str, says: str, labels: tuple[str, ...], histograms: Histograms) -> Metric:
    family = HistogramMetricFamily(f"lb_{name}", says, labels=labels)
    for values, histogram in histograms:
        family.add_metric(values, histogram.cumulative(), histogram.total)
    return family
