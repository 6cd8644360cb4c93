"""The keeper's end of one worker: what it tells and when, and what it makes of what it hears."""

from collections.abc import Iterator
from typing import Any, cast

import trio
import trio.testing

from lb.config.loader import build
from lb.core.backend import Backend
from lb.core.drain import Drain, Outcome
from lb.core.health.ejection import Cause, Standing
from lb.core.mirror import BackendState
from lb.net.resolver import Names
from lb.observe.counters import Metrics
from lb.settings.pool_settings import Ejection, PoolSettings
from lb.workers.accounts import Accounts
from lb.workers.channel import Channel
from lb.workers.fleet import Fleet
from lb.workers.link import BATCHES_AHEAD, STATES_A_BATCH, Link
from lb.workers.messages import (
    Answer,
    Applied,
    Ask,
    Batch,
    Considered,
    Down,
    Failing,
    Idle,
    Serving,
    Shown,
    Started,
    Stop,
    Stopped,
)
from tests.core.scene import Clock, registry, spec
from tests.kit.time import virtual_time
from tests.workers.firm import KEY, NO_PID, Wire


class Keeper:
    """A registry and the links of some workers; `told` is what one of them was told since it was asked."""

    def __init__(self, *names: str, workers: int = 1, consecutive: int = 1) -> None:
        self.clock = Clock()
        self.registry = registry(self.clock)
        self.registry.add_pool("default", PoolSettings(ejection=Ejection(consecutive=consecutive)))
        accounts = Accounts(self.registry, Metrics(), workers)
        self.fleet = Fleet(build({}), workers, self.registry, Names(self.registry), KEY, accounts)
        for name in names:
            self.registry.add(spec(name))
        self.wires = [Wire(Down) for _ in range(workers)]
        self.links = [
            Link(number, NO_PID, cast("Channel", wire), self.registry, self.fleet)
            for number, wire in enumerate(self.wires, 1)
        ]
        self.fleet.links.update({link.number: link for link in self.links})

    def __getitem__(self, name: str) -> Backend:
        return self.registry.backend(name)

    def told(self, worker: int = 0) -> list[object]:
        self.links[worker].tell_some()
        wire = self.wires[worker]
        return [wire.next() for _ in range(len(wire.waiting))]

    def serves(self) -> "Keeper":
        """All workers have applied what held at the start."""
        for number, link in enumerate(self.links):
            link.take(Started())
            for batch in batches(self.told(number)):
                link.take(Applied(batch.number))
            link.take(Serving(b"tag"))
        return self

    def drains(self, name: str, timeout: float = 60) -> Drain:
        return self.registry.drain(self[name], timeout)


def shows(keeper: Keeper, name: str, worker: int = 0, **what: Any) -> None:
    keeper.links[worker].take(Shown(name, keeper[name].serial, **what))


def ended(drain: Drain) -> tuple[Outcome | None, int]:
    return drain.outcome, drain.aborted


def standing(backend: Backend) -> Standing:
    return backend.outcomes.standing


def batches(messages: list[object]) -> Iterator[Batch]:
    return (message for message in messages if isinstance(message, Batch))


def test_nothing_is_told_before_the_process_hears() -> None:
    keeper = Keeper("a")
    assert keeper.told() == []
    assert not keeper.links[0].may_serve
    keeper.links[0].take(Started())
    [batch] = batches(keeper.told())
    assert batch.is_last
    assert keeper.links[0].may_serve


def test_so_many_batches_are_ahead_and_only_the_last_one_says_so() -> None:
    keeper = Keeper(*(f"b{number}" for number in range(STATES_A_BATCH * (BATCHES_AHEAD + 1))))
    link = keeper.links[0]
    link.take(Started())
    first = [*batches(keeper.told())]
    assert [batch.is_last for batch in first] == [False] * BATCHES_AHEAD
    assert not link.may_serve
    while not link.may_serve:
        link.take(Applied(first.pop(0).number))
        [another] = batches(keeper.told())
        assert another.is_last is link.may_serve
        first.append(another)
    assert len(first) == BATCHES_AHEAD


