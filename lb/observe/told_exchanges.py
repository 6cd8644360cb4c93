"""Exchanges written down, as one process tells another: on the clock and the backends of over there.

Both clocks of Trio have an offset of their own, so times are told on the monotonic clock of the machine, one
for all its processes. Backends are told by their ids. A record of a backend that is not there any more, or
was added again since, gets a stand-in that is removed, as a record in one process would keep the old one.

What is told is bounded: texts are cut as the recorder cuts them, and the backends that were passed over, most
of which records share, are told once, and of too many only the first.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf

import msgspec
import trio

from lb.core.backend import Backend
from lb.core.exchange_record import Announced, AttemptRecord, ExchangeRecord
from lb.core.passed_over import NAMED, NONE_PASSED_OVER, PassedOver, Reason
from lb.core.registry import Registry
from lb.core.running_exchange import RunningExchange, Waits
from lb.core.secured import Secured
from lb.errors import Reason as Error
from lb.observe.failure_kind import Kind
from lb.observe.log_lines import LONGEST_KEPT
from lb.settings.backend_spec import BackendSpec

MOST_PASSED_OVER = 20_000
"""So many names of backends that were passed over are told in one answer; of more, NAMED for each choice."""
NOWHERE = "http://gone.invalid"
"""The address of a stand-in."""

Why = tuple[str, bytes]


def machine_clock() -> float:
    """What turns a time of this process's Trio clock into one of the machine's."""
    return time.monotonic() - trio.current_time()


class ToldPassedOver(msgspec.Struct, frozen=True, array_like=True):
    """A `PassedOver`; `out` is a place among the tuples that are told beside the records."""

    out: int
    others: list[Why]
    unnamed: int
    tried: list[str]
    kept: str


class ToldAttempt(msgspec.Struct, frozen=True, array_like=True):
    """An `AttemptRecord`."""

    backend: str
    passed_over: ToldPassedOver | None
    reused: bool
    is_beaten: bool
    started: float
    connected: float | None
    sent: float | None
    first_byte: float | None
    ended: float | None
    reason: Error | None


class ToldSecured(msgspec.Struct, frozen=True, array_like=True):
    """A `Secured` without what the requests of its connection need alone."""

    server_name: str
    version: str
    cipher: str
    is_resumed: bool
    certificate: bytes | None


class ToldRecord(msgspec.Struct, frozen=True, array_like=True):
    """An `ExchangeRecord` without what only the access log needs; `leader` is a place among the attempts."""

    id: bytes
    listener: str
    client: str
    peer: str
    started: float
    ended: float | None
    method: bytes
    target: bytes
    pool: str
    attempts: list[ToldAttempt]
    leader: int | None
    announced: tuple[str, tuple[str, int], list[tuple[int, bytes]]] | None
    passed_over: ToldPassedOver | None
    queued: float
    gathered: float | None
    held: int
    status: int
    reason: Error | None
    detail: bytes
    request_bytes: int
    response_bytes: int
    secured: ToldSecured | None
    client_took: float
    is_stream: bool
    usual: float | None


class Told(msgspec.Struct, array_like=True):
    """One answer: a `Found`, or one failure.

    `ended` has when each record did. `kinds` says of each record, where kinds were asked for, how many
    failures are like it, and when the first of them ended. `out` are the tuples of what was passed over.
    """

    records: list[msgspec.Raw] = []
    ended: list[float] = []
    kinds: list[tuple[int, float | None]] = []
    running: list[RunningExchange] = []
    out: list[list[Why]] = []
    total: int = 0
    whole_since: float = -inf
    waits: list[Waits] = []
    remembered_since: float = -inf


class Teller:
    """Writes one answer down: add what it has, and take `written`. `clock` is the `machine_clock` here.

    `total`, `whole_since` and `remembered_since` are those of the `Found` that it tells. It has room for so
    many `names` of backends that were passed over.
    """

    def __init__(self, clock: float, names: int = MOST_PASSED_OVER) -> None:
        self.total = 0
        self.whole_since = self.remembered_since = -inf
        self._clock = clock
        self._told = Told()
        self._outs: dict[int, int] = {}
        self._shared: list[tuple[Reason, ...]] = []  # kept, so that no other tuple gets the identity of one
        self._names_left = names
        self._encoder = msgspec.msgpack.Encoder()

    def written(self) -> bytes:
        """The answer with all that was added."""
        self._told.total = self.total
        self._told.whole_since = self.whole_since + self._clock
        self._told.remembered_since = self.remembered_since + self._clock
        return self._encoder.encode(self._told)

    def records(self, exchanges: Iterable[ExchangeRecord]) -> Iterator[None]:
        """Add these, one with each step."""
        for exchange in exchanges:
            self.record(exchange)
            yield

    def kinds(self, kinds: Iterable[tuple[ExchangeRecord, int, float | None]]) -> Iterator[None]:
        """Add kinds, one with each step: the newest of each, how many there were, when the first ended."""
        for newest, count, first_ended in kinds:
            self.record(newest)
            self._told.kinds.append((count, self._there(first_ended)))
            yield

    def waits(self, waits: Iterable[Waits]) -> None:
        """Add these, which are a few numbers of each backend."""
        self._told.waits += waits

    def all_running(self, exchanges: Iterable[RunningExchange]) -> Iterator[None]:
        """Add these, which run, one with each step."""
        for exchange in exchanges:
            self.running(exchange)
            yield

    def either(self, exchange: ExchangeRecord | RunningExchange) -> None:
        """Add one that has ended or runs."""
        if isinstance(exchange, RunningExchange):
            self.running(exchange)
        else:
            self.record(exchange)

    def record(self, exchange: ExchangeRecord, usual: float | None = None) -> None:
        """Add one record; `usual` is the median of its pool, where the record does not know it."""
        told = ToldRecord(
            id=exchange.id,
            listener=exchange.listener,
            client=exchange.client,
            peer=exchange.peer,
            started=exchange.started + self._clock,
            ended=self._there(exchange.ended),
            method=exchange.method[:LONGEST_KEPT],
            target=exchange.target[:LONGEST_KEPT],
            pool=exchange.pool,
            attempts=[self._attempt(each) for each in exchange.attempts],
            leader=_place(exchange.leader, exchange.attempts),
            announced=_announced(exchange.announced),
            passed_over=self._passed_over(exchange.passed_over),
            queued=exchange.queued,
            gathered=exchange.gathered,
            held=exchange.held,
            status=exchange.status,
            reason=exchange.reason,
            detail=_bytes(exchange.detail[:LONGEST_KEPT]),
            request_bytes=exchange.request_bytes,
            response_bytes=exchange.response_bytes,
            secured=None if exchange.secured is None else ToldSecured(*exchange.secured[:5]),
            client_took=exchange.client_took,
            is_stream=exchange.is_stream,
            usual=exchange.usual if usual is None else usual,
        )
        self._told.records.append(msgspec.Raw(self._encoder.encode(told)))
        self._told.ended.append(told.started if told.ended is None else told.ended)

    def running(self, exchange: RunningExchange) -> None:
        """Add one that runs."""
        told = replace(
            exchange,
            method=exchange.method[:LONGEST_KEPT],
            target=exchange.target[:LONGEST_KEPT],
            since=exchange.since + self._clock,
            phase_since=exchange.phase_since + self._clock,
        )
        self._told.running.append(told)

    def _there(self, moment: float | None) -> float | None:
        return None if moment is None else moment + self._clock

    def _attempt(self, attempt: AttemptRecord) -> ToldAttempt:
        return ToldAttempt(
            backend=attempt.backend.id,
            passed_over=self._passed_over(attempt.passed_over),
            reused=attempt.reused,
            is_beaten=attempt.is_beaten,
            started=attempt.started + self._clock,
            connected=self._there(attempt.connected),
            sent=self._there(attempt.sent),
            first_byte=self._there(attempt.first_byte),
            ended=self._there(attempt.ended),
            reason=attempt.reason,
        )

    def _passed_over(self, names: PassedOver) -> ToldPassedOver | None:
        if not (names.out or names.others or names.unnamed or names.tried or names.kept):
            return None
        place = self._outs.get(id(names.out))
        if place is None:
            place = self._share(names.out)
        return ToldPassedOver(
            out=place,
            others=[(backend, _bytes(why)) for backend, why in names.others],
            unnamed=names.unnamed + len(names.out) - len(self._told.out[place]),
            tried=[*names.tried],
            kept=names.kept,
        )

    def _share(self, out: tuple[Reason, ...]) -> int:
        """The place of this tuple among those that are told, where it is now."""
        most = max(self._names_left, NAMED)
        self._told.out.append([(backend, _bytes(why)) for backend, why in out[:most]])
        self._names_left -= min(len(out), most)
        self._shared.append(out)
        place = self._outs[id(out)] = len(self._shared) - 1
        return place


class Heard:
    """An answer as it is read here; `clock` is the `machine_clock` of this process."""

    def __init__(self, answer: bytes, registry: Registry, clock: float) -> None:
        self.told = msgspec.msgpack.decode(answer, type=Told)
        self.whole_since = self.told.whole_since - clock
        self.remembered_since = self.told.remembered_since - clock
        self._registry = registry
        self._clock = clock
        self._gone: dict[str, Backend] = {}
        self._out = [_reasons(some) for some in self.told.out]
        self._decoder = msgspec.msgpack.Decoder(ToldRecord)

    def kinds(self) -> Iterator[Kind]:
        """The kinds, one with each step."""
        for raw, (count, first_ended) in zip(self.told.records, self.told.kinds, strict=True):
            kind = Kind(self.record(raw))
            kind.count, kind.first_ended = count, self._here(first_ended)
            yield kind

    def running(self) -> Iterator[RunningExchange]:
        """Those that run."""
        for told in self.told.running:
            yield replace(told, since=told.since - self._clock, phase_since=told.phase_since - self._clock)

    def record(self, raw: msgspec.Raw) -> ExchangeRecord:
        """One of the records of this answer."""
        told = self._decoder.decode(raw)
        exchange = ExchangeRecord(told.id, told.listener, told.peer, told.started - self._clock)
        exchange.client = told.client
        exchange.ended = self._here(told.ended)
        exchange.method, exchange.target, exchange.pool = told.method, told.target, told.pool
        exchange.attempts = [self._attempt(each, told.pool) for each in told.attempts]
        exchange.leader = None if told.leader is None else exchange.attempts[told.leader]
        if told.announced is not None:
            by, destination, tlvs = told.announced
            exchange.announced = Announced(by, destination, tuple(tlvs))
        exchange.passed_over = self._passed_over(told.passed_over)
        exchange.queued, exchange.gathered, exchange.held = told.queued, told.gathered, told.held
        exchange.status, exchange.reason, exchange.detail = told.status, told.reason, _text(told.detail)
        exchange.request_bytes, exchange.response_bytes = told.request_bytes, told.response_bytes
        exchange.secured = _secured(told.secured)
        exchange.client_took, exchange.is_stream, exchange.usual = (
            told.client_took,
            told.is_stream,
            told.usual,
        )
        return exchange

    def _here(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._clock

    def _attempt(self, told: ToldAttempt, pool: str) -> AttemptRecord:
        started = told.started - self._clock
        backend = self._backend(told.backend, pool, started)
        attempt = AttemptRecord(backend, self._passed_over(told.passed_over), started)
        attempt.reused, attempt.is_beaten, attempt.reason = told.reused, told.is_beaten, told.reason
        attempt.connected, attempt.sent = self._here(told.connected), self._here(told.sent)
        attempt.first_byte, attempt.ended = self._here(told.first_byte), self._here(told.ended)
        return attempt

    def _backend(self, backend_id: str, pool: str, started: float) -> Backend:
        there = self._registry.backends.get(backend_id)
        if there is not None and there.since <= started:
            return there
        gone = self._gone.get(backend_id)
        if gone is None:
            gone = self._gone[backend_id] = Backend(
                BackendSpec(id=backend_id, url=NOWHERE), pool, "", started
            )
            gone.removed = True
        return gone

    def _passed_over(self, told: ToldPassedOver | None) -> PassedOver:
        if told is None:
            return NONE_PASSED_OVER
        others = _reasons(told.others)
        return PassedOver(self._out[told.out], others, told.unnamed, tuple(told.tried), told.kept)


def _place(leader: AttemptRecord | None, attempts: list[AttemptRecord]) -> int | None:
    return next((place for place, each in enumerate(attempts) if each is leader), None)


def _secured(told: ToldSecured | None) -> Secured | None:
    if told is None:
        return None
    version, cipher = told.version, told.cipher
    return Secured(told.server_name, version, cipher, told.is_resumed, told.certificate, None, False)


def _announced(header: Announced | None) -> tuple[str, tuple[str, int], list[tuple[int, bytes]]] | None:
    return None if header is None else (header.by, header.destination, [*header.tlvs])


def _bytes(text: str) -> bytes:
    """A text that a backend or a policy may have worded: with lone surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _reasons(told: Iterable[Why]) -> tuple[Reason, ...]:
    return tuple((backend, _text(why)) for backend, why in told)
