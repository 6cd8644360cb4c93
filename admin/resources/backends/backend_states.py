"""Take a backend out or back in: drain, ready, maintenance, removal; and a health check now.

A drain belongs to its backend, not to the request that began it: a client that leaves while it waits leaves
the drain running.
"""

from functools import partial

import trio
from quart import Response

from admin.changes.availability_guard import keep_available_without
from admin.changes.persistence import Saved, save
from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.resources.backends.backend_answer import changed, found, found_for_change, gone, item, tag_of
from admin.security.authorization import demand_scope
from admin.views import backend_json
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.backend import Backend
from lb.core.cluster_view import DrainEverywhere, NotShared
from lb.core.drain import Drain, Outcome, Then


class BackendStates:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def delete(self, call: Call, backend_id: str) -> Response:
        backend = await self._to_take_out(call, backend_id)
        timeout, wait = call.get(parameters.DRAIN_TIMEOUT), call.get(parameters.WAIT)
        if call.get(parameters.FORCE):
            self.registry.remove(backend)
            saved = await save(self.control)
            return gone(saved.control, backend)
        drain = begin_drain(self.control, backend, timeout, Then.REMOVE)
        return await self._seen_through(backend, drain, wait, status=202)

    async def drain(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        timeout, then = call.get(parameters.TIMEOUT), call.get(parameters.THEN)
        if then is Then.REMOVE:
            demand_scope(call, Scope.ADMIN, "?then=remove")
        backend = await self._to_take_out(call, backend_id)
        drain = begin_drain(self.control, backend, timeout, then)
        return await self._seen_through(backend, drain, call.get(parameters.WAIT), status=200)

    async def ready(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        backend = found_for_change(self.control, call, backend_id)
        self.registry.ready(backend)
        return await changed(self.control, backend)

    async def maintenance(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        backend = await self._to_take_out(call, backend_id)
        self.registry.maintenance(backend)
        return await changed(self.control, backend)

    async def check(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        backend = found(self.control, backend_id)
        try:
            check = await self.control.check(backend)
        except LookupError as exc:
            fix = f"curl -X PATCH {call.request.host}/pools/{backend.pool} -d probe.path=/healthz"
            raise Problem("conflict", f"pool {backend.pool!r} has no probe; set one: {fix}") from exc
        backend = found(self.control, backend_id)
        view = backend_json.backend_view(self.control, backend)
        # the result of this check, even if the registry ignored it as late
        view.status.health.last = backend_json.check_view(self.control, check)
        return responses.json(view, headers=tag_of(self.control, backend))

    async def _to_take_out(self, call: Call, backend_id: str) -> Backend:
        """The backend, if the call's conditions hold and enough others are left; no await may follow."""
        find = partial(found_for_change, self.control, call, backend_id)
        return await keep_available_without(call, self.control, find)

    async def _seen_through(
        self, backend: Backend, drain: Drain, wait: float | None, status: int
    ) -> Response:
        """Save the drain, wait for its end if that was asked for, save its outcome, and answer how far it is.

        204 where the backend is gone, and `status` where the drain has ended: 202 is for one that goes on.
        409 where the drain was taken back meanwhile.
        """
        saved = await save(self.control)
        if saved.revision is not None:
            return await _seen_through_everywhere(saved, backend, drain.then, wait or 0.0, status)
        is_kept = saved.is_kept
        if drain.outcome is None and wait:
            await ended(drain, wait)
            is_news = drain.outcome is not None and not self.control.is_handing_over
            is_kept = (await save(self.control)).is_kept if is_news else is_kept
        _refuse_if_taken_back(backend, drain)
        if backend.removed and status == 202:
            return gone(self.control, backend)
        return await item(self.control, backend, is_kept, 202 if drain.outcome is None else status, drain)


async def _seen_through_everywhere(
    saved: Saved, backend: Backend, then: Then, wait: float, status: int
) -> Response:
    """Wait for the end of the drain on all balancers of the cluster, and answer from what is true here."""
    control = saved.control
    everywhere = await _everywhere(control, backend, saved.revision or 0, wait)
    there = saved.there(backend)
    if there is None and then is Then.REMOVE and status == 202 and everywhere and everywhere.is_sure:
        return gone(control, backend)
    there = there or backend
    drain = there.drain
    if there is not backend and (drain is None or drain.outcome is Outcome.CANCELLED):
        raise Problem("conflict", f"the drain was taken back: {there.id!r} is {there.admin_state.value}")
    is_over = everywhere is not None and everywhere.is_over
    has_ended = is_over and drain is not None and drain.outcome is not None
    return await item(control, there, True, status if has_ended else 202, drain, everywhere=everywhere)


async def _everywhere(
    control: Control, backend: Backend, revision: int, wait: float
) -> DrainEverywhere | None:
    """How far the drain is; None where that cannot be asked. The drain itself was taken by etcd."""
    try:
        return await control.cluster.drained(backend.id, revision, wait)
    except NotShared:
        return None


def begin_drain(control: Control, backend: Backend, timeout: float | None, then: Then | None) -> Drain:
    """Begin a drain, or change the running one; without a timeout a new one gets `timeouts.drain`."""
    is_running = backend.drain is not None and backend.drain.outcome is None
    if timeout is None and not is_running:
        timeout = control.config.timeouts.drain
    return control.registry.drain(backend, timeout, then)


async def ended_for(backend: Backend, drain: Drain, seconds: float) -> None:
    """As `ended`; 409 where the drain is taken back meanwhile."""
    if drain.outcome is None:
        await ended(drain, seconds)
        _refuse_if_taken_back(backend, drain)


def _refuse_if_taken_back(backend: Backend, drain: Drain) -> None:
    """409 where the state that the client has waited for will not come."""
    if drain.outcome is Outcome.CANCELLED:
        now = f"{backend.id!r} is {backend.admin_state.value}"
        raise Problem("conflict", f"the drain was taken back: {now}")


async def ended(drain: Drain, seconds: float) -> None:
    """Wait for the end of a drain, at the longest for so many seconds; the drain goes on after that."""
    event = trio.Event()
    drain.when_ended(event.set)
    with trio.move_on_after(seconds):
        await event.wait()
