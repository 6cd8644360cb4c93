"""A day of two pools, simulated in a second: thousands of events on a clock that jumps to the next.

Backends crash, hang, fall ill and recover; operators drain, remove, add and reconfigure; probes tick;
requests come in bursts, fail, are tried again, wait and leave. All is random, from a seed: the same seed
gives the same day. `LB_SEED=7 just test tests/core/test_day.py` plays one day again. After each event all
invariants are checked.
"""

import os
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from lb.core.backend import Backend
from lb.core.drain import Drain, Then
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.pool import Pool, Ticket, Turn
from lb.core.registry import Event, PoolEvent, Registry
from lb.errors import Unavailable
from lb.settings.pool_settings import POLICIES, Ejection, Hash, PoolSettings, Probe, Retry, Sticky
from tests.core.scene import Clock, Request, spec

SEEDS = [int(os.environ["LB_SEED"])] if "LB_SEED" in os.environ else [1, 2, 3]

DAY = 24 * 3600.0
BURST_EVERY, BURST, BURST_SECONDS = 600.0, 40, 20.0
MISHAP_EVERY, OPERATOR_EVERY = 100.0, 100.0
ILL_FOR = 300.0
SERVICE, BODY, NO_ANSWER, CUT = 2.0, 1.0, 10.0, 0.5
QUEUE_SECONDS = 15.0

SETTINGS = PoolSettings(
    queue=12,
    priority_field="Priority",
    probe=Probe(interval=240, changing_interval=20),
    ejection=Ejection(base=60, window=600, minimum=8, longest=600),
    retry=Retry(statuses=("503",), floor=1),
)
UNPROBED = replace(SETTINGS, probe=None)
CHANGES: list[dict[str, Any]] = [
    *({"policy": policy} for policy in POLICIES),
    {"queue": 0},
    {"queue": 12},
    {"priority_field": None},
    {"priority_field": "Priority"},
    {"max_in_flight": 4},
    {"max_in_flight": None},
    *({"slow_start": seconds} for seconds in (0.0, 0.0, 0.0, 120.0)),
    {"panic": 0.0},
    {"panic": 0.6},
    {"probe": None},
    {"probe": SETTINGS.probe},
    {"probe": Probe(interval=120, changing_interval=10, rise=1, fall=1, initial="probe")},
    {"ejection": SETTINGS.ejection},
    {"ejection": Ejection(consecutive=2, base=30, longest=90, share=0.34, statuses=("500-599",))},
    {"ejection": Ejection(consecutive=0, ratio=0.3, window=60, minimum=4, base=20, share=1.0)},
    {"retry": SETTINGS.retry},
    {"retry": Retry(attempts=0)},
    {"retry": Retry(attempts=5, floor=3)},
    {"hash": Hash(key="path", load=0.0)},
    {"sticky": None},
    {"sticky": Sticky()},
]
KINDS = {"added", "changed", "ready", "draining", "drained", "maintenance", "removed"} | {
    *("up", "down", "ejected", "trial", "admitted"),
}
OUTCOMES = frozenset(("ejected", "trial", "admitted"))
VERDICTS = frozenset(("up", "down"))


class Caller(Request):
    """A request and its client; `step` counts decisions about it, so that a stale event can be recognised."""

    pool: Pool
    urgency = 3

    def __init__(self, number: int, day: "Day") -> None:
        super().__init__(f"r{number}", f"192.0.2.{number % 7}", priority=b"u=%d" % (number % 3 + 2))
        self.target = b"/%d" % (number % 11)
        self.number = number
        self.day = day
        self.tried: tuple[Backend, ...] = ()
        self.ticket: Ticket | None = None
        self.began = 0.0
        self.step = 0
        self.is_over = False

    def cut(self) -> None:
        """End a little later, as a cancelled task does."""
        self.cuts += 1
        self.day.later(CUT, partial(self.day.leaves, self))

    def __hash__(self) -> int:
        """The same in each run, so that the order of a set is the same too."""
        return self.number