def test_a_drain_waits_for_each_worker_and_sums_what_they_cut() -> None:
    keeper = Keeper("a", workers=2).serves()
    drain = keeper.drains("a")
    [[one], [other]] = [[*batches(keeper.told(number))] for number in (0, 1)]
    keeper.links[0].take(Idle("a", one.number, 1))
    assert drain.outcome is None
    keeper.links[1].take(Idle("a", other.number, 2))
    assert ended(drain) == (Outcome.TIMEOUT, 3)


def test_what_was_said_of_an_earlier_drain_ends_no_other_one() -> None:
    keeper = Keeper("a").serves()
    keeper.drains("a")
    [first] = batches(keeper.told())
    keeper.registry.ready(keeper["a"])
    second = keeper.drains("a")
    keeper.links[0].take(Idle("a", first.number, 0))
    [batch] = batches(keeper.told())
    keeper.links[0].take(Idle("a", first.number, 0))
    assert second.outcome is None
    keeper.links[0].take(Idle("a", batch.number, 0))
    assert second.outcome is Outcome.COMPLETED


def test_a_drain_that_is_told_of_again_counts_what_was_cut_once() -> None:
    """An operator gives it another timeout, while another worker still has requests."""
    keeper = Keeper("a", workers=2).serves()
    drain = keeper.drains("a")
    [[one], [other]] = [[*batches(keeper.told(number))] for number in (0, 1)]
    keeper.links[0].take(Idle("a", one.number, 2))
    assert keeper.drains("a", 30) is drain
    [again] = batches(keeper.told(0))
    keeper.links[0].take(Idle("a", again.number, 2))
    keeper.links[1].take(Idle("a", other.number, 0))
    assert drain.aborted == 2


def test_a_worker_hears_of_a_drain_with_its_end() -> None:
    """The drain is over at once, and the worker is behind."""
    keeper = Keeper("a").serves()
    before = keeper["a"].cuts
    keeper.drains("a", 0)
    keeper.registry.expire(keeper.clock.now)
    [batch] = batches(keeper.told())
    [state] = batch.changes
    assert isinstance(state, BackendState)
    assert (state.drain, state.cuts) == (1, keeper["a"].cuts)
    assert state.cuts != before


def test_a_drain_does_not_wait_for_a_worker_that_does_not_serve_yet() -> None:
    keeper = Keeper("a")
    assert keeper.drains("a").outcome is Outcome.COMPLETED


def test_a_drain_does_not_wait_for_a_worker_that_has_ended() -> None:
    keeper = Keeper("a", workers=2).serves()
    drain = keeper.drains("a")
    [batch] = batches(keeper.told(1))
    keeper.links[1].take(Idle("a", batch.number, 0))
    del keeper.fleet.links[1]
    keeper.links[0].end()
    assert drain.outcome is Outcome.COMPLETED


@virtual_time
async def test_applied_waits_for_what_was_decided_before() -> None:
    keeper, done = Keeper("a").serves(), list[bool]()

    async def wait() -> None:
        done.append(await keeper.links[0].applied(3))

    async with trio.open_nursery() as nursery:
        keeper.registry.maintenance(keeper["a"])
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        [batch] = batches(keeper.told())
        keeper.registry.ready(keeper["a"])  # this one came after
        assert done == []
        keeper.links[0].take(Applied(batch.number))
    assert done == [True]


