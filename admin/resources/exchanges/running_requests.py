"""/requests?running=1: the exchanges that run now, and the end of one of them."""

from collections.abc import Sequence

import trio
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.resources.exchanges.exchange_filters import BACKEND, ID, LIMIT, RUNNING_LIMIT
from admin.views.missing_workers import beside, or_unset, warning
from admin.views.running_json import RunningList, RunningRequest, running
from lb.control import Control
from lb.observe.all_exchanges import Wanted

BATCH = 100  # exchanges, about half a millisecond of rendering
COLUMNS = ("ID", "CLIENT", "METHOD", "TARGET", "POOL", "BACKEND", "PHASE", f"{'SECONDS':>9}", "WAITS_FOR")
ENDED_BY = "an operator ended it"


class RunningRequests:
    """What can be done with exchanges that run."""

    def __init__(self, control: Control) -> None:
        self.control = control

    async def list(self, call: Call) -> Response:
        """The exchanges that the parameters choose, as JSON or as a table.

        They are copies of one moment; while they are rendered, other tasks run after every BATCH.
        """
        request_id = call.get(ID)
        wanted = Wanted(
            most=call.get(LIMIT) or RUNNING_LIMIT,
            pool=call.get(parameters.POOL),
            backend=call.get(BACKEND),
            id=None if request_id is None else request_id.encode(),
        )
        found = await self.control.exchanges.running(wanted)
        views: list[RunningRequest] = []
        for exchange in found.items:
            views.append(running(self.control, exchange))
            if len(views) % BATCH == 0:
                await trio.lowlevel.checkpoint()
        headers = warning(found.missing)
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            rows = [_row(each) for each in views]
            return responses.text(responses.table(COLUMNS, rows), headers=headers)
        missing = or_unset(found.missing)
        answer = RunningList(items=views, total=found.total, missing_workers=missing)
        return responses.json(answer, headers=headers)

    async def end(self, request_id: str) -> Response:
        """202 with the exchange as it was, once it is told to end; 404 where none runs by this id."""
        found = await self.control.exchanges.end(request_id.encode(), ENDED_BY)
        for each in found.items:
            return responses.json(running(self.control, each), 202)
        raise Problem("not-found", beside(f"no request {request_id!r} runs now", found.missing))


def _row(view: RunningRequest) -> Sequence[object]:
    return (
        view.id,
        view.client,
        view.method or "-",
        responses.shortened(view.target) or "-",
        view.pool or "-",
        view.backend or "-",
        view.phase,
        f"{view.seconds:9.1f}",
        view.waits_for,
    )
