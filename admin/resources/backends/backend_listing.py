"""GET /backends and GET /backends/{id}: what backends there are, and how they are."""

from collections.abc import Iterator, Sequence

from quart import Response

from admin.input import parameters
from admin.input.backend_input import known_pool
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.resources.backends.backend_answer import found, revision_of, revision_of_all, tag_of
from admin.resources.backends.backend_states import ended_for
from admin.views import backend_json
from admin.views.backend_history import backend_history
from lb.control import Control
from lb.core.backend import Backend
from lb.slices import listed

WAIT_SECONDS = 30.0
NUMBERS = ("WEIGHT", "IN_FLIGHT", "REQUESTS", "5XX", "FAILURES")
COLUMNS = ("ID", "POOL", "URL", "STATE", *NUMBERS, "SOURCE", "WHY")


class BackendListing:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def list(self, call: Call) -> Response:
        revision, all_of_them = self.registry.revision, revision_of_all(self.control)
        shown = await listed(self._selected(call))
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return await responses.long_table(COLUMNS, map(self._row, shown))
        headers = {"ETag": etags.etag(all_of_them)}
        if etags.is_known(call.request, all_of_them):
            return responses.nothing(304, headers)
        found = await backend_json.backend_list(shown, revision)
        items = backend_json.backend_views(self.control, shown)
        return await responses.long_json(found, {"items": items}, headers=headers)

    async def show(self, call: Call, backend_id: str) -> Response:
        backend = found(self.control, backend_id)
        if call.get(parameters.UNTIL) and backend.drain is not None:
            timeout = call.get(parameters.WAIT_TIMEOUT)
            await ended_for(backend, backend.drain, WAIT_SECONDS if timeout is None else timeout)
        elif etags.is_known(call.request, revision_of(self.control, backend)):
            return responses.nothing(304, tag_of(self.control, backend))
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [self._row(backend)]))
        view = await backend_json.backend_alone(self.control, backend)
        return responses.json(view, headers=tag_of(self.control, backend))

    async def history(self, call: Call, backend_id: str) -> Response:
        return responses.json(backend_history(self.control, found(self.control, backend_id)))

    def _selected(self, call: Call) -> Iterator[Backend]:
        pool, state = call.get(parameters.POOL), call.get(parameters.STATE)
        if pool is not None:
            known_pool(pool, [*self.registry.pools])
        for backend in [*self.registry.backends.values()]:
            if pool in (None, backend.pool) and (state is None or state == backend.state):
                yield backend

    def _row(self, backend: Backend) -> Sequence[object]:
        view = backend_json.backend_view(self.control, backend)
        status = view.status
        counts = status.requests_total, status.responses_5xx_total, status.failures_total
        where, why = (view.id, view.pool, view.url, status.state), status.why[: backend_json.WHY_LENGTH]
        return *where, view.weight, status.in_flight, *counts, view.source, why
