"""Answers: JSON that a person with curl can read, or text."""

from collections.abc import Generator, Iterable, Mapping, Sequence

import msgspec
from quart import Response, request

from admin.slices import sliced

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
TARGET_COLUMN = 60
DRY_RUN_FIELD = "Lb-Dry-Run"
"""In every answer of a dry run."""


def json(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """The body as JSON; for curl it is indented."""
    data = msgspec.json.encode(body)
    if request.headers.get("User-Agent", "").startswith("curl"):
        data = msgspec.json.format(data, indent=2) + b"\n"
    return Response(data, status, dict(headers or {}), content_type=media_type)


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, dict(headers or {}), content_type=TEXT)


def nothing(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """204 or 304: without a body, and without fields about one (RFC 9110 section 8.6)."""
    response = Response(b"", status, dict(headers or {}))
    del response.headers["Content-Length"], response.headers["Content-Type"]
    return response


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An aligned table: columns of numbers to the right, the others to the left."""
    work = _tabled(head, rows)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return str(done.value)


async def long_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """The answer with the table of any number of rows, made in slices."""
    return text(await sliced(_tabled(head, rows)))


def _tabled(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Generator[None, None, str]:
    lines, widths, numeric = [list(head)], [*map(len, head)], [True] * len(head)
    for row in rows:
        line = [_printable(str(cell)) for cell in row]
        lines.append(line)
        widths = [max(width, len(cell)) for width, cell in zip(widths, line, strict=True)]
        numeric = [is_so and isinstance(cell, int) for is_so, cell in zip(numeric, row, strict=True)]
        yield
    written = []
    for line in lines:
        written.append(_line(line, widths, numeric))
        yield
    return "".join(written)


def shortened(target: str) -> str:
    """The target of a request, short enough for a column."""
    return target if len(target) <= TARGET_COLUMN else target[: TARGET_COLUMN - 3] + "..."


def _printable(text: str) -> str:
    """The text without control characters: a cell may hold what a backend has answered."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    columns = zip(cells, widths, numeric, strict=True)
    padded = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns]
    return "  ".join(padded).rstrip() + "\n"
