"""From the registry to JSON: what the API shows of backends and drains.

Times are RFC 3339 in UTC, durations are seconds. All values are those of the moment of the call.
"""

from collections.abc import Collection, Generator, Iterable, Iterator
from math import isfinite
from typing import Literal

import msgspec

from admin.views.cluster_json import DrainInCluster, LocalOverride, local_override
from admin.views.running_json import WaitedFor, waited_for
from admin.views.source_json import missing_seconds
from admin.views.times import timestamp
from lb.control import Control
from lb.core.announced import Notice
from lb.core.backend import FULL_SHARE, AdminState, Backend
from lb.core.drain import Drain, Outcome
from lb.core.exchange_record import CLIENTS_DOING
from lb.core.health.ejection import Outcomes, Standing
from lb.core.health.probe_verdict import Check, Health, Verdict
from lb.slices import sliced

WHY_LENGTH = 60


class DrainProgress(msgspec.Struct, kw_only=True):
    """How far a drain is. `deadline_seconds` is the time left, null where nothing is cut any more.

    Where one backend was asked for, `waiting_for` has the exchanges that it waits for, at most five.
    """

    started: str
    duration_seconds: float
    started_with: int
    remaining: int
    aborted: int
    outcome: Outcome | None
    deadline_seconds: float | None
    then: str
    waiting_for: list[WaitedFor] | msgspec.UnsetType = msgspec.UNSET


class CheckView(msgspec.Struct, kw_only=True):
    """The result of one probe, and when it ended."""

    ok: bool
    why: str
    seconds: float
    at: str


class HealthView(msgspec.Struct, kw_only=True):
    """The verdict of the probes, since when, and `why`: the result of the last probe that bears it out.

    `recent` has the last results, the newest last; `downs` is how often it went down since it was added, and
    `down_seconds` for how long in all. The verdict is unknown where the pool has no probe.
    """

    verdict: Literal["up", "down", "checking", "unknown"]
    since: str | None = None
    why: str = ""
    last: CheckView | None = None
    passes: int = 0
    fails: int = 0
    downs: int = 0
    down_seconds: float = 0.0
    recent: list[bool] = []


class OutcomesView(msgspec.Struct, kw_only=True):
    """The verdict of the exchanges. `until` is when an ejection ends, `ejections` counts all so far."""

    standing: Standing
    since: str | None
    why: str
    until: str | None
    ejections: int


class Status(msgspec.Struct, kw_only=True):
    """The state of a backend now, and its counters since it was added.

    `why_not` says why it takes no request now, null where it takes one. `why` says that too, or why it takes
    only some, where the state does not say it; and how long its source has not named it, or that this
    balancer alone of its cluster has it otherwise. `share` is its weight, or less of it during slow start.
    `responses_5xx_total` are its own answers, `failures_total` attempts without a whole one.
    """

    state: str
    why_not: str | None
    why: str
    health: HealthView
    outcomes: OutcomesView
    share: float
    in_flight: int
    connections: int
    idle_connections: int
    requests_total: int
    responses_5xx_total: int
    failures_total: int
    since: str
    drain: DrainProgress | None


class BackendView(msgspec.Struct, kw_only=True):
    """One backend.

    `source` is `config`, `api`, or the name of the pool's source that has found it. Of one that was found
    `notice` is what its source says of it, and `missing_seconds` how long it has not named it; else null.
    In a cluster `local` is there where this balancer alone has it otherwise, and `cluster` in the answer to
    a drain that was waited for.
    """

    id: str
    url: str
    pool: str
    weight: int
    max_in_flight: int | None
    max_connections: int | None
    backup: bool
    admin_state: AdminState
    labels: dict[str, str]
    source: str
    notice: Notice | None
    missing_seconds: float | None
    revision: int
    status: Status
    persisted: bool | msgspec.UnsetType = msgspec.UNSET
    cluster: DrainInCluster | msgspec.UnsetType = msgspec.UNSET
    local: LocalOverride | msgspec.UnsetType = msgspec.UNSET


class Totals(msgspec.Struct, kw_only=True):
    """Sums over the listed backends; `available` counts those that would take a request now."""

    backends: int
    available: int
    in_flight: int


class BackendList(msgspec.Struct, kw_only=True):
    """Backends in the order in which they were added."""

    items: list[BackendView]
    totals: Totals
    revision: int
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


def backend_view(control: Control, backend: Backend, drain: Drain | None = None) -> BackendView:
    """One backend as it is now; `drain` is shown where the backend has none any more."""
    spec = backend.spec
    return BackendView(
        id=spec.id,
        url=spec.url,
        pool=backend.pool,
        weight=spec.weight,
        max_in_flight=spec.max_in_flight,
        max_connections=spec.max_connections,
        backup=spec.backup,
        admin_state=backend.admin_state,
        labels=spec.labels,
        source=backend.source,
        notice=None if backend.said is None else backend.notice,
        missing_seconds=missing_seconds(control, backend),
        revision=backend.revision,
        status=_status(control, backend, backend.drain or drain),
        local=local_override(control, backend.pool, backend.id),
    )


