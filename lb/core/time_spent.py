"""Where the time of an exchange went, one phase after the other, and how much of it no client has caused.

A client that uploads or downloads slowly makes an exchange long, but nothing is slow then; and an event
stream or a tunnel is as long as it is wanted. So `slowness` leaves these out: exchanges are compared by it.
"""

from typing import NamedTuple

from lb.core.exchange_record import ExchangeRecord

TUNNEL = 101


class TimeSpent(NamedTuple):
    """Seconds of an exchange, in the order in which they passed; their sum is all of it.

    `gathering`: its head came from the client, and its body, where that was received before a backend was
    chosen. `trying`: earlier attempts, and the pauses behind them. `sending`: the request was sent, as the
    client gave it. `waiting`: until the first byte of the answer. `answering`: until the backend had sent all
    of it. `reading`: the client took it.
    """

    gathering: float
    queueing: float
    trying: float
    connecting: float
    sending: float
    waiting: float
    answering: float
    reading: float


def time_spent(exchange: ExchangeRecord) -> TimeSpent:
    """The phases of an exchange that has ended; those of the attempt that decides how it ended."""
    started, queueing = exchange.started, exchange.queued
    ended = started if exchange.ended is None else exchange.ended
    last = exchange.deciding
    if last is None:
        return TimeSpent(max(0.0, ended - started - queueing), queueing, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    before = max(0.0, last.started - started - queueing)
    gathering = min(before, max(exchange.gathered or 0.0, exchange.attempts[0].started - started - queueing))
    over = ended if last.ended is None else min(last.ended, ended)
    connected = over if last.connected is None else last.connected
    first = over if last.first_byte is None else last.first_byte
    sent = min(last.sent or connected, first) if exchange.request_bytes else connected
    reading = min(exchange.client_took, max(0.0, over - first))
    return TimeSpent(
        gathering,
        queueing,
        before - gathering,
        max(0.0, connected - last.started),
        max(0.0, sent - connected),
        max(0.0, first - sent),
        max(0.0, over - first - reading),
        reading + max(0.0, ended - over),
    )


def slowness(exchange: ExchangeRecord) -> float:
    """Seconds that the balancer and its backends took."""
    spent = time_spent(exchange)
    has_no_length = exchange.is_stream or exchange.status == TUNNEL
    answering = 0.0 if has_no_length else spent.answering
    return spent.queueing + spent.trying + spent.connecting + spent.waiting + answering
