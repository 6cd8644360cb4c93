"""What workers report, added up: the sums are what was counted, whatever becomes of the workers."""

import gc
from collections import Counter
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lb.certificate_files.handshake_log import MOST_KEPT, HandshakeLog
from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.mirror import Mirror, state_of, state_of_pool
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.registry import Registry
from lb.errors import Reason
from lb.observe.counters import Metrics
from lb.settings.pool_settings import Hash, PoolSettings
from lb.tls.refusal import HandshakeReason, Known, refusal
from lb.workers.report import AnyPart, OfBackend, OfHandshakes, OfProcess, Reporter
from lb.workers.sums import Sums, WorkerTotals
from tests.core.scene import Clock, Request, registry, spec

NAMES = ("a", "b")


class Process:
    """One process of a worker without its traffic: the registry that it mirrors, and what it counts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.registry = registry(clock)
        self.mirror = Mirror(self.registry, Mock())
        self.metrics = Metrics()
        self.lines_lost = Counter[str]()
        self.reporter = Reporter(self.registry, self.metrics, self.lines_lost)
        self.running: list[tuple[Backend, Request]] = []

    def follow(self, truth: Registry) -> None:
        names = (*self.registry.backends, *truth.backends)
        pools = [state_of_pool(truth, name) for name in truth.pools]
        self.mirror.take([*pools, *(state_of(truth, name) for name in dict.fromkeys(names))])

    def report(self) -> list[AnyPart]:
        return [part for part in self.reporter.parts() if part is not None]

    def begin(self, name: str) -> None:
        """A request over a new connection."""
        backend, request = self.registry.backends[name], Request()
        counts = self.metrics.listener("front")
        counts.accepted += 1
        counts.open += 1
        counts.in_flight += 1
        backend.running.add(request)
        self.registry.pools[backend.pool].in_flight += 1
        backend.connections += 1
        backend.connections_opened += 1
        self.running.append((backend, request))

    def end(self, status: int, took: float, reason: Reason | None = None) -> Backend:
        """The request that has run longest ends, and with it its connections."""
        backend, request = self.running.pop(0)
        counts = self.metrics.listener("front")
        counts.open -= 1
        counts.in_flight -= 1
        self.registry.pools[backend.pool].release(backend, request)
        backend.connections -= 1
        made = ExchangeRecord(b"1", "front", "client", self.clock())
        made.pool, made.method, made.status = backend.pool, b"GET", status
        made.ended, made.reason = self.clock() + took, reason
        made.request_bytes, made.response_bytes, made.queued = 3, 5, took
        attempt = AttemptRecord(backend, NONE_PASSED_OVER, self.clock())
        attempt.connected = attempt.first_byte = self.clock() + took / 2
        attempt.reason = reason
        made.attempts = [attempt]
        self.metrics.finished(made)
        return backend


class Keeper:
    """The sums of several workers, each with one process at a time."""

    def __init__(self, count: int, *, names: tuple[str, ...] = NAMES, **pool: Any) -> None:
        self.clock = Clock()
        self.registry = registry(self.clock)
        self.registry.add_pool("default", PoolSettings(**pool))
        for name in names:
            self.registry.add(spec(name))
        self.metrics = Metrics()
        self.lines_lost = Counter[str]()
        self.totals = [WorkerTotals() for _ in range(count)]
        self.processes: list[Process] = []
        self.sums: list[Sums] = []
        for number in range(count):
            self._start(number)

    def _start(self, number: int) -> None:
        process = Process(self.clock)
        process.follow(self.registry)
        self.processes.insert(number, process)
        sums = Sums(self.registry, self.metrics, self.totals[number], self.lines_lost)
        self.sums.insert(number, sums)

    def reports(self, number: int) -> list[AnyPart]:
        parts = self.processes[number].report()
        self.sums[number].add(parts)
        return parts

    def restart(self, number: int) -> None:
        self.sums.pop(number).take_back()
        self.processes.pop(number)
        self._start(number)

    def backend(self, name: str) -> Backend:
        return self.registry.backends[name]


def figures(metrics: Metrics) -> dict[str, Any]:
    """All counters of these metrics, as plain values."""
    return {
        "answers": {key: dict(flow.answers) for key, flow in metrics.flows.items()},
        "durations": {key: flow.durations.counts for key, flow in metrics.flows.items()},
        "bytes": {key: (flow.request_bytes, flow.response_bytes) for key, flow in metrics.flows.items()},
        "failures": dict(metrics.failures),
        "retries": dict(metrics.retries),
        "accepted": {name: counts.accepted for name, counts in metrics.listeners.items()},
        "connects": {pool: histogram.counts for pool, histogram in metrics.connect_durations.items()},
        "waits": {pool: histogram.counts for pool, histogram in metrics.queue_waits.items()},
        "lags": metrics.loop_lags.counts,
        "evicted": metrics.connections_evicted,
    }


def gauges(registry: Registry) -> dict[str, tuple[int, ...]]:
    """What runs and what is open, of each backend and each pool."""
    backends = {
        name: (each.in_flight, each.connections, each.idle_connections)
        for name, each in registry.backends.items()
    }
    return {**backends, **{f"pool {name}": (pool.in_flight,) for name, pool in registry.pools.items()}}


def flat(tree: object, path: tuple[object, ...] = ()) -> dict[tuple[object, ...], int]:
    """The counts of nested dictionaries and lists, by where they are."""
    if isinstance(tree, dict):
        return {place: n for key, below in tree.items() for place, n in flat(below, (*path, key)).items()}
    if isinstance(tree, list | tuple):
        return {place: n for i, below in enumerate(tree) for place, n in flat(below, (*path, i)).items()}
    assert isinstance(tree, int)
    return {path: tree}


class Sameness(RuleBasedStateMachine):
    """The keeper against one that was told of each exchange at once, and of none that was lost."""

    @initialize()
    def begin(self) -> None:
        self.keeper = Keeper(3)
        self.lasting = {name: Counter[int]() for name in NAMES}
        self.unreported: list[list[tuple[Backend, int]]] = [[], [], []]
        self.answered = Counter[int]()
        self.before: dict[tuple[object, ...], int] = {}

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES))
    def request(self, number: int, name: str) -> None:
        process = self.keeper.processes[number]
        if name in process.registry.backends:
            process.begin(name)

    @rule(number=st.integers(0, 2), status=st.sampled_from([200, 503]), took=st.sampled_from([0.001, 0.2]))
    def response(self, number: int, status: int, took: float) -> None:
        process = self.keeper.processes[number]
        if process.running:
            self.unreported[number].append((process.end(status, took), status))

    @rule(number=st.integers(0, 2))
    def report(self, number: int) -> None:
        self.keeper.reports(number)
        for counted, status in self.unreported[number]:
            self.answered[status] += 1
            there = self.keeper.registry.backends.get(counted.id)
            if there is not None and there.serial == counted.serial and not counted.removed:
                self.lasting[counted.id][status] += 1
        self.unreported[number] = []

    @rule(number=st.integers(0, 2))
    def kill(self, number: int) -> None:
        self.keeper.restart(number)
        self.unreported[number] = []

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if name in self.keeper.registry.backends:
            self.keeper.registry.remove(self.keeper.backend(name))

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: str) -> None:
        if name not in self.keeper.registry.backends:
            self.keeper.registry.add(spec(name))
            self.lasting[name] = Counter()

    @rule(number=st.integers(0, 2))
    def tell(self, number: int) -> None:
        self.keeper.processes[number].follow(self.keeper.registry)

    @invariant()
    def no_counter_goes_back(self) -> None:
        now = flat(figures(self.keeper.metrics))
        assert all(now[place] >= count for place, count in self.before.items())
        self.before = now

    @invariant()
    def nothing_is_counted_twice_or_lost(self) -> None:
        flow = self.keeper.metrics.flows.get(("front", "default"))
        answers = {} if flow is None else flow.answers
        assert {code: n for (_, code), n in answers.items()} == self.answered
        assert sum(totals.requests for totals in self.keeper.totals) == self.answered.total()

    @invariant()
    def a_backend_has_what_was_counted_for_it(self) -> None:
        for name, backend in self.keeper.registry.backends.items():
            assert backend.codes == self.lasting[name]

    @precondition(lambda self: all(not process.running for process in self.keeper.processes))
    @rule()
    def at_rest(self) -> None:
        for number in range(3):
            self.report(number)
        assert set(flat(gauges(self.keeper.registry)).values()) <= {0}

    def teardown(self) -> None:
        for number, process in enumerate(self.keeper.processes):
            while process.running:
                self.response(number, 200, 0.001)
        self.at_rest()


TestSameness = Sameness.TestCase
TestSameness.settings = settings(max_examples=60, stateful_step_count=30)


def test_one_report_has_everything() -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]
    process.begin("a")
    process.begin("b")
    process.end(502, 0.2, Reason.CONNECTION_REFUSED)
    process.metrics.retries["default", Reason.CONNECTION_REFUSED] += 1
    process.metrics.listener("front").rejected["address_limit"] += 2
    process.metrics.loop_lag(0.004)
    process.metrics.connections_evicted = 3
    process.lines_lost["access"] = 4
    pool = process.registry.pools["default"]
    pool.hedged, pool.budget.spent, pool.budget.exhausted = 5, 6, 7
    keeper.reports(0)
    assert figures(keeper.metrics) == figures(process.metrics)
    assert keeper.metrics.listeners["front"].rejected == {"address_limit": 2}
    assert gauges(keeper.registry) == gauges(process.registry)
    assert keeper.lines_lost == {"access": 4}
    theirs, ours = process.registry.backends["a"], keeper.backend("a")
    assert (ours.codes, ours.failures, ours.response_start.counts) == (
        (theirs.codes, theirs.failures, theirs.response_start.counts)
    )
    assert ours.response_start.total == pytest.approx(theirs.response_start.total)
    assert (ours.connections_opened, keeper.backend("b").connections_opened) == (1, 1)
    shown = keeper.registry.pools["default"]
    assert (shown.hedged, shown.budget.spent, shown.budget.exhausted) == (5, 6, 7)
    assert (keeper.sums[0].connections, keeper.totals[0].requests) == (1, 1)


def test_what_has_not_changed_is_not_reported() -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]
    process.begin("a")
    process.end(200, 0.1)
    assert len(keeper.reports(0)) > 1
    assert [type(part) for part in keeper.reports(0)] == [OfProcess]
    process.registry.backends["b"].idle_connections += 1
    assert [type(part) for part in keeper.reports(0)] == [OfProcess]  # it never had a connection
    process.registry.backends["b"].connections_opened += 1
    assert [type(part) for part in keeper.reports(0)] == [OfProcess, OfBackend]


def test_the_gauges_of_one_that_ended_are_taken_back_and_no_others() -> None:
    keeper = Keeper(2)
    for process in keeper.processes:
        process.begin("a")
        process.metrics.held.count = 10
    keeper.reports(0)
    keeper.reports(1)
    assert gauges(keeper.registry)["a"] == (2, 2, 0)
    assert keeper.metrics.held.count == 20
    keeper.restart(0)
    assert gauges(keeper.registry) == {"a": (1, 1, 0), "b": (0, 0, 0), "pool default": (1,)}
    assert keeper.metrics.held.count == 10
    counts = keeper.metrics.listeners["front"]
    assert (counts.accepted, counts.open, counts.in_flight) == (2, 1, 1)


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_namesake_gets_nothing_of_the_one_before(is_heard: bool) -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]
    process.begin("a")
    process.end(200, 0.1)
    keeper.registry.remove(keeper.backend("a"))
    keeper.registry.add(spec("a"))
    if is_heard:  # both at once, as when the worker was busy meanwhile
        process.follow(keeper.registry)
    keeper.reports(0)
    assert not keeper.backend("a").codes
    process.follow(keeper.registry)
    process.begin("a")
    process.end(404, 0.1)
    keeper.reports(0)
    assert keeper.backend("a").codes == {404: 1}


def test_a_backend_that_went_idle_is_idle_at_once() -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]
    process.begin("a")
    keeper.reports(0)
    keeper.sums[0].went_idle(keeper.backend("a"))
    assert gauges(keeper.registry)["a"] == (0, 1, 0)
    process.end(200, 0.1)
    keeper.reports(0)
    assert gauges(keeper.registry)["a"] == (0, 0, 0)


def test_what_waits_elsewhere_is_in_the_queue_but_not_served_here() -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]
    process.registry.pools["default"].request_queue.waiting = 3
    keeper.reports(0)
    pool = keeper.registry.pools["default"]
    assert (pool.waiting, pool.request_queue.waiting) == (3, 0)
    pool.reconsider()
    keeper.restart(0)
    assert pool.waiting == 0


def test_a_cap_is_full_where_others_fill_it() -> None:
    keeper = Keeper(1, names=())
    keeper.registry.add(spec("a", cap=1))
    keeper.processes[0].follow(keeper.registry)
    keeper.processes[0].begin("a")
    keeper.reports(0)
    assert keeper.backend("a").why_not() == "full 1/1"


def test_the_budget_looks_back_at_all_requests() -> None:
    keeper = Keeper(2)
    budget = keeper.registry.pools["default"].budget
    floor = budget.left(keeper.clock())
    for number in range(2):
        for _ in range(50):
            keeper.processes[number].begin("a")
            keeper.processes[number].end(200, 0.1)
        keeper.reports(number)
    earned = int(100 * keeper.registry.pools["default"].settings.retry.budget)
    assert budget.left(keeper.clock()) == floor + earned


class Failing:
    """A policy of the operator's own that fails."""

    def choose(self, _candidates: object, _request: object) -> Backend:
        raise KeyError("nobody")