async def backend_alone(control: Control, backend: Backend, drain: Drain | None = None) -> BackendView:
    """The same for an answer about one backend: while it drains, with the exchanges that it waits for."""
    drains = backend.drain is not None and backend.drain.outcome is None
    waiting_for = await waited_for(control, backend) if drains else []
    view = backend_view(control, backend, drain)
    progress = view.status.drain
    if progress is not None and progress.outcome is None:
        progress.waiting_for = waiting_for
    return view


async def backend_list(shown: Collection[Backend], revision: int) -> BackendList:
    """The list of these without its items, which are of this revision; the totals are counted in slices."""
    return BackendList(items=[], totals=await totals(shown), revision=revision)


def backend_views(control: Control, shown: Iterable[Backend]) -> Iterator[BackendView]:
    """The items of a list; each is as it is when it is made."""
    return (backend_view(control, each) for each in shown)


def short_why(backend: Backend) -> str:
    """The beginning of `why`, for a cell of a table."""
    return _why(backend)[:WHY_LENGTH]


def told_why(control: Control, backend: Backend) -> str:
    """What `Status.why` says of it."""
    own, missing = control.cluster.own_wish(backend.pool, backend.id), missing_seconds(control, backend)
    return ", ".join(
        part
        for part in (
            "" if own is None else f"{own.wish} here alone, by {own.by or '?'}",
            "" if missing is None else f"missing {missing:.0f} s",
            _why(backend),
        )
        if part
    )


def _why(backend: Backend) -> str:
    """Why the backend takes no request, or only some; "" where its state says that already.

    What stands beside it in any table, its id and its URL, is not repeated.
    """
    doubts = "" if backend.health is None else backend.health.doubts
    why = backend.why_not() or backend.why_unfit() or doubts
    why = why.removeprefix(f"{backend.state}: ").replace(f"{backend.id} at {backend.spec.url}: ", "", 1)
    return "" if why in set(AdminState) | {backend.state} else why


async def totals(shown: Iterable[Backend]) -> Totals:
    """The sums over these backends, made in slices."""
    return await sliced(_adding_up([*shown]))


def _adding_up(shown: Collection[Backend]) -> Generator[None, None, Totals]:
    available = in_flight = 0
    for backend in shown:
        available += backend.is_open and not backend.is_full
        in_flight += backend.in_flight
        yield
    return Totals(backends=len(shown), available=available, in_flight=in_flight)


def _status(control: Control, backend: Backend, drain: Drain | None) -> Status:
    failures = sum(count for reason, count in backend.failures.items() if reason not in CLIENTS_DOING)
    return Status(
        state=backend.state,
        why_not=backend.why_not(),
        why=told_why(control, backend),
        health=_health(control, backend.health),
        outcomes=_outcomes(control, backend.outcomes),
        share=backend.share / FULL_SHARE,
        in_flight=backend.in_flight,
        connections=backend.connections,
        idle_connections=backend.idle_connections,
        requests_total=sum(backend.codes.values()) + sum(backend.failures.values()),
        responses_5xx_total=sum(count for code, count in backend.codes.items() if code >= 500),
        failures_total=failures,
        since=timestamp(control.wall(backend.state_since)),
        drain=None if drain is None else _progress(control, backend, drain),
    )


def _health(control: Control, health: Health | None) -> HealthView:
    if health is None:
        return HealthView(verdict="unknown", why="the pool has no probe")
    return HealthView(
        verdict=health.verdict.value,
        since=timestamp(control.wall(health.since)),
        why=health.why,
        last=None if health.last is None else check_view(control, health.last),
        passes=health.passes,
        fails=health.fails,
        downs=health.flips[Verdict.DOWN],
        down_seconds=round(health.down_seconds(control.registry.now()), 3),
        recent=list(health.recent),
    )


def check_view(control: Control, check: Check) -> CheckView:
    """The result of one probe."""
    at = timestamp(control.wall(check.at))
    return CheckView(ok=check.ok, why=check.why, seconds=round(check.seconds, 6), at=at)


def _outcomes(control: Control, outcomes: Outcomes) -> OutcomesView:
    is_ejected = outcomes.standing is Standing.EJECTED
    return OutcomesView(
        standing=outcomes.standing,
        since=timestamp(control.wall(outcomes.since)) if outcomes.since else None,
        why=outcomes.why,
        until=timestamp(control.wall(outcomes.until)) if is_ejected else None,
        ejections=outcomes.ejections.total(),
    )


def _progress(control: Control, backend: Backend, drain: Drain) -> DrainProgress:
    now = control.registry.now()
    return DrainProgress(
        started=timestamp(control.wall(drain.started)),
        duration_seconds=round(drain.duration(now), 3),
        started_with=drain.started_with,
        remaining=backend.in_flight,
        aborted=drain.aborted,
        outcome=drain.outcome,
        deadline_seconds=seconds_left(drain, now),
        then=drain.then.value,
    )


def seconds_left(drain: Drain, now: float) -> float | None:
    """The time until the drain cuts what still runs; None where it has ended or has no deadline."""
    if drain.outcome is not None or not isfinite(drain.deadline):
        return None
    return round(max(0.0, drain.deadline - now), 3)
