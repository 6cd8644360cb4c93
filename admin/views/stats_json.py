"""The numbers that a dashboard shows: of all listeners together, of each pool and of each backend.

Rates, shares and quantiles are of the last ten seconds, as `lb.observe.sampler` has read them; states and
what is in flight are of this moment. Latency is that of whole exchanges; of a backend it is the time to the
first byte of its answers. GET /stats answers with these numbers and the history, the page shows them, and
each second the event `stats` has them without the history.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from admin.views import backend_json
from admin.views.source_json import missing_seconds
from admin.views.times import timestamp
from admin.views.trouble_json import TroubleView, troubles
from admin.views.worker_json import WorkerStats, worker_stats
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.measures.rates import STEP, WINDOW, Codes, Point, Rates, Trend
from lb.core.pool import Pool
from lb.slices import sliced

MARKS = {True: ".", False: "x"}


class History(msgspec.Struct, kw_only=True):
    """Five minutes: a value for each step, the newest last; a latency is null where no request ended."""

    step_seconds: int = STEP
    requests_per_second: list[float] = []
    share_5xx: list[float] = []
    p50_seconds: list[float | None] = []
    p99_seconds: list[float | None] = []
    in_flight: list[int] = []
    available: list[int] = []
    backends: list[int] = []


class Progress(msgspec.Struct, kw_only=True, gc=False):
    """How far a drain is. `deadline_seconds` is the time left, null where nothing is cut any more."""

    remaining: int
    started_with: int
    deadline_seconds: float | None


class Traffic(msgspec.Struct, kw_only=True):
    """What runs now, rates of ten seconds, codes of a minute; `cap` is null where there is none."""

    in_flight: int
    cap: int | None
    rates: Rates
    minute: Codes


class TotalStats(Traffic, kw_only=True):
    """All listeners and all pools. `cap` is the sum of the backends' caps, if each of them has one."""

    queued: int
    available: int
    backends: int
    connections: int
    history: History | msgspec.UnsetType = msgspec.UNSET


class PoolStats(Traffic, kw_only=True):
    """One pool; while `panicking`, it uses all ready backends, because too few are fit.

    `held` counts the backends that stay although their source does not want them; `failing` are the sources
    that do not say what there is.
    """

    name: str
    policy: str
    queued: int
    available: int
    backends: int
    panicking: bool
    held: int
    failing: list[str]
    history: History | msgspec.UnsetType = msgspec.UNSET


class BackendStats(Traffic, kw_only=True, gc=False):
    """One backend.

    `share` is its part of the pool's attempts, null where there were none; `expected_share` is the part that
    its weight gives it among the backends that take requests now. `why` says why it takes none or only some,
    beyond its state. `source` is who named it, `missing_seconds` how long its source has not named it, null
    where it does. `checks` has a letter for each of the last thirty probes, the newest last: `.` passed,
    `x` failed.
    """

    id: str
    pool: str
    url: str
    state: str
    state_seconds: float
    why: str
    checks: str
    labels: Mapping[str, str]
    source: str
    missing_seconds: float | None
    weight: int
    available: bool
    share: float | None
    expected_share: float
    connections: int
    idle_connections: int
    drain: Progress | None


class Stats(msgspec.Struct, kw_only=True):
    """The numbers at the time `at`; the rates are those of the last `window_seconds`.

    `trouble` is what is wrong, the gravest first. `workers` is empty where one process does all.
    """

    at: str
    uptime_seconds: float
    window_seconds: int = WINDOW
    draining: bool
    stopping: bool
    trouble: list[TroubleView]
    totals: TotalStats
    pools: list[PoolStats]
    backends: list[BackendStats]
    workers: list[WorkerStats]


async def described(control: Control, *, with_history: bool = False) -> Stats:
    """The numbers of this moment, those of many backends made in slices."""
    counts = {name: await sliced(_counting(pool)) for name, pool in [*control.registry.pools.items()]}
    stats = _without_backends(control, counts, with_history)
    for pool in [*control.registry.pools.values()]:
        stats.backends += await sliced(_backends(control, pool))
    return stats


class _Counts(NamedTuple):
    """What is counted of the backends of one pool; `cap` is None where one of them has none."""

    available: int = 0
    backends: int = 0
    cap: int | None = 0


def _counting(pool: Pool) -> Generator[None, None, _Counts]:
    available, cap, is_capped = 0, 0, True
    backends = [*pool.backends]
    for backend in backends:
        available += backend.is_open and not backend.is_full
        cap += backend.cap or 0
        is_capped &= backend.cap is not None
        yield
    return _Counts(available, len(backends), cap if is_capped else None)