@virtual_time
async def test_patience_is_for_each_step() -> None:
    """A worker that is told of thousands may take long, as long as it goes on."""
    keeper = Keeper("a").serves()
    for number in range(STATES_A_BATCH * 3):
        keeper.registry.add(spec(f"b{number}"))

    async def apply_slowly() -> None:
        for batch in batches(keeper.told()):
            await trio.sleep(2)
            keeper.links[0].take(Applied(batch.number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(apply_slowly)
        assert await keeper.links[0].applied(3)
    keeper.registry.maintenance(keeper["a"])
    began = trio.current_time()
    assert not await keeper.links[0].applied(3)
    assert trio.current_time() == began + 3


@virtual_time
async def test_nobody_waits_for_a_worker_that_has_ended_or_does_not_serve_yet() -> None:
    keeper = Keeper("a")
    assert await keeper.links[0].applied(3)
    keeper.serves()
    keeper.registry.maintenance(keeper["a"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.links[0].applied, 3)
        await trio.testing.wait_all_tasks_blocked()
        keeper.links[0].end()
    assert trio.current_time() == 0


def test_a_proposal_is_decided_here_unless_it_was_overtaken() -> None:
    keeper = Keeper("a", "b").serves()
    for name in ("a", "a", "b"):  # not more than half of them
        shows(keeper, name, turns=True, cause=Cause.RATIO, why="refused")
    assert [standing(keeper[name]) for name in "ab"] == [Standing.EJECTED, Standing.ADMITTED]
    assert keeper["a"].outcomes.ejections.total() == 1
    shows(keeper, "a", turns=True)
    assert standing(keeper["a"]) is Standing.EJECTED
    keeper.clock.now += 1000
    keeper.registry.expire(keeper.clock.now)
    shows(keeper, "a", turns=True)
    assert standing(keeper["a"]) is Standing.ADMITTED


def test_what_was_shown_of_a_backend_that_is_gone_or_another_says_nothing_and_is_answered() -> None:
    keeper = Keeper("a", "b").serves()
    keeper.told()
    for shown in (Shown("gone", 1, failures=1), Shown("a", keeper["a"].serial + 100, failures=1)):
        keeper.links[0].take(shown)
        assert keeper.told() == [Considered(shown.backend)]
    assert standing(keeper["a"]) is Standing.ADMITTED


def test_failures_in_a_row_are_counted_over_all_workers() -> None:
    keeper = Keeper("a", "b", workers=2, consecutive=4).serves()
    shows(keeper, "a", 0, failures=2, why="refused")
    shows(keeper, "a", 1, failures=1, why="reset")
    assert standing(keeper["a"]) is Standing.ADMITTED
    shows(keeper, "a", 0, failures=1, why="refused")
    assert keeper["a"].why_not() == "ejected: refused"


def test_a_success_in_any_worker_breaks_the_row_and_all_are_asked_for_it() -> None:
    keeper = Keeper("a", "b", workers=2, consecutive=2).serves()
    for _ in range(3):
        shows(keeper, "a", 0, failures=1, why="refused")
        for worker in (0, 1):
            assert Failing("a") in [
                change for each in batches(keeper.told(worker)) for change in each.changes
            ]
        shows(keeper, "a", 1, succeeded=True)
    assert standing(keeper["a"]) is Standing.ADMITTED
    shows(keeper, "a", 1, succeeded=True, failures=2, why="refused")
    assert standing(keeper["a"]) is Standing.EJECTED


def test_a_worker_that_starts_is_asked_for_a_success_too() -> None:
    keeper = Keeper("a", "b", consecutive=2)
    keeper["a"].outcomes.failed_elsewhere(1)
    link = Link(1, NO_PID, cast("Channel", wire := Wire(Down)), keeper.registry, keeper.fleet)
    link.take(Started())
    link.tell_some()
    batch = wire.next()
    assert isinstance(batch, Batch)
    assert Failing("a") in batch.changes


@virtual_time
async def test_a_question_has_its_own_answer() -> None:
    keeper, answers = Keeper().serves(), list[bytes]()

    async def ask(what: str) -> None:
        answers.append(await keeper.links[0].ask(what))

    async with trio.open_nursery() as nursery:
        for what in ("one", "two"):
            nursery.start_soon(ask, what)
            await trio.testing.wait_all_tasks_blocked()
        asked = [message for message in keeper.told() if isinstance(message, Ask)]
        for question in reversed(asked):
            keeper.links[0].take(Answer(question.number, question.what.encode()))
            await trio.testing.wait_all_tasks_blocked()
    assert answers == [b"two", b"one"]


def test_it_says_how_many_were_cut_when_it_stops() -> None:
    keeper = Keeper().serves()
    keeper.links[0].stop(False)
    assert keeper.told() == [Stop(False)]
    keeper.links[0].take(Stopped(4))
    assert (keeper.links[0].is_told_to_stop, keeper.links[0].cut) == (True, 4)
