"""The exchanges of several workers as one answer: merged, added, within a deadline, and who is missing."""

from collections.abc import Sequence

import pytest
import trio

from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.registry import Registry
from lb.core.running_exchange import NothingRuns, RunningExchange
from lb.errors import Reason
from lb.observe.all_exchanges import OwnExchanges, Patience, Wanted
from lb.observe.recorder import Recorder
from lb.workers.answering import Answering
from lb.workers.fleet_exchanges import DEADLINE_SECONDS, MOST_UNANSWERED, FleetExchanges
from lb.workers.messages import Answer, Ask, Failed
from tests.admin.kit import FakeRunning
from tests.core.scene import registry, spec

Clock = trio.testing.MockClock


class Worker:
    """A worker that answers at once, or not at all; `asked` has what it was asked."""

    def __init__(self, number: int, began: float, records: int = 1000) -> None:
        self.number = number
        self.tag = b"%012x" % number
        self.is_serving = True
        self.unanswered = 0
        self.answers = True
        self.has_bug = False
        self.asked: list[str] = []
        self.began = began
        self.recorder = Recorder(records)
        self.running = FakeRunning(began)
        self._told: list[object] = []
        exchanges = OwnExchanges(self.recorder, lambda: self.running, registry(trio.current_time))
        self.answering = Answering(exchanges, self._told.append)

    async def ask(self, what: str, about: bytes = b"") -> bytes:
        self.asked.append(what)
        if not self.answers:
            await trio.sleep_forever()
        if self.has_bug:
            return b""
        await self.answering.answer(Ask(1, what, about))
        answer = self._told.pop()
        assert isinstance(answer, Answer)
        return answer.answer

    def name(self, count: int) -> bytes:
        """An id that this worker makes."""
        return b"0" * 12 + self.tag + b"%08x" % count

    def records(self, exchange_id: bytes, ended: float, status: int = 200) -> ExchangeRecord:
        made = self.made(exchange_id, ended, status)
        self.recorder.finished(made)
        return made

    def made(self, exchange_id: bytes, ended: float, status: int = 200) -> ExchangeRecord:
        made = ExchangeRecord(exchange_id, "127.0.0.1:80", "192.0.2.1:5", self.began + ended - 0.25)
        made.pool, made.status, made.ended = "default", status, self.began + ended
        return made


class Fleet:
    """Three workers, and who asks them."""

    def __init__(self) -> None:
        self.registry: Registry = registry(trio.current_time)
        self.registry.add_pool("default")
        self.backend, _ = self.registry.add(spec("web1"))
        self.workers = [Worker(number, trio.current_time() + 1000) for number in (1, 2, 3)]
        self.exchanges = FleetExchanges({each.number: each for each in self.workers}, self.registry)

    def asked(self) -> list[list[str]]:
        return [each.asked for each in self.workers]


@pytest.fixture
async def fleet() -> Fleet:
    return Fleet()


def ids(found: Sequence[ExchangeRecord | RunningExchange]) -> list[bytes]:
    return [each.id for each in found]


async def newest(fleet: Fleet, wanted: Wanted) -> list[bytes]:
    return [each.id for each in (await fleet.exchanges.newest(wanted)).items]


async def test_the_newest_of_all_come_first(fleet: Fleet) -> None:
    for number, worker in enumerate(fleet.workers * 3):
        worker.records(b"%d" % number, ended=number)
    assert await newest(fleet, Wanted(1000)) == [b"%d" % number for number in range(8, -1, -1)]
    assert await newest(fleet, Wanted(4)) == [b"8", b"7", b"6", b"5"]
    assert await newest(fleet, Wanted(9, pool="other")) == []
    assert await newest(fleet, Wanted(9, id=b"5")) == [b"5"]


async def test_workers_choose_what_they_send(fleet: Fleet) -> None:
    fleet.workers[0].records(b"ok", 1)
    fleet.workers[1].records(b"failed", 2, status=502)
    fleet.workers[2].records(b"tried", 3).attempts.append(
        AttemptRecord(fleet.backend, NONE_PASSED_OVER, fleet.workers[2].began)
    )
    assert await newest(fleet, Wanted(9, only_failed=True)) == [b"failed"]
    assert await newest(fleet, Wanted(9, backend="web1")) == [b"tried"]
    [tried] = (await fleet.exchanges.newest(Wanted(9, backend="web1"))).items
    assert tried.attempts[0].backend is fleet.backend


@pytest.mark.parametrize(("most", "whole_since"), [(9, 2.75), (2, 4.75)])
async def test_the_window_of_all_is_that_of_who_forgets_first(most: int, whole_since: float) -> None:
    fleet = Fleet()
    forgetful = fleet.workers[1] = Worker(2, fleet.workers[0].began, records=2)
    fleet.exchanges = FleetExchanges({each.number: each for each in fleet.workers}, fleet.registry)
    for ended in (1, 3, 5):
        forgetful.records(b"%d" % ended, ended)
        fleet.workers[0].records(b"%d" % ended, ended)
    found = await fleet.exchanges.newest(Wanted(most))
    assert found.whole_since - forgetful.began == pytest.approx(whole_since, abs=0.1)

    assert found.remembered_since - forgetful.began == pytest.approx(3, abs=0.1)


