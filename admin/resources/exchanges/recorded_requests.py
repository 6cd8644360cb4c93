"""/requests: the exchanges that the recorder remembers, explained, the newest first.

To render a thousand records takes as long as to serve hundreds of requests, so it is done in slices.
"""

from collections.abc import Callable, Sequence
from itertools import islice

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.resources.exchanges.exchange_filters import BACKEND, FAILED, ID, KINDS, LIMIT, RECORDED_LIMIT
from admin.slices import listed
from admin.views.request_json import RequestList, RequestView, recorded
from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.core.passed_over import FEW
from lb.observe.recorder import RECORDS, Kind

COLUMNS = ("TIME", "ID", "STATUS", "METHOD", "TARGET", "BACKEND", f"{'MS':>9}", "ERROR")


class RecordedRequests:
    """What can be asked of the recorder."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.recorder = control.recorder

    async def list(self, call: Call) -> Response:
        """The exchanges that the parameters choose, as JSON or as a table."""
        selected = self._kinds(call) if call.get(KINDS) else self._selected(call)
        is_table = call.get(parameters.FORMAT) is parameters.Format.TABLE
        views = await listed(recorded(self.control, exchange, kind, FEW) for exchange, kind in selected)
        if is_table:
            return await responses.long_table(COLUMNS, map(row, views))
        return responses.json(RequestList(items=views))

    def show(self, request_id: str) -> Response:
        """The newest exchange with this id; 404 where none is remembered."""
        exchange = self.recorder.find(request_id.encode())
        if exchange is None:
            raise Problem("not-found", f"no request {request_id!r} is remembered; the last {RECORDS} are")
        return responses.json(recorded(self.control, exchange))

    def _selected(self, call: Call) -> Sequence[tuple[ExchangeRecord, Kind | None]]:
        """Selected without an await: an exchange that ends meanwhile would change the recorder's queue."""
        is_wanted, limit = _filter(call), call.get(LIMIT) or RECORDED_LIMIT
        records = self.recorder.newest(only_failed=call.get(FAILED) or False)
        return [(exchange, None) for exchange in islice(filter(is_wanted, records), limit)]

    def _kinds(self, call: Call) -> Sequence[tuple[ExchangeRecord, Kind | None]]:
        is_wanted, limit = _filter(call), call.get(LIMIT) or RECORDED_LIMIT
        found = ((kind.newest, kind) for kind in self.recorder.kinds() if is_wanted(kind.newest))
        return [*islice(found, limit)]


def _filter(call: Call) -> Callable[[ExchangeRecord], bool]:
    pool, backend, request_id = call.get(parameters.POOL), call.get(BACKEND), call.get(ID)
    raw_id = None if request_id is None else request_id.encode()

    def is_wanted(exchange: ExchangeRecord) -> bool:
        if pool not in (None, exchange.pool) or raw_id not in (None, exchange.id):
            return False
        return backend is None or any(each.backend.id == backend for each in exchange.attempts)

    return is_wanted


def row(view: RequestView) -> Sequence[object]:
    """One line of the table; its backend is the one that was tried last."""
    backend = view.attempts[-1].backend if view.attempts else "-"
    took = f"{view.timings_ms.total:9.1f}"
    return (
        view.ended,
        view.id,
        view.status,
        view.method or "-",
        responses.shortened(view.target) or "-",
        backend,
        took,
        view.error or "",
    )