def test_a_policy_that_fails_there_is_told_of_here() -> None:
    keeper = Keeper(1, policy=f"{__name__}:Failing")
    told: list[tuple[str, str]] = []
    keeper.registry.subscribe(lambda _event: None, lambda event: told.append((event.kind, event.detail)))
    theirs = keeper.processes[0].registry.pools["default"]
    backend, _ = theirs.take(Request())
    assert backend is not None
    keeper.reports(0)
    assert told == [("policy failed", "KeyError: 'nobody'")]
    ours: Any = keeper.registry.pools["default"].policy
    assert (ours.failures, ours.last_failure) == (1, "KeyError: 'nobody'")


def test_another_policy_counts_from_the_beginning() -> None:
    keeper = Keeper(1, policy=f"{__name__}:Failing")
    process, ours = keeper.processes[0], keeper.registry.pools["default"]
    for _ in range(3):
        process.registry.pools["default"].take(Request())
    keeper.reports(0)
    keeper.registry.configure(ours, PoolSettings(policy=f"{__name__}:Failing", hash=Hash(key="path")))
    process.follow(keeper.registry)
    process.registry.pools["default"].take(Request())
    keeper.reports(0)
    policy: Any = ours.policy
    assert policy.failures == 1


def test_backends_that_are_gone_are_forgotten() -> None:
    keeper = Keeper(1)
    process = keeper.processes[0]

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, Backend) for each in gc.get_objects())

    def come_and_go(name: str) -> None:
        keeper.registry.add(spec(name))
        process.follow(keeper.registry)
        process.begin(name)
        process.end(200, 0.1)
        keeper.reports(0)
        keeper.registry.remove(keeper.backend(name))
        process.follow(keeper.registry)
        keeper.reports(0)

    before = kept()
    for number in range(20):
        come_and_go(f"more{number}")
    assert kept() - before <= 2 * 2 * len(NAMES)


