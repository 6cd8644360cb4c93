"""What the workers have reported, added to the numbers of the keeper, where the operator's side reads them.

A counter is increased by how much it has grown in the worker. A gauge is the sum of what the workers say, so
what one said last is kept, to be taken back when it says something else, and when it ends.
"""

from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING

from lb.core.backend import Backend
from lb.core.measures.histogram import Histogram, Recent
from lb.core.policies.catalogue import own_policy
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.observe.counters import Flow, Metrics
from lb.workers.report import (
    AnyPart,
    Grown,
    OfBackend,
    OfErrors,
    OfFlow,
    OfHandshakes,
    OfListener,
    OfPool,
    OfProcess,
    OfWaits,
)

if TYPE_CHECKING:
    from lb.certificate_files.handshake_log import HandshakeLog


class WorkerTotals:
    """What all processes of one worker have reported, one after the other, of themselves."""

    __slots__ = ("lags", "recent_lags", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.lags = Histogram()
        self.recent_lags = Recent()


class Sums:
    """What one process of a worker has reported. `take_back` its gauges when it has ended.

    `is_full`: all of its places for clients are taken. `lines_lost` is where the program log counts, and
    `handshakes` where those are added; None where no listener has TLS.
    """

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        totals: WorkerTotals,
        lines_lost: MutableMapping[str, int],
        handshakes: "HandshakeLog | None" = None,
    ) -> None:
        self.is_full = False
        self._registry = registry
        self._metrics = metrics
        self._totals = totals
        self._lines_lost = lines_lost
        self._handshakes = handshakes
        self._held = 0
        self._listeners: dict[str, tuple[int, int]] = {}
        self._pools: dict[Pool, tuple[int, int]] = {}
        self._backends: dict[Backend, tuple[int, int, int]] = {}

    @property
    def connections(self) -> int:
        """Client connections that are open there."""
        return sum(are_open for are_open, _ in self._listeners.values())

    def add(self, parts: Iterable[AnyPart]) -> None:
        """Add what is reported. What it says of a backend or a pool that is gone is dropped."""
        for part in parts:
            self._add(part)
        if len(self._backends) > len(self._registry.backends):
            self._backends = {each: gauges for each, gauges in self._backends.items() if not each.removed}

    def _add(self, part: AnyPart) -> None:
        match part:
            case OfBackend():
                backend = self._registry.backends.get(part.id)
                if backend is not None and backend.serial == part.serial:
                    self._add_of_backend(backend, part)
            case OfPool():
                if (pool := self._registry.pools.get(part.name)) is not None:
                    self._add_of_pool(pool, part)
            case OfFlow():
                self._add_of_flow(part)
            case OfHandshakes(done=done, failed=failed, durations=took, refusals=refusals):
                assert self._handshakes is not None
                self._handshakes.add(done, failed, took.counts, took.total)
                self._handshakes.add_refusals(refusals)
            case OfListener():
                self._add_of_listener(part)
            case OfErrors():
                for pool_name, reason, count in part.failures:
                    self._metrics.failures[pool_name, reason] += count
                for pool_name, reason, count in part.retries:
                    self._metrics.retries[pool_name, reason] += count
            case OfWaits():
                _grow(self._metrics.connect_durations, part.pool, part.connects)
                _grow(self._metrics.queue_waits, part.pool, part.queued)
            case OfProcess():
                self._add_of_process(part)

    def _add_of_process(self, part: OfProcess) -> None:
        metrics, totals, now = self._metrics, self._totals, self._registry.now()
        self._hold(part.held)
        self.is_full = part.is_full
        metrics.connections_evicted += part.evicted
        metrics.loop_lags.add(part.lags.counts, part.lags.total)
        totals.lags.add(part.lags.counts, part.lags.total)
        totals.recent_lags.add(part.lags.counts, part.lags.total, now)
        for name, count in part.lines_lost.items():
            self._lines_lost[name] = self._lines_lost.get(name, 0) + count

    def _hold(self, held: int) -> None:
        self._metrics.held.count += held - self._held
        self._held = held

    def _add_of_listener(self, part: OfListener) -> None:
        counts = self._metrics.listener(part.name)
        counts.accepted += part.accepted
        for why, count in part.rejected.items():
            counts.rejected[why] += count
        self._serve(part.name, part.open, part.in_flight)

    def _serve(self, listener: str, are_open: int, in_flight: int) -> None:
        counts, before = self._metrics.listener(listener), self._listeners.get(listener, (0, 0))
        counts.open += are_open - before[0]
        counts.in_flight += in_flight - before[1]
        self._listeners[listener] = are_open, in_flight

    def _add_of_flow(self, part: OfFlow) -> None:
        flow = self._metrics.flows.setdefault((part.listener, part.pool), Flow())
        for method, code, count in part.answers:
            flow.answers[method, code] += count
        flow.durations.add(part.durations.counts, part.durations.total)
        flow.request_bytes += part.request_bytes
        flow.response_bytes += part.response_bytes
        ended = sum(count for *_, count in part.answers)
        self._totals.requests += ended
        if (pool := self._registry.pools.get(part.pool)) is not None:
            pool.budget.add(ended, 0, 0, self._registry.now())

    def _add_of_pool(self, pool: Pool, part: OfPool) -> None:
        self._queue(pool, part.in_flight, part.waiting)
        pool.hedged += part.hedged
        pool.budget.add(0, part.spent, part.exhausted, self._registry.now())
        own = own_policy(pool.policy)
        if own is not None and part.policy_failures:
            own.failures += part.policy_failures
            own.last_failure = part.last_policy_failure
            self._registry.members.subscribers.tell_of_pool("policy failed", pool, own.last_failure)

    def _queue(self, pool: Pool, in_flight: int, waiting: int) -> None:
        before = self._pools.get(pool, (0, 0))
        pool.in_flight += in_flight - before[0]
        pool.waiting_elsewhere += waiting - before[1]
        self._pools[pool] = in_flight, waiting

    def _add_of_backend(self, backend: Backend, part: OfBackend) -> None:
        self._run(backend, part.in_flight, part.connections, part.idle_connections)
        backend.connections_opened += part.opened
        backend.connections_reused += part.reused
        for code, count in part.codes.items():
            backend.codes[code] += count
        for reason, count in part.failures.items():
            backend.failures[reason] += count
        backend.response_start.add(part.response_start.counts, part.response_start.total)

    def _run(self, backend: Backend, in_flight: int, connections: int, idle: int) -> None:
        before = self._backends.get(backend, (0, 0, 0))
        backend.elsewhere += in_flight - before[0]
        backend.connections += connections - before[1]
        backend.idle_connections += idle - before[2]
        self._backends[backend] = in_flight, connections, idle

    def went_idle(self, backend: Backend) -> None:
        """Nothing runs on the backend there any more, which was said before the next report."""
        if (before := self._backends.get(backend)) is not None:
            self._run(backend, 0, *before[1:])

    def take_back(self) -> None:
        """The process has ended, and with it all that its gauges told of."""
        self.is_full = False
        self._hold(0)
        for listener in self._listeners:
            self._serve(listener, 0, 0)
        for pool in self._pools:
            self._queue(pool, 0, 0)
        for backend in self._backends:
            self._run(backend, 0, 0, 0)


def _grow(histograms: MutableMapping[str, Histogram], name: str, grown: Grown) -> None:
    if grown.counts:
        histograms.setdefault(name, Histogram()).add(grown.counts, grown.total)
