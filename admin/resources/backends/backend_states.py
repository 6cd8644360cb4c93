"""Take a backend out or back in: drain, ready, maintenance, removal; and a health check now.

A drain belongs to its backend, not to the request that began it: a client that leaves while it waits leaves
the drain running.
"""

import trio
from quart import Response

from admin.changes.availability_guard import keep_available_without
from admin.changes.persistence import save
from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.resources.backends.backend_answer import changed, found, found_for_change, gone, item, tag
from admin.security.authorization import demand_scope
from admin.views import backend_json
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Drain, Outcome, Then


class BackendStates:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def delete(self, call: Call, backend_id: str) -> Response:
        backend = found_for_change(self.control, call, backend_id)
        keep_available_without(call, self.control, backend)
        timeout, wait = call.get(parameters.DRAIN_TIMEOUT), call.get(parameters.WAIT)
        if call.get(parameters.FORCE):
            self.registry.remove(backend)
            await save(self.control)
            return gone(self.control, backend)
        drain = begin_drain(self.control, backend, timeout, Then.REMOVE)
        persisted = await self._seen_through(backend, drain, wait)
        if backend.removed:
            return gone(self.control, backend)
        return item(self.control, backend, persisted, 202, drain)

    async def drain(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        timeout, then = call.get(parameters.TIMEOUT), call.get(parameters.THEN)
        if then is Then.REMOVE:
            demand_scope(call, Scope.ADMIN, "?then=remove")
        backend = found_for_change(self.control, call, backend_id)
        keep_available_without(call, self.control, backend)
        drain = begin_drain(self.control, backend, timeout, then)
        persisted = await self._seen_through(backend, drain, call.get(parameters.WAIT))
        return item(self.control, backend, persisted, 202 if drain.outcome is None else 200, drain)

    async def ready(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        backend = found_for_change(self.control, call, backend_id)
        self.registry.ready(backend)
        return await changed(self.control, backend)

    async def maintenance(self, call: Call, backend_id: str) -> Response:
        await call.take_posted_parameters()
        backend = found_for_change(self.control, call, backend_id)
        keep_available_without(call, self.control, backend)
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
        view = backend_json.backend_view(self.control, found(self.control, backend_id))
        # the result of this check, even if the registry ignored it as late
        view.status.health.last = backend_json.check_view(self.control, check)
        return responses.json(view, headers=tag(backend.revision))

    async def _seen_through(self, backend: Backend, drain: Drain, wait: float | None) -> bool:
        """Save the drain, wait for its end if that was asked for, and save its outcome; whether it is saved.

        409 where the drain was taken back meanwhile.
        """
        persisted = await save(self.control)
        if drain.outcome is None and wait:
            await ended(drain, wait)
            persisted = await save(self.control) if drain.outcome is not None else persisted
        _refuse_if_taken_back(backend, drain)
        return persisted


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