def test_there_is_a_step_for_each_backend() -> None:
    names = tuple(f"b{number}" for number in range(500))
    process = Keeper(1, names=names).processes[0]
    process.begin("b7")
    steps = [*process.reporter.parts()]
    assert steps.count(None) == len(names) - 1 + len(["errors"])
    assert len(steps) == len(names) + len(["process", "listener", "errors", "pool"])


def test_handshakes_are_added_and_the_last_refusals_of_all_are_kept_in_their_order() -> None:
    clock, sum_of_all, totals = Clock(), HandshakeLog(), WorkerTotals()
    truth = registry(clock)
    logs = [HandshakeLog(), HandshakeLog()]
    reporters = [Reporter(truth, Metrics(), {}, log) for log in logs]
    sums = [Sums(truth, Metrics(), totals, {}, sum_of_all) for _ in logs]
    for number in range(3 * MOST_KEPT):
        log = logs[number % 2]
        log.refused(refusal(Known(at=number, peer="p", listener="front"), HandshakeReason.NOT_TLS))
        log.succeeded("front", "TLSv1.3", number % 3 == 0, 0.25)
        if number % 7 == 0:
            sums[number % 2].add(part for part in reporters[number % 2].parts() if part is not None)
    for each, reporter in zip(sums, reporters, strict=True):
        each.add(part for part in reporter.parts() if part is not None)
    assert sum_of_all.done == {("front", "TLSv1.3", True): 100, ("front", "TLSv1.3", False): 200}
    assert sum_of_all.failed == {("front", HandshakeReason.NOT_TLS): 300}
    assert (sum(sum_of_all.durations.counts), sum_of_all.durations.total) == (300, 75.0)
    assert [each.at for each in sum_of_all.last()] == [*range(3 * MOST_KEPT - 1, 2 * MOST_KEPT - 1, -1)]
    assert [part for part in reporters[0].parts() if isinstance(part, OfHandshakes)] == []
