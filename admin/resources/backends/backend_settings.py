"""Add a backend, change one, or replace the whole set of a pool, while requests flow.

A handler first reads all that it must wait for. Then it judges and changes in plain code, which no other task
can interleave. Then it saves.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quart import Response

from admin.changes.availability_guard import keep_available
from admin.changes.persistence import save
from admin.input import backend_input, parameters
from admin.input.backend_input import WantedBackend, known_pool
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.problems import invalid
from admin.resources.backends.backend_answer import changed, found_for_change, tag
from admin.resources.backends.backend_states import begin_drain
from admin.security.backend_url_guard import objections
from admin.views.backend_json import backend_list
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.settings.balancer_settings import DEFAULT_POOL


class BackendSettings:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def add(self, call: Call) -> Response:
        body = await call.body()
        wanted = backend_input.read_backend(body.fields(), is_form=body.is_form)
        self._judge([wanted], await self._objections(call, [wanted.spec.url]))
        there = self.registry.backends.get(wanted.spec.id)
        etags.check(call.request, None if there is None else there.revision)
        backend, is_new = self._enter(wanted)
        return await self._entered(backend, is_new)

    async def put(self, call: Call, backend_id: str) -> Response:
        body = await call.body()
        fields = body.fields()
        if fields.setdefault("id", backend_id) not in (backend_id, ""):
            raise invalid(Mistake(pointer="#/id", detail=f"the path says {backend_id!r}"))
        fields["id"] = backend_id
        wanted = backend_input.read_backend(fields, is_form=body.is_form)
        self._judge([wanted], await self._objections(call, [wanted.spec.url]))
        there = self.registry.backends.get(backend_id)
        etags.check(call.request, None if there is None else there.revision)
        if there is None:
            backend, is_new = self._enter(wanted)
            return await self._entered(backend, is_new)
        self.registry.change(there, wanted.spec, wanted.pool)
        _set_state(self.control, there, wanted.admin_state)
        return await changed(self.control, there)

    async def patch(self, call: Call, backend_id: str) -> Response:
        body = await call.body()
        found = await self._objections(call, [body.fields().get("url")])
        backend = found_for_change(self.control, call, backend_id)
        wanted = backend_input.read_patch(backend.spec, body.fields(), is_form=body.is_form)
        self._judge([wanted], found)
        self.registry.change(backend, wanted.spec, wanted.pool)
        _set_state(self.control, backend, wanted.admin_state)
        return await changed(self.control, backend)

    async def replace(self, call: Call) -> Response:
        pool = known_pool(call.get(parameters.TARGET) or DEFAULT_POOL, [*self.registry.pools])
        body = await call.body()
        backends_wanted = await backend_input.read_backends(body.value)
        found = await self._objections(call, [wanted.spec.url for wanted in backends_wanted])
        self._judge(backends_wanted, found, [pool])
        etags.check(call.request, self.registry.revision)
        given = call.get(parameters.DRAIN_TIMEOUT)
        timeout = self.control.config.timeouts.drain if given is None else given
        keep_available(call, self.control, pool, lambda copy: _replace(copy, pool, backends_wanted, timeout))
        leaving = _replace(self.control, pool, backends_wanted, timeout)
        persisted = await save(self.control)
        answer = await backend_list(self.control, [*self.registry.pool(pool).backends])
        answer.persisted = persisted
        is_done = all(backend.removed for backend in leaving)
        return responses.json(answer, 200 if is_done else 202, tag(answer.revision))

    async def _objections(self, call: Call, urls: Iterable[object]) -> Mapping[str, str]:
        return await objections(self.control, _server(call), urls)

    def _judge(
        self,
        backends_wanted: Sequence[WantedBackend],
        found: Mapping[str, str],
        pools: Iterable[str] = (),
    ) -> None:
        """422 for an unknown pool, or an objection found to a URL; `pools` narrows what is known."""
        known = [*(pools or self.registry.pools)]
        mistakes = []
        for wanted in backends_wanted:
            if (why := found.get(wanted.spec.url)) is not None:
                mistakes.append(Mistake(pointer=f"{wanted.at}/url", detail=why))
            if wanted.pool is not None:
                known_pool(wanted.pool, known, f"{wanted.at}/pool")
        if mistakes:
            raise invalid(*mistakes)

    def _enter(self, wanted: WantedBackend) -> tuple[Backend, bool]:
        """The backend, and whether it is new: an identical one may be there."""
        pool = known_pool(wanted.pool or DEFAULT_POOL, [*self.registry.pools], f"{wanted.at}/pool")
        backend, is_new = self.registry.add(wanted.spec, pool)
        _set_state(self.control, backend, wanted.admin_state)
        return backend, is_new

    async def _entered(self, backend: Backend, is_new: bool) -> Response:
        headers: Mapping[str, str] = {"Location": f"/backends/{backend.id}"} if is_new else {}
        return await changed(self.control, backend, 201 if is_new else 200, headers)


def _replace(
    control: Control, pool: str, backends_wanted: Sequence[WantedBackend], timeout: float
) -> Sequence[Backend]:
    """Give the pool this set; the backends that are not in it, and drain."""
    leaving = control.registry.replace(pool, [wanted.spec for wanted in backends_wanted], timeout)
    for wanted in backends_wanted:
        _set_state(control, control.registry.backend(wanted.spec.id), wanted.admin_state)
    return leaving


def _set_state(control: Control, backend: Backend, state: AdminState | None) -> None:
    """Put the backend into this state; no effect where it is in it already, or where none is given."""
    if state is None or state is backend.admin_state:
        return
    if state is AdminState.READY:
        control.registry.ready(backend)
    elif state is AdminState.MAINTENANCE:
        control.registry.maintenance(backend)
    else:
        begin_drain(control, backend, None, None)


def _server(call: Call) -> tuple[str, ...]:
    """The address on which the request came in."""
    server: Any = call.request.scope.get("server")
    if server is None or server[1] is None:
        return ()
    host, port = server
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}",)
