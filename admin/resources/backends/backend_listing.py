"""GET /backends and GET /backends/{id}: what backends there are, and how they are."""

from collections.abc import Sequence

from quart import Response

from admin.input import parameters
from admin.input.backend_input import known_pool
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.resources.backends.backend_answer import found, tag
from admin.resources.backends.backend_states import ended_for
from admin.views import backend_json
from lb.control import Control
from lb.core.backend import Backend

WAIT_SECONDS = 30.0
COLUMNS = ("ID", "POOL", "URL", "STATE", "WEIGHT", "IN_FLIGHT", "REQUESTS", "FAILURES", "WHY")


class BackendListing:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def list(self, call: Call) -> Response:
        shown = self._selected(call)
        revision = self.registry.revision
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return await responses.long_table(COLUMNS, map(self._row, shown))
        if etags.is_known(call.request, revision):
            return responses.nothing(304, tag(revision))
        return responses.json(await backend_json.backend_list(self.control, shown), headers=tag(revision))

    async def show(self, call: Call, backend_id: str) -> Response:
        backend = found(self.control, backend_id)
        if call.get(parameters.UNTIL) and backend.drain is not None:
            timeout = call.get(parameters.WAIT_TIMEOUT)
            await ended_for(backend, backend.drain, WAIT_SECONDS if timeout is None else timeout)
        elif etags.is_known(call.request, backend.revision):
            return responses.nothing(304, tag(backend.revision))
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [self._row(backend)]))
        view = backend_json.backend_alone(self.control, backend)
        return responses.json(view, headers=tag(backend.revision))

    def _selected(self, call: Call) -> Sequence[Backend]:
        pool, state = call.get(parameters.POOL), call.get(parameters.STATE)
        if pool is not None:
            known_pool(pool, [*self.registry.pools])
        return [
            backend
            for backend in self.registry.backends.values()
            if pool in (None, backend.pool) and state in (None, backend.state)
        ]

    def _row(self, backend: Backend) -> Sequence[object]:
        view = backend_json.backend_view(self.control, backend)
        status = view.status
        counts = view.weight, status.in_flight, status.requests_total, status.failures_total
        return view.id, view.pool, view.url, status.state, *counts, backend_json.short_why(backend)
