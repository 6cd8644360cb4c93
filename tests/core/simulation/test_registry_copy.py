"""A registry to try things on: what happens there is not real."""

from lb.core.backend import AdminState
from lb.core.drain import Then
from lb.core.health.ejection import Cause
from lb.core.simulation.registry_copy import copying
from lb.errors import Reason
from lb.settings.pool_settings import PoolSettings, Probe
from lb.slices import at_once
from tests.core.scene import Request, Scene, spec, taken
from tests.kit.classes import attributes


def test_nothing_that_happens_there_is_real() -> None:
    scene = Scene(spec("a"), spec("b", cap=1), spec("c"))
    one, other = Request("one"), Request("other")
    scene["a"].running.add(one)
    scene["b"].running.add(other)
    told: list[str] = []
    scene.registry.drain(scene["b"], 60).when_ended(lambda: told.append("b"))
    scene.events.clear()
    before = [
        (each.id, each.admin_state, each.outcomes.standing) for each in scene.registry.backends.values()
    ]

    twin = at_once(copying(scene.registry))
    twin.maintenance(twin.backend("a"))
    twin.remove(twin.backend("b"))
    for _ in range(5):
        twin.pool("default").failed(twin.backend("c"), "reset", 0.1, scene.clock())
    twin.drain(twin.backend("c"), 0, Then.REMOVE)
    twin.configure(twin.pool("default"), PoolSettings(policy="ewma"))
    twin.expire(scene.clock() + 100)

    assert [*twin.backends] == ["a"]
    assert (one.cuts, other.cuts, told, scene.events) == (0, 0, [], [])
    assert [
        (each.id, each.admin_state, each.outcomes.standing) for each in scene.registry.backends.values()
    ] == before
    assert scene.pool.settings.policy == "round_robin"
    assert scene["c"].outcomes.ejections.total() == 0


def test_it_begins_in_the_same_state() -> None:
    scene = Scene(spec("a"), spec("b", 3))
    scene["a"].running.add(Request())
    scene.registry.drain(scene["a"], 60, Then.REMOVE)
    twin = at_once(copying(scene.registry))
    assert twin.revision == scene.registry.revision
    for name in ("a", "b"):
        real, stage = scene[name], twin.backend(name)
        assert (stage.spec, stage.state, stage.in_flight) == (real.spec, real.state, real.in_flight)
        assert stage is not real
    drain = twin.backend("a").drain
    assert drain is not None
    assert (drain.then, drain.started_with) == (Then.REMOVE, 1)


def test_the_copy_of_a_backend_has_all_of_it_but_what_runs_there() -> None:
    scene = Scene(spec("a", 3, cap=2), probe=Probe())
    real = scene["a"]
    real.outcomes.eject(Cause.RATIO, scene.clock(), "ill")
    real.admin_state, real.turn, real.idle_connections = AdminState.MAINTENANCE, 7, 2
    real.failures[Reason.CONNECTION_REFUSED] += 1
    stage = at_once(copying(scene.registry)).backend("a")
    for one, other in ((real, stage), (real.outcomes, stage.outcomes), (real.health, stage.health)):
        for name in set(attributes(type(one))) - {"tally", "roster", "running", "outcomes", "health", "cuts"}:
            assert getattr(one, name) == getattr(other, name), name


def test_the_policy_follows_none_of_the_copies() -> None:
    scene = Scene(spec("a"), spec("b"), spec("c"))
    taken(scene)
    twin = at_once(copying(scene.registry))
    twin.maintenance(twin.backend("a"))
    twin.remove(twin.backend("b"))
    scene.registry.maintenance(scene["a"])
    assert taken(scene) == {"b", "c"}
