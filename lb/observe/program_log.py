"""The program's log: what happens to the balancer itself, as opposed to single requests.

Lines of structlog and of the standard library's logging (hypercorn, quart) go to stderr. A line that cannot
be written at once is lost, because a pipe that is no longer read must not stop the traffic. Lost lines are
counted, and the next line that can be written is one that says how many they were.
"""

import logging
import select
import sys
import time
from collections import Counter
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from lb.observe.log_lines import clock_time

PIECE = select.PIPE_BUF // 10
"""In characters. One may become ten bytes (`\\U0010ffff`) where the stream is ASCII."""

AUDIT = "audit"
"""The name of the logger of the audit trail."""

dropped: Counter[str] = Counter({AUDIT: 0, "program": 0, "audit_file": 0})
"""Lines that this process could not write, by where they belong."""


class LossyHandler(logging.StreamHandler[TextIO]):
    """Writes as much of a line as the stream takes without blocking, and drops the rest.

    Lines are written in pieces of at most PIPE_BUF bytes (4 KiB). A pipe that select calls writable takes
    that many, so no write blocks.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._is_torn = False
        self._lost: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._has_room() and self._lost:
                self._tell_of_lost()
            if not self._write(record):
                self._lose(record)
        except Exception:
            self.handleError(record)

    def _tell_of_lost(self) -> None:
        """A line about those that were lost; they are told again where it cannot be written whole."""
        said = {"count": self._lost.total(), "audit": self._lost[AUDIT]}
        level = {"levelno": logging.WARNING, "levelname": "WARNING", "name": __name__}
        if self._write(
            logging.makeLogRecord({**level, "msg": "log lines were lost: nobody read them", **said})
        ):
            self._lost.clear()

    def _lose(self, record: logging.LogRecord) -> None:
        name = AUDIT if record.name == AUDIT else "program"
        self._lost[name] += 1
        dropped[name] += 1

    def _write(self, record: logging.LogRecord) -> bool:
        """Write a line; False where not all of it could be written."""
        if not self._has_room():
            return False
        start = self.terminator if self._is_torn else ""
        text = f"{start}{self.format(record)}{self.terminator}"
        for at in range(0, len(text), PIECE):
            if not self._has_room():
                self._is_torn = True
                return False
            self.stream.write(text[at : at + PIECE])
            self.flush()
        self._is_torn = False
        return True

    def _has_room(self) -> bool:
        try:
            return bool(select.select([], [self.stream], [], 0)[1])
        except (OSError, ValueError):  # closed, or not a file at all, such as a test's StringIO
            return not self.stream.closed

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore a stream that cannot be written. Any other exception is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure(json: bool) -> None:
    """Send the program's log to stderr: one JSON object a line, or coloured lines for a terminal.

    It replaces every handler of the root logger.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True) if json else _clock_time,
    ]
    handler = LossyHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json)],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _clock_time(_logger: object, _name: str, event: EventDict) -> EventDict:
    """As the access log has it on a terminal."""
    event["timestamp"] = clock_time(time.time())
    return event


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
