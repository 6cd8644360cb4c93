"""What a worker reports of its numbers: of counters by how much they have grown, of gauges how they stand.

The keeper adds the growth to counters of its own (`lb.workers.sums`). So no counter goes back when a worker
ends, and what is lost with a killed one is what it had not reported. Only what has changed is reported, and
`Reporter.parts` looks at one thing with each step: the counters are read where they are, so counting costs a
request nothing more.

A backend that was removed may have a namesake, so its serial is reported too.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import repeat
from operator import sub
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lb.core.backend import Backend
from lb.core.measures.histogram import Histogram
from lb.core.policies.catalogue import own_policy
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.errors import Reason
from lb.observe.counters import Flow, ListenerCounts, Metrics

if TYPE_CHECKING:
    from lb.certificate_files.handshake_log import HandshakeLog

K = TypeVar("K")


class Grown(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """By how much a histogram has grown: each of its buckets by index, and the sum in seconds."""

    counts: dict[int, int]
    total: float


class Part(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """What is reported of one thing. It cannot be part of a reference cycle, and there may be many."""


class OfProcess(Part, frozen=True):
    """Of the worker as a whole. `lines_lost` are log lines, by the name of the log."""

    held: int
    is_full: bool
    evicted: int
    lags: Grown
    lines_lost: dict[str, int]


class OfListener(Part, frozen=True):
    """Of one listener: what is open and in flight, and by how much the others have grown."""

    name: str
    open: int
    in_flight: int
    accepted: int
    rejected: dict[str, int]


class OfHandshakes(Part, frozen=True):
    """Of handshakes with clients, by how much they have grown.

    Those that succeeded are by listener, version and whether a session was resumed, others by listener and
    reason. `refusals` are the last of these, as `lb.certificate_files.handshake_log` writes them.
    """

    done: list[tuple[str, str, bool, int]]
    failed: list[tuple[str, str, int]]
    durations: Grown
    refusals: bytes


class OfFlow(Part, frozen=True):
    """Of the exchanges of one listener with one pool, of which there were more."""

    listener: str
    pool: str
    answers: list[tuple[str, int, int]]
    durations: Grown
    request_bytes: int
    response_bytes: int


class OfErrors(Part, frozen=True):
    """The requests that have failed and those that were tried again: pool, reason, how many more."""

    failures: list[tuple[str, Reason, int]]
    retries: list[tuple[str, Reason, int]]


class OfWaits(Part, frozen=True):
    """How long connecting and queueing took in one pool."""

    pool: str
    connects: Grown
    queued: Grown


class OfPool(Part, frozen=True):
    """Of one pool: what is in flight and what waits, and by how much the others have grown."""

    name: str
    in_flight: int
    waiting: int
    hedged: int
    spent: int
    exhausted: int
    policy_failures: int
    last_policy_failure: str


class OfBackend(Part, frozen=True):
    """Of one backend: what is in flight, its connections, and by how much the others have grown."""

    id: str
    serial: int
    in_flight: int
    connections: int
    idle_connections: int
    opened: int
    reused: int
    codes: dict[int, int]
    failures: dict[Reason, int]
    response_start: Grown


AnyPart = OfProcess | OfListener | OfHandshakes | OfFlow | OfErrors | OfWaits | OfPool | OfBackend

NOTHING = Grown({}, 0.0)


class ToldHistogram:
    """A histogram as it was last reported."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._total = 0.0

    def grown(self, now: Histogram) -> Grown:
        """By how much it has grown since; what it is now counts as reported."""
        if now.counts == self._counts:
            return NOTHING
        more = map(sub, now.counts, self._counts or repeat(0))
        grown = Grown({index: count for index, count in enumerate(more) if count}, now.total - self._total)
        self._counts, self._total = [*now.counts], now.total
        return grown


def grown(told: MutableMapping[K, int], now: Mapping[K, int]) -> dict[K, int]:
    """By how much each of these counts has grown; what they are now counts as reported."""
    more = {key: count - told.get(key, 0) for key, count in now.items() if count != told.get(key)}
    for key in more:
        told[key] = now[key]
    return more


