"""/workers: the processes that carry the traffic, where there are several."""

import msgspec
from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.worker_json import WorkerStats, worker_stats
from lb.control import Control


class WorkerList(msgspec.Struct, kw_only=True):
    """Every worker; none where one process does all."""

    items: list[WorkerStats]


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def workers(call: Call) -> Response:
        return responses.json(WorkerList(items=worker_stats(control)))

    return (
        Operation(
            method="GET",
            path="/workers",
            summary="the worker processes, where there are several",
            handler=workers,
            answers={200: WorkerList},
            counts=True,
        ),
    )
