"""The access log: one line for each exchange, written without holding up the traffic.

The hot path only appends a reference to a bounded queue. One task renders the queued records in batches, and
a thread writes them, because writing to a pipe that is not read blocks. While the thread is blocked the
queue fills; further records are dropped and counted, and the count is logged when writing works again.
"""

import os
import select
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from lb.observe.log_file import KEY, LogFile
from lb.observe.log_lines import (
    COMBINED_FIELDS,
    LINES,
    LONGEST_TEXT,
    Format,
    LoggedTls,
    coloured_line,
    json_line,
    milliseconds,
    record,
    rfc3339,
    safe,
    text_line,
)
from lb.settings.balancer_settings import AccessLogSettings

if TYPE_CHECKING:
    from lb.core.exchange_record import ExchangeRecord

__all__ = [
    "LONGEST_TEXT",
    "AccessLog",
    "Format",
    "LoggedTls",
    "format_of",
    "json_line",
    "milliseconds",
    "record",
    "rfc3339",
]
__all__ += ["safe", "text_line"]

QUEUE_RECORDS = 8192
BATCH_RECORDS = 128  # written by one call of the thread
RENDERED_AT_ONCE = 16
RENDERED_SHARE = 32
"""The traffic waits while lines are rendered, so there are few of them at once. But there is at least one in
so many of those that wait: as the queue fills, each turn of the event loop renders more."""
LINGER_SECONDS = 0.1
FLUSH_SECONDS = 1.0
REOPEN_SECONDS = 10.0
"""The pause before a file that could not be opened again is tried once more."""

log = structlog.get_logger()


def format_of(setting: str, is_terminal: bool) -> Format | None:
    """The format that the setting `access_log.format` means here; None for no access log."""
    match setting:
        case "off":
            return None
        case "short" | "text" | "json" | "combined":
            return setting
        case _:
            return "short" if is_terminal else "json"


class Observed(Protocol):
    """Who tells of exchanges (`lb.proxy.context`): to all `observers`, with `noted_fields` in each record."""

    observers: tuple[Callable[["ExchangeRecord"], None], ...]
    noted_fields: tuple[bytes, ...] | None


