"""The recorder keeps the last exchanges, and separately the last failed ones, to explain what happened.

It keeps references to the records that the counters and the log use too; they are rendered only when the API
is asked. Failures have a ring of their own, so that many successful requests do not push them out. So have
those that were answered after an attempt had failed: no client saw these failures, but the counters of the
backend have them, and somebody will ask. Memory is bounded by the number of records, by the length of the
texts in each, and in these two rings by bytes (`lb.observe.failure_ring`). A record keeps its removed
backends alive until the record is dropped. Records hold no bodies and no fields, so they hold no secrets.

Many failures of one kind would hide the few of another kind that explain them. So failures are also counted
by kind, with the newest of each kind, and a kind is dropped only when there are more than KINDS.

The slowest are kept for longer, whether they failed or not (`lb.observe.slowest`).
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

from lb.observe.failure_kind import Kind, kind_of
from lb.observe.failure_ring import FailureRing
from lb.observe.log_lines import LONGEST_KEPT
from lb.observe.slowest import Durations, Slowest

if TYPE_CHECKING:
    from lb.core.exchange_record import ExchangeRecord

RECORDS = 1000
KINDS = 50

Tell = Callable[["ExchangeRecord"], None]


def has_failed(exchange: "ExchangeRecord") -> bool:
    """Whether the exchange failed: with a reason of ours, or with a status of 500 or more."""
    return exchange.reason is not None or exchange.status >= 500


def has_failed_attempt(exchange: "ExchangeRecord", backend: str | None = None) -> bool:
    """Whether an attempt failed, on this backend if one is given, whatever the client got in the end."""
    return any(each.has_failed and backend in (None, each.backend.id) for each in exchange.attempts)


class Recorder:
    """The last exchanges of one process. `finished` is called for each exchange that has ended.

    `durations` are for the medians that `slowest` has.
    """

    __slots__ = ("_all", "_failed", "_kinds", "_minutes", "_tell", "_tried_again", "slowest")

    def __init__(
        self,
        records: int = RECORDS,
        failed: int = RECORDS,
        durations: Durations | None = None,
    ) -> None:
        self._all: deque[ExchangeRecord] = deque(maxlen=records)
        self._failed = FailureRing(failed)
        self._tried_again = FailureRing(failed)
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._tell: list[Tell] = []
        self.slowest = Slowest(durations)
        self._minutes = self.slowest.minutes

    def finished(self, exchange: "ExchangeRecord") -> None:
        """Keep an exchange that has ended. Its record must not change any more."""
        self._all.append(exchange)
        if len(exchange.target) > LONGEST_KEPT:  # 1000 targets of 8 KiB would be 8 MB
            exchange.target = exchange.target[:LONGEST_KEPT]
        if exchange.reason is not None or exchange.status >= 500:  # `has_failed`, inlined
            self._remember_failed(exchange)
        elif len(exchange.attempts) > 1 and has_failed_attempt(exchange):
            self._tried_again.add(exchange)
        minute, ended = self._minutes.get(exchange.pool), exchange.ended
        if minute is None or (
            ended is not None and (ended >= minute.ends or ended - exchange.started > minute.least)
        ):
            self.slowest.add(exchange)

    def _remember_failed(self, exchange: "ExchangeRecord") -> None:
        exchange.detail = exchange.detail[:LONGEST_KEPT]  # it may name every backend of a large pool
        self._failed.add(exchange)
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

    @property
    def whole_since(self) -> float:
        """Of the exchanges that began since then none is forgotten: when the oldest that is kept began."""
        return self._all[0].started if len(self._all) == self._all.maxlen else -inf

    def remembered_since(self, only_failed: bool, attempt_failed: bool) -> float:
        """All such exchanges that ended after this moment are kept; -inf where none was dropped."""
        if attempt_failed:
            return self._failed.since if only_failed else max(self._failed.since, self._tried_again.since)
        if only_failed:
            return self._failed.since
        oldest = self._all[0] if len(self._all) == self._all.maxlen else None
        return -inf if oldest is None else oldest.started if oldest.ended is None else oldest.ended

    def newest(self) -> Iterator["ExchangeRecord"]:
        """All that are kept here, the newest first: behind the last ones, older ones with failures.

        Do not await while iterating: the queues may change.
        """
        kinds = (kind.newest for kind in self.kinds())
        older = {id(each): each for each in chain(self._failed, self._tried_again, kinds)}
        for each in self._all:
            older.pop(id(each), None)
        yield from reversed(self._all)
        yield from reversed(sorted(older.values(), key=lambda each: each.ended or each.started))

    def kinds(self) -> Iterator[Kind]:
        """The kinds of failures, the one with the newest failure first. Do not await while iterating."""
        return reversed(self._kinds.values())

    def find(self, request_id: bytes) -> "ExchangeRecord | None":
        """The newest exchange with this id; trusted clients may use an id more than once."""
        return next((exchange for exchange in self.newest() if exchange.id == request_id), None)
