"""The exchanges of all workers, as the operator's side asks for them (`lb.observe.all_exchanges.Exchanges`).

The workers are asked side by side. One that does not answer within the deadline is named in the answer, not
waited for; one that starts has none yet, and one that has ended has none any more. A worker that answers
nothing for long, as one that was stopped, is asked no more until it has answered: it would have to answer all
of that one day.

A worker puts a tag of its own into each id that it makes, so one exchange is asked of that worker first. The
others are asked where it does not have it: a trusted client may bring an id that any worker has made.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import trio

from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Registry
from lb.core.running_exchange import RunningExchange, Waits, added_up
from lb.core.time_spent import slowness
from lb.observe.all_exchanges import Found, Patience, TellFailed, Wanted, longest
from lb.observe.failure_kind import Kind, kind_of
from lb.observe.told_exchanges import Heard, machine_clock
from lb.proxy.context import TAG
from lb.slices import listed
from lb.workers.messages import Failed

DEADLINE_SECONDS = 0.5
MOST_UNANSWERED = 32
"""A worker that owes so many answers is not asked."""

T = TypeVar("T")


class Asked(Protocol):
    """A worker, as it is asked (`lb.workers.link.Link`)."""

    number: int
    is_serving: bool
    tag: bytes
    unanswered: int

    async def ask(self, what: str, about: bytes = b"") -> bytes:
        """What the worker answers, whenever that is."""
        ...


class Answers(NamedTuple):
    """What workers have answered, by their numbers, and those that did not."""

    heard: Mapping[int, Heard]
    missing: tuple[int, ...]


class FleetExchanges:
    """Asks these workers, which come and go; records are made with the backends of the registry."""

    def __init__(self, links: Mapping[int, Asked], registry: Registry) -> None:
        self._links = links
        self._registry = registry
        self._tells: list[TellFailed] = []

    async def newest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        heard, missing = await self._ask("newest", _told(wanted))
        told = [
            (ended, each, raw)
            for each in heard.values()
            for ended, raw in zip(each.told.ended, each.told.records, strict=True)
        ]
        told.sort(key=lambda one: one[0], reverse=True)
        items = await listed(each.record(raw) for _, each, raw in told[: wanted.most])
        whole_since = [each.whole_since for each in heard.values()]
        if len(told) > wanted.most:
            whole_since.append(items[-1].started)
        return Found(
            items,
            missing=missing,
            whole_since=max(whole_since, default=-inf),
            remembered_since=max((each.remembered_since for each in heard.values()), default=-inf),
        )

    async def slowest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        heard, missing = await self._ask("slowest", _told(wanted))
        items = await listed(each.record(raw) for each in heard.values() for raw in each.told.records)
        items.sort(key=slowness, reverse=True)
        return Found(items[: wanted.most], missing=missing)

    async def kinds(self, wanted: Wanted) -> Found[Kind]:
        heard, missing = await self._ask("kinds", _told(wanted))
        kinds = await listed(kind for each in heard.values() for kind in each.kinds())
        return Found(added(kinds)[: wanted.most], missing=missing)

    async def running(self, wanted: Wanted) -> Found[RunningExchange]:
        heard, missing = await self._ask("running", _told(wanted))
        items = await listed(exchange for each in heard.values() for exchange in each.running())
        total = sum(each.told.total for each in heard.values())
        return Found(longest(items, wanted.most), total, missing)

    async def waits(self, patience: Patience) -> Found[Waits]:
        heard, missing = await self._ask("waits", msgspec.msgpack.encode(patience))
        return Found(added_up(one for each in heard.values() for one in each.told.waits), missing=missing)

    async def find(self, exchange_id: bytes) -> Found[ExchangeRecord | RunningExchange]:
        missing: tuple[int, ...] = ()
        for links in self._likely(exchange_id):
            heard, silent = await self._ask("find", exchange_id, links)
            missing += silent
            runs = longest((one for each in heard.values() for one in each.running()), 1)
            if runs:
                return Found(runs, missing=missing)
            ended = [each.record(raw) for each in heard.values() for raw in each.told.records]
            if ended:
                return Found([max(ended, key=_ended)], missing=missing)
        return Found((), missing=missing)

    async def end(self, exchange_id: bytes, why: str) -> Found[RunningExchange]:
        """Of several that run by this id in different workers, one is ended: the one that has run longest."""
        about, missing = _told(Wanted(1, id=exchange_id)), tuple[int, ...]()
        for links in self._likely(exchange_id):
            heard, silent = await self._ask("running", about, links)
            missing += silent
            runs = [(one.since, number) for number, each in heard.items() for one in each.running()]
            if runs:
                owner = [link for link in links if link.number == min(runs)[1]]
                heard, silent = await self._ask("end", msgspec.msgpack.encode((exchange_id, why)), owner)
                ended = [one for each in heard.values() for one in each.running()]
                return Found(ended, missing=missing + silent)
        return Found((), missing=missing)

    def when_failed(self, tell: TellFailed) -> None:
        self._tells.append(tell)

    def hear_failed(self, failed: Failed) -> None:
        """A worker tells of a failure."""
        heard = Heard(failed.exchange, self._registry, machine_clock())
        for raw in heard.told.records:
            exchange = heard.record(raw)
            for tell in self._tells:
                tell(exchange, failed.untold)

    # -- asking ----------------------------------------------------------------------------------------

    def _serving(self) -> list[Asked]:
        return [link for link in self._links.values() if link.is_serving]

    def _likely(self, exchange_id: bytes) -> Iterable[Sequence[Asked]]:
        """Whom to ask for the exchange with this id, one group after the other."""
        serving = self._serving()
        owner = [link for link in serving if link.tag == exchange_id[TAG]]
        others = [link for link in serving if link not in owner]
        return [group for group in (owner, others) if group]

    async def _ask(self, what: str, about: bytes, links: Collection[Asked] | None = None) -> Answers:
        """Ask all of them at once, by default all that serve."""
        asked = self._serving() if links is None else links
        answers: dict[int, bytes] = {}

        async def ask(link: Asked) -> None:
            with trio.move_on_after(DEADLINE_SECONDS):
                answer = await link.ask(what, about)
                if answer:
                    answers[link.number] = answer

        async with trio.open_nursery() as nursery:
            for link in asked:
                if link.unanswered < MOST_UNANSWERED:
                    nursery.start_soon(ask, link)
        clock = machine_clock()
        heard = {number: Heard(answer, self._registry, clock) for number, answer in sorted(answers.items())}
        missing = [link.number for link in asked if link.number not in answers and link.is_serving]
        return Answers(heard, tuple(sorted(missing)))


def _told(wanted: Wanted) -> bytes:
    """What is wanted, on the machine's clock."""
    return msgspec.msgpack.encode(wanted.moved(machine_clock()))


def added(kinds: Iterable[Kind]) -> list[Kind]:
    """Kinds of several recorders as those of one, the kind with the newest failure first; it changes them."""
    alike: dict[object, Kind] = {}
    for kind in kinds:
        other = alike.setdefault(kind_of(kind.newest), kind)
        if other is kind:
            continue
        other.count += kind.count
        ends = [each.first_ended for each in (other, kind) if each.first_ended is not None]
        other.first_ended = min(ends, default=None)
        other.newest = max(other.newest, kind.newest, key=_ended)
    return sorted(alike.values(), key=lambda kind: _ended(kind.newest), reverse=True)


def _ended(exchange: ExchangeRecord) -> float:
    return exchange.started if exchange.ended is None else exchange.ended
