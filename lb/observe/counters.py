"""The counters behind /metrics and the API: plain ints and histograms.

An exchange is counted once, from its record, when it has ended; so /metrics, the API and the log agree. The
counters of a backend are on the backend and go with it; those of a pool or a listener are here and stay.
Labels are bounded by the configuration: there is no path, host or client among them.
"""

from collections import Counter
from typing import TYPE_CHECKING

from lb.core.held import Held
from lb.core.measures.histogram import Histogram
from lb.errors import ClientGone

if TYPE_CHECKING:
    from lb.core.exchange_record import AttemptRecord, ExchangeRecord
    from lb.errors import Reason

METHODS = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
"""RFC 9110 section 9.3 and PATCH (RFC 5789). Others are counted as OTHER: a client can invent any number."""

NO_ANSWER = ClientGone.status
"""The status that is counted for a client that left before the response."""


class ListenerCounts:
    """The connections and exchanges of one listener, counted by the task that owns the connection."""

    __slots__ = ("accepted", "in_flight", "open", "rejected")

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.in_flight = 0
        self.rejected: Counter[str] = Counter()


class Flow:
    """The exchanges of one listener that went to one pool ("" where no pool was chosen)."""

    __slots__ = ("answers", "durations", "request_bytes", "response_bytes")

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.durations = Histogram()
        self.request_bytes = 0
        self.response_bytes = 0


class Metrics:
    """The counters of one process. The parts of a key are in the order of the metric's labels."""

    __slots__ = (
        "addresses",
        "admin_requests",
        "admin_restarts",
        "config_loaded_at",
        "config_reloads",
        "connect_durations",
        "connections_evicted",
        "failures",
        "flows",
        "full_since",
        "held",
        "listeners",
        "loop_lags",
        "queue_waits",
        "retries",
        "upgrades",
    )

    def __init__(self) -> None:
        self.listeners: dict[str, ListenerCounts] = {}
        self.flows: dict[tuple[str, str], Flow] = {}
        self.failures: Counter[tuple[str, Reason]] = Counter()
        self.retries: Counter[tuple[str, Reason]] = Counter()
        self.connections_evicted = 0
        self.full_since: float | None = None
        """Since when every place for clients has been taken; None while there is one."""
        self.addresses: Counter[str] = Counter()
        """How many places each client address has, as `lb.proxy.places` counts them in this process."""
        self.held = Held(0)
        """The bytes that are held for slow clients now; `lb.proxy.context` sets the limit."""
        self.connect_durations: dict[str, Histogram] = {}
        self.queue_waits: dict[str, Histogram] = {}
        self.loop_lags = Histogram()
        self.admin_requests: Counter[tuple[str, str, int]] = Counter()
        self.admin_restarts = 0
        self.config_reloads: Counter[str] = Counter(success=0, failure=0)
        self.upgrades: Counter[str] = Counter(success=0, failure=0)
        self.config_loaded_at = 0.0  # seconds since 1970, of the start or the last successful reload

    def listener(self, name: str) -> ListenerCounts:
        """The counts of the listener of this name, created by the first call."""
        return self.listeners.setdefault(name, ListenerCounts())

    def durations_of(self, pool: str) -> Histogram:
        """How long the exchanges of this pool took since the start, over all listeners."""
        everything = Histogram()
        for listener in self.listeners:
            flow = self.flows.get((listener, pool))
            if flow is not None:
                everything.add(dict(enumerate(flow.durations.counts)), flow.durations.total)
        return everything

    def loop_lag(self, seconds: float) -> None:
        """Count how much later than due a sleeping task was woken."""
        self.loop_lags.observe(seconds)

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Count one exchange that has ended, and each attempt on the counters of its backend."""
        key = exchange.listener, exchange.pool
        flow = self.flows.get(key)
        if flow is None:
            flow = self.flows[key] = Flow()
        flow.answers[METHODS.get(exchange.method, "OTHER"), exchange.status or NO_ANSWER] += 1
        if exchange.ended is not None:
            flow.durations.observe(exchange.ended - exchange.started)
        flow.request_bytes += exchange.request_bytes
        flow.response_bytes += exchange.response_bytes
        if exchange.reason is not None:
            self.failures[exchange.pool, exchange.reason] += 1
        if exchange.queued > 0:
            self._observe(self.queue_waits, exchange.pool, exchange.queued)
        for attempt in exchange.attempts:
            self._attempted(exchange, attempt)
        if len(exchange.attempts) > 1:
            self._retried(exchange)

    def _attempted(self, exchange: "ExchangeRecord", attempt: "AttemptRecord") -> None:
        """Count an attempt once: by the status of its response, or by the reason of its failure."""
        backend = attempt.backend
        if attempt.reason is None:
            is_its_own = attempt.first_byte is not None and not attempt.is_beaten  # and not an answer of ours
            backend.codes[exchange.status or NO_ANSWER if is_its_own else NO_ANSWER] += 1
        else:
            backend.failures[attempt.reason] += 1
        if attempt.first_byte is not None:
            backend.response_start.observe(attempt.first_byte - attempt.started)
        if attempt.connected is not None and not attempt.reused:
            self._observe(self.connect_durations, exchange.pool, attempt.connected - attempt.started)

    def _retried(self, exchange: "ExchangeRecord") -> None:
        for attempt in exchange.attempts[:-1]:
            if attempt.reason is not None:
                self.retries[exchange.pool, attempt.reason] += 1

    def _observe(self, histograms: dict[str, Histogram], pool: str, seconds: float) -> None:
        histogram = histograms.get(pool)
        if histogram is None:
            histogram = histograms[pool] = Histogram()
        histogram.observe(seconds)
