"""The recorder keeps the last exchanges, and separately the last failed ones, to explain what happened.

It keeps references to the records that the counters and the log use too; they are rendered only when the API
is asked. Failures have a queue of their own, so that many successful requests do not push them out. Memory
is bounded by the number of records and by the length of the texts in each. A record keeps its removed
backends alive until the record is dropped. Records hold no bodies and no fields, so they hold no secrets.

Many failures of one kind would hide the few of another kind that explain them. So failures are also counted
by kind, with the newest of each kind, and a kind is dropped only when there are more than KINDS.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from lb.observe.access_log import LONGEST_TEXT

if TYPE_CHECKING:
    from lb.core.exchange_record import ExchangeRecord

RECORDS = 1000
FAILED_RECORDS = 200
KINDS = 50
LONGEST_KEPT = LONGEST_TEXT + 1
"""One byte more than `access_log.safe` shows, so that it still sees that the text was longer."""

Tell = Callable[["ExchangeRecord"], None]


def has_failed(exchange: "ExchangeRecord") -> bool:
    """Whether the exchange failed: with a reason of ours, or with a status of 500 or more."""
    return exchange.reason is not None or exchange.status >= 500


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


class Recorder:
    """The last exchanges of one process. `finished` is called for each exchange that has ended."""

    __slots__ = ("_all", "_failed", "_kinds", "_tell")

    def __init__(self, records: int = RECORDS, failed: int = FAILED_RECORDS) -> None:
        self._all: deque[ExchangeRecord] = deque(maxlen=records)
        self._failed: deque[ExchangeRecord] = deque(maxlen=failed)
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._tell: list[Tell] = []

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Keep an exchange that has ended. Its record must not change any more."""
        self._all.append(exchange)
        if len(exchange.target) > LONGEST_KEPT:  # 1000 targets of 8 KiB would be 8 MB
            exchange.target = exchange.target[:LONGEST_KEPT]
        if exchange.reason is not None or exchange.status >= 500:  # `has_failed`, inlined
            self._remember_failed(exchange)

    def _remember_failed(self, exchange: "ExchangeRecord") -> None:
        exchange.detail = exchange.detail[:LONGEST_KEPT]  # it may name every backend of a large pool
        self._failed.append(exchange)
        self._count(exchange)
        for tell in self._tell:
            tell(exchange)

    def _count(self, exchange: "ExchangeRecord") -> None:
        alike = kind_of(exchange)
        kind = self._kinds.setdefault(alike, Kind(exchange))
        kind.count += 1
        kind.newest = exchange
        self._kinds.move_to_end(alike)
        if len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)

    def when_failed(self, tell: Tell) -> None:
        """Call `tell` with every exchange that fails from now on. `tell` must not raise."""
        self._tell.append(tell)

    def newest(self, only_failed: bool = False) -> Iterator["ExchangeRecord"]:
        """The exchanges from the newest to the oldest. Do not await while iterating: the queue may change."""
        return reversed(self._failed if only_failed else self._all)

    def kinds(self) -> Iterator[Kind]:
        """The kinds of failures, the one with the newest failure first. Do not await while iterating."""
        return reversed(self._kinds.values())

    def find(self, request_id: bytes) -> "ExchangeRecord | None":
        """The newest exchange with this id; trusted clients may use an id more than once."""
        kept = chain(reversed(self._all), reversed(self._failed), (kind.newest for kind in self.kinds()))
        return next((exchange for exchange in kept if exchange.id == request_id), None)
