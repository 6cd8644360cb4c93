"""What the registry and its pool promise, whatever is done to them in whatever order.

The machine plays operators and requests against a model that is as simple as possible: which request holds
which backend, which requests wait in which order, and which drains there were. The promises are checked at
every grant and between any two steps.
"""

from collections.abc import Sequence
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lb.core.backend import Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.pool import Ticket, Turn
from lb.core.registry import Conflict, Event
from lb.errors import QueueFull, Unavailable
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import POLICIES, PoolSettings
from tests.core.scene import Clock, Request, registry, spec

IDS = "abcd"
QUEUE_LIMIT = 3
WEIGHTS = st.sampled_from((1, 1, 1, 2, 5, 0))
CAPS = st.sampled_from((1, 1, 2, None))
SPECS = st.builds(spec, st.sampled_from(IDS), WEIGHTS, CAPS)
SECONDS = st.sampled_from((0.0, 1.0, 10.0, 60.0))


class Waiter(Request):
    """A request in the queue; `tried` is what it may not get."""

    ticket: Ticket

    def __init__(self, name: str, tried: Sequence[Backend]) -> None:
        super().__init__(name)
        self.tried = tried
        self.grants = 0


class Watched:
    """A drain as it looks to code that waits for its end."""

    def __init__(self, drain: Drain, backend: Backend) -> None:
        self.drain = drain
        self.backend = backend
        self.there: dict[Request, int] = {r: r.cuts for r in backend.running if isinstance(r, Request)}
        self.ends = 0
        self.cut_at_end: int | None = None
        drain.when_ended(self._ended)

    def _ended(self) -> None:
        self.ends += 1
        self.cut_at_end = sum(request.cuts > before for request, before in self.there.items())


