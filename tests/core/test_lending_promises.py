"""Any order of requests, messages, changes and deaths: never above a cap, and nobody waits in vain."""

import os
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lb.core.backend import AdminState, Backend
from lb.settings.pool_settings import PoolSettings
from tests.core.lending_world import World

NAMES = ("a", "b", "c")
CAPS = st.sampled_from([1, 2, 3, 7, None])


class Promises(RuleBasedStateMachine):
    """Three workers at most; every message is on its way until a rule delivers it."""

    @initialize(cap=CAPS, pool=CAPS, names=st.integers(1, 3))
    def begin(self, cap: int | None, pool: int | None, names: int) -> None:
        self.world = World(3, PoolSettings(queue=1000, max_in_flight=pool), self._check)
        for name in NAMES[:names]:
            self.world.add(name, cap)
        for number in (1, 2):
            self.world.start(number)
        self.world.trip()

    def _check(self, backend: Backend, count: int) -> None:
        """Whoever begins had a place, as the backend itself would count, and the pool too."""
        assert count <= self.world.in_force(backend.id), f"{count} on {backend.id}"
        assert self.world.running <= self.world.in_force("the pool")

    # -- what may happen -------------------------------------------------------------------------------

    def _worker(self, pick: int) -> int:
        numbers = [number for number, each in self.world.workers.items() if "default" in each.registry.pools]
        return numbers[pick % len(numbers)] if numbers else 0

    @rule(pick=st.integers(0, 5), count=st.integers(1, 4))
    def request(self, pick: int, count: int) -> None:
        if number := self._worker(pick):
            for _ in range(count):
                self.world.workers[number].request()

    @rule(pick=st.integers(0, 5), which=st.integers(0, 50))
    def end(self, pick: int, which: int) -> None:
        number = self._worker(pick)
        if number and (running := self.world.workers[number].running):
            running[which % len(running)].end()

    @rule(pick=st.integers(0, 5))
    def give_up_a_wait(self, pick: int) -> None:
        if number := self._worker(pick):
            pool = self.world.workers[number].pool
            for ticket in [*pool.request_queue][:1]:
                pool.leave_queue(ticket)

    @rule(pick=st.integers(0, 5), count=st.integers(1, 6))
    def down(self, pick: int, count: int) -> None:
        workers = [*self.world.workers.values()]
        worker = workers[pick % len(workers)] if workers else None
        for _ in range(count):
            if worker is not None and worker.down:
                worker.hear()

    @rule(pick=st.integers(0, 5))
    def turn(self, pick: int) -> None:
        workers = [*self.world.workers.values()]
        if workers:
            workers[pick % len(workers)].settle()

    @rule(pick=st.integers(0, 5), count=st.integers(1, 6))
    def up(self, pick: int, count: int) -> None:
        numbers = [*self.world.workers]
        for _ in range(count if numbers else 0):
            number = numbers[pick % len(numbers)]
            if self.world.workers[number].up:
                self.world.ledger.heard(number, self.world.workers[number].up.popleft())

    @rule()
    def trip(self) -> None:
        self.world.trip()

    @rule(seconds=st.sampled_from([0.001, 0.02, 1.0]))
    def time(self, seconds: float) -> None:
        self.world.clock.now += seconds

    @rule(name=st.sampled_from(NAMES), cap=CAPS)
    def cap(self, name: str, cap: int | None) -> None:
        if name in self.world.registry.backends:
            self.world.cap(name, cap)

    @rule(cap=CAPS)
    def cap_of_the_pool(self, cap: int | None) -> None:
        registry = self.world.registry
        registry.configure(registry.pools["default"], PoolSettings(queue=1000, max_in_flight=cap))

    @rule(name=st.sampled_from(NAMES), cap=CAPS)
    def add_drain_or_remove(self, name: str, cap: int | None) -> None:
        """A backend is removed when its drain is over: all have heard of it, and nothing runs there.

        One that is removed before goes on with what runs, which counts for it and not for a namesake.
        """
        registry = self.world.registry
        there = registry.backends.get(name)
        if there is None:
            self.world.add(name, cap)
        elif there.admin_state is AdminState.READY:
            if len(self._ready()) > 1:
                registry.drain(there, None)
        elif self.world.all_have_heard and not self.world.in_flight(name):
            registry.remove(there)

    def _ready(self) -> list[Backend]:
        every = self.world.registry.backends.values()
        return [each for each in every if each.admin_state is AdminState.READY]

    @rule(name=st.sampled_from(NAMES), begins=st.booleans())
    def trial(self, name: str, begins: bool) -> None:
        backend = self.world.registry.backends.get(name)
        if backend is None:
            return
        if begins:
            backend.outcomes.begin_trial(self.world.clock.now)
        else:
            backend.outcomes.admit(self.world.clock.now)
        backend.derive()
        self.world.registry.members.subscribers.tell("trial" if begins else "admitted", backend)

    @rule(number=st.integers(1, 3))
    def die_or_start(self, number: int) -> None:
        if number in self.world.workers:
            self.world.kill(number)
        else:
            self.world.start(number)

    # -- what holds ------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_lends_no_more_than_there_is(self) -> None:
        for thing, capped in self.world.ledger.things.items():
            told = sum([account.told for account in capped.accounts.values()])
            assert told <= capped.cap, thing

    @precondition(lambda self: self.world.workers)
    @rule()
    def it_comes_to_rest_and_no_place_is_free_while_one_waits(self) -> None:
        self._rest()
        world = self.world
        if world.waiting and not self._is_pool_full():
            for backend in self._ready():
                assert world.in_flight(backend.id) >= (inf if backend.cap is None else backend.cap), (
                    backend.id
                )

    def _is_pool_full(self) -> bool:
        cap = self.world.registry.pools["default"].cap
        return cap is not None and self.world.running >= cap

    def _rest(self) -> None:
        """Until nothing is on its way that is not part of a place that goes around."""
        for _ in range(60):
            self.world.trips(1, 0.01)

    def teardown(self) -> None:
        """When requests end, every one that waits gets its place."""
        if not hasattr(self, "world"):
            return
        for _ in range(400):
            self.world.trips(4, 0.02)
            workers = [each for each in self.world.workers.values() if "default" in each.registry.pools]
            if not any(each.pool.waiting or each.running for each in workers):
                break
            for worker in workers:
                for each in worker.running[:1]:
                    each.end()
        assert not self.world.waiting
        assert not self.world.running
        for row in range(16, 40):
            assert self.world.total(row) == 0


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=int(os.environ.get("LENDING_EXAMPLES", "60")), stateful_step_count=40, deadline=None
)
