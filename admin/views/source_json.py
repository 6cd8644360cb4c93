"""The sources of a pool's backends, as the API tells them."""

from itertools import islice

import msgspec

from admin.views.times import timestamp
from lb.control import Control
from lb.core.backend import Backend
from lb.core.discovery_view import SourceStanding

MOST_NAMED = 100
"""Backends that are named in each list; the counts are of all."""


class Held(msgspec.Struct, kw_only=True):
    """A backend that is used although its source does not want it, and why."""

    backend: str
    why: str


class Missing(msgspec.Struct, kw_only=True):
    """A backend that its source does not name any more, and for how long."""

    backend: str
    seconds: float


class Shadowed(msgspec.Struct, kw_only=True):
    """A backend that the source names and another has: the configuration, the API, a source, or a pool."""

    backend: str
    by: str


class SourceView(msgspec.Struct, kw_only=True):
    """One source, and what follows from what it said last.

    `well` is false while it fails; `error` says how. `age_seconds` is how long its last good set is old,
    `next_seconds` when it is asked again, null where it tells of changes itself. `found` counts its backends.
    `hidden` are those that an operator removed while it names them. Each list names 100 at most.
    """

    name: str
    kind: str
    where: str
    well: bool
    error: str
    last_good: str | None
    age_seconds: float | None
    next_seconds: float | None
    found: int
    missing_total: int
    missing: list[Missing]
    held_total: int
    held: list[Held]
    shadowed: list[Shadowed]
    hidden: list[str]
    waiting: list[str]
    skipped: list[str]


def source_view(control: Control, standing: SourceStanding) -> SourceView:
    """One source as it is now."""
    now = control.registry.now()
    good_at, next_at = standing.good_at, standing.next_at
    return SourceView(
        name=standing.name,
        kind=standing.kind,
        where=standing.where,
        well=standing.well_since is not None,
        error=standing.error,
        last_good=None if good_at is None else timestamp(control.wall(good_at)),
        age_seconds=None if good_at is None else round(now - good_at, 3),
        next_seconds=None if next_at is None else round(max(0.0, next_at - now), 3),
        found=standing.here,
        missing_total=len(standing.missing),
        missing=[
            Missing(backend=name, seconds=round(now - since, 3))
            for name, since in islice(standing.missing.items(), MOST_NAMED)
        ],
        held_total=len(standing.held),
        held=[Held(backend=name, why=why) for name, why in islice(standing.held.items(), MOST_NAMED)],
        shadowed=[
            Shadowed(backend=name, by=owner) for name, owner in islice(standing.shadowed.items(), MOST_NAMED)
        ],
        hidden=[*islice(standing.hidden, MOST_NAMED)],
        waiting=[*islice(standing.waiting, MOST_NAMED)],
        skipped=[*islice(standing.skipped, MOST_NAMED)],
    )


def missing_seconds(control: Control, backend: Backend) -> float | None:
    """For how long its source has not named this backend; None where it does."""
    if backend.said is None:
        return None
    since = control.discovery.missing_since(backend.pool, backend.source, backend.id)
    return None if since is None else round(control.registry.now() - since, 3)