class Promises(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.registry = registry(self.clock)
        self.number = 0
        self.held: dict[Request, Backend] = {}
        self.waiting: list[Waiter] = []
        self.drains: list[Watched] = []
        self.ever: list[Backend] = []
        self.revision = 0
        self.registry.subscribe(self._hear)

    @initialize(policy=st.sampled_from(POLICIES), specs=st.lists(SPECS, max_size=3))
    def begin(self, policy: str, specs: list[BackendSpec]) -> None:
        self.pool = self.registry.add_pool("default", PoolSettings(policy=policy, queue=QUEUE_LIMIT))
        for one in specs:
            self._add(one)

    def _hear(self, event: Event) -> None:
        assert event.backend.revision == self.registry.revision > self.revision
        self.revision = self.registry.revision

    # -- requests ------------------------------------------------------------------------------------------

    def _name(self) -> str:
        self.number += 1
        return f"r{self.number}"

    def _some_tried(self, data: st.DataObject) -> list[Backend]:
        if not self.pool.backends or not data.draw(st.booleans()):
            return []
        return data.draw(st.lists(st.sampled_from([*self.pool.backends]), max_size=2, unique_by=id))

    def _check_grant(self, request: Request, backend: Backend, tried: Sequence[Backend]) -> None:
        assert request not in self.held
        assert request in backend.running
        assert self.registry.backends.get(backend.id) is backend
        assert not backend.removed
        assert backend not in tried
        assert (backend.admin_state.value, backend.spec.weight > 0) == ("ready", True)
        cap = backend.spec.max_in_flight
        assert cap is None or backend.in_flight <= cap
        self.held[request] = backend

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        tried = self._some_tried(data)
        request = Waiter(self._name(), tried)
        backend, passed_over = self.pool.take(request, tried)
        if backend is not None:
            self._check_grant(request, backend, tried)
            assert all(backend in other.tried for other in self.waiting), "a request was overtaken"
            return
        assert {name for name, _ in passed_over} == {b.id for b in self.pool.backends}
        try:
            request.ticket = self.pool.queue(request, tried, lambda: self._granted(request))
        except QueueFull:
            assert len(self.waiting) == QUEUE_LIMIT
        except Unavailable:
            assert all(b in tried or b.why_not() is not None for b in self.pool.backends)
        else:
            self.waiting.append(request)

    def _granted(self, waiter: Waiter) -> None:
        backend = waiter.ticket.backend
        if backend is None:
            assert waiter.ticket.turn is Turn.REFUSED
            self.waiting.remove(waiter)
            return
        waiter.grants += 1
        assert waiter.ticket.turn is Turn.GRANTED
        self._check_grant(waiter, backend, waiter.tried)
        earlier = self.waiting[: self.waiting.index(waiter)]
        assert all(backend in other.tried for other in earlier), "a request was overtaken"
        self.waiting.remove(waiter)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(list(self.held)))
        self.pool.release(self.held.pop(request), request)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(waiter)
        self.pool.leave_queue(waiter.ticket)
        assert waiter.grants == 0

    @precondition(lambda self: self._granted_waiters())
    @rule(data=st.data())
    def leave_with_a_grant(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self._granted_waiters()))
        del self.held[waiter]
        self.pool.leave_queue(waiter.ticket)

    def _granted_waiters(self) -> list[Waiter]:
        return [request for request in self.held if isinstance(request, Waiter) and request.grants]

    # -- operators -----------------------------------------------------------------------------------------

    def _add(self, one: BackendSpec) -> None:
        try:
            backend, is_new = self.registry.add(one)
        except Conflict:
            assert self.registry.backends[one.id].spec != one
        else:
            if is_new:
                self.ever.append(backend)

    def _one(self, data: st.DataObject) -> Backend:
        return data.draw(st.sampled_from(list(self.registry.backends.values())))

    def _watch(self, backend: Backend, drain: Drain) -> None:
        if all(watched.drain is not drain for watched in self.drains):
            self.drains.append(Watched(drain, backend))

    @rule(one=SPECS)
    def add(self, one: BackendSpec) -> None:
        self._add(one)

    @precondition(lambda self: self.registry.backends)
    @rule(data=st.data(), weight=WEIGHTS, cap=CAPS)
    def change(self, data: st.DataObject, weight: int, cap: int | None) -> None:
        backend = self._one(data)
        before = backend.spec
        changed = self.registry.change(backend, spec(backend.id, weight, cap))
        assert changed is (before != backend.spec)

    @rule(wanted=st.lists(SPECS, max_size=4, unique_by=lambda s: s.id), timeout=SECONDS)
    def replace(self, wanted: list[BackendSpec], timeout: float) -> None:
        before = dict(self.registry.backends)
        leaving = self.registry.replace("default", wanted, timeout)
        there = self.registry.backends
        self.ever += [b for b in there.values() if b not in before.values()]
        assert {b.id for b in leaving} == before.keys() - {s.id for s in wanted}
        assert all(there[s.id].spec == s for s in wanted)
        for backend in leaving:
            assert backend.drain is not None
            assert backend.drain.then is Then.REMOVE
            self._watch(backend, backend.drain)

    @precondition(lambda self: self.registry.backends)
    @rule(data=st.data(), timeout=SECONDS | st.none(), then=st.sampled_from(Then) | st.none())
    def drain(self, data: st.DataObject, timeout: float | None, then: Then | None) -> None:
        backend = self._one(data)
        self._watch(backend, self.registry.drain(backend, timeout, then))

    @precondition(lambda self: self.registry.backends)
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        backend = self._one(data)
        self.registry.ready(backend)
        assert (backend.state, backend.drain) == ("ready", None)

    @precondition(lambda self: self.registry.backends)
    @rule(data=st.data())
    def maintenance(self, data: st.DataObject) -> None:
        backend = self._one(data)
        assert self.registry.maintenance(backend) == backend.in_flight
        assert backend.state == "maintenance"

    @precondition(lambda self: self.registry.backends)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        backend = self._one(data)
        self.registry.remove(backend)
        assert backend.removed

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        deadline = self.registry.expire(self.clock.now)
        assert deadline is None or deadline > self.clock.now
        assert (deadline is None) is not any(self._running_drains())

    def _running_drains(self) -> list[Drain]:
        drains = [b.drain for b in self.registry.backends.values() if b.drain is not None]
        return [drain for drain in drains if drain.outcome is None]

    # -- promises ------------------------------------------------------------------------------------------

    @invariant()
    def what_runs_is_what_is_held(self) -> None:
        for backend in self.ever:
            assert backend.running == {r for r, held in self.held.items() if held is backend}

    @invariant()
    def no_request_waits_while_a_backend_is_available(self) -> None:
        assert self.pool.waiting == len(self.waiting) <= QUEUE_LIMIT
        for waiter in self.waiting:
            assert waiter.ticket.turn is Turn.WAITING
            assert all(b in waiter.tried or b.why_not() is not None for b in self.pool.backends)
            assert any(b.is_worth_waiting_for and b not in waiter.tried for b in self.pool.backends)

    @invariant()
    def each_was_granted_once_at_most(self) -> None:
        assert all(waiter.grants == 1 for waiter in self._granted_waiters())
        assert all(waiter.grants == 0 for waiter in self.waiting)

    @invariant()
    def pool_and_registry_agree(self) -> None:
        there = self.registry.backends
        assert list(there) == [b.id for b in there.values()]
        assert sorted(there) == sorted(b.id for b in self.pool.backends)
        assert all(backend.removed is (backend not in self.pool.backends) for backend in self.ever)

    @invariant()
    def a_drain_runs_while_something_runs_on_it(self) -> None:
        for backend in self.pool.backends:
            if backend.drain is not None and backend.drain.outcome is None:
                assert backend.running
                assert backend.state == "draining"
            if backend.state == "drained":
                assert backend.drain is not None
                assert backend.drain.outcome is not None

    @invariant()
    def every_drain_ends_once_with_its_counts(self) -> None:
        for watched in self.drains:
            drain = watched.drain
            assert watched.ends == (drain.outcome is not None)
            assert drain.started_with == len(watched.there)
            assert drain.aborted <= drain.started_with
            if drain.outcome is not None:
                assert drain.ended is not None
                assert drain.outcome is Outcome.CANCELLED or drain.aborted == watched.cut_at_end
                assert (drain.outcome is Outcome.TIMEOUT) is (
                    drain.aborted > 0 and drain.outcome is not Outcome.CANCELLED
                )
            elif drain.deadline == inf:
                assert drain.aborted > 0
            else:
                assert watched.backend.drain is drain

    @invariant()
    def every_drain_that_ended_was_measured(self) -> None:
        ended = [w.drain.outcome for w in self.drains if w.drain.outcome is not None]
        for (_, outcome), histogram in self.registry.drain_durations.items():
            assert sum(histogram.counts) == ended.count(outcome)


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