def _without_backends(control: Control, counts: Mapping[str, _Counts], with_history: bool) -> Stats:
    registry, now = control.registry, control.registry.now()
    return Stats(
        at=timestamp(control.wall(now)),
        uptime_seconds=round(now - control.started, 3),
        draining=control.drain is not None,
        stopping=control.stopping,
        trouble=troubles(control),
        totals=_totals(control, counts.values(), with_history),
        pools=[
            _pool(control, pool, counts.get(pool.name, _Counts()), with_history)
            for pool in registry.pools.values()
        ],
        backends=[],
        workers=worker_stats(control),
    )


def _totals(control: Control, counts: Collection[_Counts], with_history: bool) -> TotalStats:
    backends = sum(each.backends for each in counts)
    trend = control.sampler.total
    caps = [each.cap for each in counts]
    listeners = control.metrics.listeners.values()
    return TotalStats(
        rates=trend.lately(),
        minute=trend.minute(),
        in_flight=control.in_flight,
        cap=sum(cap or 0 for cap in caps) if backends and None not in caps else None,
        queued=sum(pool.waiting for pool in control.registry.pools.values()),
        available=sum(each.available for each in counts),
        backends=backends,
        connections=sum(counts.open for counts in listeners),
        history=_history(trend) if with_history else msgspec.UNSET,
    )


def _pool(control: Control, pool: Pool, counts: _Counts, with_history: bool) -> PoolStats:
    trend = control.sampler.of_pool(pool.name)
    sources = control.discovery.standings(pool.name)
    return PoolStats(
        rates=trend.lately(),
        minute=trend.minute(),
        name=pool.name,
        policy=pool.settings.policy,
        in_flight=pool.in_flight,
        cap=pool.cap,
        queued=pool.waiting,
        available=counts.available,
        backends=counts.backends,
        panicking=pool.is_panicking,
        held=sum(len(each.held) for each in sources),
        failing=[each.name for each in sources if each.error],
        history=_history(trend) if with_history else msgspec.UNSET,
    )


def _backends(control: Control, pool: Pool) -> Generator[None, None, list[BackendStats]]:
    """The backends of the pool. One may be removed while the others are described."""
    found, count = [], 0
    backends = [*pool.backends]
    expected = yield from expected_shares(backends)
    for backend in backends:
        trend = control.sampler.of(backend)
        rates = trend.lately()
        count += rates.ended
        found.append((backend, trend, rates))
        yield
    described = []
    for backend, trend, rates in found:
        share = rates.ended / count if count else None
        described.append(_backend(control, backend, trend, rates, share, expected.get(backend, 0.0)))
        yield
    return described


def _backend(
    control: Control, backend: Backend, trend: Trend, rates: Rates, share: float | None, expected: float
) -> BackendStats:
    now = control.registry.now()
    is_available = backend.is_open and not backend.is_full
    return BackendStats(
        rates=rates,
        minute=trend.minute(),
        id=backend.id,
        pool=backend.pool,
        url=backend.spec.url,
        state=backend.state,
        state_seconds=round(now - backend.state_since, 1),
        why="" if is_available else backend_json.short_why(backend),
        checks="" if backend.health is None else "".join(MARKS[ok] for ok in backend.health.recent),
        labels=backend.spec.labels,
        source=backend.source,
        missing_seconds=missing_seconds(control, backend),
        weight=backend.spec.weight,
        available=is_available,
        in_flight=backend.in_flight,
        cap=backend.cap,
        share=None if share is None else round(share, 4),
        expected_share=round(expected, 4),
        connections=backend.connections,
        idle_connections=backend.idle_connections,
        drain=progress(backend, backend.drain, now) if backend.drain else None,
    )


def expected_shares(backends: Iterable[Backend]) -> Generator[None, None, Mapping[Backend, float]]:
    """The shares by weight, less in slow start, of those that take requests; backups only without others."""
    usual, backups = dict[Backend, int](), dict[Backend, int]()
    for each in backends:
        if each.is_open:
            (backups if each.spec.backup else usual)[each] = each.share
        yield
    taking = usual or backups
    total = sum(taking.values())
    shares = {}
    for each, share in taking.items():
        shares[each] = share / total if total else 0.0
        yield
    return shares


def progress(backend: Backend, drain: Drain, now: float) -> Progress:
    """How far the drain of this backend is."""
    return Progress(
        remaining=backend.in_flight,
        started_with=drain.started_with,
        deadline_seconds=backend_json.seconds_left(drain, now),
    )


def _history(trend: Trend) -> History:
    """The points of the trend, as a list for each number."""
    columns: dict[str, Any] = {
        name: [point[index] for point in trend.points] for index, name in enumerate(Point._fields)
    }
    return History(**columns)
