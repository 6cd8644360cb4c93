"""Records become backends: ids, priorities, weights, what is of no use. Without sockets."""

import random
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.announced import Announcement
from lb.discovery.dns_message import Kind, Record, Service, name_of
from lb.discovery.dns_set import MOST_BACKENDS, MOST_SKIPPED, FoundSet, of_addresses, of_services
from lb.settings.backend_spec import BackendSpec
from lb.settings.dns_url import parse_dns_url
from lb.slices import at_once

NAME = name_of("_http._tcp.web.example")
SRV = parse_dns_url("srv://_http._tcp.web.example")


class Known:
    """Targets that have these addresses."""

    def __init__(self, addresses: Mapping[str, list[str]], troubles: Mapping[str, str] = {}) -> None:
        self._addresses = {name_of(target): [packed(each) for each in at] for target, at in addresses.items()}
        self._troubles = {name_of(target): why for target, why in troubles.items()}

    def addresses(self, target: bytes) -> list[bytes]:
        return self._addresses.get(target, [])

    def trouble(self, target: bytes) -> str | None:
        return self._troubles.get(target)


def packed(address: str) -> bytes:
    return ip_address(address).packed


def addresses(url: str, *there: str, most: int = MOST_BACKENDS) -> FoundSet:
    return at_once(of_addresses(parse_dns_url(url), map(packed, there), most))


def srv(priority: int, weight: int, port: int, target: str) -> Record:
    name = b"\0" if target == "." else name_of(target)
    return Record(NAME, Kind.SRV, 5, name, Service(priority, weight, port))


def services(
    *records: Record,
    url: str = "srv://_http._tcp.web.example",
    weights: bool = True,
    most: int = MOST_BACKENDS,
    troubles: Mapping[str, str] = {},
    **known: list[str],
) -> FoundSet:
    targets = Known({f"{name}.example": at for name, at in known.items()}, troubles)
    return at_once(of_services(parse_dns_url(url), records, targets, weights=weights, most=most))


# -- addresses -------------------------------------------------------------------------------------------


def test_each_address_is_a_backend() -> None:
    assert addresses("http://web.example:8000", "10.0.0.10", "10.0.0.9", "fd00::1").backends == (
        Announcement(id="10.0.0.9-8000", url="http://10.0.0.9:8000"),
        Announcement(id="10.0.0.10-8000", url="http://10.0.0.10:8000"),
        Announcement(id="fd00__1-8000", url="http://[fd00::1]:8000"),
    )


def test_tls_and_its_port() -> None:
    (backend,) = addresses("https://web.example", "10.0.0.1").backends
    assert (backend.id, backend.url) == ("10.0.0.1-443", "https://10.0.0.1:443")


def test_no_address_is_an_empty_set() -> None:
    assert addresses("http://web.example") == FoundSet((), ())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "not an address of a server"),
        ("::", "not an address of a server"),
        ("224.0.0.1", "not an address of a server"),
        ("ff02::1", "not an address of a server"),
        ("255.255.255.255", "not an address of a server"),
        ("fe80::1", "holds on one network only"),
    ],
)
def test_addresses_that_are_of_no_use_are_told(address: str, why: str) -> None:
    found = addresses("http://web.example", "10.0.0.1", address)
    assert [backend.id for backend in found.backends] == ["10.0.0.1-80"]
    assert [text.startswith(f"{address}: ") and why in text for text in found.skipped] == [True]


@given(st.lists(st.ip_addresses(), max_size=30), st.randoms(use_true_random=False))
def test_a_set_of_addresses_does_not_depend_on_their_order(
    there: list[object], chance: random.Random
) -> None:
    texts = [str(address) for address in there]
    shuffled = texts * 2
    chance.shuffle(shuffled)
    found = addresses("http://web.example:8000", *texts)
    assert addresses("http://web.example:8000", *shuffled) == found
    assert len(found.backends) + len(found.skipped) == len({*texts})
    assert len({backend.id for backend in found.backends}) == len(found.backends)
    for backend in found.backends:
        assert BackendSpec(url=backend.url).checked().id == backend.id  # as if it were configured by hand


