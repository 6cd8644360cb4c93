"""What follows from a failed attempt: whose fault it was, what the client is told, whether another is made.

Plain functions for `run`, `hedge` and the client connection. They judge the attempt that is
`record.deciding`. The rules themselves are in `lb.core.health.blame` and `lb.core.retry`.
"""

from lb.core.exchange_record import AttemptRecord
from lb.core.health.blame import PATIENCE_SECONDS, Circumstances, is_blamed
from lb.core.health.blame import told as told_error
from lb.core.retry import may_replace, may_retry
from lb.errors import AnswerRefused, BackendError, LBError
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.exchange import Exchange


def may_go_on(exchange: Exchange, error: BackendError) -> bool:
    """Count the failure of the attempt against its backend, and say whether another attempt is to be made.

    Once for each failure: True has spent from the retry budget.
    """
    record = exchange.record.deciding
    assert record is not None
    hold_against(exchange, record, error)
    if isinstance(error, AnswerRefused):  # attempts and budget were checked before it was raised
        return exchange.is_replayable
    return exchange.response is None and exchange.client.is_untouched and exchange.may_go_elsewhere(error)


def hold_against(exchange: Exchange, record: AttemptRecord, error: LBError) -> None:
    """End the record of a failed attempt. If its backend is to blame, the pool counts the failure."""
    exchange.end_record(record, error.reason)
    now = exchange.context.now()
    if is_blamed(error, _circumstances(exchange, record, now)):
        exchange.pool.failed(record.backend, str(error), now - record.started, now)


def told(exchange: Exchange, error: BackendError) -> LBError:
    """The error that the exchange ends with, where no other attempt is made. Before the attempt is let go."""
    record = exchange.record.deciding
    assert record is not None
    seen = _circumstances(exchange, record, exchange.context.now())
    return told_error(error, seen, is_answered=exchange.response is not None)


def has_gone_stale(exchange: Exchange, record: AttemptRecord) -> bool:
    """The connection had been idle, and ended so soon that it must have ended before the request came."""
    if not record.reused:
        return False
    return record.sent is None or exchange.context.now() - record.sent < PATIENCE_SECONDS


def may_replace_stale(exchange: Exchange, attempt: Attempt, error: BackendError) -> bool:
    """The attempt failed as its idle connection had gone stale, and it may go on over a new one."""
    if not has_gone_stale(exchange, attempt.record):
        return False
    if not may_retry(error, exchange.is_idempotent, exchange.is_replayable):
        return False
    record = exchange.record
    is_replaced = len(record.attempts) > len(exchange.tried)
    return may_replace(record.sends, is_replaced, exchange.pool.settings.retry.attempts)


def _circumstances(exchange: Exchange, record: AttemptRecord, now: float) -> Circumstances:
    timeouts = exchange.context.timeouts
    if record.connected is None:
        is_hurried = now - record.started < timeouts.connect
    else:
        is_hurried = now - (record.sent or record.connected) < timeouts.response_head
    return Circumstances(
        is_sent=record.sent is not None,
        is_stale=has_gone_stale(exchange, record),
        is_hurried=is_hurried,
        client_held=_held_by_client(exchange, record, now),
        client_owed=_owed_by_client(exchange, record, now),
    )


def _held_by_client(exchange: Exchange, record: AttemptRecord, now: float) -> float:
    """Seconds that bytes of the response have waited for the client, as far as that excuses the backend."""
    if exchange.waits is None:
        return 0.0
    began = record.first_byte or record.sent or record.started
    is_behind = None if exchange.holding is None else exchange.holding.is_held_up
    if is_behind is None:
        is_behind = exchange.client.is_behind()
    return exchange.waits.excuse(began, now, is_behind)


def _owed_by_client(exchange: Exchange, record: AttemptRecord, now: float) -> float | None:
    """Seconds of waiting for nothing but the client's body; None where something else is waited for.

    A backend that resets the connection while the body still comes has not waited: it has died.
    """
    connection = None if exchange.attempt is None else exchange.attempt.connection
    if connection is None or connection.unsent is not None or exchange.client.has_received_all:
        return None
    owed = now - max(exchange.last_sent, record.connected or record.started)
    return None if connection.was_reset and owed < PATIENCE_SECONDS else owed
