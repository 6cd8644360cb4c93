"""The events of /events: the struct of each type, and how it is made from what happened.

Where an operator did it `by` is the name of the token, `anonymous` where none is needed, or `signal`.
"""

from typing import TYPE_CHECKING, Literal, cast

import msgspec

from admin.views.stats_json import progress
from admin.views.times import timestamp
from lb.config.reload import Kind as ReloadKind
from lb.control import Control, UpgradeKind
from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Event
from lb.core.registry_events import PoolEvent
from lb.core.renewal_view import RenewalEvent
from lb.core.worker_view import WorkerEvent, WorkerKind
from lb.observe.access_log import safe

if TYPE_CHECKING:
    from lb.certificate_files.termination import CertificateEvent

BackendKind = Literal[
    "added",
    "changed",
    "ready",
    "maintenance",
    "removed",
    "up",
    "down",
    "ejected",
    "trial",
    "admitted",
    "missing",
    "found",
    "not_ready",
    "leaving",
]
DrainKind = Literal["draining", "progress", "drained"]
ConfigKind = Literal[
    "added",
    "configured",
    "removed",
    "panic",
    "calm",
    "policy failed",
    "held",
    "followed",
    "stale",
    "fresh",
    "reloaded",
    "not reloaded",
]
CertificateKind = Literal["swapped", "refused", "expiring", "critical", "expired"]
RenewalKind = Literal["certificate renewed", "renewal failed", "challenge rehearsed"]
BalancerKind = Literal["draining", "ready", "stopping", "upgrading", "upgraded", "not upgraded", "log level"]


class BackendEvent(msgspec.Struct, kw_only=True):
    """`backend`: an operator changed it, or it came or went; `health`: probes, exchanges or its source did.

    `state` is the state after it. `by` is the name of who did it, left out where nobody did; so it is in the
    events `drain`, `config` and `balancer`.
    """

    kind: BackendKind
    backend: str
    pool: str
    state: str
    detail: str
    by: str | msgspec.UnsetType = msgspec.UNSET
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
    by: str | msgspec.UnsetType = msgspec.UNSET
    at: str


class ConfigEvent(msgspec.Struct, kw_only=True):
    """`config`: a reload added or removed a pool, its settings changed (`detail` names them), it panics or is
    calm again, or its policy failed; a source of it fails (`stale`) or is well again (`fresh`), or backends
    are `held` against what it says, or no more (`followed`). A reload as a whole has no `pool`; its `detail`
    says what it changed, or the first mistake.
    """

    kind: ConfigKind
    pool: str | msgspec.UnsetType = msgspec.UNSET
    detail: str
    by: str | msgspec.UnsetType = msgspec.UNSET
    at: str


class BalancerEvent(msgspec.Struct, kw_only=True):
    """`balancer`: the balancer itself begins to drain, is ready again, stops, is upgraded, or its log has
    another level.

    `detail` has words about an upgrade, and about the level.
    """

    kind: BalancerKind
    remaining: int
    detail: str | msgspec.UnsetType = msgspec.UNSET
    by: str | msgspec.UnsetType = msgspec.UNSET
    at: str


class WorkerProcessEvent(msgspec.Struct, kw_only=True):
    """`worker`: one process of several serves, is silent, answers again, or has ended too early."""

    kind: WorkerKind
    worker: int
    pid: int | None
    detail: str
    at: str


class CertificateChanged(msgspec.Struct, kw_only=True):
    """`certificate`: files have changed and what they hold is served, or cannot be; or one certificate is
    `expiring` (below a quarter of its lifetime), `critical` (below a tenth, or 48 h) or `expired`.

    `certificate` is its id, "" where it is about all.
    """

    kind: CertificateKind
    certificate: str
    detail: str
    at: str


class RenewalTold(msgspec.Struct, kw_only=True):
    """`renewal`: a certificate was ordered, or could not be, or its challenge was rehearsed.

    `name` is empty where the folder as a whole is at fault. `next_attempt` is when the name is tried or
    renewed next, null where that cannot be said.
    """

    kind: RenewalKind
    name: str
    detail: str
    next_attempt: str | None
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
        by=_by(control),
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
        by=_by(control),
        at=_now(control),
    )


def pool_event(control: Control, event: PoolEvent) -> ConfigEvent:
    """A pool was added, removed or configured, or its state has changed."""
    kind = cast("ConfigKind", event.kind)
    return ConfigEvent(
        kind=kind, pool=event.pool.name, detail=encodable(event.detail), by=_by(control), at=_now(control)
    )


def reload_event(control: Control, kind: ReloadKind, detail: str) -> ConfigEvent:
    """A reload has succeeded or failed."""
    return ConfigEvent(kind=kind, detail=encodable(detail), by=_by(control), at=_now(control))


def balancer_event(control: Control, kind: BalancerKind) -> BalancerEvent:
    """The balancer itself drains, is ready again, or stops."""
    return BalancerEvent(kind=kind, remaining=control.in_flight, by=_by(control), at=_now(control))


def worker_event(control: Control, event: WorkerEvent) -> WorkerProcessEvent:
    """Something has happened to a worker."""
    return WorkerProcessEvent(
        kind=event.kind, worker=event.worker, pid=event.pid, detail=event.detail, at=_now(control)
    )


def certificate_event(control: Control, event: "CertificateEvent") -> CertificateChanged:
    """Certificates were swapped or refused, or one nears its end."""
    return CertificateChanged(
        kind=event.kind,
        certificate=event.certificate,
        detail=encodable(event.detail),
        at=_now(control),
    )


def renewal_event(control: Control, event: RenewalEvent) -> RenewalTold:
    """Something has happened to a name whose certificate is ordered."""
    return RenewalTold(
        kind=event.kind.value,
        name=event.name,
        detail=encodable(event.text),
        next_attempt=None if event.next_attempt is None else timestamp(event.next_attempt),
        at=_now(control),
    )


def log_level_event(control: Control, level: str, why: str) -> BalancerEvent:
    """The program's log has lines from another level on."""
    detail = f"{level}, {why}"
    return BalancerEvent(kind="log level", remaining=control.in_flight, detail=detail, at=_now(control))


def upgrade_event(control: Control, kind: UpgradeKind, detail: str) -> BalancerEvent:
    """An upgrade begins, has replaced this program, or has failed."""
    return BalancerEvent(
        kind=kind, remaining=control.in_flight, detail=encodable(detail), by=_by(control), at=_now(control)
    )


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


def _by(control: Control) -> str | msgspec.UnsetType:
    """Who did it, where somebody did."""
    return control.audit.actor or msgspec.UNSET
