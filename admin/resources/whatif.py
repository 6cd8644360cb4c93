"""/whatif: how the requests of the last minute would be spread over other backends; it changes nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from random import Random
from statistics import median
from typing import Any

import msgspec
import trio
from quart import Response

from admin.input import backend_input
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Hints, Mistake, escaped, unknown_fields
from admin.protocol.operation import Operation
from admin.protocol.problems import invalid
from admin.views.missing_workers import or_unset, warning
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.backend import AdminState
from lb.core.client_address import without_port
from lb.core.exchange_record import ExchangeRecord
from lb.core.pool import Pool
from lb.core.simulation.forecast import Arrival, Forecast, simulation
from lb.observe.all_exchanges import Wanted
from lb.observe.recorder import RECORDS
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import DEFAULT_POOL
from lb.slices import listed, sliced

WINDOW_SECONDS = 60.0


class WhatIf(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The pool, and either all of its backends (`items`) or what differs from those that it has.

    Backends that drain or are in maintenance are left out; all others are taken as healthy.
    """

    pool: str = DEFAULT_POOL
    items: list[backend_input.BackendFields] | None = None
    remove: list[str] = []
    add: list[backend_input.BackendFields] = []
    weights: dict[str, int] = {}


KNOWN = [*WhatIf.__struct_fields__]


class Expected(msgspec.Struct, kw_only=True):
    """One backend: its requests, their share, and how many it would have had at once."""

    id: str
    weight: int
    requests: int
    share: float
    peak_in_flight: int