async def test_nothing_is_forgotten_where_there_was_room(fleet: Fleet) -> None:
    fleet.workers[0].records(b"1", 1)
    found = await fleet.exchanges.newest(Wanted(9))
    assert found.whole_since == found.remembered_since == float("-inf")


async def test_those_of_which_an_attempt_failed_are_found(fleet: Fleet) -> None:
    answered = fleet.workers[0].made(b"answered", 1)
    web2, _ = fleet.registry.add(spec("web2"))
    for backend, reason in ((fleet.backend, Reason.CONNECTION_REFUSED), (web2, None)):
        attempt = AttemptRecord(backend, NONE_PASSED_OVER, answered.started)
        attempt.reason = reason
        answered.attempts.append(attempt)
    fleet.workers[0].recorder.finished(answered)
    fleet.workers[1].records(b"other", 2)
    assert await newest(fleet, Wanted(9, attempt_failed=True)) == [b"answered"]
    assert await newest(fleet, Wanted(9, attempt_failed=True, backend="web1")) == [b"answered"]
    assert await newest(fleet, Wanted(9, attempt_failed=True, backend="web2")) == []


async def test_failures_alike_are_added(fleet: Fleet) -> None:
    one, two, three = fleet.workers
    for ended in (5, 9):
        one.records(b"one%d" % ended, ended, status=502)
    two.records(b"two", 3, status=502)
    three.records(b"other", 10, status=500)
    other, alike = (await fleet.exchanges.kinds(Wanted(9))).items
    assert (other.count, other.newest.id) == (1, b"other")
    assert (alike.count, alike.newest.id) == (3, b"one9")
    assert alike.first_ended == pytest.approx(two.began + 3, abs=0.1)
    assert len((await fleet.exchanges.kinds(Wanted(1))).items) == 1


async def test_those_that_have_run_longest_come_first_and_all_are_counted(fleet: Fleet) -> None:
    for number, worker in enumerate(fleet.workers):
        for each in range(3):
            worker.running.begin(f"{number}{each}", since=worker.began - 10 * each - number)
    found = await fleet.exchanges.running(Wanted(4))
    assert (ids([*found.items]), found.total) == ([b"22", b"12", b"02", b"21"], 9)


# -- who does not answer -------------------------------------------------------------------------------------


async def test_those_that_wait_are_added_up_by_backend(fleet: Fleet) -> None:
    """Each worker counts its own, by its own clock."""
    now = trio.current_time()
    for number, worker in enumerate(fleet.workers, 1):
        worker.running.begin("a" * 32, phase_since=now - 10 * number)
        worker.running.begin("b" * 32, phase_since=now - 4)
    found = await fleet.exchanges.waits(Patience({"default": 5.0}, 60.0))
    [waits] = found.items
    assert (waits.pool, waits.backend, waits.requests) == ("default", "web1", len(fleet.workers))
    assert waits.seconds == pytest.approx(10 * len(fleet.workers), abs=1)
    assert (await fleet.exchanges.waits(Patience({}, 60.0))).items == []


async def test_who_does_not_answer_is_named_and_waited_for_no_longer(
    fleet: Fleet, autojump_clock: Clock
) -> None:
    for worker in fleet.workers:
        worker.records(worker.name(0), 1)
    fleet.workers[0].answers = fleet.workers[2].answers = False
    began = trio.current_time()
    found = await fleet.exchanges.newest(Wanted(9))
    assert trio.current_time() - began == DEADLINE_SECONDS
    assert (ids([*found.items]), found.missing) == ([fleet.workers[1].name(0)], (1, 3))
    assert (await fleet.exchanges.kinds(Wanted(9))).missing == (1, 3)
    assert (await fleet.exchanges.running(Wanted(9))).missing == (1, 3)


async def test_who_answers_is_not_held_up_by_a_deadline(fleet: Fleet, autojump_clock: Clock) -> None:
    began = trio.current_time()
    assert (await fleet.exchanges.newest(Wanted(9))).missing == ()
    assert trio.current_time() == pytest.approx(began, abs=0.1)


async def test_who_owes_many_answers_is_named_and_not_asked(fleet: Fleet, autojump_clock: Clock) -> None:
    fleet.workers[1].unanswered = MOST_UNANSWERED
    began = trio.current_time()
    assert (await fleet.exchanges.newest(Wanted(9))).missing == (2,)
    assert trio.current_time() < began + DEADLINE_SECONDS
    assert fleet.asked() == [["newest"], [], ["newest"]]


