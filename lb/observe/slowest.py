"""The slowest exchanges of each pool and minute, so that "it was slow last night" has an answer.

Of each pool the MOST slowest of a minute (`lb.core.time_spent.slowness`) are kept for KEPT_SECONDS. While
the minute lasts they are a heap of so many records. Behind it they are written down, as one process tells
another (`lb.observe.told_exchanges`): a few hundred bytes each, which hold no backend and cost the garbage
collector nothing. All that is written has BYTES at most; of more, the oldest is forgotten. That is a day of
two or three busy pools, or a few hours of twenty.

A minute begins with the first exchange of its pool, and ends with the first one behind it: nothing looks at
all pools. Most requests cost one comparison, which `lb.observe.recorder` makes.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from heapq import heappush, heappushpop, heapreplace
from itertools import count, repeat
from math import inf
from operator import sub

import msgspec

from lb.core.exchange_record import ExchangeRecord
from lb.core.measures.histogram import Histogram
from lb.core.registry import Registry
from lb.core.time_spent import slowness
from lb.observe.told_exchanges import Heard, Teller

MOST = 3
MINUTE_SECONDS = 60.0
KEPT_SECONDS = 86400.0
BYTES = 8 << 20
BESIDE = 450
"""What one that is written takes beside its bytes, about."""

Durations = Callable[[str], Histogram]
"""How long all exchanges of the pool with this name took, since the start."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """One exchange that is written down, and what it is chosen by. `seconds` is its slowness."""

    seconds: float
    pool: str
    id: bytes
    status: int
    ended: float
    backends: tuple[str, ...]
    written: bytes


class Minute:
    """The minute of one pool; an exchange that took no longer than `least` is none of its slowest."""

    __slots__ = ("before", "ends", "least", "slow")

    def __init__(self, ends: float, before: list[int], least: float = -1.0) -> None:
        self.ends = ends
        self.before = before
        self.least = least
        self.slow: list[tuple[float, int, ExchangeRecord]] = []


class Slowest:
    """The slowest exchanges of one process.

    `minutes` are those that last, by the names of their pools. `durations` are for the medians.
    """

    def __init__(self, durations: Durations | None = None) -> None:
        self.minutes = {"": Minute(inf, [], inf)}  # nobody was slow where no pool was chosen
        self._durations = durations
        self._written: deque[Kept] = deque()
        self._bytes = 0
        self._numbers = count()

    def add(self, exchange: ExchangeRecord) -> None:
        """Keep an exchange that has ended, if it is one of the slowest of its minute."""
        ended = exchange.started if exchange.ended is None else exchange.ended
        minute = self.minutes.get(exchange.pool)
        if minute is None or ended >= minute.ends:
            minute = self._next_minute(exchange.pool, minute, ended)
        entry = slowness(exchange), next(self._numbers), exchange
        if len(minute.slow) < MOST:
            heappush(minute.slow, entry)
        elif entry[0] > minute.slow[0][0]:
            heapreplace(minute.slow, entry)
        if len(minute.slow) == MOST:
            minute.least = minute.slow[0][0]

    def _next_minute(self, pool: str, last: Minute | None, now: float) -> Minute:
        if last is not None:
            for kept in self._kept(pool, last):
                self._written.append(kept)
                self._bytes += len(kept.written) + BESIDE
        self._forget(now)
        before = [] if self._durations is None else [*self._durations(pool).counts]
        minute = self.minutes[pool] = Minute(now + MINUTE_SECONDS, before)
        return minute

    def _forget(self, now: float) -> None:
        while self._written and (self._bytes > BYTES or self._written[0].ended < now - KEPT_SECONDS):
            self._bytes -= len(self._written.popleft().written) + BESIDE

    def _kept(self, pool: str, minute: Minute) -> Iterator[Kept]:
        usual = self.usual(pool, minute)
        for seconds, _, exchange in sorted(minute.slow):
            yield _kept(seconds, exchange, usual)

    def usual(self, pool: str, minute: Minute | None = None) -> float | None:
        """The median of the pool in its minute, else since the start; None where there were too few."""
        if self._durations is None:
            return None
        minute = minute or self.minutes.get(pool)
        everything = self._durations(pool)
        lately = Histogram()
        lately.counts = [*map(sub, everything.counts, (minute and minute.before) or repeat(0))]
        return lately.quantile(0.5) or everything.quantile(0.5)

    def find(self, exchange_id: bytes, registry: Registry) -> ExchangeRecord | None:
        """The one with this id that ended last."""
        for minute in self.minutes.values():
            for _, _, exchange in minute.slow:
                if exchange.id == exchange_id:
                    return exchange
        found = next((each for each in reversed(self._written) if each.id == exchange_id), None)
        return None if found is None else read(found, registry)

    def choosing(self, fits: Callable[[Kept], bool], most: int) -> Generator[None, None, list[Kept]]:
        """The slowest of those that fit, `most` at most, in that order; one is looked at with each step.

        They are chosen from those that were there at the first step.
        """
        chosen: list[tuple[float, int, Kept]] = []
        for number, each in enumerate(self._all()):
            if fits(each):
                entry = each.seconds, number, each
                if len(chosen) < most:
                    heappush(chosen, entry)
                else:
                    heappushpop(chosen, entry)
            yield
        return [each for _, _, each in sorted(chosen, reverse=True)]

    def _all(self) -> Iterator[Kept]:
        lasting = [(pool, [*minute.slow]) for pool, minute in self.minutes.items() if minute.slow]
        written = [*self._written]
        for pool, slow in lasting:
            usual = self.usual(pool)
            for seconds, _, exchange in slow:
                yield _kept(seconds, exchange, usual)
        yield from written


def _kept(seconds: float, exchange: ExchangeRecord, usual: float | None) -> Kept:
    teller = Teller(0.0, names=0)
    teller.record(exchange, usual)
    return Kept(
        seconds,
        exchange.pool,
        exchange.id,
        exchange.status,
        exchange.started if exchange.ended is None else exchange.ended,
        tuple(dict.fromkeys(each.backend.id for each in exchange.attempts)),
        teller.written(),
    )


def read(kept: Kept, registry: Registry) -> ExchangeRecord:
    """The record, with the backends of this registry; those that are gone have stand-ins."""
    heard = Heard(kept.written, registry, 0.0)
    return heard.record(heard.told.records[0])