def test_more_than_the_most_are_counted() -> None:
    found = addresses("http://web.example", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", most=2)
    assert [backend.id for backend in found.backends] == ["10.0.0.1-80", "10.0.0.2-80"]
    assert found.skipped == ("2 entries are left out: 2 are the most",)


def test_only_so_many_that_are_of_no_use_are_told_one_by_one() -> None:
    found = addresses("http://web.example", *(f"224.0.1.{each}" for each in range(MOST_SKIPPED + 20)))
    assert len(found.skipped) == MOST_SKIPPED + 1
    assert found.skipped[-1] == "20 more entries are of no use"


def test_the_work_is_in_small_steps() -> None:
    work = of_addresses(
        parse_dns_url("http://web.example"), (bytes([10, 0, 0, each]) for each in range(1, 100))
    )
    assert len([*islice(work, 1000)]) == 99


# -- services --------------------------------------------------------------------------------------------


def test_a_service_is_a_backend_with_the_port_and_the_weight_of_its_record() -> None:
    found = services(
        srv(10, 5, 8001, "a.example"), srv(10, 60000, 8002, "b.example"), a=["10.0.0.1"], b=["10.0.0.2"]
    )
    assert found == FoundSet(
        (
            Announcement(id="a.example-8001", url="http://10.0.0.1:8001", weight=5),
            Announcement(id="b.example-8002", url="http://10.0.0.2:8002", weight=60000),
        ),
        (),
    )


def test_the_id_outlives_a_change_of_address() -> None:
    record = srv(0, 1, 80, "a.example")
    assert services(record, a=["10.0.0.1"]).backends[0].id == services(record, a=["10.9.9.9"]).backends[0].id


def test_a_target_with_several_addresses_is_several_backends() -> None:
    found = services(srv(0, 5, 80, "a.example"), a=["fd00::1", "10.0.0.2", "10.0.0.1"])
    assert [(each.id, each.url, each.weight) for each in found.backends] == [
        ("a.example-80", "http://10.0.0.1:80", 5),
        ("a.example-80-10.0.0.2", "http://10.0.0.2:80", 5),
        ("a.example-80-fd00__1", "http://[fd00::1]:80", 5),
    ]


def test_the_lowest_priority_is_in_and_the_others_are_backups() -> None:
    found = services(
        srv(20, 1, 80, "b.example"), srv(10, 1, 80, "a.example"), srv(30, 1, 80, "c.example"),
        a=["10.0.0.1"], b=["10.0.0.2"], c=["10.0.0.3"],
    )  # fmt: skip
    assert [(each.id, each.backup) for each in found.backends] == [
        ("a.example-80", False),
        ("b.example-80", True),
        ("c.example-80", True),
    ]


def test_a_lone_priority_says_nothing() -> None:
    assert services(srv(7, 1, 80, "a.example"), a=["10.0.0.1"]).backends[0].backup is None


@pytest.mark.parametrize(("given", "told"), [((0, 0), [1, 1]), ((0, 9), [1, 9]), ((1, 65535), [1, 65535])])
def test_weights(given: tuple[int, int], told: list[int]) -> None:
    records = [srv(0, given[0], 80, "a.example"), srv(0, given[1], 80, "b.example")]
    found = services(*records, a=["10.0.0.1"], b=["10.0.0.2"])
    assert [each.weight for each in found.backends] == told
    targets = Known({"a.example": ["10.0.0.1"], "b.example": ["10.0.0.2"]})
    without = at_once(of_services(SRV, records, targets, weights=False))
    assert [each.weight for each in without.backends] == [None, None]


def test_a_port_in_the_url_wins_and_is_told() -> None:
    found = services(srv(0, 1, 8001, "a.example"), url="srvs://_http._tcp.web.example:9443", a=["10.0.0.1"])
    assert [(each.id, each.url) for each in found.backends] == [("a.example-9443", "https://10.0.0.1:9443")]
    assert found.skipped == ("the port of the URL, 9443, is used, and not those of the records",)


def test_a_service_that_is_said_not_to_exist() -> None:
    found = services(srv(0, 0, 0, "."))
    assert found == FoundSet((), ("a record says that there is no such service here: its target is `.`",))


def test_a_target_of_no_use_does_not_take_the_others_with_it() -> None:
    found = services(
        srv(0, 1, 80, "a.example"), srv(0, 1, 80, "gone.example"), srv(0, 1, 0, "b.example"),
        a=["10.0.0.1", "0.0.0.0"], b=["10.0.0.2"],
    )  # fmt: skip
    assert [each.id for each in found.backends] == ["a.example-80"]
    assert {*found.skipped} == {
        "a.example: 0.0.0.0: not an address of a server",
        "b.example: port 0 is not an address to connect to",
        "gone.example has no address that can be used",
    }


def test_a_target_that_does_not_resolve_keeps_its_last_addresses_and_is_told() -> None:
    troubles = {"a.example": "a.example (A): 10.0.0.53 answers SERVFAIL"}
    records = srv(0, 1, 80, "a.example"), srv(0, 1, 80, "b.example")
    found = services(*records, troubles=troubles, a=["10.0.0.1"], b=["10.0.0.2"])
    assert [each.id for each in found.backends] == ["a.example-80", "b.example-80"]
    assert found.skipped == ("a.example (A): 10.0.0.53 answers SERVFAIL; its last addresses are kept",)
    found = services(*records, troubles=troubles, b=["10.0.0.2"])
    assert [each.id for each in found.backends] == ["b.example-80"]
    assert found.skipped == ("a.example (A): 10.0.0.53 answers SERVFAIL; it has none yet",)


def test_a_target_that_is_named_twice() -> None:
    found = services(srv(10, 1, 80, "a.example"), srv(20, 9, 80, "a.example"), a=["10.0.0.1"])
    assert [(each.id, each.weight, each.backup) for each in found.backends] == [("a.example-80", 1, False)]
    assert found.skipped == ("a.example-80 is named twice",)


def test_records_that_say_the_same_of_a_target_are_one() -> None:
    found = services(srv(0, 1, 80, "a.example"), srv(0, 2, 80, "a.example"), weights=False, a=["10.0.0.1"])
    assert [each.id for each in found.backends] == ["a.example-80"]
    assert found.skipped == ()


def test_a_service_that_does_not_exist_makes_no_backups_of_others() -> None:
    found = services(srv(0, 0, 0, "."), srv(10, 1, 80, "a.example"), a=["10.0.0.1"])
    assert [each.backup for each in found.backends] == [None]


def test_a_target_that_no_id_can_be_made_of() -> None:
    target = b"\x0bweb server!\7example\0"
    targets = Known({})
    targets._addresses[target] = [packed("10.0.0.1")]
    record = Record(NAME, Kind.SRV, 5, target, Service(0, 1, 80))
    (backend,) = at_once(of_services(SRV, [record], targets)).backends
    assert backend.id.startswith("srv-")
    assert BackendSpec(id=backend.id, url=backend.url).checked()


def test_only_so_many_backends_of_services() -> None:
    found = services(srv(0, 1, 80, "a.example"), most=3, a=[f"10.0.0.{each}" for each in range(1, 6)])
    assert len(found.backends) == 3
    assert found.skipped == ("2 entries are left out: 3 are the most",)


TARGETS = [f"{letter}.example" for letter in "abcdef"]


@given(
    st.lists(
        st.builds(srv, st.integers(0, 3), st.integers(0, 65535), st.integers(1, 3), st.sampled_from(TARGETS))
    ),
    st.dictionaries(
        st.sampled_from(TARGETS), st.lists(st.ip_addresses(v=4, network="10.0.0.0/28").map(str), max_size=3)
    ),
    st.randoms(use_true_random=False),
)
def test_a_set_of_services_does_not_depend_on_their_order(
    records: list[Record], known: dict[str, list[str]], chance: random.Random
) -> None:
    shuffled = records * 2
    chance.shuffle(shuffled)
    found = at_once(of_services(SRV, records, Known(known)))
    assert at_once(of_services(SRV, shuffled, Known(known))) == found
    assert len({each.id for each in found.backends}) == len(found.backends)
    wanted = {(record.data, record.service.port) for record in records if record.service}
    assert len(found.backends) == sum(len({*Known(known).addresses(target)}) for target, _ in wanted)
    for each in found.backends:
        spec = BackendSpec(
            id=each.id, url=each.url, weight=each.weight or 1, backup=bool(each.backup)
        ).checked()
        assert spec.weight >= 1
    if found.backends and len({*known}) == len(TARGETS) and all(known.values()):
        assert any(not each.backup for each in found.backends)
