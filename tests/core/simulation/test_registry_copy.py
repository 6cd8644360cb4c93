"""A registry to try things on: what happens there is not real."""

from lb.core.drain import Then
from lb.core.simulation.registry_copy import rehearsal
from lb.settings.pool_settings import PoolSettings
from tests.core.scene import Request, Scene, spec


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

    twin = rehearsal(scene.registry)
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
    twin = rehearsal(scene.registry)
    assert twin.revision == scene.registry.revision
    for name in ("a", "b"):
        real, stage = scene[name], twin.backend(name)
        assert (stage.spec, stage.state, stage.in_flight) == (real.spec, real.state, real.in_flight)
        assert stage is not real
    drain = twin.backend("a").drain
    assert drain is not None
    assert (drain.then, drain.started_with) == (Then.REMOVE, 1)
