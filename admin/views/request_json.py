"""From the record of an exchange to JSON: what was decided, why, and how long each phase took.

The fields that a line of the access log has too are rendered by `lb.observe.access_log`, so that both show
the same.
"""

from itertools import islice

import msgspec

from admin.views.explanation import explain
from admin.views.times import timestamp
from lb.control import Control
from lb.core.client_address import UNIX, peer_of
from lb.core.exchange_record import Announced, AttemptRecord, ExchangeRecord
from lb.core.passed_over import PassedOver as Names
from lb.core.proxy_tlvs import told
from lb.core.time_spent import time_spent
from lb.errors import Reason
from lb.observe import access_log
from lb.observe.failure_kind import Kind


class PassedOver(msgspec.Struct, kw_only=True):
    """A backend that was no candidate, and why."""

    backend: str
    why: str


class AttemptView(msgspec.Struct, kw_only=True):
    """One try on one backend; times are milliseconds since the start of the exchange.

    `is_beaten`: another attempt, made beside it, was quicker. `passed_over_count` backends were no
    candidates; a list of requests names only the first of them.
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
    passed_over_count: int


class Timings(msgspec.Struct, kw_only=True):
    """The phases of the last attempt, one after the other, and `total`, which is the whole exchange."""

    queue: float
    connect: float | None
    first_byte: float | None
    total: float


class Spent(msgspec.Struct, kw_only=True):
    """Where the time went: milliseconds of each phase, in the order in which they passed.

    `gathering`: its head came from the client, and its body, where that was received before a backend was
    chosen. `trying`: earlier attempts, and the pauses behind them. `sending`: the client sent its body.
    `waiting`: until the first byte of the answer. `answering`: until the backend had sent all of it.
    `reading`: the client took it.
    """

    gathering: float
    queueing: float
    trying: float
    connecting: float
    sending: float
    waiting: float
    answering: float
    reading: float


class Buffered(msgspec.Struct, kw_only=True):
    """What was held so that a slow client did not hold a backend.

    `request_ms` is how long the body took to come before a backend was chosen; null where it was not waited
    for. `response_bytes` is the most that was held of the response at once.
    """

    request_ms: float | None
    response_bytes: int


class ProxyHeaderView(msgspec.Struct, kw_only=True):
    """What a PROXY protocol header said of the connection beside its source, which is `peer`.

    `sent_by` is the balancer in front. `destination` is where the client had connected to there. `told` has
    what was said in TLVs, by name; values that are no text are in hex.
    """

    sent_by: str
    destination: str
    told: dict[str, str]


class RequestView(msgspec.Struct, kw_only=True):
    """One exchange that has ended.

    `peer` is a proxy where it has named another address as the client's. `error` is the RFC 9209 token, null
    where nothing failed. `policy` is the one that the pool has now. Where kinds were asked for, `alike`
    counts the failures of this kind, and `alike_since` is when the first ended. `passed_over` are the
    backends of the pool where none could take the request. Only those over TLS have `tls`. `proxy_header` is
    null where the connection began with none, or with one that said nothing. `usual_ms` is the median of the
    pool in the process that carried it: of its minute where it is kept as slow, else of the minute in which
    it was asked for; since the start where that has few, and null where that has few too.
    """

    id: str
    listener: str
    client: str
    peer: str
    proxy_header: ProxyHeaderView | None
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
    spent_ms: Spent
    usual_ms: float | None
    buffered: Buffered
    client_left: bool
    attempts: list[AttemptView]
    passed_over: list[PassedOver]
    explain: str
    tls: access_log.LoggedTls | msgspec.UnsetType = msgspec.UNSET
    alike: int | msgspec.UnsetType = msgspec.UNSET
    alike_since: str | msgspec.UnsetType = msgspec.UNSET


class RequestList(msgspec.Struct, kw_only=True):
    """Exchanges, the newest first. `missing_workers` did not answer in time, so theirs are not among them.

    Such exchanges that ended before `remembered_since` may be forgotten; null where none is, as where the
    slowest or kinds are asked for.
    """

    items: list[RequestView]
    remembered_since: str | None
    missing_workers: list[int] | msgspec.UnsetType = msgspec.UNSET


def recorded(
    control: Control, exchange: ExchangeRecord, kind: Kind | None = None, named: int | None = None
) -> RequestView:
    """The record of one exchange, explained as of now; `kind` counts the failures of its kind.

    It names so many of the backends that were passed over, or all.
    """
    logged = access_log.record(exchange, control.wall)
    pool = control.registry.pools.get(exchange.pool)
    return RequestView(
        id=logged.id,
        listener=logged.listener,
        client=logged.client,
        peer=logged.peer,
        proxy_header=_proxy_header(exchange.announced),
        method=logged.method,
        target=logged.target,
        pool=logged.pool,
        policy=None if pool is None else pool.settings.policy,
        status=logged.status,
        error=exchange.reason,
        detail=logged.detail,
        request_bytes=logged.request_bytes,
        response_bytes=logged.response_bytes,
        started=timestamp(control.wall(exchange.started)),
        ended=logged.time,
        timings_ms=Timings(
            queue=logged.queue_ms,
            connect=logged.connect_ms,
            first_byte=logged.first_byte_ms,
            total=logged.total_ms,
        ),
        spent_ms=Spent(**{n: access_log.milliseconds(s) for n, s in time_spent(exchange)._asdict().items()}),
        usual_ms=None if exchange.usual is None else access_log.milliseconds(exchange.usual),
        buffered=Buffered(
            request_ms=None if exchange.gathered is None else access_log.milliseconds(exchange.gathered),
            response_bytes=exchange.held,
        ),
        client_left=exchange.reason is Reason.CLIENT_DISCONNECTED,
        attempts=[_attempt(each, exchange.started, named) for each in exchange.attempts],
        passed_over=_named(exchange.passed_over, named),
        explain=explain(exchange, control.registry, control.wall),
        tls=logged.tls,
        alike=msgspec.UNSET if kind is None else kind.count,
        alike_since=msgspec.UNSET if kind is None else _time(control, kind.first_ended),
    )


def _proxy_header(header: Announced | None) -> ProxyHeaderView | None:
    if header is None:
        return None
    _, destination = peer_of(None if header.destination[0] == UNIX else header.destination)
    return ProxyHeaderView(sent_by=header.by, destination=destination, told=told(header.tlvs))


def _time(control: Control, moment: float | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if moment is None else timestamp(control.wall(moment))


def _attempt(attempt: AttemptRecord, began: float, named: int | None) -> AttemptView:
    return AttemptView(
        backend=attempt.backend.id,
        reused=attempt.reused,
        error=attempt.reason,
        is_beaten=attempt.is_beaten,
        started_ms=access_log.milliseconds(attempt.started - began),
        connected_ms=_since(began, attempt.connected),
        first_byte_ms=_since(began, attempt.first_byte),
        ended_ms=_since(began, attempt.ended),
        passed_over=_named(attempt.passed_over, named),
        passed_over_count=len(attempt.passed_over),
    )


def _named(passed_over: Names, most: int | None) -> list[PassedOver]:
    return [PassedOver(backend=backend, why=why) for backend, why in islice(passed_over, most)]


def _since(began: float, moment: float | None) -> float | None:
    return None if moment is None else access_log.milliseconds(moment - began)
