"""EndpointSlices joined to a set: conditions, ports, and endpoints that are in several slices."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.endpoint_slices import joining, slice_of
from lb.slices import at_once
from tests.kit.kubernetes_server import a_slice, endpoint


def join(*slices: dict[str, object], port: str = "") -> Announced:
    return at_once(joining([slice_of(msgspec.json.encode(each)) for each in slices], port))


def told(*slices: dict[str, object], port: str = "") -> list[tuple[str, str, Notice]]:
    return [(each.id, each.url, each.notice) for each in join(*slices, port=port).backends]


def test_an_endpoint_is_a_backend_that_is_called_like_its_pod() -> None:
    expected = Announcement(id="web-1", url="http://10.0.0.1:8000", labels={"node": "node-1", "zone": "eu-1"})
    assert join(a_slice("web-a", endpoint("web-1", "10.0.0.1"))) == Announced((expected,))


def test_one_without_a_pod_is_called_like_its_address() -> None:
    assert told(a_slice("web-a", endpoint(None, "10.0.0.1"))) == [
        ("10.0.0.1-8000", "http://10.0.0.1:8000", Notice.HERE)
    ]
    assert told(a_slice("web-a", endpoint(None, "fd00::1"), family="IPv6")) == [
        ("fd00__1-8000", "http://[fd00::1]:8000", Notice.HERE)
    ]


@pytest.mark.parametrize(
    ("conditions", "notice"),
    [
        ({"ready": None}, Notice.HERE),
        ({"ready": True}, Notice.HERE),
        ({"ready": False}, Notice.NOT_READY),
        ({"ready": False, "serving": True, "terminating": False}, Notice.NOT_READY),
        ({"ready": False, "serving": True, "terminating": True}, Notice.LEAVING),
        ({"ready": True, "serving": True, "terminating": True}, Notice.LEAVING),
        ({"ready": False, "serving": False, "terminating": True}, Notice.NOT_READY),
        ({"ready": None, "terminating": True}, Notice.LEAVING),
        ({"ready": False, "terminating": True}, Notice.NOT_READY),
    ],
)
def test_conditions_say_whether_it_is_used(conditions: dict[str, bool | None], notice: Notice) -> None:
    ((_, _, found),) = told(a_slice("web-a", endpoint("web-1", "10.0.0.1", **conditions)))  # type: ignore[arg-type]
    assert found == notice


PORTS = (("http", 8000), ("metrics", 9000))


@pytest.mark.parametrize(("port", "number"), [("http", 8000), ("metrics", 9000), ("7000", 7000)])
def test_the_port_has_a_name_or_a_number(port: str, number: int) -> None:
    ((_, url, _),) = told(a_slice("web-a", endpoint("web-1", "10.0.0.1"), ports=PORTS), port=port)
    assert url == f"http://10.0.0.1:{number}"


@pytest.mark.parametrize(
    ("each", "port", "why"),
    [
        (
            a_slice("s", endpoint("b", "10.0.0.2"), ports=PORTS),
            "x",
            "s: it has no port 'x'; its ports: http, m",
        ),
        (
            a_slice("s", endpoint("b", "10.0.0.2"), ports=PORTS),
            "",
            "s: one of its ports has to be named; its",
        ),
        (a_slice("s", endpoint("b", "10.0.0.2"), ports=None), "", "s: one of its ports has to be named; its"),
        (
            a_slice("s", endpoint("b", "10.0.0.2"), ports=()),
            "http",
            "s: it has no port 'http'; its ports: none",
        ),
        (a_slice("s", endpoint("b", "b.example"), family="FQDN"), "http", "s: addresses of the type FQDN"),
        (a_slice("s", endpoint("b")), "http", "b: url: 'http://:8000' names no host"),
    ],
)
def test_what_is_of_no_use_is_skipped_and_told(each: dict[str, object], port: str, why: str) -> None:
    announced = join(
        a_slice("web-a", endpoint("a", "10.0.0.1"), ports=[(port or "http", 8000)]), each, port=port
    )
    assert [backend.id for backend in announced.backends] == ["a"]
    (sentence,) = announced.skipped
    assert sentence.startswith(why)


def test_a_pod_that_is_in_two_slices_is_as_the_later_one_says() -> None:
    old = a_slice("web-a", endpoint("web-1", "10.0.0.1", ready=False), version=7)
    new = a_slice("web-b", endpoint("web-1", "10.0.0.1"), version=12)
    for slices in ((old, new), (new, old)):
        assert told(*slices) == [("web-1", "http://10.0.0.1:8000", Notice.HERE)]


def test_a_version_that_is_no_number_is_as_old_as_can_be() -> None:
    for version in ("", "a", "9" * 5000):
        odd = a_slice("web-a", endpoint("web-1", "10.0.0.1", ready=False))
        odd["metadata"] = {"name": "web-a", "resourceVersion": version}
        new = a_slice("web-b", endpoint("web-1", "10.0.0.1"), version=1)
        assert [notice for _, _, notice in told(new, odd)] == [Notice.HERE]


def test_of_two_pods_with_one_address_the_ready_one_counts() -> None:
    dead = a_slice("web-a", endpoint("web-1", "10.0.0.1", ready=False), version=12)
    here = a_slice("web-b", endpoint("web-2", "10.0.0.1"), version=7)
    for slices in ((dead, here), (here, dead)):
        assert told(*slices) == [("web-2", "http://10.0.0.1:8000", Notice.HERE)]


def test_a_pod_with_two_kinds_of_address_counts_once() -> None:
    v4 = a_slice("web-a", endpoint("web-1", "10.0.0.1"), endpoint("web-2", "10.0.0.2"))
    v6 = a_slice(
        "web-b", endpoint("web-1", "fd00::1"), endpoint("web-3", "fd00::3"), family="IPv6", version=9
    )
    assert [(id, url) for id, url, _ in told(v6, v4)] == [
        ("web-1", "http://10.0.0.1:8000"),
        ("web-2", "http://10.0.0.2:8000"),
        ("web-3", "http://[fd00::3]:8000"),
    ]


def test_of_two_pods_with_one_name_the_one_that_is_here_counts() -> None:
    gone = endpoint("web-0", "10.0.0.1", ready=False, serving=True, terminating=True, uid="1")
    here = endpoint("web-0", "10.0.0.2", uid="2")
    announced = join(a_slice("web-a", gone, here))
    assert [each.url for each in announced.backends] == ["http://10.0.0.2:8000"]
    assert announced.skipped == ("web-0: http://10.0.0.2:8000 has the id web-0 already",)


def test_nothing_is_an_empty_set() -> None:
    assert join() == join(a_slice("web-a")) == Announced(())


ENDPOINTS = st.builds(
    endpoint,
    st.sampled_from([None, "web-1", "web-2", "web-3"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    ready=st.sampled_from([None, True, False]),
    serving=st.sampled_from([None, True, False]),
    terminating=st.sampled_from([None, True, False]),
)


@settings(deadline=None)
@given(st.lists(st.lists(ENDPOINTS, max_size=4), max_size=4), st.randoms())
def test_the_order_of_slices_does_not_matter_and_nothing_is_there_twice(
    groups: list[list[dict[str, object]]],
    chance: Random,
) -> None:
    slices = [a_slice(f"web-{n}", *group, version=n) for n, group in enumerate(groups)]
    announced = join(*slices)
    assert len({each.url for each in announced.backends}) == len(announced.backends)
    assert len({each.id for each in announced.backends}) == len(announced.backends)
    chance.shuffle(slices)
    assert {each.id: each for each in join(*slices).backends} == {e.id: e for e in announced.backends}
