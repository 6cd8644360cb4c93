"""The table of `lb top`: which rows, in which order, and which columns fit.

Those that are ill come first, because a terminal has two dozen lines and a pool may have a hundred backends.
What is not shown is counted by its state, so nobody takes the part for the whole.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lb.remote.fitted_table import fitted
from lb.remote.terminal_text import quantile

HEAD = ("BACKEND", "POOL", "STATE", "WEIGHT", "IN FLIGHT", "REQ/S", "SHARE", "5XX", "P50", "P99", "WHY")
DROPPED = ("WEIGHT", "SHARE", "POOL", "P50", "IN FLIGHT")
"""What is left out first where the terminal is narrow."""
ILL = ("down", "ejected", "trial", "checking", "draining", "drained", "maintenance", "warming")
"""States in the order in which they stand above those that are ready."""

Row = Mapping[str, Any]
SORTS: Mapping[str, Callable[[Row], Any]] = {
    "trouble": lambda row: ILL.index(row["state"]) if row["state"] in ILL else len(ILL),
    "p99": lambda row: -(row["rates"]["p99_seconds"] or 0.0),
    "p50": lambda row: -(row["rates"]["p50_seconds"] or 0.0),
    "5xx": lambda row: -row["rates"]["share_5xx"],
    "rate": lambda row: -row["rates"]["requests_per_second"],
    "flight": lambda row: -row["in_flight"],
    "id": lambda row: row["id"],
}


@dataclass(slots=True)
class View:
    """What is to be shown. `find` is a part of the id, the address or the state; None as a size: no bound."""

    sort: str = "trouble"
    pool: str | None = None
    state: str | None = None
    find: str = ""
    width: int | None = None
    height: int | None = None

    def next_sort(self) -> None:
        """The next one of SORTS."""
        names = [*SORTS]
        self.sort = names[(names.index(self.sort) + 1) % len(names)]


def table(stats: Mapping[str, Any], view: View, lines: int | None = None) -> Iterator[tuple[str, str]]:
    """The lines of the table, each with the state of its backend ("" of others); `lines` at most."""
    rows = [row for row in stats["backends"] if _is_wanted(row, view)]
    named = {each.get("backend") for each in stats.get("trouble", ())} if view.sort == "trouble" else set()
    rows.sort(key=lambda row: (row["id"] not in named, SORTS[view.sort](row)))
    most = len(rows) if lines is None or len(rows) < lines else max(0, lines - 2)
    shown, hidden = rows[:most], rows[most:]
    head, *texts = fitted(HEAD, [*map(_cells, shown)], view.width, DROPPED)
    yield head, ""
    yield from zip(texts, [row["state"] for row in shown], strict=True)
    if hidden:
        yield _counted(hidden), ""


def _is_wanted(row: Row, view: View) -> bool:
    if view.pool not in (None, row["pool"]) or view.state not in (None, row["state"]):
        return False
    return view.find.lower() in f"{row['id']} {row.get('url', '')} {row['state']}".lower()


def _cells(row: Row) -> tuple[object, ...]:
    rates = row["rates"]
    cap = "" if row["cap"] is None else f"/{row['cap']}"
    return (
        *(row[name] for name in ("id", "pool", "state", "weight")),
        f"{row['in_flight']}{cap}",
        f"{rates['requests_per_second']:.1f}",
        "-" if row["share"] is None else f"{row['share']:.0%}",
        f"{rates['share_5xx']:.0%}",
        quantile(rates["p50_seconds"]),
        quantile(rates["p99_seconds"]),
        row["why"],
    )


def _counted(hidden: Sequence[Row]) -> str:
    states = Counter(row["state"] for row in hidden)
    if len(states) == 1:
        return f"... {len(hidden)} more, all {next(iter(states))}"
    return f"... {len(hidden)} more: {', '.join(f'{count} {state}' for state, count in states.most_common())}"