async def test_who_answers_nothing_for_a_bug_is_named(fleet: Fleet) -> None:
    fleet.workers[1].has_bug = True
    assert (await fleet.exchanges.newest(Wanted(9))).missing == (2,)


async def test_who_starts_has_nothing_yet(fleet: Fleet) -> None:
    fleet.workers[1].is_serving = False
    assert (await fleet.exchanges.newest(Wanted(9))).missing == ()
    assert fleet.asked() == [["newest"], [], ["newest"]]


async def test_who_ends_meanwhile_has_nothing_any_more(fleet: Fleet, autojump_clock: Clock) -> None:
    fleet.workers[1].answers = False
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(DEADLINE_SECONDS / 2)
            fleet.workers[1].is_serving = False

        nursery.start_soon(end)
        assert (await fleet.exchanges.newest(Wanted(9))).missing == ()


async def test_without_workers_there_is_nothing() -> None:
    nobody = FleetExchanges({}, registry(trio.current_time))
    assert (await nobody.newest(Wanted(9))).items == []
    assert (await nobody.find(b"1")).items == ()
    assert (await nobody.end(b"1", "why")).items == ()


async def test_the_slowest_of_all_come_first(fleet: Fleet) -> None:
    for number, worker in enumerate(fleet.workers):
        for queued in (0.125, 0.25):
            made = worker.made(b"%d" % number, ended=2)
            made.queued = queued + number
            worker.recorder.finished(made)
    found = await fleet.exchanges.slowest(Wanted(4))
    assert [each.queued for each in found.items] == [2.25, 2.125, 1.25, 1.125]
    assert (await fleet.exchanges.slowest(Wanted(4, pool="other"))).items == []


async def test_times_are_told_on_the_clock_of_the_machine(fleet: Fleet) -> None:
    began = fleet.workers[0].began
    for ended in (100, 200, 300):
        fleet.workers[1].records(b"%d" % ended, ended)
    wanted = Wanted(9, since=began + 150, until=began + 250)
    assert await newest(fleet, wanted) == [b"200"]
    assert ids([*(await fleet.exchanges.slowest(wanted)).items]) == [b"200"]


# -- one of them ---------------------------------------------------------------------------------------------


async def test_the_id_tells_whom_to_ask(fleet: Fleet) -> None:
    wanted = fleet.workers[1].name(5)
    fleet.workers[1].records(wanted, 1)
    assert ids([*(await fleet.exchanges.find(wanted)).items]) == [wanted]
    assert fleet.asked() == [[], ["find"], []]


async def test_an_id_that_a_client_has_brought_is_asked_of_all(fleet: Fleet) -> None:
    fleet.workers[2].records(b"mine", 1)
    fleet.workers[0].records(b"mine", 2).status = 204
    [newest] = (await fleet.exchanges.find(b"mine")).items
    assert isinstance(newest, ExchangeRecord)
    assert newest.status == 204
    brought = fleet.workers[1].name(5)
    fleet.workers[0].records(brought, 3)
    assert ids([*(await fleet.exchanges.find(brought)).items]) == [brought]


async def test_one_that_runs_comes_before_a_record(fleet: Fleet) -> None:
    fleet.workers[0].records(b"mine", 2)
    fleet.workers[1].running.begin("mine")
    [found] = (await fleet.exchanges.find(b"mine")).items
    assert isinstance(found, RunningExchange)


async def test_what_is_not_there_may_be_with_who_is_missing(fleet: Fleet, autojump_clock: Clock) -> None:
    fleet.workers[1].answers = False
    found = await fleet.exchanges.find(fleet.workers[1].name(5))
    assert (found.items, found.missing) == ((), (2,))


async def test_of_several_by_one_id_that_which_has_run_longest_is_ended(fleet: Fleet) -> None:
    for number, worker in enumerate(fleet.workers[:2]):
        worker.running.begin("mine", since=worker.began - number)
    [ended] = (await fleet.exchanges.end(b"mine", "an operator ended it")).items
    assert ended.id == b"mine"
    assert [each.running.ended for each in fleet.workers] == [[], [(b"mine", "an operator ended it")], []]


async def test_one_that_has_ended_meanwhile_is_not_ended(fleet: Fleet) -> None:
    found = await fleet.exchanges.end(fleet.workers[0].name(1), "why")
    assert (found.items, found.missing) == ((), ())


async def test_failures_are_passed_on(fleet: Fleet) -> None:
    heard: list[tuple[bytes, int]] = []
    told: list[object] = []

    def tell(exchange: ExchangeRecord, untold: int = 0) -> None:
        heard.append((exchange.id, untold))

    fleet.exchanges.when_failed(tell)
    own = OwnExchanges(Recorder(), NothingRuns, fleet.registry)
    Answering(own, told.append).failed(fleet.workers[0].records(b"1", 1))
    assert isinstance(told[0], Failed)
    fleet.exchanges.hear_failed(Failed(told[0].exchange, 7))
    assert heard == [(b"1", 7)]
