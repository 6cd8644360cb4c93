"""The program's log: what happens to the balancer itself, as opposed to single requests.

Lines of structlog and of the standard library's logging (hypercorn, quart) go to stderr. A line that cannot
be written at once is lost, because a pipe that is no longer read must not stop the traffic.
"""

import logging
import select
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

PIECE = select.PIPE_BUF // 10
"""In characters. One may become ten bytes (`\\U0010ffff`) where the stream is ASCII."""


class LossyHandler(logging.StreamHandler[TextIO]):
    """Writes as much of a line as the stream takes without blocking, and drops the rest.

    Lines are written in pieces of at most PIPE_BUF bytes (4 KiB). A pipe that select calls writable takes
    that many, so no write blocks.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._has_room():
            return
        try:
            start = self.terminator if self._is_torn else ""
            self._write(f"{start}{self.format(record)}{self.terminator}")
        except Exception:
            self.handleError(record)

    def _write(self, text: str) -> None:
        for at in range(0, len(text), PIECE):
            if not self._has_room():
                self._is_torn = True
                return
            self.stream.write(text[at : at + PIECE])
            self.flush()
        self._is_torn = False

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
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
