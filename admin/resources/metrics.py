"""/metrics: every metric family, with the values of the counters at the time of the request.

Each family exists from the start, with its help and type, so a dashboard can be built before the first
request. The series of a backend are made from the registry, so they end when the backend is removed.
"""

import platform
from collections.abc import Iterator, Mapping
from itertools import chain, islice

import trio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views import (
    backend_series,
    cluster_series,
    renewal_series,
    source_series,
    tls_series,
    worker_series,
)
from admin.views.metric_families import Family, counter, gauge, histogram
from lb.about import BUILD, VERSION
from lb.control import Control
from lb.observe import program_log
from lb.slices import sliced

OPENMETRICS = "application/openmetrics-text"
PIECES_A_TURN = 30
"""Other tasks run after so many pieces: less than half a millisecond for histograms, the longest ones."""


def operations(control: Control, *, is_open: bool) -> tuple[Operation, ...]:
    """The one operation; where it `is_open` it needs no token."""
    exposition = Exposition(control)

    async def metrics(call: Call) -> Response:
        parts, content_type = await exposition.render(call.request.headers.get("Accept", ""))
        return responses.long(parts, content_type)

    return (
        Operation(
            method="GET",
            path="/metrics",
            summary="Prometheus text, or OpenMetrics where Accept asks for it",
            handler=metrics,
            answers={200: "The metrics."},
            counts=True,
            media_types=("text/plain", OPENMETRICS),
            is_open=is_open,
        ),
    )


class Exposition:
    """Our families, and after them those of the process, which prometheus-client reads.

    It has a private registry: what other code of the process registers globally is not shown.
    """

    def __init__(self, control: Control) -> None:
        self._numbers = Numbers(control)
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    async def render(self, accept: str) -> tuple[list[bytes], str]:
        """The metrics, and their content type, in the format that `accept` prefers.

        Other tasks run between the pieces, of which many backends have thousands. So the values are not all
        of the same instant; those of one line, or of one histogram, are.
        """
        encode, content_type = choose_encoder(accept)
        is_openmetrics = content_type.startswith(OPENMETRICS)
        parts: list[bytes] = []
        pools = [*self._numbers.registry.pools.values()]
        free = {pool.name: await sliced(backend_series.available(pool)) for pool in pools}
        pieces = chain.from_iterable(each.written(is_openmetrics) for each in self._numbers.collect(free))
        while turn := "".join(islice(pieces, PIECES_A_TURN)):
            parts.append(turn.encode())
            await trio.lowlevel.checkpoint()
        parts.append(encode(self._registry))  # ends with the EOF line of OpenMetrics
        return parts, content_type


