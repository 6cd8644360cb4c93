"""/requests: exchanges that have ended, explained, and those that run now, with a way to end one.

recorded_requests   what the recorder remembers
running_requests    what runs now
exchange_filters    the parameters that choose among them
"""

from quart import Response

from admin.input import parameters
from admin.input.moments import SINCE
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.resources.exchanges.exchange_filters import (
    ATTEMPT_FAILED,
    BACKEND,
    FAILED,
    ID,
    KINDS,
    LIMIT,
    RUNNING,
    SLOW,
    STATUS,
    UNTIL,
)
from admin.resources.exchanges.recorded_requests import RecordedRequests
from admin.resources.exchanges.running_requests import RunningRequests
from admin.views import missing_workers
from admin.views.request_json import RequestList, RequestView, recorded
from admin.views.running_json import RunningList, RunningRequest, running
from admin.views.times import timestamp
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.core.running_exchange import RunningExchange
from lb.observe.recorder import RECORDS


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be asked of exchanges, and the end of one."""
    handlers = Exchanges(control)
    return (
        Operation(
            method="GET",
            path="/requests",
            summary="the last requests, explained; ?status=5xx, ?slow=1&since=1h, ?running=1",
            handler=handlers.list,
            parameters=(
                *(RUNNING, SLOW, FAILED, ATTEMPT_FAILED, KINDS, STATUS, BACKEND, parameters.POOL),
                *(SINCE, UNTIL, ID, LIMIT, parameters.FORMAT),
            ),
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
    """The handlers: what runs now comes first, for that is newer than any record of the same id."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.recorded = RecordedRequests(control)
        self.running = RunningRequests(control)

    async def list(self, call: Call) -> Response:
        if call.get(RUNNING):
            return await self.running.list(call)
        return await self.recorded.list(call)

    async def show(self, call: Call, request_id: str) -> Response:
        found = await self.control.exchanges.find(request_id.encode())
        for each in found.items:
            return responses.json(self._view(each), headers=missing_workers.warning(found.missing))
        began = timestamp(self.control.wall(self.control.started))
        kept = f"the last {RECORDS} are, as many failures, and slow ones, since this process began at {began}"
        remembered = f"no request {request_id!r} is remembered; {kept}"
        raise Problem("not-found", missing_workers.beside(remembered, found.missing))

    def _view(self, exchange: ExchangeRecord | RunningExchange) -> RequestView | RunningRequest:
        if isinstance(exchange, RunningExchange):
            return running(self.control, exchange)
        return recorded(self.control, exchange)

    async def end(self, call: Call, request_id: str) -> Response:
        return await self.running.end(request_id)
