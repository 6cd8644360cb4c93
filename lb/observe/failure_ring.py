"""The last exchanges of a rare kind, in a ring with two bounds: how many they are, and what they take.

Most records take one or two kilobytes, so that the number is what binds. One with long texts, and with many
backends that were full, takes ten: of such ones fewer are kept. What a record takes is reckoned from its
parts and a little high; what many records share, as the backends, is not part of it.
"""

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.core.exchange_record import ExchangeRecord

BYTES = 4 << 20
RECORD, ATTEMPT, NAMED, FIELD = 800, 500, 200, 100
"""What takes so many bytes beside its texts, about: a record, an attempt, a backend that was passed over for
this request alone, a field for the access log or of a PROXY header."""


class FailureRing:
    """The last exchanges that were added, `most` of them and of `size` bytes at most."""

    __slots__ = ("_bytes", "_most", "_records", "_size", "since")

    def __init__(self, most: int, size: int = BYTES) -> None:
        self._records: deque[tuple[int, ExchangeRecord]] = deque()
        self._most = most
        self._size = size
        self._bytes = 0
        self.since = -inf
        """All that ended after this moment are kept; -inf while none was dropped."""

    def __iter__(self) -> Iterator["ExchangeRecord"]:
        """The oldest first. Do not add while iterating."""
        return (exchange for _, exchange in self._records)

    def add(self, exchange: "ExchangeRecord") -> None:
        """Keep one that has ended; the oldest are dropped where it takes their room."""
        taken = taken_by(exchange)
        self._records.append((taken, exchange))
        self._bytes += taken
        while len(self._records) > self._most or (self._bytes > self._size and len(self._records) > 1):
            freed, dropped = self._records.popleft()
            self._bytes -= freed
            self.since = dropped.started if dropped.ended is None else dropped.ended


def taken_by(exchange: "ExchangeRecord") -> int:
    """How many bytes a record takes, about."""
    texts = exchange.id, exchange.method, exchange.target, exchange.detail
    taken = RECORD + sum(map(len, texts)) + NAMED * len(exchange.passed_over.others)
    for attempt in exchange.attempts:
        taken += ATTEMPT + NAMED * len(attempt.passed_over.others)
    if exchange.noted is not None:
        taken += sum(FIELD + len(value) for value in exchange.noted.fields.values())
    if exchange.announced is not None:
        taken += sum(FIELD + len(value) for _, value in exchange.announced.tlvs)
    return taken