class Numbers:
    """Our families. The labels of each are fixed, and their values bounded by the configuration."""

    def __init__(self, control: Control) -> None:
        self.registry = control.registry
        self.metrics = control.metrics
        self.feed = control.feed
        self.control = control

    def collect(self, free: Mapping[str, int]) -> Iterator[Family]:
        """Every family, with the values of this moment; `free` counts the available backends of each pool."""
        yield gauge(
            "build_info", "What runs here; always 1.", ("version", "build", "python", "trio"), [_build()]
        )
        yield from self._exchanges()
        yield from self._connections()
        yield from backend_series.of_backends([*self.registry.backends.values()], self.registry.now())
        yield from backend_series.of_pools([*self.registry.pools.values()], free)
        if workers := self.control.workers.list():
            yield from worker_series.of_workers(workers)
        if self.control.tls is not None:
            yield from tls_series.of_tls(self.control.tls)
        yield from renewal_series.of_renewals(self.control.renewals)
        yield from source_series.of_sources(self.control)
        yield from cluster_series.of_cluster(self.control)
        yield from self._waits()
        yield from self._ourselves()

    def _exchanges(self) -> Iterator[Family]:
        flows = [*self.metrics.flows.items()]
        yield counter(
            "requests",
            "Requests by the status that the client got.",
            ("listener", "pool", "method", "code"),
            (
                ((*key, method, str(code)), count)
                for key, flow in flows
                for (method, code), count in [*flow.answers.items()]
            ),
        )
        durations = ((key, flow.durations) for key, flow in flows)
        help_text = "From the first byte of a request to the last of its answer."
        yield histogram("request_duration_seconds", help_text, ("listener", "pool"), durations)
        yield counter(
            "request_body_bytes",
            "Bytes of request bodies.",
            ("listener", "pool"),
            ((key, flow.request_bytes) for key, flow in flows),
        )
        yield counter(
            "response_body_bytes",
            "Bytes of response bodies.",
            ("listener", "pool"),
            ((key, flow.response_bytes) for key, flow in flows),
        )
        failures = [*self.metrics.failures.items()]
        help_text = "Requests that ended badly, by the RFC 9209 reason."
        yield counter("request_failures", help_text, ("pool", "error"), failures)

    def _connections(self) -> Iterator[Family]:
        listeners = [*self.metrics.listeners.items()]
        accepted = (((name,), counts.accepted) for name, counts in listeners)
        yield counter("connections", "Client connections accepted.", ("listener",), accepted)
        are_open = (((name,), counts.open) for name, counts in listeners)
        yield gauge("connections_open", "Client connections open now.", ("listener",), are_open)
        yield counter(
            "connections_rejected",
            "Client connections closed without a request being read.",
            ("listener", "reason"),
            (((name, why), n) for name, counts in listeners for why, n in [*counts.rejected.items()]),
        )
        evicted = [((), self.metrics.connections_evicted)]
        yield counter("connections_evicted", "Idle client connections closed for others.", (), evicted)
        is_full = [((), 0.0 if self.metrics.full_since is None else 1.0)]
        yield gauge("connections_full", "1 while every place for clients is taken.", (), is_full)
        held = [((), self.metrics.held.count)]
        yield gauge("held_bytes", "Bytes held for slow clients (limits.held).", (), held)
        in_flight = (((name,), counts.in_flight) for name, counts in listeners)
        yield gauge("requests_in_flight", "Requests being served now.", ("listener",), in_flight)

    def _waits(self) -> Iterator[Family]:
        durations = (((pool,), took) for pool, took in [*self.metrics.connect_durations.items()])
        help_text = "How long connecting to a backend took."
        yield histogram("backend_connect_duration_seconds", help_text, ("pool",), durations)
        waits = (((pool,), waited) for pool, waited in [*self.metrics.queue_waits.items()])
        help_text = "How long requests that had to wait did wait."
        yield histogram("queue_wait_seconds", help_text, ("pool",), waits)
        retries = [*self.metrics.retries.items()]
        help_text = "Requests tried again, by what had failed."
        yield counter("retries", help_text, ("pool", "error"), retries)
        drains = [*self.registry.drain_durations.items()]
        help_text = "How long drains took, by how they ended."
        yield histogram("drain_duration_seconds", help_text, ("pool", "outcome"), drains)

    def _ourselves(self) -> Iterator[Family]:
        requests = (
            ((route, method, str(code)), count)
            for (route, method, code), count in [*self.metrics.admin_requests.items()]
        )
        labels = ("route", "method", "code")
        yield counter("admin_requests", "Requests to the admin API.", labels, requests)
        restarts = [((), self.metrics.admin_restarts)]
        yield counter("admin_restarts", "Crashes of the admin service.", (), restarts)
        reloads = (((result,), count) for result, count in [*self.metrics.config_reloads.items()])
        yield counter("config_reloads", "Reloads of the configuration.", ("result",), reloads)
        upgrades = (((result,), count) for result, count in [*self.metrics.upgrades.items()])
        help_text = "Upgrades of the program; those that succeeded are counted on in the new one."
        yield counter("upgrades", help_text, ("result",), upgrades)
        help_text = "When the configuration was last read without a mistake."
        loaded = [((), self.metrics.config_loaded_at)]
        yield gauge("config_last_reload_success_timestamp_seconds", help_text, (), loaded)
        readers = [((), self.feed.readers)]
        yield gauge("event_readers", "Who reads /events now.", (), readers)
        dropped = [((), self.feed.dropped)]
        yield counter("event_readers_dropped", "Readers of /events that were too slow.", (), dropped)
        lost = (((log,), count) for log, count in [*program_log.dropped.items()])
        yield counter("log_lines_dropped", "Lines of logs that could not be written.", ("log",), lost)
        lags = [((), self.metrics.loop_lags)]
        yield histogram("event_loop_lag_seconds", "How much later than due a task woke up.", (), lags)


def every_family(control: Control) -> Iterator[Family]:
    """Every family that there may be, for the reference; `control` is of a balancer that does not run."""
    yield from Numbers(control).collect({})
    yield from worker_series.of_workers([])
    yield from tls_series.of_tls(None)


def _build() -> tuple[tuple[str, ...], float]:
    return (VERSION, BUILD, platform.python_version(), trio.__version__), 1.0
