"""/openapi.json, and the pages that explain the `type` of a problem."""

from collections.abc import Callable, Sequence
from functools import cache

import trio
from quart import Response

from admin.protocol import problems, responses
from admin.protocol.call import Call
from admin.protocol.openapi import document
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from lb.about import VERSION


def operations(everything: Callable[[], Sequence[Operation]]) -> tuple[Operation, ...]:
    """`everything` returns all operations, these included; they are described once, in a thread."""

    described, one_at_a_time = cache(lambda: document(everything(), VERSION)), trio.CapacityLimiter(1)

    async def openapi(call: Call) -> Response:
        return responses.json(await trio.to_thread.run_sync(described, limiter=one_at_a_time))

    async def problem(call: Call, slug: str) -> Response:
        text = problems.page(slug)
        if text is None:
            raise Problem("not-found", f"there is no problem {slug!r}")
        return responses.text(text)

    return (
        Operation(
            method="GET",
            path="/openapi.json",
            summary="this API, described for machines",
            handler=openapi,
            answers={200: "OpenAPI 3.1."},
            media_types=(responses.JSON,),
        ),
        Operation(
            method="GET",
            path="/problems/{slug}",
            summary="what a problem's `type` means",
            handler=problem,
            answers={200: "Plain text."},
            media_types=(responses.TEXT,),
            problems=(404,),
            is_open=True,
        ),
    )
