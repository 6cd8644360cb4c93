"""A table that fits the terminal: columns are left out, and the reasons at the end of its rows are cut.

What each row is about stands in its first column and why it is as it is in the last, so these two stay.
"""

from collections.abc import Sequence

from lb.remote.terminal_text import columns, cut, cut_in_the_middle

LONGEST_ID = 24
LEAST_WHY = 16


def fitted(
    head: Sequence[str], rows: Sequence[Sequence[object]], width: int | None, dropped: Sequence[str]
) -> list[str]:
    """The lines, as wide as they are without a `width`; `dropped` has the columns that go first."""
    cells = [[*head], *([*map(str, row)] for row in rows)]
    if width is None:
        return columns(cells)
    for line in cells:
        line[0] = cut_in_the_middle(line[0], LONGEST_ID)
    for name in dropped:
        if _width_without_why(cells) + LEAST_WHY <= width:
            break
        at = cells[0].index(name)
        for line in cells:
            del line[at]
    return [cut(line, width) for line in columns(cells)]


def _width_without_why(cells: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in [*zip(*cells, strict=True)][:-1])
