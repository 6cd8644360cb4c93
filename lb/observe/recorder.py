"""The flight recorder: the last exchanges, and apart from them the last that failed, for whoever asks why.

It keeps references to the records that metrics and the log have too, so that an exchange costs an append or
two (about 0.1 us) and is rendered only when somebody looks. A flood of good requests cannot push out the
failures, which have a queue of their own. What it holds is bounded: so many records, and of each no longer
texts than anybody is ever shown. A backend that was removed is kept alive by its records, as long as they
last. There are no bodies and no fields in a record, so there are no secrets in it either.

In a storm of one failure the few others say why it began. So failures are counted by kind as well, with the
newest of each, and no kind pushes out another before there are too many of them.
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
"""`lb.observe.access_log.safe` looks at no more, and the one byte more tells that there was more."""

Tell = Callable[["ExchangeRecord"], None]


def has_failed(exchange: "ExchangeRecord") -> bool:
    """It ended badly here, or the backend itself says that it failed."""
    return exchange.reason is not None or exchange.status >= 500


class Kind:
    """Failures that are alike: how many there were, when the first of them ended, and the newest."""

    __slots__ = ("count", "first_ended", "newest")

    def __init__(self, first: "ExchangeRecord") -> None:
        self.count = 0
        self.first_ended = first.ended
        self.newest = first


def kind_of(exchange: "ExchangeRecord") -> Hashable:
    """What is equal for failures that are alike: the pool, the backend that was tried last, and the end."""
    backend = exchange.attempts[-1].backend.id if exchange.attempts else None
    return exchange.pool, backend, exchange.status, exchange.reason


class Recorder:
    """The last exchanges of one process; `finished` is an observer like that of the metrics."""

    __slots__ = ("_all", "_failed", "_kinds", "_tell")

    def __init__(self, records: int = RECORDS, failed: int = FAILED_RECORDS) -> None:
        self._all: deque[ExchangeRecord] = deque(maxlen=records)
        self._failed: deque[ExchangeRecord] = deque(maxlen=failed)
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._tell: list[Tell] = []

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Remember an exchange that has ended and will not change any more."""
        self._all.append(exchange)
        if len(exchange.target) > LONGEST_KEPT:  # 8 KiB each would be 8 MB, and nobody would see them
            exchange.target = exchange.target[:LONGEST_KEPT]
        if exchange.reason is not None or exchange.status >= 500:  # `has_failed`, without the call
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
        """Call `tell` with every exchange that fails from now on; it neither raises nor waits."""
        self._tell.append(tell)

    def newest(self, only_failed: bool = False) -> Iterator["ExchangeRecord"]:
        """From the newest to the oldest. Nothing may end while one iterates: take what you need at once."""
        return reversed(self._failed if only_failed else self._all)

    def kinds(self) -> Iterator[Kind]:
        """The kinds of failures, that of the newest first; not to be waited in either."""
        return reversed(self._kinds.values())

    def find(self, id: bytes) -> "ExchangeRecord | None":
        """The newest of this id, for clients that we trust name their requests as they like."""
        kept = chain(reversed(self._all), reversed(self._failed), (kind.newest for kind in self.kinds()))
        return next((exchange for exchange in kept if exchange.id == id), None)
