"""What was decided about each exchange, as lines of debug level: who was chosen and passed over, what next.

It is told of exchanges only while the level is debug (`lb.traffic`). More than a few in a second are counted
and not written: the lines are made between two requests.
"""

from typing import TYPE_CHECKING

import structlog
import trio

from lb.observe.log_lines import milliseconds, safe

if TYPE_CHECKING:
    from lb.core.exchange_record import AttemptRecord, ExchangeRecord

MOST_A_SECOND = 50

log = structlog.get_logger()


class DecisionLog:
    """The lines about the exchanges of one process."""

    def __init__(self) -> None:
        self._second = 0
        self._told = 0
        self._untold = 0

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Write its decisions: a line for each attempt, and one for how it ended."""
        if not self._has_room():
            self._untold += 1
            return
        exchange_id = safe(exchange.id)
        for number, attempt in enumerate(exchange.attempts, 1):
            _tell_of(attempt, exchange_id, number, is_last=number == len(exchange.attempts))
        ended = exchange.started if exchange.ended is None else exchange.ended
        log.debug(
            "exchange",
            id=exchange_id,
            method=safe(exchange.method),
            target=safe(exchange.target),
            pool=exchange.pool or None,
            queue_ms=milliseconds(exchange.queued),
            passed_over=dict(exchange.passed_over.few()),
            status=exchange.status,
            error=exchange.reason,
            detail=safe(exchange.detail.encode("utf-8", "surrogateescape")),
            total_ms=milliseconds(ended - exchange.started),
        )

    def _has_room(self) -> bool:
        second = int(trio.current_time())
        if second != self._second:
            if self._untold:
                log.debug("exchanges are not told", more=self._untold)
            self._second, self._told, self._untold = second, 0, 0
        self._told += 1
        return self._told <= MOST_A_SECOND


def _tell_of(attempt: "AttemptRecord", exchange_id: str, number: int, *, is_last: bool) -> None:
    log.debug(
        "attempt",
        id=exchange_id,
        number=number,
        backend=attempt.backend.id,
        connection="idle" if attempt.reused else "new",
        passed_over=dict(attempt.passed_over.few()),
        error=attempt.reason,
        then="the answer"
        if attempt.reason is None and is_last
        else "no other attempt"
        if is_last
        else "another one",
    )
