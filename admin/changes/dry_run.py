"""?dry_run=true: the same handler runs on a copy of the balancer, and its answer says what would be."""

from collections.abc import Callable
from dataclasses import replace

import trio
from quart import Response

from admin.input import parameters
from admin.protocol.call import Call
from admin.protocol.operation import Handler
from admin.protocol.responses import DRY_RUN_FIELD
from lb.control import Control
from lb.core.simulation.registry_copy import rehearsal


def rehearsable(control: Control, handler: Callable[[Control], Handler]) -> Handler:
    """The handler of this balancer, or for a dry run that of a copy. A dry run ignores `wait`."""

    async def either(call: Call, *path: str) -> Response:
        if not call.get(parameters.DRY_RUN):
            return await handler(control)(call, *path)
        call.values.pop(parameters.WAIT.name, None)
        with control.audit.act(None):
            response = await handler(rehearsed(control))(call, *path)
        response.headers[DRY_RUN_FIELD] = "true"
        return response

    return either


def rehearsed(control: Control) -> Control:
    """A copy whose registry may be changed without effect, and which saves nothing."""
    return replace(control, registry=rehearsal(control.registry), save=_save_nothing)


async def _save_nothing() -> bool:
    await trio.lowlevel.checkpoint()
    return False