class ToldListener:
    """The counts of one listener as they were last reported."""

    __slots__ = ("_accepted", "_gauges", "_rejected")

    def __init__(self) -> None:
        self._gauges = (0, 0)
        self._accepted = 0
        self._rejected: dict[str, int] = {}

    def part(self, name: str, now: ListenerCounts) -> OfListener | None:
        gauges, rejected = (now.open, now.in_flight), grown(self._rejected, now.rejected)
        if gauges == self._gauges and now.accepted == self._accepted and not rejected:
            return None
        part = OfListener(name, *gauges, now.accepted - self._accepted, rejected)
        self._gauges, self._accepted = gauges, now.accepted
        return part


class ToldHandshakes:
    """The counts of handshakes as they were last reported."""

    __slots__ = ("_done", "_durations", "_failed")

    def __init__(self) -> None:
        self._done: dict[tuple[str, str, bool], int] = {}
        self._failed: dict[tuple[str, str], int] = {}
        self._durations = ToldHistogram()

    def part(self, now: "HandshakeLog") -> OfHandshakes | None:
        done = grown(self._done, now.done)
        failed = grown(self._failed, {(where, str(reason)): n for (where, reason), n in now.failed.items()})
        if not done and not failed:
            return None
        return OfHandshakes(
            [(*key, count) for key, count in done.items()],
            [(*key, count) for key, count in failed.items()],
            self._durations.grown(now.durations),
            now.written(sum(failed.values())),
        )


class ToldFlow:
    """The counts of one flow as they were last reported."""

    __slots__ = ("_answers", "_bytes", "_durations")

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], int] = {}
        self._durations = ToldHistogram()
        self._bytes = (0, 0)

    def part(self, key: tuple[str, str], now: Flow) -> OfFlow | None:
        if not (more := grown(self._answers, now.answers)):
            return None
        answers = [(method, code, count) for (method, code), count in more.items()]
        received, sent = now.request_bytes - self._bytes[0], now.response_bytes - self._bytes[1]
        self._bytes = now.request_bytes, now.response_bytes
        return OfFlow(*key, answers, self._durations.grown(now.durations), received, sent)


class ToldPool:
    """The counts of one pool as they were last reported."""

    __slots__ = ("_counters", "_gauges")

    def __init__(self) -> None:
        self._gauges = (0, 0)
        self._counters = (0, 0, 0, 0)

    def part(self, pool: Pool) -> OfPool | None:
        own = own_policy(pool.policy)
        gauges = pool.in_flight, pool.waiting
        failures = 0 if own is None else own.failures
        counters = pool.hedged, pool.budget.spent, pool.budget.exhausted, failures
        if gauges == self._gauges and counters == self._counters:
            return None
        # Another pool of the same name, and another policy of the same pool, count from the beginning.
        pairs = zip(counters, self._counters, strict=True)
        hedged, spent, exhausted, failed = (now - told if now >= told else now for now, told in pairs)
        self._gauges, self._counters = gauges, counters
        last = "" if own is None else own.last_failure
        return OfPool(pool.name, *gauges, hedged, spent, exhausted, failed, last)


class ToldBackend:
    """The counts of one backend as they were last reported."""

    __slots__ = ("_codes", "_failures", "_numbers", "_response_start")

    def __init__(self) -> None:
        self._numbers = (0, 0, 0, 0, 0)
        self._codes: dict[int, int] = {}
        self._failures: dict[Reason, int] = {}
        self._response_start = ToldHistogram()

    def part(self, backend: Backend) -> OfBackend | None:
        """None where nothing has changed. Each attempt that ended is in the codes or in the failures."""
        opened, reused = backend.connections_opened, backend.connections_reused
        gauges = len(backend.running), backend.connections, backend.idle_connections
        numbers = (*gauges, opened, reused)
        # Counter.__eq__ takes ten times as long, and most backends of many have no news.
        is_same = dict.__eq__(self._codes, backend.codes) and dict.__eq__(self._failures, backend.failures)
        if is_same and numbers == self._numbers:
            return None
        opened, reused = opened - self._numbers[3], reused - self._numbers[4]
        self._numbers = numbers
        codes = grown(self._codes, backend.codes)
        failures = grown(self._failures, backend.failures) if backend.failures else {}
        starts = self._response_start.grown(backend.response_start)
        return OfBackend(backend.id, backend.serial, *gauges, opened, reused, codes, failures, starts)


