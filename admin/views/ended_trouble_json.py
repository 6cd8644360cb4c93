"""What was wrong and is over, as JSON and as sentences: /trouble/ended."""

import msgspec

from admin.views.sentences import Wall, clock
from admin.views.times import timestamp
from admin.views.trouble_json import span, with_reason
from lb.control import Control
from lb.core.ended_troubles import EndedTrouble
from lb.suggestions import plural


class EndedTroubleView(msgspec.Struct, kw_only=True):
    """One thing that was wrong: a sentence about it with how long and why, and when it began and ended.

    What begins again within an hour after its end is told as one: `times` says how often it was there,
    `began` is the first beginning, `ended` the last end, and `seconds` how long it was there in all. `pool`
    and `backend` are null where it was of none.
    """

    kind: str
    pool: str | None
    backend: str | None
    sentence: str
    began: str
    ended: str
    seconds: float
    times: int


class EndedTroubleList(msgspec.Struct, kw_only=True):
    """What was wrong and is over, the last that ended first. `summary` is one sentence, also without any.

    200 are remembered, by this process alone. What ended before `remembered_since` may be forgotten: that is
    when the process began, or later where there were more. `current` says how many things are wrong now,
    which GET /trouble has.
    """

    summary: str
    items: list[EndedTroubleView]
    current: int
    remembered_since: str


def ended_trouble_list(control: Control, since: float) -> EndedTroubleList:
    """Those that have ended since this moment of the registry's clock; may be -inf."""
    ended, wall, current = control.troubles.ended, control.wall, control.troubles.count
    remembered_since = max(control.started, ended.remembered_since)
    items = [_view(each, wall) for each in ended.newest(since)]
    beginning = clock(max(since, remembered_since), control.registry.now(), wall)
    what = f"{plural(len(items), 'trouble')} ended" if items else f"no trouble ended since {beginning}"
    now = f"; {current} {'goes' if current == 1 else 'go'} on" if current else ""
    return EndedTroubleList(
        summary=what + now,
        items=items,
        current=current,
        remembered_since=timestamp(wall(remembered_since)),
    )


def _view(ended: EndedTrouble, wall: Wall) -> EndedTroubleView:
    return EndedTroubleView(
        kind=ended.kind,
        pool=ended.pool or None,
        backend=ended.backend or None,
        sentence=with_reason(f"{ended.was}{_how_long(ended)}", ended.why),
        began=timestamp(wall(ended.began)),
        ended=timestamp(wall(ended.ended)),
        seconds=round(ended.seconds, 1),
        times=ended.times,
    )


def _how_long(ended: EndedTrouble) -> str:
    """How often and for how long, as the end of a clause."""
    if ended.times == 1:
        return f" for {span(ended.seconds)}" if ended.lasted else ""
    return (
        f" {ended.times} times, for {span(ended.seconds)} in all"
        if ended.lasted
        else f", {ended.times} times"
    )
