"""The numbers: plain ints and bisects while traffic runs, read only when somebody looks.

Everything about one exchange is counted once, from its record, when it has ended; so /metrics, the API and
the log cannot disagree. Numbers of one backend live on the backend and go with it; those of a pool or a
listener live here and stay. Labels are bounded by the configuration: no path, no host, no client.
"""

from collections import Counter
from typing import TYPE_CHECKING

from lb.core.measures.histogram import Histogram
from lb.errors import ClientGone

if TYPE_CHECKING:
    from lb.core.exchange_record import Attempt, ExchangeRecord
    from lb.errors import Reason

METHODS = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
"""RFC 9110 section 9.3 and PATCH (RFC 5789); any other is counted as OTHER, for a client can invent them."""

NO_ANSWER = ClientGone.status
"""The status that is counted for a client that left before the response."""


class ListenerCounts:
    """One listener's connections and exchanges; whoever owns the connection counts it here."""

    __slots__ = ("accepted", "in_flight", "open", "rejected")

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.in_flight = 0
        self.rejected: Counter[str] = Counter()


class Flow:
    """All exchanges that came in by one listener and went to one pool ("" where none was chosen)."""

    __slots__ = ("answers", "durations", "request_bytes", "response_bytes")

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.durations = Histogram()
        self.request_bytes = 0
        self.response_bytes = 0


class Metrics:
    """The counters of one process. Keys are in the order of the labels that they become."""

    __slots__ = (
        "admin_requests",
        "admin_restarts",
        "config_loaded_at",
        "config_reloads",
        "connect_durations",
        "failures",
        "flows",
        "listeners",
        "loop_lags",
        "queue_waits",
        "retries",
    )

    def __init__(self) -> None:
        self.listeners: dict[str, ListenerCounts] = {}
        self.flows: dict[tuple[str, str], Flow] = {}
        self.failures: Counter[tuple[str, Reason]] = Counter()
        self.retries: Counter[tuple[str, Reason]] = Counter()
        self.connect_durations: dict[str, Histogram] = {}
        self.queue_waits: dict[str, Histogram] = {}
        self.loop_lags = Histogram()
        self.admin_requests: Counter[tuple[str, str, int]] = Counter()
        self.admin_restarts = 0
        self.config_reloads: Counter[str] = Counter(success=0, failure=0)
        self.config_loaded_at = 0.0  # seconds since 1970; a start is the first time

    def listener(self, name: str) -> ListenerCounts:
        """The counts of the listener of this name, made when it is asked for first."""
        return self.listeners.setdefault(name, ListenerCounts())

    def loop_lag(self, seconds: float) -> None:
        """How much later than it wished a sleeping task was woken."""
        self.loop_lags.observe(seconds)

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Count one exchange that has ended, and each of its attempts on the backend that it was made on.

        About 1.4 us for one attempt that succeeded, on the machine of the benchmarks.
        """
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

    def _attempted(self, exchange: "ExchangeRecord", attempt: "Attempt") -> None:
        """An attempt counts once: by the code that the backend answered, or by the reason that it failed."""
        backend = attempt.backend
        if attempt.reason is None:
            backend.codes[NO_ANSWER if attempt.is_beaten else exchange.status or NO_ANSWER] += 1
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
