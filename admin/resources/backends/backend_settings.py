"""Add a backend, change one, or replace the whole set of a pool, while requests flow.

A handler first reads all that it must wait for. Then it judges and changes in plain code, which no other task
can interleave. Then it saves. A whole set is judged at once too, and then applied in slices, one set at a
time (`Registry.replacing` says what holds meanwhile).
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from quart import Response

from admin.changes.availability_guard import keep_available
from admin.changes.persistence import save
from admin.input import backend_input, parameters
from admin.input.backend_input import Known, WantedBackend, known_pool
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.problems import invalid
from admin.resources.backends.backend_answer import (
    changed,
    found_for_change,
    revision_of,
    revision_of_all,
    tag_of_all,
)
from admin.resources.backends.backend_states import begin_drain
from admin.security.backend_url_guard import objections
from admin.views.backend_json import backend_list, backend_views
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.simulation import prospect
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import DEFAULT_POOL
from lb.slices import freed, listed, sliced, to_the_end


class BackendSettings:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def add(self, call: Call) -> Response:
        body = await call.body()
        known = await self._known(call, body.fields())
        wanted = backend_input.read_backend(body.fields(), known, is_form=body.is_form)
        there = self.registry.backends.get(wanted.spec.id)
        etags.check(call.request, None if there is None else revision_of(self.control, there))
        backend, is_new = self._enter(wanted)
        return await self._entered(backend, is_new)

    async def put(self, call: Call, backend_id: str) -> Response:
        body = await call.body()
        fields = body.fields()
        if fields.setdefault("id", backend_id) not in (backend_id, ""):
            raise invalid(Mistake(pointer="#/id", detail=f"the path says {backend_id!r}"))
        fields["id"] = backend_id
        known = await self._known(call, fields)
        wanted = backend_input.read_backend(fields, known, is_form=body.is_form)
        there = self.registry.backends.get(backend_id)
        etags.check(call.request, None if there is None else revision_of(self.control, there))
        if there is None:
            backend, is_new = self._enter(wanted)
            return await self._entered(backend, is_new)
        self.registry.change(there, wanted.spec, wanted.pool)
        _set_state(self.control, there, wanted.admin_state)
        return await changed(self.control, there)

    async def patch(self, call: Call, backend_id: str) -> Response:
        body = await call.body()
        known = await self._known(call, body.fields())
        backend = found_for_change(self.control, call, backend_id)
        wanted = backend_input.read_patch(backend.spec, body.fields(), known, is_form=body.is_form)
        self.registry.change(backend, wanted.spec, wanted.pool)
        _set_state(self.control, backend, wanted.admin_state)
        return await changed(self.control, backend)

    async def replace(self, call: Call) -> Response:
        pool = known_pool(call.get(parameters.TARGET) or DEFAULT_POOL, [*self.registry.pools])
        body = await call.body()
        backends_wanted = await backend_input.read_backends(body.value)
        found = await self._objections(call, [wanted.spec.url for wanted in backends_wanted])
        await sliced(self._judging(backends_wanted, found, [pool]))
        async with self.control.one_set_at_a_time:
            leaving = await self._replaced(call, pool, backends_wanted)
        saved = await save(self.control)
        registry = saved.control.registry
        members = [*registry.pool(pool).backends]
        answer = await backend_list(members, registry.revision)
        items = backend_views(saved.control, members)
        answer.persisted = saved.is_kept
        still = [there for each in leaving if (there := saved.there(each)) is not None and not there.removed]
        await freed(backends_wanted, leaving)
        headers = tag_of_all(saved.control)
        return await responses.long_json(answer, {"items": items}, 202 if still else 200, headers)

    async def _replaced(
        self, call: Call, pool: str, backends_wanted: Sequence[WantedBackend]
    ) -> list[Backend]:
        """Give the pool this set, all of it or nothing; the backends that are not in it, and drain."""
        control, into = self.control, self.registry.pool(pool)
        given = call.get(parameters.DRAIN_TIMEOUT)
        timeout = control.config.timeouts.drain if given is None else given
        states: dict[str, AdminState | None] = {}
        specs = await listed(_specs(backends_wanted, states))

        def settled(backend: Backend) -> None:
            _set_state(control, backend, states[backend.id])

        def count() -> Generator[None, None, int]:
            wanted = (prospect.Wanted(spec, states[spec.id]) for spec in specs)
            return prospect.with_set(into, wanted, self.registry.backends.get)

        etags.check(call.request, revision_of_all(control))
        await keep_available(call, control, pool, count)
        etags.check(call.request, revision_of_all(control))
        leaving = await to_the_end(self.registry.replacing(pool, specs, timeout, settled))
        await freed(specs, states)
        return leaving

    async def _objections(self, call: Call, urls: Iterable[object]) -> Mapping[str, str]:
        return await objections(self.control, _server(call), urls)

    async def _known(self, call: Call, fields: Mapping[str, object]) -> Known:
        found = await self._objections(call, [fields.get("url")])
        return Known([*self.registry.pools], found)

    def _judging(
        self,
        backends_wanted: Sequence[WantedBackend],
        found: Mapping[str, str],
        pools: Sequence[str],
    ) -> Generator[None, None, None]:
        """422 for another pool than these, or an objection found to a URL."""
        known = [*pools]
        mistakes = []
        for wanted in backends_wanted:
            if (why := found.get(wanted.spec.url)) is not None:
                mistakes.append(Mistake(pointer=f"{wanted.at}/url", detail=why))
            if wanted.pool is not None:
                known_pool(wanted.pool, known, f"{wanted.at}/pool")
            yield
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


def _specs(
    backends_wanted: Iterable[WantedBackend], states: dict[str, AdminState | None]
) -> Iterator[BackendSpec]:
    """The spec of each; what its state shall be goes into `states`."""
    for wanted in backends_wanted:
        states[wanted.spec.id] = wanted.admin_state
        yield wanted.spec


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
