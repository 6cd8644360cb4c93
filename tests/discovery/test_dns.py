"""The DNS source beside a name server that speaks real packets, on virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.core.announced import Announced, Announcement
from lb.discovery.backend_source import Source, SourceFailed
from lb.discovery.dns import DnsSource, Pace
from tests.kit import lasting, virtual_time
from tests.kit.name_server import Deed, NameServer, Rcode, name_server, silence, unsliced

pytestmark = virtual_time

WEB = "http://web.example:8000"
SRV = "srv://_http._tcp.web.example"


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.discovery.dns.sliced", unsliced)
    monkeypatch.setattr("lb.discovery.dns_exchange.sliced", unsliced)


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.has("web.example", "A", "10.0.0.1", "10.0.0.2", ttl=5)
        yield server


class Told:
    """What a source has told, and when; or how it failed."""

    def __init__(self) -> None:
        self.sets: list[tuple[float, Announced]] = []
        self.began = trio.current_time()
        self.failure: str | None = None
        self.has_failed = trio.Event()

    def __call__(self, announced: Announced) -> None:
        self.sets.append((trio.current_time() - self.began, announced))

    @property
    def last(self) -> Announced:
        return self.sets[-1][1]

    @property
    def ids(self) -> list[str]:
        return [backend.id for backend in self.last.backends]

    @property
    def times(self) -> list[float]:
        return [round(at, 6) for at, _ in self.sets]


def source(dns: NameServer, url: str = WEB, **options: Any) -> DnsSource:
    return DnsSource(url, resolvers=[dns.address], chance=options.pop("chance", lambda: 0.5), **options)


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[Told]:
    told = Told()

    async def run() -> None:
        try:
            await source.run(told)
        except SourceFailed as exc:
            told.failure = str(exc)
            told.has_failed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        yield told
        nursery.cancel_scope.cancel()


async def looked(source: Source) -> Told:
    async with running(source) as told:
        pass
    return told


# -- sets ------------------------------------------------------------------------------------------------


async def test_both_families_are_one_set(dns: NameServer) -> None:
    dns.has("web.example", "AAAA", "fd00::1")
    told = await looked(source(dns))
    assert told.ids == ["10.0.0.1-8000", "10.0.0.2-8000", "fd00__1-8000"]
    assert sorted(asked.kind for asked in dns.asked) == ["A", "AAAA"]


async def test_without_ipv6_it_is_not_asked_for(dns: NameServer) -> None:
    dns.does("web.example", "AAAA", Rcode.SERVFAIL)
    told = await looked(source(dns, ipv6=False))
    assert told.ids == ["10.0.0.1-8000", "10.0.0.2-8000"]
    assert [asked.kind for asked in dns.asked] == ["A"]


async def test_a_name_that_has_no_address_is_an_empty_set(dns: NameServer) -> None:
    dns.has("web.example", "A")
    assert (await looked(source(dns))).last.backends == ()


async def test_services(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "10 0 8001 a.example.", "20 5 8002 b.example.", ttl=5)
    dns.has("a.example", "A", "10.0.0.1")
    dns.sends_along("_http._tcp.web.example", "b.example", "A", "10.0.0.2")
    told = await looked(source(dns, SRV, ipv6=False))
    assert told.last == Announced(
        (
            Announcement(id="a.example-8001", url="http://10.0.0.1:8001", weight=1, backup=False),
            Announcement(id="b.example-8002", url="http://10.0.0.2:8002", weight=5, backup=True),
        ),
        (),
        5.0,
    )
    assert [asked[1:3] for asked in dns.asked] == [("_http._tcp.web.example", "SRV"), ("a.example", "A")]


async def test_services_with_tls_and_without_weights(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "0 7 8001 a.example.")
    dns.has("a.example", "A", "10.0.0.1")
    told = await looked(source(dns, SRV.replace("srv:", "srvs:"), weights=False))
    assert [(each.url, each.weight) for each in told.last.backends] == [("https://10.0.0.1:8001", None)]


async def test_a_target_that_fails_later_keeps_its_addresses_over_runs(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "0 7 8001 a.example.", "0 7 8002 b.example.", ttl=5)
    dns.has("a.example", "A", "10.0.0.1")
    dns.has("b.example", "A", "10.0.0.2")
    ours = source(dns, SRV)
    assert (await looked(ours)).ids == ["a.example-8001", "b.example-8002"]
    for rcode in (Rcode.SERVFAIL, Rcode.NXDOMAIN):
        dns.does("a.example", "A", rcode)
        told = await looked(ours)
        assert told.ids == ["a.example-8001", "b.example-8002"]
        assert [text.endswith("its last addresses are kept") for text in told.last.skipped] == [True]


async def test_services_of_which_no_target_can_be_resolved_are_no_set(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "0 7 8001 a.example.")
    told = await looked(source(dns, SRV))
    assert told.sets == []
    assert told.failure == (
        f"no target of {SRV} has an address: a.example (A): {dns.address} says that a.example does not exist"
        " (NXDOMAIN)"
    )


async def test_services_that_are_gone_are_an_empty_set(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV")
    assert (await looked(source(dns, SRV))).last.backends == ()
    dns.has("_http._tcp.web.example", "SRV", "0 0 0 .")
    assert (await looked(source(dns, SRV))).last.backends == ()


# -- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED])
@pytest.mark.parametrize(("kind", "hint"), [("A", ""), ("AAAA", "; `ipv6 = false` asks for IPv4 alone")])
async def test_where_one_family_fails_there_is_no_half_set(
    dns: NameServer, rcode: Rcode, kind: str, hint: str
) -> None:
    dns.has("web.example", "AAAA", "fd00::1")
    dns.does("web.example", kind, rcode)
    told = await looked(source(dns))
    assert told.sets == []
    assert told.failure == f"web.example ({kind}): {dns.address} answers {rcode.name}{hint}"


async def test_a_name_that_does_not_exist_is_a_failure(dns: NameServer) -> None:
    dns.forgets("web.example")
    told = await looked(source(dns))
    assert told.sets == []
    assert told.failure == f"web.example (A): {dns.address} says that web.example does not exist (NXDOMAIN)"


async def test_silence_is_a_failure_after_some_time(dns: NameServer) -> None:
    dns.does("web.example", "A", silence)
    async with running(source(dns)) as told:
        await trio.sleep(3.9)
        assert told.failure is None
        await trio.sleep(0.2)
        assert told.failure == f"web.example (A): {dns.address} gave no answer in 2 s"
    assert told.sets == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "web.example"}, "expected http://"),
        ({"url": WEB, "resolvers": ["dns.example"]}, "^resolvers: .*expected the address of a name server"),
    ],
)
async def test_what_cannot_be_asked(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        DnsSource(**options)


# -- when it asks ----------------------------------------------------------------------------------------


async def test_it_asks_again_when_the_answer_counts_no_longer(dns: NameServer) -> None:
    async with running(source(dns)) as told:
        await trio.sleep(10.1)
        assert told.times == [0, 5, 10]
        assert told.last.next_look == 5
        dns.has("web.example", "A", "10.0.0.3", ttl=2)
        await trio.sleep(7)
        assert told.times == [0, 5, 10, 15, 17]
        assert told.ids == ["10.0.0.3-8000"]


@pytest.mark.parametrize(("ttl", "pause"), [(0, 1), (1, 1), (7, 7), (2**31 - 1, 30)])
async def test_the_pause_is_within_bounds(dns: NameServer, ttl: int, pause: float) -> None:
    dns.has("web.example", "A", "10.0.0.1", ttl=ttl)
    assert (await looked(source(dns, ipv6=False))).last.next_look == pause


async def test_every_so_often_instead(dns: NameServer) -> None:
    async with running(source(dns, every=10.0)) as told:
        await trio.sleep(21)
    assert told.times == [0, 10, 20]


async def test_an_empty_answer_counts_as_long_as_its_zone_says(dns: NameServer) -> None:
    dns.nothing_counts = 3
    assert (await looked(source(dns))).last.next_look == 3
    dns.nothing_counts = None
    assert (await looked(source(dns))).last.next_look == 5
    dns.has("web.example", "A")
    assert (await looked(source(dns))).last.next_look == 1


async def test_targets_are_asked_for_when_theirs_is_over(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "0 7 8001 a.example.", ttl=2)
    dns.has("a.example", "A", "10.0.0.1", ttl=5)
    async with running(source(dns, SRV, ipv6=False)) as told:
        await trio.sleep(6.5)
    assert told.times == [0, 2, 4, 5]
    assert [asked.at - told.began for asked in dns.asked if asked.kind == "A"] == pytest.approx([0, 5])


async def test_after_a_failed_connection_it_asks_soon_and_not_more_often(dns: NameServer) -> None:
    dns.has("web.example", "A", "10.0.0.1", ttl=30)
    ours = source(dns, ipv6=False)
    async with running(ours) as told:
        ours.look_again()
        ours.look_again()
        await trio.sleep(1.5)
        assert told.times == [0, 1]
        await trio.sleep(8.5)
        assert told.times == [0, 1]
        ours.look_again()
        await trio.testing.wait_all_tasks_blocked()
        assert told.times == [0, 1, 10]


async def test_after_a_failed_connection_targets_are_asked_for_too(dns: NameServer) -> None:
    dns.has("_http._tcp.web.example", "SRV", "0 7 8001 a.example.", ttl=30)
    dns.has("a.example", "A", "10.0.0.1", ttl=30)
    ours = source(dns, SRV, ipv6=False)
    async with running(ours) as told:
        dns.has("a.example", "A", "10.0.0.2", ttl=30)
        ours.look_again()
        await trio.sleep(1.5)
        assert [each.url for each in told.last.backends] == ["http://10.0.0.2:8001"]


async def test_a_source_that_is_cancelled_and_run_again_asks_at_once(dns: NameServer) -> None:
    ours = source(dns)
    await looked(ours)
    with lasting(0):
        assert (await looked(ours)).times == [0]


@given(st.floats(0, 1e10), st.floats(0, 1), st.none() | st.floats(1, 1000))
def pauses(ttl: float, chance: float, every: float | None) -> None:
    pause = Pace(every, 1.0, 30.0).pause(ttl, chance)
    middle = every or min(max(ttl, 1.0), 30.0)
    assert 0.9 * middle - 1e-9 <= pause <= min(1.1 * middle, middle + 0.5) + 1e-9


async def test_the_pause_varies_by_a_tenth_and_is_never_much_longer() -> None:
    pauses()


# -- ten minutes of trouble ------------------------------------------------------------------------------


async def test_no_trouble_is_ever_told_as_a_set(dns: NameServer) -> None:
    """Whatever the name server does in ten minutes, each set that is told is one that it has said."""
    chance = random.Random(7)
    ours = source(dns, chance=chance.random)
    whole = ["10.0.0.1-8000", "10.0.0.2-8000"]
    failures = set()

    async def upset() -> None:
        while True:
            deeds: list[Deed | Rcode | None] = [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NXDOMAIN, silence, None]
            for kind in ("A", "AAAA"):
                dns.does("web.example", kind, chance.choice(deeds))
            await trio.sleep(chance.uniform(0.5, 20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upset)
        began = trio.current_time()
        while trio.current_time() < began + 600:
            async with running(ours) as told:
                with trio.move_on_at(began + 600):
                    await told.has_failed.wait()
            assert all([each.id for each in found.backends] == whole for _, found in told.sets)
            failures.add(told.failure)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(failures) > 5
