"""/healthz and /readyz: whether the event loop runs, and whether traffic may be sent here.

Both are for machines without a token, so their answers hold nothing that needs one.
"""

from collections.abc import Iterator

import msgspec
from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from lb.control import Control
from lb.core.pool import Pool

PROBES = frozenset(("/healthz", "/readyz"))
"""The paths that orchestrators ask. They come under any Host, and places are kept for them."""


class Health(msgspec.Struct):
    """The event loop runs; otherwise there would be no answer."""

    healthy: bool = True


class Readiness(msgspec.Struct):
    """Whether traffic may be sent here, and each reason why not."""

    ready: bool
    reasons: list[str]


def operations(control: Control) -> tuple[Operation, ...]:
    """Both operations."""

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
    """Each reason to send traffic elsewhere."""
    if control.stopping:
        yield "stopping"
    if control.drain is not None:
        yield "draining"
    if why := control.cluster.why_not_ready():
        yield why
    if not control.listening:
        yield "not listening"
    if control.metrics.full_since is not None:
        yield "every place for clients is taken"
    if not control.registry.backends:
        yield "there are no backends"
    for name, pool in control.registry.pools.items():
        if not pool.backends and _is_promised(control, pool):
            yield f"pool {name} has no backend: its sources have named none yet"
        elif _is_used(control, pool) and not _can_serve(pool):
            yield f"pool {name} has no available backend"


def _is_used(control: Control, pool: Pool) -> bool:
    """Whether it has backends, now or in the file: `default` may exist only for requests without a route."""
    configured = control.config.pools.get(pool.name)
    return bool(pool.backends) or (configured is not None and bool(configured.backends))


def _is_promised(control: Control, pool: Pool) -> bool:
    """Whether its backends are to be found, and its sources may not say that there are none."""
    configured = control.config.pools.get(pool.name)
    return configured is not None and bool(configured.discover) and control.discovery.is_promised(pool.name)


def _can_serve(pool: Pool) -> bool:
    """Whether a backend is open, be it full or not.

    A pool at its caps serves its queue, and a pool in panic uses all ready backends; neither is a reason to
    send traffic elsewhere. A backend before its first probe is not open, for it may be down.
    """
    return any(backend.is_open for backend in pool.backends)