class AccessLog:
    """Writes a line for each exchange to a file descriptor, stdout by default, which it never closes; or to
    a file.

    `wall` turns a time of the exchanges' clock into seconds since 1970. `dropped` counts the records since
    the start that were not written. `noted` are the names, in lower case, of the fields that records need to
    have; None where the format has none.
    """

    def __init__(
        self,
        line_format: Format | None,
        *,
        wall: Callable[[float], float],
        fd: int | None = None,
        fields: Sequence[str] = (),
        file: LogFile | None = None,
        is_shared: bool = False,
    ) -> None:
        self.dropped = 0
        self._wall = wall
        self._fd = sys.stdout.fileno() if fd is None else fd
        self._file = file
        self._write = write_lines if is_shared else write
        self._prepared: LogFile | None = None
        self._given_up: list[LogFile] = []
        self._reopen_at: float | None = None
        self._cannot_reopen = False
        self._context: Observed | None = None
        self._use(line_format, fields)
        self._waiting: deque[ExchangeRecord] = deque()
        self._woken = trio.Event()
        self._ending = trio.Event()
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._is_writing = False
        self._is_failing = False
        self._has_bug = False
        self._lost = 0

    @classmethod
    def of(
        cls, settings: AccessLogSettings, *, wall: Callable[[float], float], is_shared: bool = False
    ) -> "AccessLog":
        """The access log of these settings. It blocks; ConfigError where its file cannot be opened.

        `is_shared`: other processes write lines to the same place.
        """
        made = cls(None, wall=wall, is_shared=is_shared)
        made.prepare(settings)
        made.adopt(settings)
        return made

    @property
    def is_on(self) -> bool:
        return self._render is not None

    def prepare(self, settings: AccessLogSettings) -> None:
        """Open the file of these settings, if it is another one. It blocks, and changes nothing yet.

        To be called from a thread, before `adopt`. ConfigError where the file cannot be opened.
        """
        self._forget_prepared()
        if settings.file is not None and (self._file is None or settings.file != self._file.path):
            self._prepared = LogFile(settings.file)

    def adopt(self, settings: AccessLogSettings) -> None:
        """Use these settings, which `prepare` was called with, for what is written from now on."""
        if self._file is not None and settings.file != self._file.path:
            self._given_up.append(self._file)  # a thread may be writing to it
            self._file = None
        if self._prepared is not None:
            self._file, self._prepared = self._prepared, None
        is_terminal = self._file is None and os.isatty(self._fd)
        self._use(format_of(settings.format, is_terminal), settings.fields, is_terminal=is_terminal)

    def _use(self, line_format: Format | None, fields: Sequence[str], *, is_terminal: bool = False) -> None:
        self._render = None if line_format is None else partial(LINES[line_format], fields=fields)
        if line_format == "short" and is_terminal and not os.environ.get("NO_COLOR"):
            self._render = partial(coloured_line, fields=fields)
        names = (*fields, *COMBINED_FIELDS) if line_format == "combined" else tuple(fields)
        wanted = tuple(dict.fromkeys(name.lower().encode() for name in names))
        self.noted = wanted if self.is_on and wanted else None
        if self._context is not None:
            self._observe(self._context)

    def attach(self, context: Observed) -> None:
        """Be told of exchanges by this context while the log is on, with the fields that its format has."""
        self._context = context
        self._observe(context)

    def _observe(self, context: Observed) -> None:
        others = tuple(each for each in context.observers if each != self.finished)
        context.observers = (*others, self.finished) if self.is_on else others
        context.noted_fields = self.noted

    def _forget_prepared(self) -> None:
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def reopen(self) -> bool:
        """Open the file again, which was perhaps moved away; False where there is none.

        It is done before the next lines are written.
        """
        if self._file is None:
            return False
        self._reopen_at = trio.current_time()
        self._woken.set()
        return True

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
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_all, shielded)
                try:
                    await trio.sleep_forever()
                finally:
                    shielded.deadline = trio.current_time() + FLUSH_SECONDS
                    self._ending.set()
                    self._woken.set()
        finally:
            self._close_files()

    def _close_files(self) -> None:
        """All of them, unless a thread that was abandoned may still be writing."""
        self._forget_prepared()
        for file in (*self._given_up, self._file):
            if file is not None and not self._is_writing:
                file.close()

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
            await self._see_to_files()
            while self._waiting:
                await self._write_batch()
            if self._ending.is_set():
                return

    async def _see_to_files(self) -> None:
        """Between two batches: close files that are not written to any more, and open a moved one again."""
        while self._given_up:
            self._given_up.pop().close()
        if self._file is None or self._reopen_at is None or trio.current_time() < self._reopen_at:
            return
        path, self._reopen_at = self._file.path, None
        try:
            await trio.to_thread.run_sync(self._file.reopen, limiter=self._one_at_a_time)
        except OSError as exc:
            if not self._cannot_reopen:
                log.error(f"{KEY} not opened again; lines go where they went", path=path, why=exc.strerror)
            self._cannot_reopen, self._reopen_at = True, trio.current_time() + REOPEN_SECONDS
        else:
            log.info(f"{KEY} opened again", path=path)
            self._cannot_reopen = False

    async def _write_batch(self) -> None:
        batch = list(islice(self._waiting, BATCH_RECORDS))
        lines = await self._rendered(batch)
        try:
            fd = self._fd if self._file is None else self._file.fd
            self._is_writing = True
            await trio.to_thread.run_sync(
                self._write, fd, lines, abandon_on_cancel=True, limiter=self._one_at_a_time
            )
            self._is_writing = False
        except OSError as exc:
            self._is_writing = False
            self._failed(len(batch), exc)
        else:
            self._worked()
        for _ in batch:  # pop after writing: a cancelled write must still count these as lost
            self._waiting.popleft()

    async def _rendered(self, batch: Sequence["ExchangeRecord"]) -> bytes:
        """The lines of these exchanges. The traffic goes on between two parts of the batch."""
        at_once = max(RENDERED_AT_ONCE, len(self._waiting) // RENDERED_SHARE)
        parts = []
        for start in range(0, len(batch), at_once):
            parts += [self._line(exchange) for exchange in batch[start : start + at_once]]
            await trio.lowlevel.checkpoint()
        return b"".join(parts)

    def _line(self, exchange: "ExchangeRecord") -> bytes:
        """The line of one exchange; where a bug keeps it from being written, only that line is lost."""
        try:
            return b"" if self._render is None else self._render(exchange, self._wall)
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


def write_lines(fd: int, data: bytes) -> None:
    """`write`, but that no line is torn by what other processes write to the same pipe.

    A pipe takes PIPE_BUF bytes whole: pipe(7). Only a line that is longer may be torn.
    """
    at = 0
    while at < len(data):
        end = at + select.PIPE_BUF
        if end < len(data):
            end = (data.rfind(b"\n", at, end) + 1) or (data.find(b"\n", end) + 1) or len(data)
        write(fd, data[at:end])
        at = end
