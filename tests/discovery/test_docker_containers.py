"""Entries of Docker's list: address, port, health, and what is not guessed."""

import msgspec
import pytest

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.docker_containers import reading, signal_number
from lb.slices import at_once
from tests.kit.docker_server import Box, network

WEB = {"lb.pool": "web"}


def read(*boxes: Box, leaving: tuple[str, ...] = ()) -> Announced:
    return at_once(reading(msgspec.json.encode([box.listed() for box in boxes]), "web", leaving))


def test_a_container_with_the_label_is_a_backend() -> None:
    box = Box("web-1", "172.18.0.2", WEB)
    expected = Announcement(id="web-1", url="http://172.18.0.2:8000", labels={"container": box.id[:12]})
    assert read(box) == Announced((expected,))
    assert read(Box("db", labels={}), Box("api", labels={"lb.pool": "api"})) == Announced(())


def test_labels_say_more() -> None:
    labels = WEB | {"lb.id": "one", "lb.port": "9000", "lb.weight": "7", "lb.network": "front"}
    networks = {"front": network("10.0.0.1"), "back": network("10.1.0.1")}
    (backend,) = read(Box("web-1", labels=labels, networks=networks)).backends
    assert (backend.id, backend.url, backend.weight) == ("one", "http://10.0.0.1:9000", 7)


def test_networks_without_an_address_do_not_count_and_ipv6_does() -> None:
    networks = {"front": network("", "fd00::2"), "none": network("")}
    (backend,) = read(Box("web-1", labels=WEB, networks=networks)).backends
    assert backend.url == "http://[fd00::2]:8000"


@pytest.mark.parametrize(
    ("box", "why"),
    [
        (
            Box("w", labels=WEB, networks={"b": network("10.1.0.1"), "a": network("10.0.0.1")}),
            "w: it is on several networks, a, b: its label lb.network has to name one",
        ),
        (
            Box("w", labels=WEB | {"lb.network": "front"}),
            "w: lb.network: it is not on 'front', but on app_default",
        ),
        (Box("w", labels=WEB, networks={"host": network("")}), "w: it has no address on host"),
        (
            Box("w", labels=WEB | {"lb.network": "a"}, networks={"a": network(""), "b": network("10.1.0.1")}),
            "w: it has no address on a",
        ),
        (
            Box("w", labels=WEB, ports=(1, 2)),
            "w: it exposes several ports, 1, 2: its label lb.port has to name one",
        ),
        (Box("w", labels=WEB, ports=()), "w: it exposes no port: its label lb.port has to name one"),
        (Box("w", labels=WEB | {"lb.port": "http"}), "w: lb.port: 'http' is not a number"),
        (Box("w", labels=WEB | {"lb.port": "99999"}), "w: url: 'http://172.18.0.2:99999': Port out of range"),
        (Box("w", labels=WEB | {"lb.weight": "-1"}), "w: lb.weight: '-1' is not a number"),
        (Box("w", labels=WEB | {"lb.weight": "1000001"}), "w: weight: 1000001 is not between"),
        (Box("w", labels=WEB | {"lb.id": "a b"}), "w: id: 'a b' may hold"),
        (Box("w", labels=WEB | {"lb.id": "web-1"}), "w: http://172.18.0.2:8000 has the id web-1 already"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_clear_is_skipped_and_told(box: Box, why: str) -> None:
    announced = read(Box("web-1", labels=WEB), box)
    assert [each.id for each in announced.backends] == ["web-1"]
    (sentence,) = announced.skipped
    assert sentence.startswith(why)


@pytest.mark.parametrize("is_new_api", [True, False])
@pytest.mark.parametrize(
    ("health", "state", "notice"),
    [
        ("none", "running", Notice.HERE),
        ("healthy", "running", Notice.HERE),
        ("starting", "running", Notice.NOT_READY),
        ("unhealthy", "running", Notice.NOT_READY),
        ("healthy", "paused", Notice.NOT_READY),
        ("none", "restarting", Notice.NOT_READY),
    ],
)
def test_health_and_state_say_whether_it_is_ready(
    health: str, state: str, notice: Notice, is_new_api: bool
) -> None:
    box = Box("web-1", labels=WEB, health=health, state=state, is_new_api=is_new_api)
    assert read(box).backends[0].notice == notice
    assert read(box, leaving=(box.id,)).backends[0].notice == Notice.LEAVING


def test_a_name_that_is_no_id_becomes_one() -> None:
    (backend,) = read(Box("-web", labels=WEB)).backends
    assert backend.id.startswith("-web-".strip("-"))
    nameless = b'[{"Id": "0123456789abcdef", "Labels": {"lb.pool": "web"}}]'
    (why,) = at_once(reading(nameless, "web", ())).skipped
    assert why.startswith("0123456789ab: it has no address on no network")


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'[{"Labels": {}}]', b'[{"Id": "x", "Ports": 1}]'])
def test_what_is_no_list_of_containers_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        at_once(reading(data, "web", ()))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("SIGRTMIN+3", 37),
        ("", 0),
        ("SIGWHAT", 0),
        ("SIGRTMIN+x", 0),
        ("9" * 5000, 0),
        ("SIGRTMIN+" + "9" * 5000, 0),
    ],
)
def test_a_signal_has_a_number(text: str, number: int) -> None:
    assert signal_number(text) == number
