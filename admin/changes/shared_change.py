"""In a cluster a change is tried on a copy, made by all balancers, and then answered from what is true here.

    call ──handler──> copy ──save──> etcd ──watch──> every registry ──answer──> call

The handler is the same as without a cluster, and does not know how its change is shared: it changes what it
is given, and `admin.changes.persistence.save` tells it in whose registry the change is then. Where another
operator was faster all is done again, with what that one has changed.

`?local=true` is for emergencies, while etcd is away: this balancer alone is changed.
"""

from collections.abc import Callable
from copy import copy

from quart import Response, g

from admin.changes.dry_run import rehearsed
from admin.input import parameters
from admin.protocol.call import Call
from admin.protocol.operation import Handler
from admin.protocol.problems import Problem
from lb.control import Control, Sharing
from lb.core.cluster_view import Guard, MaybeShared, Overtaken
from lb.slices import made, sliced

TRIES = 5
POOLS = "/pools/"


def shared(control: Control, handler: Callable[[Control], Handler]) -> Handler:
    """The handler of a change: of this balancer, or in a cluster of all, unless the call says otherwise."""

    async def either(call: Call, *path: str) -> Response:
        if not control.cluster.is_shared:
            return await handler(control)(call, *path)
        if call.operation.posted_parameters:
            await call.take_posted_parameters()
        if call.get(parameters.LOCAL):
            return await _here_alone(control, handler, call, path)
        return await _everywhere(control, handler, call, path)

    return either


async def _everywhere(
    control: Control, handler: Callable[[Control], Handler], call: Call, path: tuple[str, ...]
) -> Response:
    guard = _guard(call)
    _refuse_overridden(control, call, path)
    for _ in range(TRIES):
        seen = control.cluster.revision
        rehearsal = await rehearsed(control)
        try:
            change = await control.cluster.rehearse(rehearsal.registry, seen)
            rehearsal.sharing = Sharing(original=control, change=change, by=_who(), guard=guard)
            with control.audit.act(None):
                return await handler(rehearsal)(call, *path)
        except Overtaken as exc:
            if exc.count:  # a condition of the call would be judged by what it has done itself
                raise MaybeShared(str(exc)) from exc
            await control.cluster.overtaken()
        finally:
            await sliced(made(rehearsal.registry.emptying()))
    raise Problem("conflict", "other operators change the same all the time; nothing was changed")


async def _here_alone(
    control: Control, handler: Callable[[Control], Handler], call: Call, path: tuple[str, ...]
) -> Response:
    """A change of the real registry, which is remembered as an override once it is made."""
    change, by = await control.cluster.rehearse_own(), _who()

    async def save() -> bool:
        await change.made(by, *control.audit.touched())
        return await control.save()

    stage = copy(control)
    stage.save = save
    return await handler(stage)(call, *path)


def _guard(call: Call) -> Guard:
    """What the call is about: one backend, a pool whose others count too, or all that If-Match is of."""
    operation = call.operation
    is_of_a_set = operation.method == "PUT" and operation.path == "/backends"
    if call.request.headers.get("If-Match") and (is_of_a_set or operation.path.startswith(POOLS)):
        return "all"
    return "pools" if is_of_a_set or call.get(parameters.KEEP_AVAILABLE) is not None else "keys"


def _refuse_overridden(control: Control, call: Call, path: tuple[str, ...]) -> None:
    """409 where this balancer alone has otherwise the backend, or the settings of the pool, in the path."""
    is_of_a_pool = call.operation.path.startswith(POOLS)
    for own in control.cluster.own_wishes():
        if path[:1] == (own.backend_id or own.pool,) and is_of_a_pool == (not own.backend_id):
            raise Problem("conflict", f"{path[0]!r} has a local override here: {own.wish}; withdraw it first")


def _who() -> str:
    token = g.get("token")
    return "" if token is None else str(token.name)
