"""?dry_run=true: the same handler runs on a copy of the balancer, and its answer says what would be.

The copy is made in slices. Each backend is copied as it is at that moment; of those that come or go meanwhile
it may have either. The revision is that of the beginning, so a condition of the call that holds for the copy
holds for what the operator has seen. Then the copy is taken apart, in slices too.
"""

from collections.abc import Callable
from dataclasses import replace

import trio
from quart import Response

from admin.input import parameters
from admin.protocol.call import Call
from admin.protocol.operation import Handler
from admin.protocol.responses import DRY_RUN_FIELD
from lb.control import Control
from lb.core.simulation.registry_copy import copying
from lb.slices import made, sliced


def rehearsable(
    control: Control, handler: Callable[[Control], Handler], otherwise: Handler | None = None
) -> Handler:
    """The handler of this balancer (or `otherwise`), for a dry run that of a copy, which ignores `wait`."""

    async def either(call: Call, *path: str) -> Response:
        if not call.get(parameters.DRY_RUN):
            return await (otherwise or handler(control))(call, *path)
        call.values.pop(parameters.WAIT.name, None)
        copy = await rehearsed(control)
        try:
            with control.audit.act(None):
                response = await handler(copy)(call, *path)
        finally:
            await sliced(made(copy.registry.emptying()))
        response.headers[DRY_RUN_FIELD] = "true"
        return response

    return either


async def rehearsed(control: Control) -> Control:
    """A copy whose registry may be changed without effect, and which saves nothing."""
    nobody = control.registry.empty()  # the copy's audit has nothing to learn by heart
    copy = replace(control, registry=nobody, save=_save_nothing, one_set_at_a_time=trio.Lock())
    copy.registry = await sliced(copying(control.registry))
    return copy


async def _save_nothing() -> bool:
    await trio.lowlevel.checkpoint()
    return False
