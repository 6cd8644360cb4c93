"""/healthz and /readyz: is the event loop alive, and may traffic be sent here?

Both are for machines that have no token, so they say nothing that is worth one.
"""

from collections.abc import Iterator

import msgspec
from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from lb.control import Control
from lb.core.pool import Pool


class Health(msgspec.Struct):
    """The event loop answers, or there would be no answer."""

    healthy: bool = True


class Readiness(msgspec.Struct):
    """Whether traffic may be sent here, and every reason why not."""

    ready: bool
    reasons: list[str]


def operations(control: Control) -> tuple[Operation, ...]:
    """The probes."""

    async def healthz(call: Call) -> Response:
        return responses.json(Health())

    async def readyz(call: Call) -> Response:
        reasons = list(why_not_ready(control))
        return responses.json(Readiness(not reasons, reasons), 503 if reasons else 200)

    return (
        Operation(
            method="GET",
            path="/healthz",
            summary="200 while the event loop turns",
            handler=healthz,
            answers={200: Health},
            is_open=True,
        ),
        Operation(
            method="GET",
            path="/readyz",
            summary="200 while traffic may be sent here, otherwise 503 and why",
            handler=readyz,
            answers={200: Readiness, 503: Readiness},
            is_open=True,
        ),
    )


def why_not_ready(control: Control) -> Iterator[str]:
    """Reasons to send traffic elsewhere."""
    if control.stopping:
        yield "stopping"
    if control.drain is not None:
        yield "draining"
    if not control.listening:
        yield "not listening"
    if not control.registry.backends:
        yield "there are no backends"
    for name, pool in control.registry.pools.items():
        if _is_used(control, pool) and not _can_serve(pool):
            yield f"pool {name} has no available backend"


def _is_used(control: Control, pool: Pool) -> bool:
    """A pool that never had a backend is nobody's: `default` may be there only for what no route takes."""
    configured = control.config.pools.get(pool.name)
    return bool(pool.backends) or (configured is not None and bool(configured.backends))


def _can_serve(pool: Pool) -> bool:
    """A pool at its caps serves its queue: that is load, and no reason to move it to somebody else.

    Nor is a panic, for the pool then uses all that are ready. But whose first probe is still out may be down.
    """
    return any(backend.is_open for backend in pool.backends)
