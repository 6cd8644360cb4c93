"""What is wrong, as JSON and as sentences: /trouble, the page, `lb status` and the events of /events."""

from typing import Literal

import msgspec

from admin.views.sentences import Wall, quoted
from admin.views.times import timestamp
from lb.control import Control
from lb.core.trouble import Change, Trouble
from lb.core.trouble_kinds import Found

MINUTE, HOUR, DAY = 60, 3600, 86400
LONGEST = 400


class TroubleView(msgspec.Struct, kw_only=True):
    """One thing that is wrong: a sentence about it, what to do next, and since when it is so.

    `pool` and `backend` are null where it is of none.
    """

    kind: str
    pool: str | None
    backend: str | None
    sentence: str
    advice: str
    since: str
    seconds: float


class TroubleList(msgspec.Struct, kw_only=True):
    """All that is wrong, the gravest first. `summary` is one sentence, also where nothing is."""

    summary: str
    items: list[TroubleView]


class TroubleEvent(msgspec.Struct, kw_only=True):
    """`trouble`: something is wrong, or is over; `detail` is a sentence about it, `trouble` its kind.

    `pool` and `backend` are left out where it is of none.
    """

    kind: Literal["trouble", "trouble over"]
    trouble: str
    pool: str | msgspec.UnsetType = msgspec.UNSET
    backend: str | msgspec.UnsetType = msgspec.UNSET
    detail: str
    advice: str
    seconds: float
    at: str


def troubles(control: Control) -> list[TroubleView]:
    """All that is wrong now, the gravest first."""
    now = control.registry.now()
    return [_view(each, control.wall, now) for each in control.troubles.current()]


def trouble_list(control: Control) -> TroubleList:
    """The same with a summary."""
    items = troubles(control)
    return TroubleList(summary=items[0].sentence if items else "nothing is wrong", items=items)


def trouble_event(change: Change, trouble: Trouble, wall: Wall, now: float) -> TroubleEvent:
    """One that began or ended just now."""
    found, has_begun = trouble.found, change == "began"
    return TroubleEvent(
        kind="trouble" if has_begun else "trouble over",
        trouble=found.kind,
        pool=found.pool or msgspec.UNSET,
        backend=found.backend or msgspec.UNSET,
        detail=sentence(found) if has_begun else f"after {span(now - trouble.since)}: {found.what.was}",
        advice=found.advice if has_begun else "",
        seconds=round(now - trouble.since, 1),
        at=timestamp(wall(now)),
    )


def _view(trouble: Trouble, wall: Wall, now: float) -> TroubleView:
    found = trouble.found
    return TroubleView(
        kind=found.kind,
        pool=found.pool or None,
        backend=found.backend or None,
        sentence=sentence(found, now - trouble.since),
        advice=found.advice,
        since=timestamp(wall(trouble.since)),
        seconds=round(now - trouble.since, 1),
    )


def sentence(found: Found, seconds: float | None = None) -> str:
    """What it is, for how long where that is given, and why."""
    what = found.what.now
    if found.lasts and seconds is not None:
        what = f"{found.what.lasted} for {span(seconds)}"
    return with_reason(what, found.why)


def with_reason(what: str, why: str) -> str:
    """The clause and, where it is known, why it is so; shortened if it is very long."""
    text = f"{what}: {quoted(why)}" if why else what
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def span(seconds: float) -> str:
    """A time for people: "46 s", "12 min", "3.5 h"."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.3g} h" if seconds < 2 * DAY else f"{seconds / DAY:.3g} days"
