"""The exchanges of one process, chosen a record at a time from what was there at one moment."""

from itertools import islice

import trio

from lb.core.exchange_record import ExchangeRecord
from lb.core.running_exchange import NothingRuns
from lb.errors import Reason
from lb.observe.all_exchanges import OwnExchanges, Wanted
from lb.observe.recorder import RECORDS, Recorder
from tests.core.scene import registry


def exchange(number: int, reason: Reason | None = None) -> ExchangeRecord:
    made = ExchangeRecord(b"%d" % number, "front", "192.0.2.1:5000", float(number))
    made.pool, made.status, made.reason, made.ended = "default", 502 if reason else 200, reason, number + 0.5
    return made


def own(recorder: Recorder) -> OwnExchanges:
    return OwnExchanges(recorder, NothingRuns, registry(trio.current_time))


async def test_a_full_recorder_is_looked_through_in_slices_of_one_moment() -> None:
    recorder = Recorder()
    for number in range(RECORDS):
        recorder.finished(exchange(number, Reason.CONNECTION_REFUSED))
    for number in range(RECORDS, 2 * RECORDS):
        recorder.finished(exchange(number))
    work = own(recorder).choosing_newest(Wanted(RECORDS, only_failed=True))
    assert len([*islice(work, RECORDS)]) == RECORDS  # no failure was met so far
    for number in range(3 * RECORDS, 4 * RECORDS):
        recorder.finished(exchange(number, Reason.CONNECTION_REFUSED))
    steps = 0
    try:
        while True:
            next(work)
            steps += 1
    except StopIteration as done:
        found = done.value
    assert steps == RECORDS
    assert [int(each.id) for each in found.items] == [*range(RECORDS - 1, -1, -1)]
    assert found.remembered_since == float("-inf")  # as it was at the first step


async def test_what_is_left_out_for_want_of_room_is_said() -> None:
    recorder = Recorder()
    for number in range(5):
        recorder.finished(exchange(number))
    found = await own(recorder).newest(Wanted(2))
    assert ([each.id for each in found.items], found.whole_since) == ([b"4", b"3"], 3.0)
    assert (await own(recorder).newest(Wanted(5))).whole_since == float("-inf")
