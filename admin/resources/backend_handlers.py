"""The views of /backends: add, change, drain, remove and check, while requests flow.

A view first reads all that it must wait for, then decides and changes in plain code, which nothing can
interleave, then saves, and only then waits if it was asked to. Whoever is cancelled while waiting leaves the
drain running: it belongs to the backend.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio
from quart import Response

from admin.input import backend_input
from admin.input import parameters as given
from admin.protocol import etags, responses
from admin.protocol.dry_run import rehearsed
from admin.protocol.operation import Ask
from admin.protocol.persistence import save
from admin.protocol.problems import Mistake, Problem, invalid
from admin.security import url_guard
from admin.views import backend_json
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.registry import NotThere
from lb.phrases import plural
from lb.settings.balancer_settings import DEFAULT_POOL

WAIT_SECONDS = 30.0
COLUMNS = ("ID", "POOL", "URL", "STATE", "WEIGHT", "IN_FLIGHT", "REQUESTS", "FAILURES", "WHY")


class Backends:
    """The views."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def list(self, ask: Ask) -> Response:
        shown = self._selected(ask)
        revision = self.registry.revision
        if ask.get(given.FORMAT) is given.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [self._row(each) for each in shown]))
        if etags.is_known(ask.request, revision):
            return responses.nothing(304, self._tag(revision))
        return responses.json(backend_json.backends(self.control, shown), headers=self._tag(revision))

    async def show(self, ask: Ask, id: str) -> Response:
        backend = self._there(id)
        if ask.get(given.UNTIL) and backend.drain is not None:
            timeout = ask.get(given.WAIT_TIMEOUT)
            await ended(backend.drain, WAIT_SECONDS if timeout is None else timeout)
        elif etags.is_known(ask.request, backend.revision):
            return responses.nothing(304, self._tag(backend.revision))
        if ask.get(given.FORMAT) is given.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [self._row(backend)]))
        return responses.json(
            backend_json.backend(self.control, backend), headers=self._tag(backend.revision)
        )

    async def add(self, ask: Ask) -> Response:
        body = await ask.body()
        wish = backend_input.wish(body.fields(), is_form=body.is_form)
        self._judge(ask, [wish])
        there = self.registry.backends.get(wish.spec.id)
        etags.check(ask.request, None if there is None else there.revision)
        backend, is_new = self._enter(wish)
        location = {"Location": f"/backends/{backend.id}"} if is_new else None
        return await self._changed(backend, 201 if is_new else 200, headers=location)

    async def put(self, ask: Ask, id: str) -> Response:
        body = await ask.body()
        fields = body.fields()
        if fields.setdefault("id", id) not in (id, ""):
            raise invalid(Mistake(pointer="#/id", detail=f"the path says {id!r}"))
        fields["id"] = id
        wish = backend_input.wish(fields, is_form=body.is_form)
        self._judge(ask, [wish])
        there = self.registry.backends.get(id)
        etags.check(ask.request, None if there is None else there.revision)
        if there is None:
            backend, _ = self._enter(wish)
            return await self._changed(backend, 201, headers={"Location": f"/backends/{id}"})
        self.registry.change(there, wish.spec, wish.pool)
        self._move(there, wish.admin_state)
        return await self._changed(there)

    async def patch(self, ask: Ask, id: str) -> Response:
        body = await ask.body()
        backend = self._for_change(ask, id)
        wish = backend_input.merged(backend.spec, body.fields(), is_form=body.is_form)
        self._judge(ask, [wish])
        self.registry.change(backend, wish.spec, wish.pool)
        self._move(backend, wish.admin_state)
        return await self._changed(backend)

    async def replace(self, ask: Ask) -> Response:
        pool = backend_input.known_pool(ask.get(given.TARGET) or DEFAULT_POOL, [*self.registry.pools])
        body = await ask.body()
        wishes = backend_input.wishes(body.value)
        self._judge(ask, wishes, [pool])
        etags.check(ask.request, self.registry.revision)
        timeout = ask.get(given.DRAIN_TIMEOUT)
        patience = self.control.config.timeouts.drain if timeout is None else timeout
        self._keep_available(ask, pool, lambda trial: trial._swap(pool, wishes, patience))
        leaving = self._swap(pool, wishes, patience)
        persisted = await save(self.control)
        answer = backend_json.backends(self.control, self.registry.pool(pool).backends)
        answer.persisted = persisted
        is_done = all(backend.removed for backend in leaving)
        return responses.json(answer, 200 if is_done else 202, self._tag(answer.revision))

    async def delete(self, ask: Ask, id: str) -> Response:
        backend = self._for_change(ask, id)
        self._keep_without(ask, backend)
        patience, wait = ask.get(given.DRAIN_TIMEOUT), ask.get(given.WAIT)
        if ask.get(given.FORCE):
            self.registry.remove(backend)
            await save(self.control)
            return self._gone(backend)
        drain = self._drain(backend, patience, Then.REMOVE)
        persisted = await self._seen_through(backend, drain, wait)
        return self._gone(backend) if backend.removed else self._item(backend, 202, persisted, drain)

    async def drain(self, ask: Ask, id: str) -> Response:
        await ask.take_posted_parameters()
        timeout, then, wait = ask.get(given.TIMEOUT), ask.get(given.THEN), ask.get(given.WAIT)
        if then is Then.REMOVE:
            ask.demand(Scope.ADMIN, "?then=remove")
        backend = self._for_change(ask, id)
        self._keep_without(ask, backend)
        drain = self._drain(backend, timeout, then)
        persisted = await self._seen_through(backend, drain, wait)
        return self._item(backend, 202 if drain.outcome is None else 200, persisted, drain)

    async def ready(self, ask: Ask, id: str) -> Response:
        await ask.take_posted_parameters()
        backend = self._for_change(ask, id)
        self.registry.ready(backend)
        return await self._changed(backend)

    async def maintenance(self, ask: Ask, id: str) -> Response:
        await ask.take_posted_parameters()
        backend = self._for_change(ask, id)
        self._keep_without(ask, backend)
        self.registry.maintenance(backend)
        return await self._changed(backend)

    async def check(self, ask: Ask, id: str) -> Response:
        await ask.take_posted_parameters()
        backend = self._there(id)
        try:
            check = await self.control.check(backend)
        except LookupError as exc:
            fix = f"curl -X PATCH {ask.request.host}/pools/{backend.pool} -d probe.path=/healthz"
            raise Problem("conflict", f"pool {backend.pool!r} has no probe; set one: {fix}") from exc
        view = backend_json.backend(self.control, self._there(id))
        view.status.health.last = backend_json.check(self.control, check)  # even one that did not count
        return responses.json(view, headers=self._tag(backend.revision))

    def _selected(self, ask: Ask) -> Sequence[Backend]:
        pool, state = ask.get(given.POOL), ask.get(given.STATE)
        if pool is not None:
            backend_input.known_pool(pool, [*self.registry.pools])
        return [
            backend
            for backend in self.registry.backends.values()
            if pool in (None, backend.pool) and state in (None, backend.state)
        ]

    def _row(self, backend: Backend) -> Sequence[object]:
        view = backend_json.backend(self.control, backend)
        status = view.status
        counts = view.weight, status.in_flight, status.requests_total, status.failures_total
        return view.id, view.pool, view.url, status.state, *counts, backend_json.short_why(backend)

    def _there(self, id: str) -> Backend:
        try:
            return self.registry.backend(id)
        except NotThere as exc:
            raise Problem("not-found", str(exc)) from exc

    def _for_change(self, ask: Ask, id: str) -> Backend:
        backend = self._there(id)
        etags.check(ask.request, backend.revision)
        return backend

    def _judge(self, ask: Ask, wishes: Sequence[backend_input.Wish], pools: Iterable[str] = ()) -> None:
        """422 for a pool that is not one of these (of all there are), or an address no backend may have."""
        own = [*self.control.listening, self.control.config.admin.listen, *_server(ask)]
        known = [*(pools or self.registry.pools)]
        mistakes = []
        for wish in wishes:
            if (why := url_guard.objection(wish.spec.url, own)) is not None:
                mistakes.append(Mistake(pointer=f"{wish.at}/url", detail=why))
            if wish.pool is not None:
                backend_input.known_pool(wish.pool, known, f"{wish.at}/pool")
        if mistakes:
            raise invalid(*mistakes)

    def _keep_without(self, ask: Ask, backend: Backend) -> None:
        """The same guard for a backend that is to be taken out."""
        id, pool = backend.id, backend.pool
        self._keep_available(ask, pool, lambda trial: trial.registry.maintenance(trial.registry.backend(id)))

    def _keep_available(self, ask: Ask, pool: str, change: Callable[["Backends"], object]) -> None:
        """409 where ?keep_available=N says so: the change is made on a rehearsal first, and counted."""
        keep = ask.get(given.KEEP_AVAILABLE)
        if keep is None:
            return
        with self.control.audit.act(None):
            trial = Backends(rehearsed(self.control))
            change(trial)
        left = backend_json.totals(trial.registry.pool(pool).backends)
        if left.available < keep:
            detail = (
                f"it would leave {plural(left.available, 'backend')} of pool {pool!r} available, not {keep}"
            )
            raise Problem("conflict", detail)

    def _swap(self, pool: str, wishes: Sequence[backend_input.Wish], patience: float) -> Sequence[Backend]:
        leaving = self.registry.replace(pool, [wish.spec for wish in wishes], patience)
        for wish in wishes:
            self._move(self.registry.backend(wish.spec.id), wish.admin_state)
        return leaving

    def _enter(self, wish: backend_input.Wish) -> tuple[Backend, bool]:
        pool = backend_input.known_pool(wish.pool or DEFAULT_POOL, [*self.registry.pools], f"{wish.at}/pool")
        backend, is_new = self.registry.add(wish.spec, pool)
        self._move(backend, wish.admin_state)
        return backend, is_new

    def _move(self, backend: Backend, state: AdminState | None) -> None:
        """Let it be in this admin state; nothing where it is already or nothing is said."""
        if state is None or state is backend.admin_state:
            return
        if state is AdminState.READY:
            self.registry.ready(backend)
        elif state is AdminState.MAINTENANCE:
            self.registry.maintenance(backend)
        else:
            self._drain(backend, None, None)

    def _drain(self, backend: Backend, timeout: float | None, then: Then | None) -> Drain:
        is_running = backend.drain is not None and backend.drain.outcome is None
        if timeout is None and not is_running:
            timeout = self.control.config.timeouts.drain
        return self.registry.drain(backend, timeout, then)

    async def _seen_through(self, backend: Backend, drain: Drain, wait: float | None) -> bool:
        """Write the drain down, wait for its end if asked to, and write down what became of it.

        409 where somebody took it back meanwhile: what was waited for will not come about.
        """
        persisted = await save(self.control)
        if drain.outcome is None and wait:
            await ended(drain, wait)
            persisted = await save(self.control) if drain.outcome is not None else persisted
        if drain.outcome is Outcome.CANCELLED:
            now = f"{backend.id!r} is {backend.admin_state.value}"
            raise Problem("conflict", f"the drain was taken back: {now}")
        return persisted

    async def _changed(
        self, backend: Backend, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        return self._item(backend, status, await save(self.control), headers=headers)

    def _item(
        self,
        backend: Backend,
        status: int,
        persisted: bool,
        drain: Drain | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        view = backend_json.backend(self.control, backend, drain)
        view.persisted = persisted
        more = {**self._tag(backend.revision), **self._warning(backend), **(headers or {})}
        return responses.json(view, status, more)

    def _gone(self, backend: Backend) -> Response:
        return responses.nothing(204, self._warning(backend))

    def _tag(self, revision: int) -> dict[str, str]:
        return {"ETag": etags.etag(revision)}

    def _warning(self, backend: Backend) -> dict[str, str]:
        """To take out the last one is allowed, but nobody should do so without knowing."""
        pool = self.registry.pools.get(backend.pool)
        there = [] if pool is None else pool.backends
        if pool is None or any(each.admin_state is AdminState.READY and each.spec.weight for each in there):
            return {}
        return {"Lb-Warning": f"pool {pool.name} has no backend that takes requests"}


def _server(ask: Ask) -> tuple[str, ...]:
    """The address on which the request came in."""
    server: Any = ask.request.scope.get("server")
    if server is None or server[1] is None:
        return ()
    host, port = server
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}",)


async def ended(drain: Drain, seconds: float) -> None:
    """Wait for the end of a drain, but no longer than this. The drain does not notice who waits."""
    event = trio.Event()
    drain.when_ended(event.set)
    with trio.move_on_after(seconds):
        await event.wait()
