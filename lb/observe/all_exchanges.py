"""What the operator's side asks about exchanges, whichever process has them: those that ended or run.

The records of exchanges stay in the process that carried them. With one process `OwnExchanges` answers, in
slices; with several their keeper asks them (`lb.workers.fleet_exchanges`), for no longer than a deadline.
It is chosen from what was there in one step, so an answer shows one moment of each process.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from heapq import nsmallest
from itertools import islice
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Registry
from lb.core.running_exchange import Running, RunningExchange, Waits, long_waits
from lb.observe.failure_kind import Kind
from lb.observe.recorder import Recorder, has_failed, has_failed_attempt
from lb.observe.slowest import Kept, read
from lb.slices import listed, sliced

T = TypeVar("T")


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """Which exchanges are asked for, at most so many: of this pool, backend and id, where one is given.

    A record is of each backend that was tried, one that runs is of the backend that has it now. Where
    `attempt_failed`, only those are asked for of which an attempt failed (on that backend), whatever the
    client got. `status` is one, or a class such as 5xx. Those that have ended between `since` and `until` are
    asked for, which are times of the clock of this process: `moved` for another one.
    """

    most: int
    pool: str | None = None
    backend: str | None = None
    id: bytes | None = None
    only_failed: bool = False
    status: str | None = None
    since: float = -inf
    until: float = inf
    attempt_failed: bool = False

    def moved(self, clock: float) -> "Wanted":
        """The same on a clock that is so much ahead."""
        return msgspec.structs.replace(self, since=self.since + clock, until=self.until + clock)

    def fits(self, exchange: ExchangeRecord) -> bool:
        """Whether this record is among them."""
        ended = exchange.started if exchange.ended is None else exchange.ended
        return (
            self._fits(exchange.pool, exchange.id, exchange.status, ended)
            and (not self.only_failed or has_failed(exchange))
            and (self.backend is None or any(each.backend.id == self.backend for each in exchange.attempts))
            and (not self.attempt_failed or has_failed_attempt(exchange, self.backend))
        )

    @property
    def is_of_failures(self) -> bool:
        """Only exchanges that failed are among them."""
        return self.only_failed or (self.status is not None and self.status.startswith("5"))

    def fits_kept(self, kept: Kept) -> bool:
        """Whether this one of the slowest is among them, whether it failed or not."""
        return self._fits(kept.pool, kept.id, kept.status, kept.ended) and (
            self.backend is None or self.backend in kept.backends
        )

    def _fits(self, pool: str, exchange_id: bytes, status: int, ended: float) -> bool:
        return (
            self.pool in (None, pool)
            and self.id in (None, exchange_id)
            and self.since <= ended <= self.until
            and (self.status is None or is_like(status, self.status))
        )

    def fits_running(self, exchange: RunningExchange) -> bool:
        """Whether this one, which runs, is among them."""
        return (
            self.pool in (None, exchange.pool)
            and self.backend in (None, exchange.backend)
            and self.id in (None, exchange.id)
        )


def is_like(status: int, wanted: str) -> bool:
    """Whether the status is this one, or of this class: 5xx."""
    text = str(status)
    return text == wanted or (wanted.endswith("xx") and len(text) == 3 and text[0] == wanted[0])


class Patience(msgspec.Struct, frozen=True, array_like=True):
    """For how many seconds an exchange may wait for a response: in these pools, and in any other."""

    pools: dict[str, float]
    otherwise: float


class Found(NamedTuple, Generic[T]):
    """An answer. `total` counts what was not listed too, where that is known.

    `missing` are the numbers of the workers that did not answer in time. `whole_since`: of the exchanges that
    began since then none is left out for want of room, in the answer or in what is remembered; all that ended
    after `remembered_since` are remembered.
    """

    items: Collection[T]
    total: int = 0
    missing: tuple[int, ...] = ()
    whole_since: float = -inf
    remembered_since: float = -inf


class TellFailed(Protocol):
    """Hears of a failure; `untold` more happened before it that nobody was told of. It must not raise."""

    def __call__(self, exchange: ExchangeRecord, untold: int = 0) -> None: ...


class Exchanges(Protocol):
    """The exchanges of one balancer."""

    async def newest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        """Those that have ended and are remembered, the newest first."""
        ...

    async def slowest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        """Those that are kept as the slowest of their pool and minute, the slowest first."""
        ...

    async def kinds(self, wanted: Wanted) -> Found[Kind]:
        """The kinds of failures whose newest one is wanted, the kind with the newest failure first."""
        ...

    async def running(self, wanted: Wanted) -> Found[RunningExchange]:
        """Those that run, the one that has run longest first."""
        ...

    async def waits(self, patience: Patience) -> Found[Waits]:
        """Of each backend those that wait for a response for longer than that."""
        ...

    async def find(self, exchange_id: bytes) -> Found[ExchangeRecord | RunningExchange]:
        """The one with this id, or none: of several the one that has run longest, or that ended last."""
        ...

    async def end(self, exchange_id: bytes, why: str) -> Found[RunningExchange]:
        """Cut the one with this id: as it was, once it is told to end; none where none runs by this id."""
        ...

    def when_failed(self, tell: TellFailed) -> None:
        """Call `tell` with exchanges that fail from now on, or some of them and the count of the others."""
        ...


def longest(exchanges: Iterable[RunningExchange], most: int) -> list[RunningExchange]:
    """Those that have run longest, in that order."""
    return nsmallest(most, exchanges, key=lambda each: each.since)


class OwnExchanges:
    """The exchanges of this process (`Exchanges`). The plain methods give the same answers."""

    def __init__(self, recorder: Recorder, running: Callable[[], Running], registry: Registry) -> None:
        self._recorder = recorder
        self._running = running
        self._registry = registry

    def choosing_newest(self, wanted: Wanted) -> Generator[None, None, Found[ExchangeRecord]]:
        """The newest, of those that were there at the first step; one is looked at with each step."""
        recorder, items, is_cut = self._recorder, list[ExchangeRecord](), False
        whole_since = recorder.whole_since
        remembered_since = recorder.remembered_since(wanted.is_of_failures, wanted.attempt_failed)
        for exchange in [*recorder.newest()]:
            if wanted.fits(exchange):
                if is_cut := len(items) == wanted.most:
                    break
                items.append(exchange)
            yield
        if is_cut:
            whole_since = max(whole_since, items[-1].started)
        return Found(self._with_medians(items), whole_since=whole_since, remembered_since=remembered_since)

    def kinds_now(self, wanted: Wanted) -> Found[Kind]:
        fitting = (kind for kind in self._recorder.kinds() if wanted.fits(kind.newest))
        kinds = [*islice(fitting, wanted.most)]
        self._with_medians(kind.newest for kind in kinds)
        return Found(kinds)

    def _with_medians(self, exchanges: Iterable[ExchangeRecord]) -> list[ExchangeRecord]:
        """These, with the median of their pool as it is now where they have none yet."""
        found, medians = [*exchanges], dict[str, float | None]()
        for each in found:
            if each.usual is None:
                if each.pool not in medians:
                    medians[each.pool] = self._recorder.slowest.usual(each.pool)
                each.usual = medians[each.pool]
        return found

    def choosing_slowest(self, wanted: Wanted) -> Generator[None, None, list[Kept]]:
        """The slowest, in that order; `record_of` makes each a record."""
        return self._recorder.slowest.choosing(wanted.fits_kept, wanted.most)

    def record_of(self, kept: Kept) -> ExchangeRecord:
        return read(kept, self._registry)

    def running_now(self, wanted: Wanted) -> Found[RunningExchange]:
        fitting = [*filter(wanted.fits_running, self._running().list())]
        return Found(longest(fitting, wanted.most), len(fitting))

    def find_now(self, exchange_id: bytes) -> Found[ExchangeRecord | RunningExchange]:
        return Found([*islice(self._with_id(exchange_id), 1)])

    def _with_id(self, exchange_id: bytes) -> Iterator[ExchangeRecord | RunningExchange]:
        yield from self.running_now(Wanted(1, id=exchange_id)).items
        recorder = self._recorder
        recorded = recorder.find(exchange_id) or recorder.slowest.find(exchange_id, self._registry)
        if recorded is not None:
            yield from self._with_medians([recorded])

    def end_now(self, exchange_id: bytes, why: str) -> Found[RunningExchange]:
        found = self.running_now(Wanted(1, id=exchange_id))
        return found if found.items and self._running().end(exchange_id, why) else Found(())

    async def newest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        return await sliced(self.choosing_newest(wanted))

    async def slowest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        kept = await sliced(self.choosing_slowest(wanted))
        return Found(await listed(map(self.record_of, kept)))

    async def kinds(self, wanted: Wanted) -> Found[Kind]:
        return self.kinds_now(wanted)

    async def running(self, wanted: Wanted) -> Found[RunningExchange]:
        return self.running_now(wanted)

    async def waits(self, patience: Patience) -> Found[Waits]:
        now = self._registry.now()
        return Found(await sliced(long_waits(self._running(), patience.pools, patience.otherwise, now)))

    async def find(self, exchange_id: bytes) -> Found[ExchangeRecord | RunningExchange]:
        return self.find_now(exchange_id)

    async def end(self, exchange_id: bytes, why: str) -> Found[RunningExchange]:
        return self.end_now(exchange_id, why)

    def when_failed(self, tell: TellFailed) -> None:
        self._recorder.when_failed(tell)
