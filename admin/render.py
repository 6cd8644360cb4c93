"""From the registry to JSON: what the API shows of backends, pools and drains.

Times leave as RFC 3339 UTC, durations as seconds. Everything is read at the moment of asking.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

import msgspec

from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome
from lb.core.pool import Pool
from lb.errors import Reason

CLIENTS_DOING = frozenset({Reason.CLIENT_DISCONNECTED, Reason.HTTP_REQUEST_ERROR})


class DrainProgress(msgspec.Struct, kw_only=True):
    """How far a drain is; `deadline_seconds` is what is left, null when nothing is waited for any more."""

    started: str
    duration_seconds: float
    started_with: int
    remaining: int
    aborted: int
    outcome: Outcome | None
    deadline_seconds: float | None
    then: str


class Status(msgspec.Struct, kw_only=True):
    """What a backend is doing now, and what it has done since it was added."""

    state: str
    health: str = "unknown"
    in_flight: int
    connections: int
    idle_connections: int
    requests_total: int
    failures_total: int
    last_check: str | None = None
    since: str
    drain: DrainProgress | None


class BackendView(msgspec.Struct, kw_only=True):
    """One backend."""

    id: str
    url: str
    pool: str
    weight: int
    max_in_flight: int | None
    admin_state: AdminState
    labels: dict[str, str]
    source: str
    revision: int
    status: Status
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


class Totals(msgspec.Struct, kw_only=True):
    """Sums over the backends that are shown; available are those that would take a request now."""

    backends: int
    available: int
    in_flight: int


class BackendList(msgspec.Struct, kw_only=True):
    """Backends in the order in which they were added."""

    items: list[BackendView]
    totals: Totals
    revision: int
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


class Queue(msgspec.Struct, kw_only=True):
    """Requests that wait because every backend is at its cap."""

    length: int
    limit: int


class PoolView(msgspec.Struct, kw_only=True):
    """One pool and the ids of its backends."""

    name: str
    policy: str
    totals: Totals
    queue: Queue
    backends: list[str]


class PoolList(msgspec.Struct, kw_only=True):
    """Every pool."""

    items: list[PoolView]


def timestamp(seconds: float) -> str:
    """RFC 3339 of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def backend(control: Control, backend: Backend, drain: Drain | None = None) -> BackendView:
    """The backend as it is; `drain` is shown where it has none any more, for it was taken back."""
    spec = backend.spec
    return BackendView(
        id=spec.id,
        url=spec.url,
        pool=backend.pool,
        weight=spec.weight,
        max_in_flight=spec.max_in_flight,
        admin_state=backend.admin_state,
        labels=spec.labels,
        source=backend.source,
        revision=backend.revision,
        status=_status(control, backend, backend.drain or drain),
    )


def backends(control: Control, shown: Sequence[Backend]) -> BackendList:
    """These backends with their totals."""
    items = [backend(control, each) for each in shown]
    return BackendList(items=items, totals=_totals(shown), revision=control.registry.revision)


def pool(pool: Pool) -> PoolView:
    """The pool as it is."""
    return PoolView(
        name=pool.name,
        policy=pool.policy_name,
        totals=_totals(pool.backends),
        queue=Queue(length=pool.waiting, limit=pool.queue_limit),
        backends=[each.id for each in pool.backends],
    )


def _totals(shown: Sequence[Backend]) -> Totals:
    return Totals(
        backends=len(shown),
        available=sum(each.why_not() is None for each in shown),
        in_flight=sum(each.in_flight for each in shown),
    )


def _status(control: Control, backend: Backend, drain: Drain | None) -> Status:
    failures = sum(count for reason, count in backend.failures.items() if reason not in CLIENTS_DOING)
    return Status(
        state=backend.state,
        in_flight=backend.in_flight,
        connections=backend.connections,
        idle_connections=backend.idle_connections,
        requests_total=sum(backend.codes.values()) + sum(backend.failures.values()),
        failures_total=failures,
        since=timestamp(control.wall(backend.since)),
        drain=None if drain is None else _progress(control, backend, drain),
    )


def _progress(control: Control, backend: Backend, drain: Drain) -> DrainProgress:
    now = control.registry.now()
    is_running = drain.outcome is None and isfinite(drain.deadline)
    return DrainProgress(
        started=timestamp(control.wall(drain.started)),
        duration_seconds=round(drain.duration(now), 3),
        started_with=drain.started_with,
        remaining=backend.in_flight,
        aborted=drain.aborted,
        outcome=drain.outcome,
        deadline_seconds=round(max(0.0, drain.deadline - now), 3) if is_running else None,
        then=drain.then.value,
    )
