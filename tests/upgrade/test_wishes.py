"""Whatever operators want of the program that runs, they want of the one that replaces it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lb.config import state_file
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.registry import Registry
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import Config, PoolConfig
from lb.settings.pool_settings import Probe
from lb.upgrade import wishes
from lb.upgrade.handover_messages import TakeOver, Wished
from tests.core.scene import Clock, Request
from tests.core.scene import registry as make_registry

A, B, C, D = (BackendSpec(id=name, url=f"http://{name}.test:80") for name in "abcd")
CONFIG = Config(
    pools={"default": PoolConfig(backends=(A, B)), "web": PoolConfig(backends=(C,), probe=Probe())}
)
WISHES = (
    "add",
    "change",
    "ready",
    "drain",
    "drain and remove",
    "drain and maintain",
    "maintenance",
    "remove",
)


class Side:
    """One of the two programs: a registry filled from the same file, and what it tells the other."""

    def __init__(self, clock: Clock) -> None:
        self.registry = _filled(make_registry(clock))
        self.control = Control(
            config=CONFIG,
            registry=self.registry,
            metrics=Metrics(),
            recorder=Recorder(),
            save=_not_saved,
            check=_not_checked,
            wall=lambda moment: moment,
        )
        self.told: list[Wished] = []

    def __getitem__(self, name: str) -> Backend:
        return self.registry.backend(name)

    def take(self, name: str) -> Request:
        """A request on this backend."""
        request = Request()
        backend = self[name]
        self.registry.pools[backend.pool].occupy(backend, request)
        return request

    def release(self, name: str, request: Request) -> None:
        backend = self[name]
        self.registry.pools[backend.pool].release(backend, request)


def _filled(registry: Registry) -> Registry:
    for name, pool in CONFIG.pools.items():
        registry.add_pool(name, pool.settings)
        for spec in pool.backends:
            registry.add(spec, name, "config")
    return registry


async def _not_saved() -> bool:
    return False


async def _not_checked(_backend: Backend) -> Check:
    raise AssertionError("nobody asks for a check")


def handed_over(old: Side, clock: Clock) -> tuple[Side, wishes.Heir]:
    """The new program, once it has taken over."""
    new = Side(clock)
    state_file.apply(state_file.changes(CONFIG.pools, old.registry), new.registry)
    wishes.believe(wishes.down(old.registry), new.registry)
    heir = wishes.Heir(new.control, new.told.append)
    message = msgspec.json.decode(msgspec.json.encode(wishes.take_over(old.control)), type=TakeOver)
    heir.take(message)
    return new, heir


def seen(side: Side) -> dict[str, object]:
    """What an operator sees of each backend, and of its drain."""
    now = side.registry.now()
    return {
        backend.id: (
            backend.spec,
            backend.pool,
            backend.admin_state,
            backend.in_flight,
            None if (drain := _running(backend)) is None else (drain[0] - now, *drain[1:]),
        )
        for backend in side.registry.backends.values()
    }


def _running(backend: Backend) -> tuple[float, Then, int, float] | None:
    drain = backend.drain
    if drain is None or drain.outcome is not None:
        return None
    return drain.deadline, drain.then, drain.started_with, drain.started


@given(st.lists(st.tuples(st.sampled_from(WISHES), st.sampled_from("abcd"), st.booleans())))
def test_any_wishes_are_those_of_the_new_program(steps: list[tuple[str, str, bool]]) -> None:
    clock = Clock()
    old = Side(clock)
    for wish, name, is_busy in steps:
        clock.now += 1
        _act(old, wish, name)
        if is_busy and name in old.registry.backends:
            old.take(name)
    clock.now += 1
    new, heir = handed_over(old, clock)
    assert seen(new) == seen(old)
    heir.all_ended()
    assert not any(backend.in_flight for backend in new.registry.backends.values())
    assert not any(pool.in_flight for pool in new.registry.pools.values())


def _act(side: Side, wish: str, name: str) -> None:
    registry = side.registry
    backend = registry.backends.get(name)
    if backend is None:
        if wish == "add":
            registry.add({"a": A, "b": B, "c": C, "d": D}[name], "web" if name == "c" else "default")
        return
    match wish:
        case "change":
            registry.change(backend, msgspec.structs.replace(backend.spec, weight=backend.spec.weight + 1))
        case "ready":
            registry.ready(backend)
        case "drain":
            registry.drain(backend, 100.0)
        case "drain and remove":
            registry.drain(backend, 100.0, Then.REMOVE)
        case "drain and maintain":
            registry.drain(backend, 100.0, Then.MAINTENANCE)
        case "maintenance":
            registry.maintenance(backend)
        case "remove":
            registry.remove(backend)


def test_a_drain_ends_with_the_last_request_of_either_program() -> None:
    clock = Clock()
    old = Side(clock)
    request = old.take("a")
    old.registry.drain(old["a"], 60.0, Then.REMOVE)
    new, heir = handed_over(old, clock)
    assert new["a"].state == "draining"
    old.release("a", request)
    assert wishes.in_flight(old.registry) == {}
    heir.count({"a": 0})
    assert "a" not in new.registry.backends


def test_the_balancers_own_drain_goes_on() -> None:
    clock = Clock()
    old = Side(clock)
    old.control.begin_drain()
    clock.now += 5
    new, _ = handed_over(old, clock)
    assert new.control.drain is not None
    assert new.control.drain.started == clock.now - 5


def test_what_probes_found_down_is_down_until_one_passes() -> None:
    clock = Clock()
    old = Side(clock)
    wishes.believe({"c": "connection refused", "a": "has no probe", "none": "is not there"}, old.registry)
    new, _ = handed_over(old, clock)
    health = new["c"].health
    assert health is not None
    assert (health.verdict, health.why) == (Verdict.DOWN, "connection refused")
    assert new["a"].health is None


def test_caps_hold_over_both_programs() -> None:
    clock = Clock()
    old = Side(clock)
    old.registry.change(old["a"], msgspec.structs.replace(A, max_in_flight=1))
    old.take("a")
    new, heir = handed_over(old, clock)
    assert new["a"].is_full
    heir.count({"a": 0})
    assert not new["a"].is_full


def test_a_wish_of_later_counts_in_the_old_program_too() -> None:
    clock = Clock()
    old = Side(clock)
    requests = {name: old.take(name) for name in "abc"}
    new, _ = handed_over(old, clock)
    new.registry.drain(new["a"], 7.0)
    new.registry.maintenance(new["b"])
    new.registry.drain(new["c"], 7.0)
    new.registry.ready(new["c"])
    for wish in new.told:
        wishes.heed(wish, old.registry)
    assert [old[name].admin_state for name in "abc"] == [
        AdminState.DRAINING,
        AdminState.MAINTENANCE,
        AdminState.READY,
    ]
    assert (drain := old["a"].drain) is not None
    assert drain.deadline == clock.now + 7
    assert {name: request.cuts for name, request in requests.items()} == {"a": 0, "b": 1, "c": 0}


def test_a_wish_for_a_backend_that_has_left_is_no_error() -> None:
    old = Side(Clock())
    old.registry.remove(old["a"])
    wishes.heed(Wished(backend="a", wish="removed"), old.registry)
