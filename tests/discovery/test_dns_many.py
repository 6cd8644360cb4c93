"""Thousands of records, from the socket to the set: no step holds the loop for long."""

import struct
from ipaddress import IPv4Address

import pytest
import trio

from lb.core.announced import Announced
from lb.discovery.dns import DnsSource
from lb.discovery.dns_message import Kind, name_of, question
from tests.kit.held import holding
from tests.kit.name_server import Answer, Deed, NameServer, Raw, name_server, truncated

MOST_SECONDS = 0.010
TARGETS = 5
EACH = 4000
"""Addresses that fit into one message."""


def addresses(name: str, first: str, number: int) -> bytes:
    """The answer behind its id: dnspython would take seconds to write it, and hold this loop too."""
    asked = question(name_of(name), Kind.A, 0, extended=False)[12:]
    record = b"\xc0\x0c" + struct.pack("!HHIH", Kind.A, 1, 1, 4)
    packed = (int(IPv4Address(first)) + at for at in range(number))
    records = b"".join(record + address.to_bytes(4, "big") for address in packed)
    return struct.pack("!5H", 0x8180, 1, number, 0, 0) + asked + records


def many(name: str, first: str, number: int = EACH) -> Deed:
    data = addresses(name, first, number)

    def say(answer: Answer, by: str) -> Answer | Raw:
        return truncated(answer, by) if by == "udp" else Raw(data)

    return say


async def looks(url: str, dns: NameServer, times: int = 4) -> tuple[Announced, float]:
    """What was told, and the longest step of the look that had the shortest."""
    sets: list[Announced] = []
    longest = []
    ours = DnsSource(url, resolvers=[dns.address], ipv6=False)
    for _ in range(times):
        told = trio.Event()

        def tell(announced: Announced, told: trio.Event = told) -> None:
            sets.append(announced)
            told.set()

        with trio.fail_after(60), holding("lb.") as held:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.run, tell)
                await told.wait()
                nursery.cancel_scope.cancel()
        longest.append(held.longest)
    return sets[-1], min(longest)


@pytest.mark.alone
async def test_as_many_addresses_as_a_message_has_room_for() -> None:
    async with name_server() as dns:
        dns.has("web.example", "A", "10.0.0.1")
        dns.does("web.example", "A", many("web.example", "10.1.0.0"))
        announced, longest = await looks("http://web.example:8000", dns)
    assert len(announced.backends) == EACH
    assert announced.backends[-1].url == "http://10.1.15.159:8000"
    assert longest < MOST_SECONDS


@pytest.mark.alone
async def test_more_backends_than_there_may_be() -> None:
    async with name_server() as dns:
        hosts = [f"t{number}.example" for number in range(TARGETS)]
        dns.has("_http._tcp.web.example", "SRV", *(f"0 1 8000 {host}." for host in hosts))
        for number, host in enumerate(hosts):
            dns.has(host, "A", "10.0.0.1")
            dns.does(host, "A", many(host, f"10.{number}.0.0"))
        announced, longest = await looks("srv://_http._tcp.web.example", dns)
    assert len(announced.backends) == 10_000
    assert announced.skipped == (f"{TARGETS * EACH - 10_000} entries are left out: 10000 are the most",)
    assert longest < MOST_SECONDS
