"""Answers: JSON that a person with curl can read, or text."""

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence

import msgspec
from quart import Response, request

from admin.protocol.long_json import Lists, in_parts
from lb.slices import at_once, sliced

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
TARGET_COLUMN = 60
PIECE, MOST_PIECES = 64 * 1024, 8
"""A long answer is sent in pieces of so many bytes, or of more where there would be too many."""
DRY_RUN_FIELD = "Lb-Dry-Run"
"""In every answer of a dry run."""


def json(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """The body as JSON; for curl it is indented."""
    data = msgspec.json.encode(body)
    if _is_for_curl():
        data = msgspec.json.format(data, indent=2) + b"\n"
    return Response(data, status, dict(headers or {}), content_type=media_type)


async def long_json(
    body: msgspec.Struct, lists: Lists, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`json` for a body with lists of any length: these items, made and encoded in slices."""
    return long(await in_parts(body, lists, is_indented=_is_for_curl()), JSON, status, headers)


def long(
    parts: Sequence[bytes], content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of any length, sent in pieces; what was sent is freed."""
    length, left = sum(map(len, parts)), deque(parts)
    enough = max(PIECE, length // MOST_PIECES + 1)

    async def pieces() -> AsyncIterator[bytes]:
        piece = bytearray()
        while left:
            piece += left.popleft()
            if len(piece) >= enough:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)

    fields = {"Content-Length": str(length), **(headers or {})}
    return Response(pieces(), status, fields, content_type=content_type)


def _is_for_curl() -> bool:
    return request.headers.get("User-Agent", "").startswith("curl")


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, dict(headers or {}), content_type=TEXT)


def nothing(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """204 or 304: without a body, and without fields about one (RFC 9110 section 8.6)."""
    response = Response(b"", status, dict(headers or {}))
    del response.headers["Content-Length"], response.headers["Content-Type"]
    return response


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An aligned table: columns of numbers to the right, the others to the left."""
    return b"".join(at_once(_tabled(head, rows))).decode()


async def long_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], headers: Mapping[str, str] | None = None
) -> Response:
    """The answer with the table of any number of rows, made in slices."""
    return long(await sliced(_tabled(head, rows)), TEXT, headers=headers)


def _tabled(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Generator[None, None, list[bytes]]:
    lines, widths, numeric = deque([list(head)]), [*map(len, head)], [True] * len(head)
    for row in rows:
        line = [_printable(str(cell)) for cell in row]
        lines.append(line)
        widths = [max(width, len(cell)) for width, cell in zip(widths, line, strict=True)]
        numeric = [is_so and isinstance(cell, int) for is_so, cell in zip(numeric, row, strict=True)]
        yield
    written = []
    while lines:
        written.append(_line(lines.popleft(), widths, numeric).encode())
        yield
    return written


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
