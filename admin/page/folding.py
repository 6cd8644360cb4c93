"""What the page folds as it begins, so that it does not jump when `script/folding.js` takes over.

Of many pools each is one line, and of many rows the first few are shown. What is not well is always shown.
All rows are in the page: only the style hides those that are folded, and only where scripts run, for without
them nothing could unfold a row.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from admin.page.row_order import FINE, in_trouble, rank
from admin.page.tones import TONES
from admin.views.stats_json import BackendStats, Stats

MANY_POOLS = 4
MANY_ROWS = 15
FEW_ROWS = 8


class Fold(NamedTuple):
    """How a pool begins: whether it can be one line, the ids of the rows that are folded, whether these are
    all, and the words of the button for them.
    """

    is_line: bool
    rows: Collection[str]
    is_closed: bool
    more: str


UNFOLDED = Fold(False, (), False, "")


def folds(stats: Stats, rows: Mapping[str, Sequence[BackendStats]]) -> Mapping[str, Fold]:
    """The fold of each pool, whose rows are given in their order."""
    troubled, is_line = in_trouble(stats), len(stats.pools) >= MANY_POOLS
    return {pool.name: _fold(rows[pool.name], troubled, is_line) for pool in stats.pools}


def _fold(rows: Sequence[BackendStats], troubled: Collection[str], is_line: bool) -> Fold:
    if not is_line and len(rows) < MANY_ROWS:
        return UNFOLDED
    few = 0 if is_line else FEW_ROWS
    folded = [each for each in rows[few:] if not _is_always_shown(each, troubled, is_line)]
    more = "" if is_line or not folded else _more(folded)
    return Fold(is_line, {each.id for each in folded}, len(folded) == len(rows), more)


def _is_always_shown(row: BackendStats, troubled: Collection[str], is_line: bool) -> bool:
    """It is not well or on its way out; where rows are listed anyway, also if somebody has taken it out."""
    tone = TONES.get(row.state)
    return rank(row, troubled) < FINE or tone == "drain" or (not is_line and tone != "ok")


def _more(folded: Sequence[BackendStats]) -> str:
    states = [each.state for each in folded]
    kinds = list(dict.fromkeys(states))
    if len(kinds) == 1:
        return f"{len(states)} more, all {kinds[0]}"
    return f"{len(states)} more: {', '.join(f'{states.count(kind)} {kind}' for kind in kinds)}"
