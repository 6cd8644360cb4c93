"""From which level on the program's log has lines: as configured, or as an operator has said, for some time.

Nothing of debug level is prepared while the level is another: what would write it is not told of anything.
"""

import logging
from collections.abc import Callable
from math import inf

import structlog
import trio

from lb.observe.program_log import AUDIT
from lb.settings.balancer_settings import LogLevel

OURS = ("lb", "admin")
"""The loggers of this program; those of libraries have no debug lines that explain a request."""

log = structlog.get_logger()


def use(level: LogLevel) -> None:
    """Write lines of this process from this level on. The audit's are not among them."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(number, logging.INFO))
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    for name in OURS:
        logging.getLogger(name).setLevel(number)


class LogLevels:
    """The level of one balancer. `run` ends what was said for some time."""

    def __init__(self, configured: LogLevel, now: Callable[[], float]) -> None:
        self._configured = configured
        self._now = now
        self._chosen: LogLevel | None = None
        self._until = inf
        self._has_changed = trio.Event()
        self._tell: list[Callable[[LogLevel, str], None]] = []

    @property
    def level(self) -> LogLevel:
        """That of now."""
        return self._chosen or self._configured

    @property
    def configured(self) -> LogLevel:
        return self._configured

    @property
    def seconds_left(self) -> float | None:
        """Until the configured one holds again; None where that is not to be."""
        return None if self._until == inf else max(0.0, self._until - self._now())

    def subscribe(self, tell: Callable[[LogLevel, str], None]) -> None:
        """Call `tell` with each new level and words about it. It must not raise."""
        self._tell.append(tell)

    def choose(self, level: LogLevel | None, seconds: float | None = None, why: str = "") -> None:
        """Use this level, perhaps for so many seconds; None is the configured one."""
        before = self.level
        self._chosen = level
        self._until = inf if level is None or seconds is None else self._now() + seconds
        self._has_changed.set()
        self._told(before, why or ("as configured" if level is None else _for(seconds)))

    def configure(self, level: LogLevel) -> None:
        """This is the configured one from now on."""
        before = self.level
        self._configured = level
        self._told(before, "as configured")

    def _told(self, before: LogLevel, why: str) -> None:
        if self.level != before:
            for tell in self._tell:
                tell(self.level, why)
            log.warning("log level", now=self.level, before=before, why=why)

    async def run(self) -> None:
        """Go back to the configured level in time, until cancelled."""
        while True:
            self._has_changed = trio.Event()
            with trio.move_on_at(self._until) as in_time:
                await self._has_changed.wait()
            if in_time.cancelled_caught:
                self.choose(None, why="its time is over")


def _for(seconds: float | None) -> str:
    return "until it is changed" if seconds is None else f"for {seconds:g} s"
