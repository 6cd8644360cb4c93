"""/requests: the flight recorder, rendered for whoever looks.

What a record has in common with a line of the access log is rendered by the log, so that the two read alike;
here come the waterfall, who was passed over, and the explanation. Rendering a thousand records takes as long
as hundreds of requests do, so the traffic has its turn after every handful.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import msgspec
import trio
from quart import Response

from admin.input import parameters as given
from admin.protocol import responses
from admin.protocol.operation import Ask, Operation, Parameter
from admin.protocol.problems import Problem
from admin.views import backend_json
from admin.views.explanation import explain
from lb.control import Control
from lb.core.exchange_record import Attempt, ExchangeRecord
from lb.errors import Reason
from lb.observe import access_log
from lb.observe.recorder import RECORDS, Kind

BATCH = 20  # about a millisecond
SOME = 50
TARGET_COLUMN = 60
COLUMNS = ("TIME", "ID", "STATUS", "METHOD", "TARGET", "BACKEND", f"{'MS':>9}", "ERROR")


def _limit(value: object) -> int:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) <= 4):
        raise ValueError(f"expected a number from 1 to {RECORDS}, got {value!r}")
    if not 1 <= int(value) <= RECORDS:
        raise ValueError(f"{value} is not between 1 and {RECORDS}")
    return int(value)


FAILED = Parameter("failed", "only those that failed", given.boolean, given.FLAG)
KINDS = Parameter("kinds", "of failures alike only the newest, and how many", given.boolean, given.FLAG)
ID = Parameter("id", "only those of this id: trusted clients may give it twice", given.text, given.WORD)
BACKEND = Parameter("backend", "only those that this backend was tried for", given.text, given.WORD)
LIMIT = Parameter(
    "limit", f"at most so many ({SOME})", _limit, {"type": "integer", "minimum": 1, "maximum": RECORDS}
)


class PassedOver(msgspec.Struct, kw_only=True):
    """A backend that was no candidate, and why."""

    backend: str
    why: str


class AttemptView(msgspec.Struct, kw_only=True):
    """One try on one backend; times are milliseconds since the start of the exchange.

    `is_beaten`: another attempt, made beside it, was quicker.
    """

    backend: str
    reused: bool
    error: Reason | None
    is_beaten: bool
    started_ms: float
    connected_ms: float | None
    first_byte_ms: float | None
    ended_ms: float | None
    passed_over: list[PassedOver]


class Timings(msgspec.Struct, kw_only=True):
    """The phases of the last attempt, one after the other, and `total`, which is the whole exchange."""

    queue: float
    connect: float | None
    first_byte: float | None
    total: float


class RequestView(msgspec.Struct, kw_only=True):
    """One exchange that has ended: what was decided, why, and how it went.

    `error` is the RFC 9209 token, null where all went well. `policy` is the one that the pool has now. Where
    kinds were asked for, `alike` of them have ended like this one, the first at `alike_since`.
    """

    id: str
    listener: str
    client: str
    method: str
    target: str
    pool: str | None
    policy: str | None
    status: int
    error: Reason | None
    detail: str
    request_bytes: int
    response_bytes: int
    started: str
    ended: str
    timings_ms: Timings
    client_left: bool
    attempts: list[AttemptView]
    explain: str
    alike: int | msgspec.UnsetType = msgspec.UNSET
    alike_since: str | msgspec.UnsetType = msgspec.UNSET


class RequestList(msgspec.Struct, kw_only=True):
    """Exchanges, the newest first."""

    items: list[RequestView]


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be asked of the recorder."""
    views = Requests(control)
    return (
        Operation(
            method="GET",
            path="/requests",
            says="the last requests, explained; ?failed=1&backend=web1, ?kinds=1",
            view=views.list,
            parameters=(FAILED, KINDS, BACKEND, given.POOL, ID, LIMIT, given.FORMAT),
            answers={200: RequestList},
            texts=(responses.TEXT,),
        ),
        Operation(
            method="GET",
            path="/requests/{id}",
            says="one request, by the id in its X-Request-Id",
            view=views.show,
            answers={200: RequestView},
            problems=(404,),
        ),
    )


