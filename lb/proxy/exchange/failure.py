"""What follows from a failed attempt: whose fault it was, what the client is told, whether another is made.

Plain functions for `run`, `hedge` and the client connection. They judge the attempt that is
`record.deciding`. The rules themselves are in `lb.core.health.blame` and `lb.core.retry`.
"""

from lb.core.exchange_record import AttemptRecord
from lb.core.health.blame import Circumstances, is_blamed
from lb.core.health.blame import told as told_error
from lb.errors import AnswerRefused, BackendError, LBError
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


def interrupted(exchange: Exchange) -> None:
    """The deadline struck after the event that it was for: discard the attempt and blame no backend."""
    record = exchange.record.deciding
    if record is not None and record.reason is None:
        record.is_beaten = True
        exchange.tried = exchange.tried[:-1]


def _circumstances(exchange: Exchange, record: AttemptRecord, now: float) -> Circumstances:
    timeouts = exchange.context.timeouts
    if record.connected is None:
        is_hurried = now - record.started < timeouts.connect
    else:
        is_hurried = now - (record.sent or record.connected) < timeouts.response_head
    return Circumstances(
        is_sent=record.sent is not None,
        is_reused=record.reused,
        is_hurried=is_hurried,
        client_held=exchange.client_held + _held_in_kernel(exchange, now),
        client_owed=_owed_by_client(exchange, record, now),
    )


def _held_in_kernel(exchange: Exchange, now: float) -> float:
    """Seconds that bytes of the response have waited in the kernel for the client to take them."""
    if exchange.response is None or not exchange.client.is_behind():
        return 0.0
    return now - exchange.last_passed_on


def _owed_by_client(exchange: Exchange, record: AttemptRecord, now: float) -> float | None:
    """Seconds of waiting for nothing but the client's body; None where something else is waited for."""
    connection = None if exchange.attempt is None else exchange.attempt.connection
    if connection is None or connection.unsent is not None or exchange.client.has_received_all:
        return None
    return now - (exchange.last_sent or record.connected or record.started)
