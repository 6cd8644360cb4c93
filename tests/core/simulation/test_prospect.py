"""What would be available is counted as it comes when the change is made."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.simulation import prospect
from lb.core.simulation.registry_copy import copying
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import Ejection
from lb.slices import at_once
from tests.core.scene import Scene, spec

NAMES = "abcde"
ACTS: tuple[Callable[[Scene, str], object], ...] = (
    lambda scene, name: scene.occupy(name, 1) if scene[name].why_not() is None else None,
    lambda scene, name: scene.registry.maintenance(scene[name]),
    lambda scene, name: scene.registry.drain(scene[name], 60),
    lambda scene, name: scene.registry.drain(scene[name], 60, Then.REMOVE) if scene[name].running else None,
    lambda scene, name: fails(scene, name),
    lambda scene, name: scene.registry.change(scene[name], spec(name, weight=0)),
)


def fails(scene: Scene, name: str) -> None:
    for _ in range(3):
        scene.pool.failed(scene[name], "reset", 0.1, scene.clock.now)


def available(backends: dict[Backend, None]) -> int:
    return sum(each.why_not() is None for each in backends)


@given(
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(NAMES)), max_size=8),
    panic=st.sampled_from([0.0, 0.5, 1.0]),
    share=st.sampled_from([0.2, 0.5, 1.0]),
    gone=st.sampled_from(NAMES),
)
def test_without_one(
    acts: list[tuple[Callable[[Scene, str], object], str]], panic: float, share: float, gone: str
) -> None:
    scene = Scene(*(spec(name, cap=2) for name in NAMES), panic=panic, ejection=Ejection(share=share))
    for act, name in acts:
        act(scene, name)
    left = at_once(prospect.without(scene.pool, scene[gone]))
    twin = at_once(copying(scene.registry))
    twin.maintenance(twin.backend(gone))
    assert left == available(twin.pool("default").backends)


@given(
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(NAMES)), max_size=8),
    panic=st.sampled_from([0.0, 0.5, 1.0]),
    wanted=st.lists(
        st.tuples(st.sampled_from([*NAMES, "x"]), st.sampled_from([0, 1, 2]), st.sampled_from([None, 1])),
        unique_by=lambda each: each[0],
    ),
)
def test_with_a_set(
    acts: list[tuple[Callable[[Scene, str], object], str]],
    panic: float,
    wanted: list[tuple[str, int, int | None]],
) -> None:
    scene = Scene(*(spec(name, cap=2) for name in NAMES), panic=panic, ejection=Ejection(share=1.0))
    for act, name in acts:
        act(scene, name)
    specs = [
        BackendSpec(id=name, url=f"http://{name}.test", weight=weight, max_in_flight=cap)
        for name, weight, cap in wanted
    ]
    found = scene.registry.backends.get
    counted = at_once(prospect.with_set(scene.pool, [prospect.Wanted(each, None) for each in specs], found))
    twin = at_once(copying(scene.registry))
    twin.replace("default", specs, 60)
    assert counted == available(twin.pool("default").backends)


@pytest.mark.parametrize(("state", "count"), [(AdminState.READY, 2), (None, 1), (AdminState.MAINTENANCE, 1)])
def test_a_set_may_say_states(state: AdminState | None, count: int) -> None:
    scene = Scene(spec("a"), spec("b"))
    scene.registry.maintenance(scene["a"])
    wanted = [prospect.Wanted(scene["a"].spec, state), prospect.Wanted(scene["b"].spec, None)]
    assert at_once(prospect.with_set(scene.pool, wanted, scene.registry.backends.get)) == count