class Requests:
    """The views."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.recorder = control.recorder

    async def list(self, ask: Ask) -> Response:
        selected = self._kinds(ask) if ask.get(KINDS) else self._selected(ask)
        is_table = ask.get(given.FORMAT) is given.Format.TABLE
        views: list[RequestView] = []
        for exchange, kind in selected:
            views.append(view(self.control, exchange, kind))
            if len(views) % BATCH == 0:
                await trio.lowlevel.checkpoint()
        if is_table:
            return responses.text(responses.table(COLUMNS, [row(each) for each in views]))
        return responses.json(RequestList(items=views))

    async def show(self, ask: Ask, id: str) -> Response:
        exchange = self.recorder.find(id.encode())
        if exchange is None:
            raise Problem("not-found", f"no request {id!r} is remembered; the last {RECORDS} are")
        return responses.json(view(self.control, exchange))

    def _selected(self, ask: Ask) -> Sequence[tuple[ExchangeRecord, Kind | None]]:
        """In one go, for what ends meanwhile would push out what we stand on."""
        is_wanted, limit = _filter(ask), ask.get(LIMIT) or SOME
        recorded = self.recorder.newest(only_failed=ask.get(FAILED) or False)
        return [(exchange, None) for exchange in islice(filter(is_wanted, recorded), limit)]

    def _kinds(self, ask: Ask) -> Sequence[tuple[ExchangeRecord, Kind | None]]:
        is_wanted, limit = _filter(ask), ask.get(LIMIT) or SOME
        found = ((kind.newest, kind) for kind in self.recorder.kinds() if is_wanted(kind.newest))
        return [*islice(found, limit)]


def _filter(ask: Ask) -> Callable[[ExchangeRecord], bool]:
    pool, backend, id = ask.get(given.POOL), ask.get(BACKEND), ask.get(ID)
    raw_id = None if id is None else id.encode()

    def is_wanted(exchange: ExchangeRecord) -> bool:
        if pool not in (None, exchange.pool) or raw_id not in (None, exchange.id):
            return False
        return backend is None or any(each.backend.id == backend for each in exchange.attempts)

    return is_wanted


def view(control: Control, exchange: ExchangeRecord, kind: Kind | None = None) -> RequestView:
    """The record of one exchange, with its explanation as of now; `kind` are those alike, to be counted."""
    logged = access_log.record(exchange, control.wall)
    pool = control.registry.pools.get(exchange.pool)
    return RequestView(
        id=logged.id,
        listener=logged.listener,
        client=logged.client,
        method=logged.method,
        target=logged.target,
        pool=logged.pool,
        policy=None if pool is None else pool.settings.policy,
        status=logged.status,
        error=exchange.reason,
        detail=logged.detail,
        request_bytes=logged.request_bytes,
        response_bytes=logged.response_bytes,
        started=backend_json.timestamp(control.wall(exchange.started)),
        ended=logged.time,
        timings_ms=Timings(
            queue=logged.queue_ms,
            connect=logged.connect_ms,
            first_byte=logged.first_byte_ms,
            total=logged.total_ms,
        ),
        client_left=exchange.reason is Reason.CLIENT_DISCONNECTED,
        attempts=[_attempt(each, exchange.started) for each in exchange.attempts],
        explain=explain(exchange, control.registry, control.wall),
        alike=msgspec.UNSET if kind is None else kind.count,
        alike_since=msgspec.UNSET if kind is None else _time(control, kind.first_ended),
    )


def _time(control: Control, moment: float | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if moment is None else backend_json.timestamp(control.wall(moment))


def _attempt(attempt: Attempt, began: float) -> AttemptView:
    return AttemptView(
        backend=attempt.backend.id,
        reused=attempt.reused,
        error=attempt.reason,
        is_beaten=attempt.is_beaten,
        started_ms=access_log.milliseconds(attempt.started - began),
        connected_ms=_since(began, attempt.connected),
        first_byte_ms=_since(began, attempt.first_byte),
        ended_ms=_since(began, attempt.ended),
        passed_over=[PassedOver(backend=id, why=why) for id, why in attempt.passed_over],
    )


def _since(began: float, moment: float | None) -> float | None:
    return None if moment is None else access_log.milliseconds(moment - began)


def row(view: RequestView) -> Sequence[object]:
    """One line of the table; it names the backend that was tried last."""
    target = view.target if len(view.target) <= TARGET_COLUMN else view.target[: TARGET_COLUMN - 3] + "..."
    backend = view.attempts[-1].backend if view.attempts else "-"
    took = f"{view.timings_ms.total:9.1f}"
    return (
        view.ended,
        view.id,
        view.status,
        view.method or "-",
        target or "-",
        backend,
        took,
        view.error or "",
    )
