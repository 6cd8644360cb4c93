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
    from lb.core.secured import Secured

LONGEST_TEXT = LONGEST_NOTED - 1
LONGEST_KEPT = LONGEST_TEXT + 1
"""One byte more than `safe` shows, so that it still sees that the text was longer."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COLOURS = {4: "33", 5: "31"}
"""Of statuses by their first digit: yellow and red (ECMA-48, section 8.3.117)."""
LONGEST_SHORT = 40
"""Of a target, so much stands in a short line."""
COMBINED_FIELDS = ("Referer", "User-Agent")
"""The fields that stand in every line of the format `combined`."""


class Line(Protocol):
    """Writes the line of an exchange, with these fields of its request."""

    def __call__(self, exchange: "ExchangeRecord", wall: "Wall", fields: Sequence[str] = ()) -> bytes: ...


Format = Literal["short", "text", "json", "combined"]
Wall = Callable[[float], float]


class LoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt on one backend."""

    backend: str
    """The backend's id."""
    reused: bool
    """Whether a connection was waiting for it."""
    reason: str | None
    """Why it failed, null where it did not."""
    connect_ms: float | None
    """As below."""
    first_byte_ms: float | None
    """As below."""
    passed_over: dict[str, str]
    """The first backends that were no candidates, with the reason."""
    passed_over_count: int
    """How many were none."""


class LoggedTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS of a client's connection: what its handshake has agreed on."""

    version: str
    """Such as TLSv1.3."""
    cipher: str
    """Its name."""
    resumed: bool
    """Whether a session was taken up again."""
    server_name: str
    """The name that the client asked for, "" where it named none."""
    client_subject: str | None
    """The subject of its certificate, null where it showed none."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange as it is logged. The phases are those of the deciding attempt."""

    time: str
    """When the exchange ended, in UTC."""
    id: str
    """Its X-Request-Id."""
    client: str
    """The peer, or whom a trusted proxy speaks for, with the port where it is known."""
    peer: str
    """The other end of the connection."""
    listener: str
    """The address that it came to."""
    method: str
    """GET and so on."""
    target: str
    """What was asked for, as it came."""
    status: int
    """What the client got; 499: it left before, 0: it was cut before."""
    request_bytes: int
    """Of the request's body."""
    response_bytes: int
    """Of the response's body that were sent to the client."""
    pool: str | None
    """The pool that it was routed to, null where it was refused before."""
    backend: str | None
    """The backend of the deciding attempt."""
    attempts: int
    """How many backends were tried."""
    queue_ms: float
    """The wait for a backend."""
    connect_ms: float | None
    """Until connected, null where it did not get so far."""
    first_byte_ms: float | None
    """From there to the first byte of the response."""
    total_ms: float
    """The whole exchange."""
    reason: str | None
    """The token of an error of ours: lb docs errors. A 5xx without one is the backend's own answer."""
    detail: str
    """The same in words."""
    each_attempt: list[LoggedAttempt]
    """One object for each."""
    tls: LoggedTls | msgspec.UnsetType = msgspec.UNSET
    """Only of those over TLS."""
    fields: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    """The fields of the request that access_log.fields names, null where it lacks one."""


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
        tls=msgspec.UNSET if exchange.secured is None else _tls(exchange.secured),
        fields={name: _field(exchange, name) for name in fields} if fields else msgspec.UNSET,
    )


def _tls(secured: "Secured") -> LoggedTls:
    return LoggedTls(
        version=secured.version,
        cipher=secured.cipher,
        resumed=secured.is_resumed,
        server_name=secured.server_name,
        client_subject=None if secured.certificate is None else _subject(secured.certificate),
    )


def _subject(certificate: bytes) -> str:
    from lb.tls.client_subject import subject_of  # where a certificate has come, what reads it is installed

    return safe(subject_of(certificate).encode())


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
    if r.tls is not msgspec.UNSET:
        words += _tls_words(r.tls)
    words += [f"{name}={_quoted(_field(exchange, name))}" for name in fields]
    return " ".join(words).encode() + b"\n"


def _tls_words(tls: LoggedTls) -> list[str]:
    words = [tls.version + (" resumed" if tls.resumed else ""), f"for {tls.server_name or 'no name'}"]
    return [*words, f"by {_quoted(tls.client_subject)}"] if tls.client_subject else words


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


def short_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> bytes:
    """One line that fits a terminal: when, how it ended, what was asked, where it went, how long it took.

    The id stands there where the exchange has failed, for `lb why`.
    """
    return _short_line(exchange, wall, fields, "")


def coloured_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str] = ()) -> bytes:
    """The same with a colour for statuses that tell of a failure."""
    return _short_line(exchange, wall, fields, COLOURS.get(exchange.status // 100, ""))


def _short_line(exchange: "ExchangeRecord", wall: Wall, fields: Sequence[str], colour: str) -> bytes:
    ended = exchange.started if exchange.ended is None else exchange.ended
    last = exchange.deciding
    status = f"\x1b[{colour}m{exchange.status}\x1b[0m" if colour else str(exchange.status)
    words = [
        clock_time(wall(ended)),
        status.rjust(3),
        safe(exchange.method) or "-",
        _cut(safe(exchange.target)) or "-",
        last.backend.id if last else "-",
        f"{milliseconds(ended - exchange.started):.1f} ms",
    ]
    if len(exchange.attempts) > 1:
        others = [f"{each.backend.id} {_end_of(each)}" for each in exchange.attempts if each is not last]
        words.append(f"({len(exchange.attempts)} attempts: {', '.join(others)})")
    if exchange.reason is not None:
        words += [exchange.reason, safe(exchange.id)]
    words += [f"{name}={_quoted(_field(exchange, name))}" for name in fields]
    return " ".join(words).encode() + b"\n"


def _end_of(attempt: "AttemptRecord") -> str:
    """How an attempt ended that another one has replaced."""
    if attempt.reason is not None:
        return attempt.reason
    return "was slower" if attempt.is_beaten else "had another try"


def _cut(target: str) -> str:
    return target if len(target) <= LONGEST_SHORT else f"{target[: LONGEST_SHORT - 3]}..."


def clock_time(seconds: float) -> str:
    """Seconds since 1970 as the time of day in UTC, to the millisecond."""
    return rfc3339(seconds).partition("T")[2]


LINES: dict[Format, Line] = {
    "short": short_line,
    "text": text_line,
    "json": json_line,
    "combined": combined_line,
}


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
