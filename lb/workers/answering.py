"""A worker's answers to what the keeper asks about its exchanges, and what it tells of failures unasked.

What is asked for is chosen in one step, and written down in slices, one answer at a time, so that no request
waits for it. Of the failures a few each second are told and the rest is counted, as an outage has thousands.
"""

from collections.abc import Callable, Iterable

import msgspec
import structlog
import trio

from lb.core.exchange_record import ExchangeRecord
from lb.observe.all_exchanges import OwnExchanges, Patience, Wanted
from lb.observe.told_exchanges import Teller, machine_clock
from lb.slices import made, sliced
from lb.workers.messages import Answer, Ask, Failed

FAILURES_A_SECOND = 5

log = structlog.get_logger()


class Answering:
    """Answers for the exchanges of this worker; `tell` sends to the keeper."""

    def __init__(self, exchanges: OwnExchanges, tell: Callable[[object], None]) -> None:
        self._exchanges = exchanges
        self._tell = tell
        self._failures_left = 0
        self._second_ends = 0.0
        self._untold = 0
        self._writing = trio.Lock()

    def failed(self, exchange: ExchangeRecord) -> None:
        """An exchange has failed (`lb.observe.recorder.Tell`)."""
        now = trio.current_time()
        if now >= self._second_ends:
            self._failures_left, self._second_ends = FAILURES_A_SECOND, now + 1.0
        if not self._failures_left:
            self._untold += 1
            return
        self._failures_left -= 1
        untold, self._untold = self._untold, 0
        teller = Teller(machine_clock(), names=0)  # an event has none, and a request waits for this
        teller.record(exchange)
        self._tell(Failed(teller.written(), untold))

    async def answer(self, ask: Ask) -> None:
        """Answer one question; with nothing where a bug keeps it from being answered."""
        try:
            answer = await self._answer(ask)
        except Exception:
            log.exception("bug in an answer to the keeper", what=ask.what)
            answer = b""
        self._tell(Answer(ask.number, answer))

    async def _answer(self, ask: Ask) -> bytes:
        teller, exchanges = Teller(machine_clock()), self._exchanges
        match ask.what:
            case "newest":
                newest = await sliced(exchanges.choosing_newest(_wanted(ask)))
                teller.whole_since, teller.remembered_since = newest.whole_since, newest.remembered_since
                await self._write(teller.records(newest.items))
            case "slowest":
                kept = await sliced(exchanges.choosing_slowest(_wanted(ask)))
                await self._write(teller.records(map(exchanges.record_of, kept)))
            case "kinds":
                kinds = exchanges.kinds_now(_wanted(ask)).items
                facts = [(each.newest, each.count, each.first_ended) for each in kinds]
                await self._write(teller.kinds(facts))
            case "running":
                running = exchanges.running_now(_wanted(ask))
                teller.total = running.total
                await self._write(teller.all_running(running.items))
            case "waits":
                patience = msgspec.msgpack.decode(ask.about, type=Patience)
                teller.waits((await exchanges.waits(patience)).items)
            case "find":
                for found in exchanges.find_now(ask.about).items:
                    teller.either(found)
            case "end":
                exchange_id, why = msgspec.msgpack.decode(ask.about, type=tuple[bytes, str])
                for ended in exchanges.end_now(exchange_id, why).items:
                    teller.running(ended)
            case _:
                raise ValueError(ask.what)
        return teller.written()

    async def _write(self, records: Iterable[None]) -> None:
        async with self._writing:
            await sliced(made(records))


def _wanted(ask: Ask) -> Wanted:
    """What is wanted, on the clock of this process."""
    return msgspec.msgpack.decode(ask.about, type=Wanted).moved(-machine_clock())
