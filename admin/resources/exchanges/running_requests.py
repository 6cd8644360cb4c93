"""/requests?running=1: the exchanges that run now, and the end of one of them."""

from collections.abc import Sequence

import trio
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.resources.exchanges.exchange_filters import BACKEND, ID, LIMIT, RUNNING_LIMIT
from admin.views.running_json import RunningList, RunningRequest, running, select_running
from lb.control import Control

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
        selection = select_running(
            self.control,
            call.get(LIMIT) or RUNNING_LIMIT,
            pool=call.get(parameters.POOL),
            backend=call.get(BACKEND),
            exchange_id=None if request_id is None else request_id.encode(),
        )
        views: list[RunningRequest] = []
        for exchange in selection.longest:
            views.append(running(self.control, exchange))
            if len(views) % BATCH == 0:
                await trio.lowlevel.checkpoint()
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [_row(each) for each in views]))
        return responses.json(RunningList(items=views, total=selection.total))

    def find(self, request_id: str) -> RunningRequest | None:
        """The exchange with this id; of several with the same id the one that has run longest."""
        longest = select_running(self.control, 1, exchange_id=request_id.encode()).longest
        return running(self.control, longest[0]) if longest else None

    def end(self, request_id: str) -> Response:
        """202 with the exchange as it was, once it is told to end; 404 where none runs by this id."""
        found = self.find(request_id)
        if found is None or not self.control.running.end(request_id.encode(), ENDED_BY):
            raise Problem("not-found", f"no request {request_id!r} runs now")
        return responses.json(found, 202)


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