class Expectation(msgspec.Struct, kw_only=True):
    """The result: `requests` were replayed, those of the last `window_seconds`.

    That is a minute, or less where more requests came than are remembered; of these the last are
    replayed, the fewer the more backends there are. `queued` counts those that
    had to wait for a backend, `refused` those that got none in time. The requests of `missing_workers`, which
    did not answer in time, are not among them.
    """

    pool: str
    policy: str
    window_seconds: float
    requests: int
    queued: int
    refused: int
    longest_wait_seconds: float
    items: list[Expected]
    missing_workers: list[int] | msgspec.UnsetType = msgspec.UNSET


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation. It changes nothing, so it needs the scope `read`; one simulation runs at a time."""
    one_at_a_time = trio.CapacityLimiter(1)

    async def play(call: Call) -> Response:
        fields = (await call.body()).fields()
        pool = _pool(control, fields)
        specs = await _specs(pool, fields)
        settings = pool.settings
        patience = settings.queue_timeout or control.config.timeouts.queue
        chance = Random(0).random  # the same question, the same answer
        async with one_at_a_time:
            found = await control.exchanges.newest(Wanted(RECORDS, pool=pool.name))
            now = control.registry.now()
            since = max(now - WINDOW_SECONDS, found.whole_since)
            arrivals = await listed(_arrivals(found.items, since))
            forecast = await sliced(simulation(arrivals, specs, settings, patience, chance))
        view = _view(pool.name, settings.policy, forecast, round(now - since, 3))
        view.missing_workers = or_unset(found.missing)
        items = (_expected(spec, forecast) for spec in specs)
        return await responses.long_json(view, {"items": items}, headers=warning(found.missing))

    return (
        Operation(
            method="POST",
            path="/whatif",
            summary='the last minute on other backends: -d \'{"remove":["web1"]}\'',
            handler=play,
            body_type=WhatIf,
            answers={200: Expectation},
            needs=Scope.READ,
        ),
    )


def _pool(control: Control, fields: Mapping[str, object]) -> Pool:
    """The pool in these fields; 422 for unknown fields, and for values of other types."""
    mistakes = unknown_fields("#", fields, KNOWN, Hints())
    kinds: dict[str, Any] = {"pool": str, "remove": list[str], "weights": dict[str, int], "add": list[Any]}
    for name in kinds.keys() & fields.keys():
        try:
            msgspec.convert(fields[name], kinds[name])
        except msgspec.ValidationError as exc:
            mistakes.append(Mistake(pointer=f"#/{name}", detail=str(exc).replace("`", "")))
    if fields.get("items") is not None and fields.keys() & {"remove", "add", "weights"}:
        mistakes.append(Mistake(pointer="#/items", detail="is the whole set; nothing else goes with it"))
    if mistakes:
        raise invalid(*mistakes)
    name = backend_input.known_pool(
        str(fields.get("pool", DEFAULT_POOL)), [*control.registry.pools], "#/pool"
    )
    return control.registry.pool(name)


async def _specs(pool: Pool, fields: Mapping[str, Any]) -> Sequence[BackendSpec]:
    """The backends to simulate."""
    if fields.get("items") is not None:
        return _ready(await backend_input.read_backends({"items": fields["items"]}))
    add = _ready(await backend_input.read_backends(fields.get("add", []), "#/add"))
    ready = (each for each in [*pool.backends] if each.admin_state is AdminState.READY)
    there = dict(await listed((each.id, each.spec) for each in ready))
    remove, weights = fields.get("remove", []), fields.get("weights", {})
    pointers = {name: f"#/remove/{index}" for index, name in enumerate(remove)}
    pointers |= {name: f"#/weights/{escaped(name)}" for name in weights}
    mistakes = [
        Mistake(pointer=at, detail="no such backend is ready")
        for name, at in pointers.items()
        if name not in there
    ]
    mistakes += [Mistake(pointer="#/add", detail=f"{spec.id!r} is there") for spec in add if spec.id in there]
    if mistakes:
        raise invalid(*mistakes)
    gone = set(remove)
    left = await listed(_weighted(spec, weights) for name, spec in there.items() if name not in gone)
    return [*left, *add]


def _ready(wanted: Sequence[backend_input.WantedBackend]) -> list[BackendSpec]:
    return [each.spec for each in wanted if each.admin_state in (None, AdminState.READY)]


def _weighted(spec: BackendSpec, weights: Mapping[str, int]) -> BackendSpec:
    if spec.id not in weights:
        return spec
    try:
        return msgspec.structs.replace(spec, weight=weights[spec.id]).checked()
    except ValueError as exc:
        detail = str(exc).partition(": ")[2]
        raise invalid(Mistake(pointer=f"#/weights/{escaped(spec.id)}", detail=detail)) from exc


def _arrivals(records: Collection[ExchangeRecord], since: float) -> Iterator[Arrival]:
    """Those of them that began since then; one without a backend gets the median duration."""
    recent = [each for each in records if each.started >= since]
    known = [seconds for each in recent if (seconds := _seconds(each)) is not None]
    usual = median(known) if known else 0.0
    for each in recent:
        seconds = _seconds(each)
        took = usual if seconds is None else seconds
        yield Arrival(each.started, took, without_port(each.client), each.target)


def _seconds(exchange: ExchangeRecord) -> float | None:
    """How long a backend had the request; None where none had it."""
    attempt = exchange.deciding
    if attempt is None or exchange.ended is None:
        return None
    return max(0.0, exchange.ended - attempt.started)


def _expected(spec: BackendSpec, forecast: Forecast) -> Expected:
    requests = forecast.requests[spec.id]
    return Expected(
        id=spec.id,
        weight=spec.weight,
        requests=requests,
        share=round(requests / forecast.served, 6) if forecast.served else 0.0,
        peak_in_flight=forecast.peak[spec.id],
    )


def _view(pool: str, policy: str, forecast: Forecast, window: float) -> Expectation:
    """The result without its items."""
    return Expectation(
        pool=pool,
        policy=policy,
        window_seconds=window,
        requests=forecast.played,
        queued=forecast.queued,
        refused=forecast.refused,
        longest_wait_seconds=round(forecast.longest_wait, 6),
        items=[],
    )
