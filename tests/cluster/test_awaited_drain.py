"""A drain awaited over a cluster: sure only where each member has said that it has ended it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lb.cluster.awaited_drain import AwaitedDrain, Standing
from lb.cluster.member import About, Status

TTL = 10.0
R = 100
ONE, TWO = About(instance="i1"), About(instance="i2")
BOTH = {"lb-1": ONE, "lb-2": TWO}


def status(about: About, applied: int = R, **left: int) -> Status:
    return Status(instance=about.instance, applied=applied, left=left)


def drain() -> AwaitedDrain:
    return AwaitedDrain("web1", R, BOTH, TTL)


def test_it_is_over_when_all_have_ended_it() -> None:
    it = drain()
    assert it.look(BOTH, {"lb-1": status(ONE)}, 0.0) is None
    assert it.standings == {"lb-1": Standing.ENDED, "lb-2": Standing.DRAINS}
    assert not it.is_over
    it.look(BOTH, {"lb-1": status(ONE), "lb-2": status(TWO, R + 5)}, 1.0)
    assert it.is_over
    assert it.is_sure
    assert it.lost == []


def test_a_cluster_of_nobody_else() -> None:
    it = AwaitedDrain("web1", R, {}, TTL)
    assert it.is_over
    assert it.is_sure


def test_one_that_has_not_applied_it_has_not_ended_it() -> None:
    it = drain()
    it.look(BOTH, {"lb-1": status(ONE, R - 1), "lb-2": status(TWO)}, 0.0)
    assert it.standings["lb-1"] is Standing.DRAINS


def test_what_is_left_is_told() -> None:
    it = drain()
    it.look(BOTH, {"lb-1": status(ONE, web1=3), "lb-2": status(TWO, web2=9)}, 0.0)
    assert it.left == {"lb-1": 3}
    assert it.standings == {"lb-1": Standing.DRAINS, "lb-2": Standing.ENDED}
    it.look(BOTH, {"lb-1": status(ONE)}, 1.0)
    assert it.left == {}
    assert it.is_sure


def test_one_that_is_away_is_lost_after_a_whole_further_ttl() -> None:
    it = drain()
    it.look(BOTH, {"lb-2": status(TWO)}, 0.0)
    only_two = {"lb-2": TWO}
    assert it.look(only_two, {}, 5.0) == 15.0
    assert it.look(only_two, {}, 14.9) == 15.0
    assert not it.is_over
    assert it.look(only_two, {}, 15.0) is None
    assert it.is_over
    assert not it.is_sure
    assert it.lost == ["lb-1"]


def test_one_that_comes_back_is_waited_for_again() -> None:
    it = drain()
    it.look({"lb-2": TWO}, {"lb-2": status(TWO)}, 0.0)
    assert it.look(BOTH, {}, 9.0) is None
    assert it.look({"lb-2": TWO}, {}, 11.0) == 21.0
    it.look({"lb-2": TWO}, {}, 21.0)
    assert it.lost == ["lb-1"]
    it.look(BOTH, {}, 22.0)
    assert not it.is_over, "it has come back before anybody was told"
    it.look(BOTH, {"lb-1": status(ONE)}, 23.0)
    assert it.is_sure


def test_another_process_of_its_name_does_not_speak_for_it() -> None:
    it = drain()
    restarted = About(instance="i3")
    members = {"lb-1": restarted, "lb-2": TWO}
    statuses = {"lb-1": status(restarted), "lb-2": status(TWO)}
    assert it.look(members, statuses, 0.0) == 10.0
    assert it.standings["lb-1"] is Standing.DRAINS
    it.look(members, statuses, 10.0)
    assert it.lost == ["lb-1"]


def test_who_came_later_is_not_waited_for() -> None:
    it = drain()
    members = BOTH | {"lb-3": About(instance="i3")}
    it.look(members, {"lb-1": status(ONE), "lb-2": status(TWO)}, 0.0)
    assert it.is_sure


Look = tuple[float, dict[str, About], dict[str, Status]]
looks = st.lists(
    st.tuples(
        st.floats(0.0, 8.0),  # how much later
        st.fixed_dictionaries({}, optional={"lb-1": st.just(ONE), "lb-2": st.just(TWO)}),
        st.fixed_dictionaries(
            {},
            optional={
                "lb-1": st.builds(status, st.just(ONE), st.integers(R - 1, R + 1), web1=st.integers(0, 2)),
                "lb-2": st.builds(status, st.just(TWO), st.integers(R - 1, R + 1)),
            },
        ),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(looks)
def test_sure_is_only_what_every_member_has_said(done: list[Look]) -> None:
    it, now = drain(), 0.0
    have_said, seen = set[str](), dict.fromkeys(BOTH, 0.0)
    for later, members, statuses in done:
        now += later
        it.look(members, statuses, now)
        have_said |= {
            name for name, said in statuses.items() if said.applied >= R and "web1" not in said.left
        }
        seen |= dict.fromkeys(members, now)
        assert it.is_sure == (have_said == {*BOTH})
        for name in it.lost:
            assert name not in have_said
            assert now - seen[name] >= TTL


def test_one_that_has_it_otherwise_is_named_and_never_sure() -> None:
    """It has applied all, and its operator, or its configuration, keeps the backend as it is."""
    drain = AwaitedDrain("web1", 7, {"a": About(instance="1"), "b": About(instance="2")}, 10.0)
    statuses = {
        "a": Status(instance="1", applied=7),
        "b": Status(instance="2", applied=7, otherwise=("web1",)),
    }
    drain.look({"a": About(instance="1"), "b": About(instance="2")}, statuses, 0.0)
    assert (drain.is_over, drain.is_sure, drain.otherwise, drain.lost) == (True, False, ["b"], [])
