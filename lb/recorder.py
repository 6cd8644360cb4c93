"""The flight recorder: the last exchanges, and apart from them the last that failed, for whoever asks why.

It keeps references to the records that metrics and the log have too, so that an exchange costs an append or
two (about 0.1 us) and is rendered only when somebody looks. A flood of good requests cannot push out the
failures, which have a queue of their own. What it holds is bounded: so many records, and of each no longer
texts than anybody is ever shown. A backend that was removed is kept alive by its records, as long as they
last. There are no bodies and no fields in a record, so there are no secrets in it either.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lb.accesslog import LONGEST_TEXT

if TYPE_CHECKING:
    from lb.core.decision import Exchange

RECORDS = 1000
FAILED_RECORDS = 200
LONGEST_KEPT = LONGEST_TEXT + 1
"""`lb.accesslog.safe` looks at no more, and by the one byte too many it tells that there was more."""

Tell = Callable[["Exchange"], None]


def has_failed(exchange: "Exchange") -> bool:
    """It ended badly here, or the backend itself says that it failed."""
    return exchange.reason is not None or exchange.status >= 500


class Recorder:
    """The last exchanges of one process; `finished` is an observer like that of the metrics."""

    __slots__ = ("_all", "_failed", "_tell")

    def __init__(self, records: int = RECORDS, failed: int = FAILED_RECORDS) -> None:
        self._all: deque[Exchange] = deque(maxlen=records)
        self._failed: deque[Exchange] = deque(maxlen=failed)
        self._tell: list[Tell] = []

    def finished(self, exchange: "Exchange") -> None:
        """Remember an exchange that has ended and will not change any more."""
        self._all.append(exchange)
        if len(exchange.target) > LONGEST_KEPT:  # 8 KiB each would be 8 MB, and nobody would see them
            exchange.target = exchange.target[:LONGEST_KEPT]
        if exchange.reason is not None or exchange.status >= 500:  # `has_failed`, without the call
            self._remember_failed(exchange)

    def _remember_failed(self, exchange: "Exchange") -> None:
        exchange.detail = exchange.detail[:LONGEST_KEPT]  # it may name every backend of a large pool
        self._failed.append(exchange)
        for tell in self._tell:
            tell(exchange)

    def when_failed(self, tell: Tell) -> None:
        """Call `tell` with every exchange that fails from now on; it neither raises nor waits."""
        self._tell.append(tell)

    def newest(self, only_failed: bool = False) -> Iterator["Exchange"]:
        """From the newest to the oldest. Nothing may end while one iterates: take what you need at once."""
        return reversed(self._failed if only_failed else self._all)

    def find(self, id: bytes) -> "Exchange | None":
        """The newest of this id, for clients that we trust name their requests as they like."""
        for kept in (self._all, self._failed):
            for exchange in reversed(kept):
                if exchange.id == id:
                    return exchange
        return None
