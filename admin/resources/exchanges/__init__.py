"""/requests: exchanges that have ended, explained, and those that run now, with a way to end one.

recorded_requests   what the recorder remembers
running_requests    what runs now
exchange_filters    the parameters that choose among them
"""

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.resources.exchanges.exchange_filters import BACKEND, FAILED, ID, KINDS, LIMIT, RUNNING
from admin.resources.exchanges.recorded_requests import RecordedRequests
from admin.resources.exchanges.running_requests import RunningRequests
from admin.views.request_json import RequestList, RequestView
from admin.views.running_json import RunningList, RunningRequest
from lb.config.token_scope import Scope
from lb.control import Control


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be asked of exchanges, and the end of one."""
    handlers = Exchanges(control)
    return (
        Operation(
            method="GET",
            path="/requests",
            summary="the last requests, explained; ?failed=1&backend=web1, ?kinds=1, or ?running=1",
            handler=handlers.list,
            parameters=(RUNNING, FAILED, KINDS, BACKEND, parameters.POOL, ID, LIMIT, parameters.FORMAT),
            answers={200: RequestList | RunningList},
            media_types=(responses.TEXT,),
        ),
        Operation(
            method="GET",
            path="/requests/{id}",
            summary="one request, by the id in its X-Request-Id",
            handler=handlers.show,
            answers={200: RequestView | RunningRequest},
            problems=(404,),
        ),
        Operation(
            method="DELETE",
            path="/requests/{id}",
            summary="end a request that runs",
            handler=handlers.end,
            # A token of this scope may cut all requests of a backend, so it may cut one of them.
            needs=Scope.DRAIN,
            answers={202: RunningRequest},
            problems=(404,),
        ),
    )


class Exchanges:
    """The handlers: what runs now is asked first, for that is newer than any record of the same id."""

    def __init__(self, control: Control) -> None:
        self.recorded = RecordedRequests(control)
        self.running = RunningRequests(control)

    async def list(self, call: Call) -> Response:
        if call.get(RUNNING):
            return await self.running.list(call)
        return await self.recorded.list(call)

    async def show(self, call: Call, request_id: str) -> Response:
        found = self.running.find(request_id)
        return self.recorded.show(request_id) if found is None else responses.json(found)

    async def end(self, call: Call, request_id: str) -> Response:
        return self.running.end(request_id)
