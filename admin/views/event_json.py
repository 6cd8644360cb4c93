"""The events of /events: the struct of each type, and how it is made from what happened."""

from typing import Literal, cast

import msgspec

from admin.views.stats_json import progress
from admin.views.times import timestamp
from lb.config.reload import Kind as ReloadKind
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Event
from lb.core.registry_events import PoolEvent
from lb.observe.access_log import safe

BackendKind = Literal[
    "added", "changed", "ready", "maintenance", "removed", "up", "down", "ejected", "trial", "admitted"
]
DrainKind = Literal["draining", "progress", "drained"]
ConfigKind = Literal[
    "added", "configured", "removed", "panic", "calm", "policy failed", "reloaded", "not reloaded"
]
BalancerKind = Literal["draining", "ready", "stopping"]


class BackendEvent(msgspec.Struct, kw_only=True):
    """`backend`: an operator changed it; `health`: probes or exchanges did. `state` is the state after it."""

    kind: BackendKind
    backend: str
    pool: str
    state: str
    detail: str
    at: str


class DrainEvent(msgspec.Struct, kw_only=True):
    """`drain`: a drain begins or is extended, goes on (once a second), or has ended; `aborted` were cut."""

    kind: DrainKind
    backend: str
    pool: str
    remaining: int
    started_with: int
    deadline_seconds: float | None
    duration_seconds: float
    aborted: int
    detail: str
    at: str


class ConfigEvent(msgspec.Struct, kw_only=True):
    """`config`: a reload added or removed a pool, its settings changed (`detail` names them), it panics or is
    calm again, or its policy failed. A reload as a whole has no `pool`; its `detail` says what it changed, or
    the first mistake.
    """

    kind: ConfigKind
    pool: str | msgspec.UnsetType = msgspec.UNSET
    detail: str
    at: str


class BalancerEvent(msgspec.Struct, kw_only=True):
    """`balancer`: the balancer itself begins to drain, is ready again, or stops."""

    kind: BalancerKind
    remaining: int
    at: str


class FailedEvent(msgspec.Struct, kw_only=True):
    """`request_failed`: GET /requests/{id} has its record. `untold` more have failed since the last event."""

    id: str
    client: str
    method: str
    target: str
    status: int
    error: str | None
    detail: str
    pool: str
    backend: str | None
    attempts: int
    seconds: float
    untold: int
    at: str


def backend_event(control: Control, event: Event) -> BackendEvent:
    """A backend has changed, or is judged differently."""
    backend = event.backend
    return BackendEvent(
        kind=cast("BackendKind", event.kind),
        backend=backend.id,
        pool=backend.pool,
        state=backend.state,
        detail=encodable(event.detail),
        at=_now(control),
    )


def drain_event(
    control: Control, kind: DrainKind, backend: Backend, drain: Drain, detail: str = ""
) -> DrainEvent:
    """How far a drain is now."""
    now = control.registry.now()
    far = progress(backend, drain, now)
    return DrainEvent(
        kind=kind,
        backend=backend.id,
        pool=backend.pool,
        remaining=far.remaining,
        started_with=far.started_with,
        deadline_seconds=None if kind == "drained" else far.deadline_seconds,
        duration_seconds=round(drain.duration(now), 3),
        aborted=drain.aborted,
        detail=encodable(detail),
        at=_now(control),
    )


def pool_event(control: Control, event: PoolEvent) -> ConfigEvent:
    """A pool was added, removed or configured, or its state has changed."""
    kind = cast("ConfigKind", event.kind)
    return ConfigEvent(kind=kind, pool=event.pool.name, detail=encodable(event.detail), at=_now(control))


def reload_event(control: Control, kind: ReloadKind, detail: str) -> ConfigEvent:
    """A reload has succeeded or failed."""
    return ConfigEvent(kind=kind, detail=encodable(detail), at=_now(control))


def balancer_event(control: Control, kind: BalancerKind) -> BalancerEvent:
    """The balancer itself drains, is ready again, or stops."""
    return BalancerEvent(kind=kind, remaining=control.in_flight, at=_now(control))


def failed_event(control: Control, exchange: ExchangeRecord, untold: int) -> FailedEvent:
    """An exchange has failed."""
    ended = exchange.started if exchange.ended is None else exchange.ended
    return FailedEvent(
        id=safe(exchange.id),
        client=exchange.client,
        method=safe(exchange.method),
        target=safe(exchange.target),
        status=exchange.status,
        error=None if exchange.reason is None else exchange.reason.value,
        detail=encodable(exchange.detail),
        pool=exchange.pool,
        backend=None if exchange.deciding is None else exchange.deciding.backend.id,
        attempts=len(exchange.attempts),
        seconds=round(ended - exchange.started, 6),
        untold=untold,
        at=_now(control),
    )


def encodable(text: str) -> str:
    """The text without what UTF-8 cannot encode: a backend or a custom policy may have worded it.

    A subscriber of the registry must not raise, and encoding a lone surrogate would.
    """
    return text.encode(errors="backslashreplace").decode()


def _now(control: Control) -> str:
    return timestamp(control.wall(control.registry.now()))
