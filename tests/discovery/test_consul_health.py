"""Instances of a service: address, weight, and what their checks mean."""

import msgspec
import pytest

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.consul_health import reading
from lb.slices import at_once
from tests.kit.consul_server import instance


def read(*instances: dict[str, object]) -> Announced:
    return at_once(reading(msgspec.json.encode(instances)))


def test_an_instance_is_a_backend_that_is_called_like_its_node_and_itself() -> None:
    expected = Announcement(
        id="node-1.web-a", url="http://10.0.0.1:8000", weight=1, labels={"node": "node-1", "v": "2"}
    )
    assert read(instance("node-1", id="web-a", meta={"v": "2"})) == Announced((expected,))


def test_its_own_address_is_used_before_that_of_the_node() -> None:
    announced = read(instance("node-1", address="10.9.9.9"), instance("node-2", address="fd00::2"))
    assert [each.url for each in announced.backends] == ["http://10.9.9.9:8000", "http://[fd00::2]:8000"]


def test_the_same_id_on_another_node_is_another_backend() -> None:
    assert [each.id for each in read(instance("node-1"), instance("node-2")).backends] == [
        "node-1.web",
        "node-2.web",
    ]


def test_an_id_that_cannot_be_one_becomes_one() -> None:
    announced = read(instance("node-1", id="web/1:a"), instance("node-1", id="web:1/a"))
    assert len({each.id for each in announced.backends}) == 2


FINE, WARNS, BAD = ("service:web", "passing"), ("service:web", "warning"), ("service:web", "critical")
NODE = ("_node_maintenance", "critical")
SERVICE = ("_service_maintenance:web", "critical")


@pytest.mark.parametrize(
    ("checks", "notice", "weight"),
    [
        ([FINE], Notice.HERE, 10),
        ([FINE, WARNS], Notice.HERE, 2),
        ([WARNS, BAD], Notice.NOT_READY, 2),
        ([BAD], Notice.NOT_READY, 10),
        ([("service:web", "unheard-of")], Notice.NOT_READY, 10),
        ([FINE, ("serfHealth", "critical")], Notice.NOT_READY, 10),
        ([FINE, NODE], Notice.LEAVING, 10),
        ([FINE, SERVICE], Notice.LEAVING, 10),
        ([BAD, SERVICE], Notice.LEAVING, 10),
    ],
)
def test_checks_say_whether_it_is_used(checks: list[tuple[str, str]], notice: Notice, weight: int) -> None:
    (backend,) = read(instance("node-1", *checks, weights=(10, 2))).backends
    assert (backend.notice, backend.weight) == (notice, weight)


def test_without_weights_or_checks_it_says_nothing() -> None:
    odd = instance("node-1", weights=None) | {"Checks": None}
    (backend,) = read(odd).backends
    assert (backend.notice, backend.weight) == (Notice.HERE, None)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (instance("node-2", port=0), "node-2.web: it has no port"),
        (instance("node-2", address="a b"), "node-2.web: url: 'http://a b:8000'"),
        (instance("node-2", weights=(-1, 1)), "node-2.web: weight: -1"),
        (instance("node-1"), "node-1.web: http://10.0.0.1:8000 has the id node-1.web already"),
    ],
)
def test_what_is_of_no_use_is_skipped_and_told(odd: dict[str, object], why: str) -> None:
    announced = read(instance("node-1"), odd)
    assert [each.id for each in announced.backends] == ["node-1.web"]
    (sentence,) = announced.skipped
    assert sentence.startswith(why)


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"[{}]", b'[{"Node": {"Node": "a"}, "Service": {}}]'])
def test_what_is_no_list_of_instances_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        at_once(reading(data))
