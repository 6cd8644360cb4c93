"""The addresses of the targets of SRV records: sent along or asked for, and kept."""

from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
import trio

from lb.discovery import dns_targets
from lb.discovery.dns_message import Kind, Record, name_of
from lb.discovery.dns_servers import NameServers
from lb.discovery.dns_targets import ALL_SECONDS, LOOKUPS, RETRY_SECONDS, Targets
from lb.settings.dns_url import parse_name_server
from tests.kit import lasting, virtual_time
from tests.kit.name_server import NameServer, Rcode, name_server, silence, unsliced

pytestmark = virtual_time

A, B = name_of("a.example"), name_of("b.example")


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.discovery.dns_exchange.sliced", unsliced)


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.has("a.example", "A", "10.0.0.1", ttl=10)
        server.has("b.example", "A", "10.0.0.2", ttl=20)
        server.nothing_counts = 20
        yield server


def targets(dns: NameServer, *kinds: Kind) -> Targets:
    servers = NameServers([parse_name_server(dns.address)])
    return Targets(servers, kinds or (Kind.A, Kind.AAAA))


def texts(found: Targets, target: bytes) -> list[str]:
    return [str(ip_address(packed)) for packed in found.addresses(target)]


def asked(dns: NameServer) -> list[tuple[str, str]]:
    """What was asked since the last time."""
    found = sorted((each.name, each.kind) for each in dns.asked)
    dns.asked.clear()
    return found


async def test_each_is_asked_for_and_again_when_it_counts_no_longer(dns: NameServer) -> None:
    found = targets(dns, Kind.A)
    await found.look_up({A, B}, [], all_anew=True)
    assert (texts(found, A), texts(found, B)) == (["10.0.0.1"], ["10.0.0.2"])
    assert asked(dns) == [("a.example", "A"), ("b.example", "A")]
    assert found.until == trio.current_time() + 10
    await found.look_up({A, B}, [], all_anew=False)
    assert asked(dns) == []
    await trio.sleep(10)
    dns.has("a.example", "A", "10.0.0.9", ttl=10)
    await found.look_up({A, B}, [], all_anew=False)
    assert asked(dns) == [("a.example", "A")]
    assert texts(found, A) == ["10.0.0.9"]
    await found.look_up({A, B}, [], all_anew=True)
    assert asked(dns) == [("a.example", "A"), ("b.example", "A")]


async def test_both_families_are_asked_for(dns: NameServer) -> None:
    dns.has("a.example", "AAAA", "fd00::1")
    found = targets(dns)
    await found.look_up({A}, [], all_anew=True)
    assert texts(found, A) == ["10.0.0.1", "fd00::1"]


async def test_what_was_sent_along_is_not_asked_for(dns: NameServer) -> None:
    found = targets(dns, Kind.A)
    beside = [
        Record(A, Kind.A, 0, ip_address("10.0.0.7").packed),
        Record(A, Kind.A, 5, ip_address("10.0.0.8").packed),
    ]
    stranger = Record(name_of("c.example"), Kind.A, 5, bytes(4))
    await found.look_up({A, B}, [*beside, stranger], all_anew=True)
    assert asked(dns) == [("b.example", "A")]
    assert texts(found, A) == ["10.0.0.7", "10.0.0.8"]
    assert found.until == trio.current_time()


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.NXDOMAIN])
async def test_one_that_cannot_be_resolved_keeps_its_addresses_and_is_tried_again(
    dns: NameServer, rcode: Rcode
) -> None:
    found = targets(dns, Kind.A)
    await found.look_up({A, B}, [], all_anew=True)
    dns.does("a.example", "A", rcode)
    await found.look_up({A, B}, [], all_anew=True)
    assert texts(found, A) == ["10.0.0.1"]
    assert (found.trouble(A) or "").startswith(f"a.example (A): {dns.address} ")
    assert found.trouble(B) is None
    assert found.until == trio.current_time() + RETRY_SECONDS
    dns.does("a.example", "A", None)
    await trio.sleep(RETRY_SECONDS)
    await found.look_up({A, B}, [], all_anew=False)
    assert found.trouble(A) is None


async def test_one_family_that_fails_keeps_its_addresses_while_the_other_changes(dns: NameServer) -> None:
    dns.has("a.example", "AAAA", "fd00::1")
    found = targets(dns)
    await found.look_up({A}, [], all_anew=True)
    dns.does("a.example", "AAAA", Rcode.SERVFAIL)
    dns.has("a.example", "A", "10.0.0.9")
    await found.look_up({A}, [], all_anew=True)
    assert texts(found, A) == ["10.0.0.9", "fd00::1"]


async def test_one_that_has_no_address_any_more_has_none(dns: NameServer) -> None:
    found = targets(dns, Kind.A)
    await found.look_up({A}, [], all_anew=True)
    dns.has("a.example", "A")
    await found.look_up({A}, [], all_anew=True)
    assert (texts(found, A), found.trouble(A)) == ([], None)


async def test_one_that_is_no_target_any_more_is_forgotten(dns: NameServer) -> None:
    found = targets(dns, Kind.A)
    await found.look_up({A, B}, [], all_anew=True)
    await found.look_up({B}, [], all_anew=False)
    dns.does("a.example", "A", Rcode.SERVFAIL)
    await found.look_up({A, B}, [], all_anew=False)
    assert texts(found, A) == []


async def test_so_many_are_asked_for_at_a_time(dns: NameServer) -> None:
    names = {name_of(f"n{number}.example") for number in range(LOOKUPS + 5)}
    for number in range(LOOKUPS + 5):
        dns.has(f"n{number}.example", "A", "10.0.0.1")
        dns.does(f"n{number}.example", "A", silence)
    found = targets(dns, Kind.A)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: found.look_up(names, [], all_anew=True))
        await trio.testing.wait_all_tasks_blocked()
        assert len(dns.asked) == LOOKUPS
        nursery.cancel_scope.cancel()


async def test_all_together_have_so_long(dns: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_targets, "LOOKUPS", 1)
    names = [name_of(f"n{number}.example") for number in range(9)]
    for number in range(9):
        dns.does(f"n{number}.example", "A", silence)
    found = targets(dns, Kind.A)
    with lasting(ALL_SECONDS):
        await found.look_up(names, [], all_anew=True)
    assert "gave no answer in 2 s" in (found.trouble(names[0]) or "")
    assert found.trouble(names[8]) == "it was not asked for: others took too long"
