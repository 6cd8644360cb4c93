"""Failures that are alike: one kind, with its newest one."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.core.exchange_record import ExchangeRecord


class Kind:
    """Failures of one kind: how many there were, when the first one ended, and the newest one."""

    __slots__ = ("count", "first_ended", "newest")

    def __init__(self, first: "ExchangeRecord") -> None:
        self.count = 0
        self.first_ended = first.ended
        self.newest = first


def kind_of(exchange: "ExchangeRecord") -> Hashable:
    """The key of a failure's kind: pool, last backend, status and reason."""
    backend = exchange.attempts[-1].backend.id if exchange.attempts else None
    return exchange.pool, backend, exchange.status, exchange.reason