class Day:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.registry = Registry(self.clock, self.random.random, lambda _file: b"k" * 32)
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.ends = self.clock.now + DAY
        self.told: Counter[str] = Counter()
        self.lately: deque[str] = deque(maxlen=12)
        self.last: dict[tuple[Backend, frozenset[str]], str] = {}
        self.held: dict[Caller, Backend] = {}
        self.lines: dict[str, list[Caller]] = {"default": [], "other": []}
        self.gone: list[Backend] = []
        self.drains: dict[Drain, float] = {}
        self.condition: dict[Backend, str] = {}
        self.was_in_flight: Counter[Backend | Pool] = Counter()
        self.is_time_up = False
        self.due = inf
        self.registry.subscribe(self._hear, self._hear_pool)
        for name in self.lines:
            self.registry.add_pool(name, SETTINGS if name == "default" else UNPROBED)
            for _ in range(4):
                self.add(name)

    # -- time ------------------------------------------------------------------------------------------

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.clock.now + seconds, do)

    def at(self, instant: float, do: Callable[[], None]) -> None:
        heappush(self.heap, (instant, next(self.numbers), do))

    def every(self, seconds: float, do: Callable[[], None]) -> None:
        """Again and again until the day is over, with random pauses of this average."""

        def again() -> None:
            if self.clock.now < self.ends:
                do()
                self.later(self.random.expovariate(1 / seconds), again)

        self.later(self.random.expovariate(1 / seconds), again)

    def run(self) -> None:
        self.every(BURST_EVERY, self.burst)
        self.every(MISHAP_EVERY, self.mishap)
        self.every(OPERATOR_EVERY, self.operate)
        while self.heap:
            self.clock.now, _, do = heappop(self.heap)
            do()
            while self.is_time_up:
                self.keep_time()
            self.check()
        self.check_the_end()

    def keep_time(self) -> None:
        """Call `expire` as the task that keeps the time does: after each event, and when something is due."""
        self.is_time_up, self.due = False, inf
        due = self.registry.expire(self.clock.now)
        if due is not None:
            assert due > self.clock.now
            self.due = due
            self.at(due, partial(self.time_has_come, due))

    def time_has_come(self, due: float) -> None:
        """Unless `expire` has returned another instant meanwhile."""
        self.is_time_up = self.due == due

    # -- what is told ----------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.lately.append(f"{self.clock.now:.3f} {text}")

    def _hear(self, event: Event) -> None:
        backend, kind = event.backend, event.kind
        self.told[kind] += 1
        self.note(f"{backend.id} {kind}: {event.detail}")
        self.is_time_up = True
        for kinds in (OUTCOMES, VERDICTS):
            if kind in kinds:
                assert not backend.removed, f"{kind} is told of {backend.id}, which has left"
                assert event.detail
                assert self.last.get((backend, kinds)) != kind, f"{backend.id} {kind} is told twice"
                self.last[backend, kinds] = kind
        if kind == "added":
            self.condition[backend] = "well"
            self.later(self.random.random(), partial(self.tick, backend))
        if kind == "removed":
            self.gone.append(backend)

    def _hear_pool(self, event: PoolEvent) -> None:
        self.told[event.kind] += 1
        self.note(f"{event.pool.name} {event.kind}: {event.detail}")
        if event.kind == "configured" and "probe" in event.detail:
            for backend in event.pool.backends:  # without a probe there is no verdict; a new one begins anew
                self.last.pop((backend, VERDICTS), None)
        self.is_time_up = True

    # -- backends, probes and operators ----------------------------------------------------------------

    def one(self) -> Backend:
        return self.random.choice(list(self.registry.backends.values()))

    def mishap(self) -> None:
        """A backend breaks, and is well again some time later."""
        backend = self.one()
        self.condition[backend] = self.random.choice(("crashed", "crashed", "silent", "slow", "ill", "ill"))
        self.note(f"{backend.id} is {self.condition[backend]}")
        self.later(self.random.expovariate(1 / ILL_FOR), partial(self.recover, backend))

    def recover(self, backend: Backend) -> None:
        self.condition[backend] = "well"

    def tick(self, backend: Backend) -> None:
        if backend.removed or self.clock.now > self.ends:
            return
        pause = 60.0
        if backend.health is not None:
            fails = self.condition[backend] not in ("well", "slow")
            check = Check(not fails, self.condition[backend], 0.1, self.clock.now)
            self.registry.checked(backend, check)
            pause = backend.health.pause(self.random.random())
        self.later(pause, partial(self.tick, backend))

    def operate(self) -> None:
        wishes = [self.drain, self.maintain, self.leave, self.change, self.exchange, self.configure]
        do = self.random.choice(
            [*wishes, self.drain, self.change, self.configure, *[self.ready, self.enter] * 3]
        )
        do()

    def add(self, pool: str) -> None:
        name = f"b{next(self.numbers)}"
        cap = self.random.choice((1, 2, 2, 3, None))
        is_backup = self.random.random() < 0.1
        self.registry.add(spec(name, self.random.choice((1, 1, 2, 5)), cap, backup=is_backup), pool)

    def enter(self) -> None:
        name = min(self.lines, key=lambda name: len(self.registry.pool(name).backends))
        if len(self.registry.pool(name).backends) < 6:
            self.add(name)

    def drain(self) -> None:
        then = self.random.choice((*Then, None))
        drain = self.registry.drain(self.one(), self.random.choice((0.0, 2.0, 10.0, 60.0, None)), then)
        self.drains[drain] = self.clock.now + 60

    def ready(self) -> None:
        unready = [backend for backend in self.registry.backends.values() if not backend.is_ready]
        self.registry.ready(self.random.choice(unready) if unready else self.one())

    def maintain(self) -> None:
        self.registry.maintenance(self.one())

    def leave(self) -> None:
        if len(self.registry.backends) > 4:
            self.registry.remove(self.one())

    def change(self) -> None:
        backend = self.one()
        weight, cap = self.random.choice((0, 1, 1, 2, 5)), self.random.choice((1, 2, 3, None))
        self.registry.change(backend, replace(backend.spec, weight=weight, max_in_flight=cap))

    def exchange(self) -> None:
        pool = self.registry.pool(self.random.choice(list(self.lines)))
        kept = [backend.spec for backend in pool.backends if self.random.random() < 0.7]
        new = [spec(f"b{next(self.numbers)}", cap=2) for _ in range(max(0, 3 - len(kept)))]
        for backend in self.registry.replace(pool.name, kept + new, 10.0):
            assert backend.drain is not None
            self.drains[backend.drain] = self.clock.now + 60

    def configure(self) -> None:
        pool = self.registry.pool(self.random.choice(list(self.lines)))
        self.registry.configure(pool, replace(pool.settings, **self.random.choice(CHANGES)))

    # -- requests --------------------------------------------------------------------------------------

    def burst(self) -> None:
        """Many requests come at once, and more goes wrong than at other times."""
        together = [self.operate] * 4 + [self.mishap] * 2 + [self.arrive] * self.random.randrange(2 * BURST)
        for do in together:
            self.later(self.random.uniform(0, BURST_SECONDS), do)

    def arrive(self) -> None:
        caller = Caller(next(self.numbers), self)
        caller.pool = self.registry.pool(self.random.choice(list(self.lines)))
        caller.pool.budget.request(self.clock.now)
        if caller.pool.settings.sticky is not None and self.random.random() < 0.5:
            self.give_cookie(caller)
        if self.random.random() < 0.2:
            self.later(self.random.expovariate(1 / SERVICE), partial(self.leaves, caller))
        self.choose(caller)

    def give_cookie(self, caller: Caller) -> None:
        """Give the client the cookie of one of the backends."""
        sticky, backend = caller.pool.sticky, self.random.choice([*caller.pool.backends] or [self.one()])
        assert sticky is not None
        line = sticky.cookie_line(caller, backend)
        name, _, value = line.partition(b": ")[2].partition(b";")[0].partition(b"=")
        caller.jar[name] = [value]

    def choose(self, caller: Caller) -> None:
        caller.step += 1
        if caller.is_over:
            return
        backend, _ = caller.pool.take(caller, caller.tried)
        if backend is not None:
            self.granted(caller, backend)
            self.attempt(caller, backend)
            return
        by_field = caller.pool.settings.priority_field is not None
        caller.urgency = caller.number % 3 + 2 if by_field else 3
        try:
            caller.ticket = caller.pool.queue(caller, caller.tried, partial(self.woken, caller))
        except Unavailable as exc:
            self.over(caller, type(exc).__name__)
        else:
            line = self.lines[caller.pool.name]
            line.append(caller)
            line.sort(key=lambda each: each.urgency)
            self.later(QUEUE_SECONDS, partial(self.waited, caller, caller.step))

    def woken(self, caller: Caller) -> None:
        """The task of the request goes on a little later."""
        assert caller.ticket is not None
        if caller.ticket.backend is not None:
            assert caller.ticket.turn is Turn.GRANTED
            self.granted(caller, caller.ticket.backend)
        else:
            assert caller.ticket.turn is Turn.REFUSED
        self.lines[caller.pool.name].remove(caller)
        self.later(0, partial(self.go_on, caller, caller.step))

    def go_on(self, caller: Caller, step: int) -> None:
        ticket = caller.ticket
        if caller.is_over or caller.step != step or ticket is None:
            return
        if ticket.backend is None:
            self.over(caller, "refused")
            return
        ticket.turn, caller.ticket = Turn.LEFT, None
        self.attempt(caller, ticket.backend)

    def waited(self, caller: Caller, step: int) -> None:
        if caller.step == step and caller.ticket is not None:
            self.leaves(caller, "waited too long")

    def attempt(self, caller: Caller, backend: Backend) -> None:
        caller.step += 1
        caller.began = self.clock.now
        caller.tried = (*caller.tried, backend)
        condition = self.condition[backend]
        if condition in ("crashed", "silent"):
            seconds = 0.001 if condition == "crashed" else NO_ANSWER
            self.later(seconds, partial(self.failed, caller, caller.step, condition))
        else:
            slower = 20 if condition == "slow" else 1
            seconds = self.random.expovariate(1 / SERVICE) * slower
            self.later(seconds, partial(self.answered, caller, caller.step))

    def answered(self, caller: Caller, step: int) -> None:
        if caller.is_over or caller.step != step:
            return
        backend, pool = caller.tried[-1], caller.pool
        if self.condition[backend] == "crashed":
            self.failed(caller, step, "it hung up")
            return
        status = 503 if self.condition[backend] == "ill" else 200
        pool.answered(backend, status, self.clock.now - caller.began, self.clock.now)
        if status in pool.retried_codes and self.may_go_elsewhere(caller):
            self.release(caller)
            self.choose(caller)
            return
        self.later(self.random.expovariate(1 / BODY), partial(self.ended, caller, step))

    def ended(self, caller: Caller, step: int) -> None:
        if not caller.is_over and caller.step == step:
            self.leaves(caller, "answered")

    def failed(self, caller: Caller, step: int, why: str) -> None:
        if caller.is_over or caller.step != step:
            return
        caller.pool.failed(caller.tried[-1], why, self.clock.now - caller.began, self.clock.now)
        goes_on = self.may_go_elsewhere(caller)
        self.release(caller)
        caller.step += 1
        if not goes_on:
            self.over(caller, "failed")
        elif len(caller.tried) > 1:
            self.later(0.025, partial(self.choose, caller))
        else:
            self.choose(caller)

    def may_go_elsewhere(self, caller: Caller) -> bool:
        pool, tried = caller.pool, caller.tried
        is_another_left = any(
            backend not in tried and (backend.why_not() is None or backend.is_worth_waiting_for)
            for backend in pool.backends
        )
        enough = len(tried) > pool.settings.retry.attempts
        return not enough and is_another_left and pool.budget.spend(self.clock.now)

    def release(self, caller: Caller) -> None:
        caller.pool.release(self.held.pop(caller), caller)

    def leaves(self, caller: Caller, why: str = "left") -> None:
        """Whether it waits, runs, or pauses before a retry."""
        if caller.is_over:
            return
        if caller.ticket is not None:
            if caller.ticket.turn is Turn.WAITING:
                self.lines[caller.pool.name].remove(caller)
            self.held.pop(caller, None)
            caller.pool.leave_queue(caller.ticket)
        elif caller in self.held:
            self.release(caller)
        self.over(caller, why)

    def over(self, caller: Caller, how: str) -> None:
        assert caller not in self.held
        caller.is_over = True
        self.told[how] += 1

    # -- promises --------------------------------------------------------------------------------------

    def granted(self, caller: Caller, backend: Backend) -> None:
        """It may have the backend, and no request that waits in front of it could have had it."""
        assert caller not in self.held
        assert caller in backend.running
        assert not backend.removed
        assert backend not in caller.tried
        self.held[caller] = backend
        cap = self.cap(backend)
        assert cap is None or backend.in_flight <= cap
        if not backend.is_open:
            assert backend.drain is not None, f"{backend.id} takes no request"
            assert backend.drain.keeps_clients, f"{backend.id} drains"
            return
        line = self.lines[caller.pool.name]
        for other in line[: line.index(caller)] if caller in line else line:
            assert backend in other.tried, f"{caller} has overtaken {other}"

    def cap(self, backend: Backend) -> int | None:
        is_panicking = self.registry.pool(backend.pool).is_panicking
        is_tried = backend.outcomes.standing is Standing.TRIAL and not is_panicking
        return backend.trial_places if is_tried else backend.spec.max_in_flight

    def check(self) -> None:
        running = Counter(self.held.values())
        self.gone = [backend for backend in self.gone if backend.running]
        for pool in self.registry.pools.values():
            gone = [backend for backend in self.gone if backend.pool == pool.name]
            everywhere = [*pool.backends, *gone]
            assert pool.in_flight == sum(backend.in_flight for backend in everywhere)
            for backend in everywhere:
                assert backend.in_flight == running[backend]
            for backend in pool.backends:
                self.check_backend(backend)
            self.check_share(pool)
            self.check_line(pool)
            self.never_above(pool, pool.in_flight, pool.cap)

    def check_backend(self, backend: Backend) -> None:
        self.never_above(backend, backend.in_flight, self.cap(backend))
        outcomes, drain, now = backend.outcomes, backend.drain, self.clock.now
        is_trusted = backend.is_fit or self.registry.pool(backend.pool).is_panicking
        assert backend.is_open is (backend.is_ready and is_trusted)
        is_up = backend.health is None or backend.health.verdict is Verdict.UP
        is_out = outcomes.standing is Standing.EJECTED
        assert not (is_out and is_up) or outcomes.until >= now, "its trial is late"
        assert not backend.ramp_until or backend.ramp_until >= now, "its weight is late"
        assert drain is None or drain.outcome is not None or drain.deadline >= now, "its drain is late"

    def never_above(self, what: Backend | Pool, in_flight: int, cap: int | None) -> None:
        """A cap that was lowered cuts no request, but lets none in."""
        if cap is not None:
            assert in_flight <= max(cap, self.was_in_flight[what])
        self.was_in_flight[what] = in_flight

    def check_share(self, pool: Pool) -> None:
        ready = [backend for backend in pool.backends if backend.is_ready]
        ejected = [backend for backend in ready if backend.outcomes.standing is Standing.EJECTED]
        out = len(ejected)
        is_any_up = any(b.health is None or b.health.verdict is Verdict.UP for b in ejected)
        assert not is_any_up or out / len(ready) <= pool.settings.ejection.share
        fit = sum(backend.is_fit for backend in ready)
        assert pool.is_panicking is (bool(ready) and fit < pool.settings.panic * len(ready))

    def check_line(self, pool: Pool) -> None:
        """No request waits for a backend that is available, or for one that never will be."""
        line = self.lines[pool.name]
        assert pool.waiting == len(line)
        for caller in line:
            left = [backend for backend in pool.backends if backend not in caller.tried]
            assert pool.is_full or all(backend.why_not() is not None for backend in left), caller
            assert any(b.is_worth_waiting_for or (b.is_open and pool.is_full) for b in left), caller

    def check_the_end(self) -> None:
        assert not self.held
        assert not any(self.lines.values())
        assert not self.gone
        assert all(pool.in_flight == pool.waiting == 0 for pool in self.registry.pools.values())
        assert self.registry.expire(self.clock.now) is None
        for drain, latest in self.drains.items():
            assert drain.ended is not None
            assert drain.ended <= latest + CUT + 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_keeps_every_promise(seed: int) -> None:
    day = Day(seed)
    try:
        day.run()
    except Exception as exc:
        exc.add_note("\n".join([f"LB_SEED={seed}", *day.lately]))
        raise
    assert day.told.keys() >= KINDS
    assert sum(day.told[kind] for kind in KINDS) > 2000
    assert day.told["answered"] > 1000
