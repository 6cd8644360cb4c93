"""The lines of the access log: one for each exchange, as text, as JSON, or as Apache and nginx write them.

`safe` makes sure that nothing a client sends can break a line.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from lb.core.client_address import without_port
from lb.core.exchange_record import LONGEST_NOTED

if TYPE_CHECKING:
    from lb.core.exchange_record import AttemptRecord, ExchangeRecord

LONGEST_TEXT = LONGEST_NOTED - 1
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COMBINED_FIELDS = ("Referer", "User-Agent")
"""The fields that stand in every line of the format `combined`."""


class Line(Protocol):
    """Writes the line of an exchange, with these fields of its request."""

    def __call__(self, exchange: "ExchangeRecord", wall: "Wall", fields: Sequence[str] = ()) -> bytes: ...


Format = Literal["text", "json", "combined"]
Wall = Callable[[float], float]


class LoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt on one backend, with the phases of `Record`.

    `passed_over_count` backends were no candidates; `passed_over` has a few of them, with the reason.
    """

    backend: str
    reused: bool
    reason: str | None
    connect_ms: float | None
    first_byte_ms: float | None
    passed_over: dict[str, str]
    passed_over_count: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange as it is logged.

    `time` is when it ended. `client` is the peer, or who a trusted proxy says that it speaks for. `queue_ms`
    is the wait for a backend. The other phases are those of the deciding attempt, None where it did not get
    so far: `connect_ms` until connected, `first_byte_ms` from there to the first byte of the response.
    `total_ms` is the whole exchange.
    """

    time: str
    id: str
    client: str
    peer: str
    listener: str
    method: str
    target: str
    status: int
    request_bytes: int
    response_bytes: int
    pool: str | None
    backend: str | None
    attempts: int
    queue_ms: float
    connect_ms: float | None
    first_byte_ms: float | None
    total_ms: float
    reason: str | None
    detail: str
    each_attempt: list[LoggedAttempt]
    fields: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET


def record(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> Record:
    """The record of an exchange with these fields of its request; every text in it is `safe`."""
    last = exchange.deciding
    ended = exchange.started if exchange.ended is None else exchange.ended
    return Record(
        time=rfc3339(wall(ended)),
        id=safe(exchange.id),
        client=exchange.client,
        peer=exchange.peer,
        listener=exchange.listener,
        method=safe(exchange.method),
        target=safe(exchange.target),
        status=exchange.status,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        pool=exchange.pool or None,
        backend=last.backend.id if last else None,
        attempts=len(exchange.attempts),
        queue_ms=milliseconds(exchange.queued),
        connect_ms=_connect_ms(last) if last else None,
        first_byte_ms=_first_byte_ms(last) if last else None,
        total_ms=milliseconds(ended - exchange.started),
        reason=exchange.reason,
        detail=safe(exchange.detail.encode("utf-8", "surrogateescape")),
        each_attempt=[_attempt(attempt) for attempt in exchange.attempts],
        fields={name: _field(exchange, name) for name in fields} if fields else msgspec.UNSET,
    )


def _field(exchange: "ExchangeRecord", name: str) -> str | None:
    noted = exchange.noted
    value = None if noted is None else noted.fields.get(name.lower().encode())
    return None if value is None else safe(value)


def _attempt(attempt: "AttemptRecord") -> LoggedAttempt:
    return LoggedAttempt(
        backend=attempt.backend.id,
        reused=attempt.reused,
        reason=attempt.reason,
        connect_ms=_connect_ms(attempt),
        first_byte_ms=_first_byte_ms(attempt),
        passed_over=dict(attempt.passed_over.few()),
        passed_over_count=len(attempt.passed_over),
    )


def _connect_ms(attempt: "AttemptRecord") -> float | None:
    return None if attempt.connected is None else milliseconds(attempt.connected - attempt.started)


def _first_byte_ms(attempt: "AttemptRecord") -> float | None:
    if attempt.first_byte is None:
        return None
    return milliseconds(
        attempt.first_byte - (attempt.started if attempt.connected is None else attempt.connected)
    )


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def json_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> bytes:
    return msgspec.json.encode(record(exchange, wall, fields)) + b"\n"


def text_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> bytes:
    """One line: columns with the values that every exchange has, then the rest in words."""
    r = record(exchange, wall)
    phases = f"queue {r.queue_ms:.1f} connect {_short(r.connect_ms)} first byte {_short(r.first_byte_ms)}"
    columns = (
        f"{r.time} {r.client:<21} {r.status:>3} {r.method:<7} {r.total_ms:>9.1f} ms {r.response_bytes:>10} B"
        f"  {r.backend or '-':<16} {r.target}  ({phases}, in {r.request_bytes} B) id={r.id}"
    )
    words = [columns]
    if r.attempts > 1:
        words.append(f"attempts={r.attempts}")
    if r.reason is not None:
        words.append(f"{r.reason}: {r.detail}" if r.detail else r.reason)
    words += [f"{name}={_quoted(_field(exchange, name))}" for name in fields]
    return " ".join(words).encode() + b"\n"


def combined_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> bytes:
    """A line of the combined format; other fields than its own stand behind it, quoted, in their order.

    It has the time when the exchange ended, as nginx has, and "-" for the two users that HTTP does not name.
    """
    ended = datetime.fromtimestamp(wall(exchange.started if exchange.ended is None else exchange.ended), UTC)
    month = MONTHS[ended.month - 1]
    version = "HTTP/1.1" if exchange.noted is None else exchange.noted.version
    asked = f"{safe(exchange.method)} {safe(exchange.target)} {version}" if exchange.method else None
    own = {name.lower() for name in COMBINED_FIELDS}
    shown = (*COMBINED_FIELDS, *(name for name in fields if name.lower() not in own))
    parts = (
        f"{without_port(exchange.client)} - - [{ended:%d}/{month}/{ended:%Y:%H:%M:%S} +0000]",
        _quoted(asked),
        f"{exchange.status:03} {exchange.response_bytes}",
        *(_quoted(_field(exchange, name)) for name in shown),
    )
    return " ".join(parts).encode() + b"\n"


LINES: dict[Format, Line] = {"text": text_line, "json": json_line, "combined": combined_line}


def _quoted(text: str | None) -> str:
    r"""A text that is `safe`, between quotes; a quote in it becomes \x22, as nginx has it. "-" for None."""
    return '"-"' if text is None else '"{}"'.format(text.replace('"', "\\x22"))


def _short(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.1f}"


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def safe(raw: bytes) -> str:
    r"""Bytes from outside as at most 512 characters of visible ASCII; other bytes, and \, become \xNN.

    So a client cannot end a line, forge another one or move a terminal's cursor.
    """
    text = raw[: LONGEST_TEXT + 1].decode("latin-1")
    if not (text.isascii() and text.isprintable()) or "\\" in text:
        text = "".join(c if " " <= c <= "~" and c != "\\" else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."
