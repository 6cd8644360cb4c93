"""The exchanges that run now, to JSON: what each does or waits for, and since when."""

import msgspec

from admin.views.times import timestamp
from lb.control import Control
from lb.core.backend import Backend
from lb.core.running_exchange import RunningExchange
from lb.observe.access_log import safe
from lb.observe.all_exchanges import Wanted

MOST_WAITED_FOR = 5
WAITS = {
    "receiving body": "the client to send the rest of its request",
    "queued": "a backend of pool {pool} with a place left",
    "connecting": "{backend} to accept the connection",
    "sending request": "the client to send the rest of its request, and {backend} to read it",
    "waiting for response": "{backend} to begin its answer",
    "sending response": "{backend} to send the rest of its answer, and the client to read it",
    "delivering": "the client to read the rest of its answer, which has come whole",
    "tunnel": "the client or {backend} to close the tunnel",
}
"""What an exchange waits for in each phase."""


class RunningRequest(msgspec.Struct, kw_only=True):
    """One exchange that runs now: its phase, and for how long it has been in that.

    `waits_for` says in words what it waits for. `backend` has it, null before the first attempt. The byte
    counts are those of the bodies so far.
    """

    id: str
    listener: str
    client: str
    method: str
    target: str
    pool: str | None
    backend: str | None
    phase: str
    waits_for: str
    seconds: float
    phase_seconds: float
    started: str
    attempts: int
    request_bytes: int
    response_bytes: int


class RunningList(msgspec.Struct, kw_only=True):
    """Exchanges that run now, those that run longest first; `total` counts those that were not listed too.

    `missing_workers` did not answer in time, so theirs are not among them.
    """

    items: list[RunningRequest]
    total: int
    missing_workers: list[int] | msgspec.UnsetType = msgspec.UNSET


class WaitedFor(msgspec.Struct, kw_only=True):
    """An exchange that a drain waits for."""

    id: str
    client: str
    method: str
    target: str
    phase: str
    seconds: float


def running(control: Control, exchange: RunningExchange) -> RunningRequest:
    """One exchange as JSON; its times are those of now."""
    now = control.registry.now()
    backend = exchange.backend or "a backend"
    return RunningRequest(
        id=safe(exchange.id),
        listener=exchange.listener,
        client=exchange.client,
        method=safe(exchange.method),
        target=safe(exchange.target),
        pool=exchange.pool or None,
        backend=exchange.backend,
        phase=exchange.phase,
        waits_for=WAITS.get(exchange.phase, "").format(pool=exchange.pool, backend=backend),
        seconds=_since(exchange.since, now),
        phase_seconds=_since(exchange.phase_since, now),
        started=timestamp(control.wall(exchange.since)),
        attempts=exchange.attempts,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
    )


async def waited_for(control: Control, backend: Backend) -> list[WaitedFor]:
    """The first few exchanges that the drain of this backend waits for, those that run longest first."""
    found = await control.exchanges.running(Wanted(MOST_WAITED_FOR, backend=backend.id))
    now = control.registry.now()
    return [
        WaitedFor(
            id=safe(each.id),
            client=each.client,
            method=safe(each.method),
            target=safe(each.target),
            phase=each.phase,
            seconds=_since(each.since, now),
        )
        for each in found.items
    ]


def _since(moment: float, now: float) -> float:
    return round(max(0.0, now - moment), 3)
