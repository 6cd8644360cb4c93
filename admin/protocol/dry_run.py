"""?dry_run=true: the same view, on a balancer that is not real, says what would be."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio
from quart import Response

from admin.input import parameters as given
from admin.protocol.dispatch import DRY_RUN
from admin.protocol.operation import Ask
from lb.control import Control
from lb.core.simulation.registry_copy import rehearsal

View = Callable[..., Awaitable[Response]]


def rehearsable(control: Control, view: Callable[[Control], View]) -> View:
    """The view of this balancer, or for a dry run that of its twin. There nothing ends, so nobody waits."""

    async def either(ask: Ask, **path: str) -> Response:
        if not ask.get(given.DRY_RUN):
            return await view(control)(ask, **path)
        ask.values.pop(given.WAIT.name, None)
        with control.audit.act(None):
            response = await view(rehearsed(control))(ask, **path)
        response.headers[DRY_RUN] = "true"
        return response

    return either


def rehearsed(control: Control) -> Control:
    """A twin on which everything may be tried; what is tried is not saved."""
    return replace(control, registry=rehearsal(control.registry), save=_not)


async def _not() -> bool:
    await trio.lowlevel.checkpoint()
    return False