class Reporter:
    """The numbers of one worker, and what of them was reported.

    The program log counts `lines_lost`; `handshakes` is None where no listener has TLS.
    """

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        lines_lost: Mapping[str, int],
        handshakes: "HandshakeLog | None" = None,
    ) -> None:
        self._handshakes = handshakes
        self._told_handshakes = ToldHandshakes()
        self._registry = registry
        self._metrics = metrics
        self._lines_lost = lines_lost
        self._evicted = 0
        self._lags = ToldHistogram()
        self._told_lines: dict[str, int] = {}
        self._listeners: dict[str, ToldListener] = {}
        self._flows: dict[tuple[str, str], ToldFlow] = {}
        self._failures: dict[tuple[str, Reason], int] = {}
        self._retries: dict[tuple[str, Reason], int] = {}
        self._waits: dict[str, tuple[ToldHistogram, ToldHistogram]] = {}
        self._pools: dict[str, ToldPool] = {}
        self._backends: dict[Backend, ToldBackend] = {}

    def parts(self) -> Iterator[AnyPart | None]:
        """All that is to be reported now, of one thing with each step, None where it has not changed.

        What was given out counts as reported. Only one may run at a time.
        """
        metrics, registry = self._metrics, self._registry
        yield self._of_process()
        if self._handshakes is not None:
            yield self._told_handshakes.part(self._handshakes)
        for name, counts in [*metrics.listeners.items()]:
            yield self._listeners.setdefault(name, ToldListener()).part(name, counts)
        for key, flow in [*metrics.flows.items()]:
            yield self._flows.setdefault(key, ToldFlow()).part(key, flow)
        yield self._of_errors()
        for name in dict.fromkeys((*metrics.connect_durations, *metrics.queue_waits)):
            yield self._of_waits(name)
        for pool in [*registry.pools.values()]:
            yield self._pools.setdefault(pool.name, ToldPool()).part(pool)
        for backend in [*registry.backends.values()]:
            yield self._of_backend(backend)
        self._forget_removed()

    def _of_process(self) -> OfProcess:
        metrics = self._metrics
        evicted, self._evicted = metrics.connections_evicted - self._evicted, metrics.connections_evicted
        lags, lines = self._lags.grown(metrics.loop_lags), grown(self._told_lines, self._lines_lost)
        return OfProcess(metrics.held.count, metrics.full_since is not None, evicted, lags, lines)

    def _of_errors(self) -> OfErrors | None:
        failures = grown(self._failures, self._metrics.failures)
        retries = grown(self._retries, self._metrics.retries)
        if not failures and not retries:
            return None
        return OfErrors(_flat(failures), _flat(retries))

    def _of_waits(self, pool: str) -> OfWaits | None:
        metrics = self._metrics
        if pool not in self._waits:
            self._waits[pool] = ToldHistogram(), ToldHistogram()
        now = metrics.connect_durations.get(pool), metrics.queue_waits.get(pool)
        connects, queued = (
            NOTHING if histogram is None else told.grown(histogram)
            for told, histogram in zip(self._waits[pool], now, strict=True)
        )
        return None if connects is NOTHING and queued is NOTHING else OfWaits(pool, connects, queued)

    def _of_backend(self, backend: Backend) -> OfBackend | None:
        if backend.removed:
            return None
        told = self._backends.get(backend)
        if told is None:
            if not (backend.running or backend.connections_opened or backend.codes or backend.failures):
                return None
            told = self._backends[backend] = ToldBackend()
        return told.part(backend)

    def _forget_removed(self) -> None:
        if len(self._backends) > len(self._registry.backends):
            self._backends = {each: told for each, told in self._backends.items() if not each.removed}


def _flat(counts: Mapping[tuple[str, Reason], int]) -> list[tuple[str, Reason, int]]:
    return [(pool, reason, count) for (pool, reason), count in counts.items()]
