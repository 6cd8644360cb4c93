"""The access log: one line for each exchange, written without holding up the traffic.

The hot path only appends a reference to a bounded queue. One task renders the queued records in batches, and
a thread writes them, because writing to a pipe that is not read blocks. While the thread is blocked the
queue fills; further records are dropped and counted, and the count is logged when writing works again.
`safe` makes sure that nothing a client sends can break a line.
"""

import os
import select
import sys
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog
import trio

if TYPE_CHECKING:
    from lb.core.exchange_record import AttemptRecord, ExchangeRecord

QUEUE_RECORDS = 8192
BATCH_RECORDS = 128  # rendered without an await; more would hold up the traffic
LINGER_SECONDS = 0.1
FLUSH_SECONDS = 1.0
LONGEST_TEXT = 512

Format = Literal["text", "json"]
log = structlog.get_logger()


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

    `time` is when it ended. `queue_ms` is the wait for a backend. The other phases are those of the deciding
    attempt, None where it did not get so far: `connect_ms` until connected, `first_byte_ms` from there to the
    first byte of the response. `total_ms` is the whole exchange.
    """

    time: str
    id: str
    client: str
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


def format_of(setting: str, is_terminal: bool) -> Format | None:
    """The format that the setting `access_log` means here; None for no access log."""
    match setting:
        case "off":
            return None
        case "text" | "json":
            return setting
        case _:
            return "text" if is_terminal else "json"


class AccessLog:
    """Writes a line for each exchange to a file descriptor, stdout by default. It never closes it.

    `wall` turns a time of the exchanges' clock into seconds since 1970. `dropped` counts the records since
    the start that were not written.
    """

    def __init__(self, line_format: Format, *, wall: Callable[[float], float], fd: int | None = None) -> None:
        self.dropped = 0
        self._render = {"text": text_line, "json": json_line}[line_format]
        self._wall = wall
        self._fd = sys.stdout.fileno() if fd is None else fd
        self._waiting: deque[ExchangeRecord] = deque()
        self._woken = trio.Event()
        self._ending = trio.Event()
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._is_failing = False
        self._has_bug = False
        self._lost = 0

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Queue an exchange that has ended. Its record must not change any more."""
        if len(self._waiting) >= QUEUE_RECORDS:
            self.dropped += 1
            self._lost += 1
            return
        self._waiting.append(exchange)
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled; then write what is queued, for FLUSH_SECONDS at most."""
        # The shield keeps a cancellation from cutting a line in two. Its deadline is set below.
        shielded = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all, shielded)
            try:
                await trio.sleep_forever()
            finally:
                shielded.deadline = trio.current_time() + FLUSH_SECONDS
                self._ending.set()
                self._woken.set()

    async def _write_all(self, shielded: trio.CancelScope) -> None:
        with shielded:
            await self._write_until_ending()
        self.dropped += len(self._waiting)

    async def _write_until_ending(self) -> None:
        while True:
            await self._woken.wait()
            with trio.move_on_after(LINGER_SECONDS):
                await self._ending.wait()
            self._woken = trio.Event()
            while self._waiting:
                await self._write_batch()
            if self._ending.is_set():
                return

    async def _write_batch(self) -> None:
        batch = list(islice(self._waiting, BATCH_RECORDS))
        lines = b"".join([self._line(exchange) for exchange in batch])
        try:
            await trio.to_thread.run_sync(
                write, self._fd, lines, abandon_on_cancel=True, limiter=self._one_at_a_time
            )
        except OSError as exc:
            self._failed(len(batch), exc)
        else:
            self._worked()
        for _ in batch:  # pop after writing: a cancelled write must still count these as lost
            self._waiting.popleft()

    def _line(self, exchange: "ExchangeRecord") -> bytes:
        """The line of one exchange; where a bug keeps it from being written, only that line is lost."""
        try:
            return self._render(exchange, self._wall)
        except Exception:
            self.dropped += 1
            if not self._has_bug:
                log.exception("a bug in the access log; the line of this exchange is dropped")
            self._has_bug = True
            return b""

    def _failed(self, count: int, why: OSError) -> None:
        if not self._is_failing:
            log.warning("the access log cannot be written; its records are dropped", error=str(why))
        self._is_failing = True
        self.dropped += count
        self._lost += count

    def _worked(self) -> None:
        if self._lost:
            log.warning("access log records were dropped", count=self._lost)
        self._is_failing, self._lost = False, 0


def write(fd: int, data: bytes) -> None:
    """Write all the data. It blocks, without a limit; OSError where the reader has closed its end."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # another process that shares the descriptor made it non-blocking
            select.select([], [fd], [])


def record(exchange: "ExchangeRecord", wall: Callable[[float], float]) -> Record:
    """The record of an exchange; every text in it is `safe`."""
    last = exchange.deciding
    ended = exchange.started if exchange.ended is None else exchange.ended
    return Record(
        time=rfc3339(wall(ended)),
        id=safe(exchange.id),
        client=exchange.client,
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
    )


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


def json_line(exchange: "ExchangeRecord", wall: Callable[[float], float]) -> bytes:
    return msgspec.json.encode(record(exchange, wall)) + b"\n"


def text_line(exchange: "ExchangeRecord", wall: Callable[[float], float]) -> bytes:
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
    return " ".join(words).encode() + b"\n"


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
