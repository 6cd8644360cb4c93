"""The numbers that a dashboard shows: of all listeners together, of each pool and of each backend.

Rates, shares and quantiles are of the last ten seconds, as `lb.observe.sampler` has read them; states and
what is in flight are of this moment. Latency is that of whole exchanges; of a backend it is the time to the
first byte of its answers. GET /stats answers with these numbers and the history, the page shows them, and
each second the event `stats` has them without the history.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from admin.slices import listed
from admin.views import backend_json
from admin.views.times import timestamp
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.measures.rates import STEP, WINDOW, Codes, Point, Rates, Trend
from lb.core.pool import Pool
from lb.observe.sampler import available

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
    """One pool; while `panicking`, it uses all ready backends, because too few are fit."""

    name: str
    policy: str
    queued: int
    available: int
    backends: int
    panicking: bool
    history: History | msgspec.UnsetType = msgspec.UNSET


class BackendStats(Traffic, kw_only=True, gc=False):
    """One backend.

    `share` is its part of the pool's attempts, null where there were none; `expected_share` is the part that
    its weight gives it among the backends that take requests now. `why` says why it takes none or only some,
    beyond its state. `checks` has a letter for each of the last thirty probes, the newest last: `.` passed,
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
    weight: int
    available: bool
    share: float | None
    expected_share: float
    connections: int
    idle_connections: int
    drain: Progress | None


class Stats(msgspec.Struct, kw_only=True):
    """The numbers at the time `at`; the rates are those of the last `window_seconds`."""

    at: str
    uptime_seconds: float
    window_seconds: int = WINDOW
    draining: bool
    stopping: bool
    totals: TotalStats
    pools: list[PoolStats]
    backends: list[BackendStats]


async def described(control: Control, *, with_history: bool = False) -> Stats:
    """The numbers of this moment, those of many backends made in slices."""
    stats = _without_backends(control, with_history)
    stats.backends = await listed(_rows(control))
    return stats


def _without_backends(control: Control, with_history: bool) -> Stats:
    registry, now = control.registry, control.registry.now()
    return Stats(
        at=timestamp(control.wall(now)),
        uptime_seconds=round(now - control.started, 3),
        draining=control.drain is not None,
        stopping=control.stopping,
        totals=_totals(control, with_history),
        pools=[_pool(control, pool, with_history) for pool in registry.pools.values()],
        backends=[],
    )


def _rows(control: Control) -> Iterator[BackendStats]:
    return chain.from_iterable(_backends(control, pool) for pool in [*control.registry.pools.values()])


def _totals(control: Control, with_history: bool) -> TotalStats:
    backends = list(control.registry.backends.values())
    trend = control.sampler.total
    caps = [backend.cap for backend in backends]
    listeners = control.metrics.listeners.values()
    return TotalStats(
        rates=trend.lately(),
        minute=trend.minute(),
        in_flight=control.in_flight,
        cap=sum(cap or 0 for cap in caps) if caps and None not in caps else None,
        queued=sum(pool.waiting for pool in control.registry.pools.values()),
        available=available(backends),
        backends=len(backends),
        connections=sum(counts.open for counts in listeners),
        history=_history(trend) if with_history else msgspec.UNSET,
    )


def _pool(control: Control, pool: Pool, with_history: bool) -> PoolStats:
    trend = control.sampler.of_pool(pool.name)
    return PoolStats(
        rates=trend.lately(),
        minute=trend.minute(),
        name=pool.name,
        policy=pool.settings.policy,
        in_flight=pool.in_flight,
        cap=pool.cap,
        queued=pool.waiting,
        available=available(pool.backends),
        backends=len(pool.backends),
        panicking=pool.is_panicking,
        history=_history(trend) if with_history else msgspec.UNSET,
    )


def _backends(control: Control, pool: Pool) -> Iterator[BackendStats]:
    """The backends of the pool. One may be removed while the others are described."""
    backends = [*pool.backends]
    trends = [control.sampler.of(backend) for backend in backends]
    rates = [trend.lately() for trend in trends]
    count = sum(each.ended for each in rates)
    expected = expected_shares(backends)
    now = control.registry.now()
    for backend, trend, each in zip(backends, trends, rates, strict=True):
        share = each.ended / count if count else None
        yield _backend(backend, trend, each, share, expected[backend], now)


def _backend(
    backend: Backend, trend: Trend, rates: Rates, share: float | None, expected: float, now: float
) -> BackendStats:
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


def expected_shares(backends: Sequence[Backend]) -> Mapping[Backend, float]:
    """The shares by weight, less in slow start, of those that take requests; backups only without others."""
    taking = [each for each in backends if each.is_open]
    taking = [each for each in taking if not each.spec.backup] or taking
    total = sum(each.share for each in taking)
    shares = dict.fromkeys(backends, 0.0)
    shares.update({each: each.share / total for each in taking} if total else {})
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
