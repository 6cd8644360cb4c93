"""Playing a row of the table: one client, one backend, and the balancer between them."""

import pytest

from tests.checks.table import Row, rows
from tests.kit import Request, Scene, lasting, running


def every(check: str) -> pytest.MarkDecorator:
    """The test, once for each row of the check."""
    return pytest.mark.parametrize("row", rows(check), ids=str)


async def holds(row: Row) -> None:
    """What the row says, on a balancer of its own."""
    async with running() as lb:
        await plays(lb, row)


async def plays(lb: Scene, row: Row) -> None:
    answers = (row.answer,) * max(1, len(row.seen))
    async with lb.backend.answering(*answers) as heard:
        client = await lb.client()
        await client.says(row.says)
        method = row.says.split(b" ", 1)[0].decode("latin-1")
        for word in row.hears.split():
            if word == "close":
                with lasting(0):
                    await client.hears_end()
            else:
                await client.hears(int(word), to=method)
        if not row.hears.endswith("close"):
            await client.hears_nothing()
        assert tuple(seen(request) for request in heard) == row.seen


def seen(request: Request) -> str:
    """A forwarded request in one line."""
    framing = "" if request.framing == "none" else f" {request.framing} {request.body.decode('latin-1')}"
    return f"{request.method} {request.target}{framing}".rstrip(" ")
