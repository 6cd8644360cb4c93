"""/requests: the exchanges that are remembered, explained, the newest first.

To render a thousand records takes as long as to serve hundreds of requests, so it is done in slices.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from quart import Response

from admin.input import parameters
from admin.input.moments import SINCE
from admin.protocol import responses
from admin.protocol.call import Call
from admin.resources.exchanges.exchange_filters import (
    ATTEMPT_FAILED,
    BACKEND,
    FAILED,
    ID,
    KINDS,
    LIMIT,
    RECORDED_LIMIT,
    SLOW,
    STATUS,
    UNTIL,
)
from admin.views import missing_workers
from admin.views.request_json import RequestList, RequestView, recorded
from admin.views.times import timestamp
from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.core.passed_over import FEW
from lb.observe.all_exchanges import Wanted
from lb.observe.failure_kind import Kind
from lb.slices import listed

COLUMNS = ("TIME", "ID", "STATUS", "METHOD", "TARGET", "BACKEND", f"{'MS':>9}", "ERROR")


class Selected(NamedTuple):
    """Exchanges, each perhaps with its kind, the workers that did not answer, and since when all are kept."""

    exchanges: Sequence[tuple[ExchangeRecord, Kind | None]]
    missing: Sequence[int]
    remembered_since: float = -inf


class RecordedRequests:
    """What can be asked of the recorder."""

    def __init__(self, control: Control) -> None:
        self.control = control

    async def list(self, call: Call) -> Response:
        """The exchanges that the parameters choose, as JSON or as a table."""
        choose = self._slowest if call.get(SLOW) else self._kinds if call.get(KINDS) else self._newest
        selected = await choose(call)
        is_table = call.get(parameters.FORMAT) is parameters.Format.TABLE
        views = await listed(
            recorded(self.control, exchange, kind, FEW) for exchange, kind in selected.exchanges
        )
        headers = missing_workers.warning(selected.missing)
        if is_table:
            return await responses.long_table(COLUMNS, map(row, views), headers)
        since = selected.remembered_since
        answer = RequestList(
            items=views,
            remembered_since=None if since == -inf else timestamp(self.control.wall(since)),
            missing_workers=missing_workers.or_unset(selected.missing),
        )
        return responses.json(answer, headers=headers)

    async def _newest(self, call: Call) -> Selected:
        found = await self.control.exchanges.newest(self._wanted(call))
        exchanges = [(exchange, None) for exchange in found.items]
        return Selected(exchanges, found.missing, found.remembered_since)

    async def _slowest(self, call: Call) -> Selected:
        found = await self.control.exchanges.slowest(self._wanted(call))
        return Selected([(exchange, None) for exchange in found.items], found.missing)

    async def _kinds(self, call: Call) -> Selected:
        found = await self.control.exchanges.kinds(self._wanted(call))
        return Selected([(kind.newest, kind) for kind in found.items], found.missing)

    def _wanted(self, call: Call) -> Wanted:
        request_id, since, until = call.get(ID), call.get(SINCE), call.get(UNTIL)
        return Wanted(
            most=call.get(LIMIT) or RECORDED_LIMIT,
            pool=call.get(parameters.POOL),
            backend=call.get(BACKEND),
            id=None if request_id is None else request_id.encode(),
            only_failed=call.get(FAILED) or False,
            attempt_failed=call.get(ATTEMPT_FAILED) or False,
            status=call.get(STATUS),
            since=-inf if since is None else since.of(self.control),
            until=inf if until is None else until.of(self.control),
        )


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
