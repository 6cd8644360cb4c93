"""Asking name servers that speak real packets: which is asked when, and what is said of each that fails."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from itertools import count

import pytest
import trio

from lb.discovery.backend_source import SourceFailed
from lb.discovery.dns_answer import Found
from lb.discovery.dns_exchange import TCP_SECONDS, UDP_SECONDS
from lb.discovery.dns_message import Kind, name_of
from lb.discovery.dns_servers import LOOKUP_SECONDS, NameServers, Server
from lb.settings.dns_url import parse_name_server
from tests.kit import lasting, virtual_time
from tests.kit.name_server import (
    Answer,
    Deed,
    NameServer,
    Rcode,
    alone,
    always_truncated,
    name_server,
    of_another_id,
    of_another_question,
    referring,
    saying,
    silence,
    silent_by_tcp,
    truncated,
    unsliced,
    without_edns,
)

pytestmark = virtual_time

WEB = name_of("web.example")


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.discovery.dns_exchange.sliced", unsliced)


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.has("web.example", "A", "10.0.0.1", "10.0.0.2", ttl=5)
        yield server


@pytest.fixture
async def other() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.has("web.example", "A", "10.0.0.9", ttl=9)
        yield server


def of(*servers: NameServer, tcp: bool = False) -> NameServers:
    return NameServers([at(server) for server in servers], tcp=tcp)


def at(server: NameServer) -> Server:
    return parse_name_server(server.address)


def texts(found: Found) -> list[str]:
    return sorted(".".join(map(str, record.data)) for record in found.records)


async def trouble(asking: Awaitable[Found]) -> str:
    with pytest.raises(SourceFailed) as caught:
        await asking
    return str(caught.value)


# -- answers ---------------------------------------------------------------------------------------------


async def test_records_and_how_long_they_count(dns: NameServer) -> None:
    found = await of(dns).ask(WEB, Kind.A)
    assert texts(found) == ["10.0.0.1", "10.0.0.2"]
    assert found.ttl == 5
    assert [asked[1:] for asked in dns.asked] == [("web.example", "A", "udp", True)]


async def test_a_name_without_such_records_is_an_answer(dns: NameServer) -> None:
    assert await of(dns).ask(WEB, Kind.AAAA) == Found([], 5, [])


async def test_by_tcp_at_once(dns: NameServer) -> None:
    assert texts(await of(dns, tcp=True).ask(WEB, Kind.A)) == ["10.0.0.1", "10.0.0.2"]
    assert [asked.by for asked in dns.asked] == ["tcp"]


async def test_a_truncated_answer_is_asked_for_again_by_tcp(dns: NameServer) -> None:
    dns.does("web.example", "A", truncated)
    assert texts(await of(dns).ask(WEB, Kind.A)) == ["10.0.0.1", "10.0.0.2"]
    assert [asked.by for asked in dns.asked] == ["udp", "tcp"]


async def test_an_answer_that_is_too_long_for_udp(dns: NameServer) -> None:
    dns.has("many.example", "A", *(f"10.0.1.{each}" for each in range(200)))
    assert len((await of(dns).ask(name_of("many.example"), Kind.A)).records) == 200
    assert [asked.by for asked in dns.asked] == ["udp", "tcp"]


async def test_a_server_from_before_edns_is_asked_without(dns: NameServer) -> None:
    dns.does("web.example", "A", without_edns)
    assert texts(await of(dns).ask(WEB, Kind.A)) == ["10.0.0.1", "10.0.0.2"]
    assert [asked.has_edns for asked in dns.asked] == [True, False]


async def test_aliases_are_followed_within_an_answer(dns: NameServer) -> None:
    dns.has("www.example", "CNAME", "web.example.", ttl=3)
    found = await of(dns).ask(name_of("www.example"), Kind.A)
    assert (texts(found), found.ttl) == (["10.0.0.1", "10.0.0.2"], 3)
    assert len(dns.asked) == 1


async def test_aliases_are_followed_from_answer_to_answer(dns: NameServer) -> None:
    dns.nothing_counts = None
    dns.has("www.example", "CNAME", "web.example.", ttl=3)

    dns.does("www.example", "A", alone)
    found = await of(dns).ask(name_of("www.example"), Kind.A)
    assert (texts(found), found.ttl) == (["10.0.0.1", "10.0.0.2"], 3)
    assert [asked.name for asked in dns.asked] == ["www.example", "web.example"]


async def test_the_name_is_absolute(dns: NameServer) -> None:
    dns.has("web", "A", "10.0.0.7")
    assert texts(await of(dns).ask(name_of("web"), Kind.A)) == ["10.0.0.7"]
    assert [asked.name for asked in dns.asked] == ["web"]


# -- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "seconds", "why"),
    [
        (Rcode.SERVFAIL, 0, "answers SERVFAIL"),
        (Rcode.REFUSED, 0, "answers REFUSED"),
        (Rcode.NXDOMAIN, 0, "says that web.example does not exist (NXDOMAIN)"),
        (referring, 0, "names other servers to be asked, and looks nothing up itself"),
        (silence, 2 * UDP_SECONDS, "gave no answer in 2 s"),
        (
            of_another_id,
            4,
            "gave no answer in 2 s, but something else: a message that is no answer to this question",
        ),
        (of_another_question, 4, "gave no answer in 2 s, but something else: an answer to another question"),
        (
            saying(b""),
            4,
            "gave no answer in 2 s, but something else: a message that is no answer to this question",
        ),
        (
            saying(b"\x81\x80\0\1\0\0\0\0\0\0\3we"),
            4,
            "gave no answer in 2 s, but something else: it ends too early",
        ),
        (
            silent_by_tcp,
            2 * TCP_SECONDS,
            "has a truncated answer, and by TCP gave no whole answer by TCP in 5 s",
        ),
        (
            always_truncated,
            0,
            "has a truncated answer, and by TCP gave an answer that is truncated even by TCP",
        ),
    ],
)
async def test_each_failure_is_told_apart(
    dns: NameServer, deed: Deed | Rcode, seconds: float, why: str
) -> None:
    dns.does("web.example", "A", deed)
    with lasting(seconds):
        said = await trouble(of(dns).ask(WEB, Kind.A))
    assert said == f"web.example (A): {dns.address} {why}"


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        (saying(b"\x81\x80\0\1"), "gave something else than an answer by TCP: a message that is no answer"),
        (
            of_another_id,
            "gave something else than an answer by TCP: a message that is no answer to this question",
        ),
        (of_another_question, "gave something else than an answer by TCP: an answer to another question"),
    ],
)
async def test_what_is_no_answer_by_tcp(dns: NameServer, deed: Deed, why: str) -> None:
    dns.does("web.example", "A", deed)
    with lasting(0):
        said = await trouble(of(dns, tcp=True).ask(WEB, Kind.A))
    assert said.startswith(f"web.example (A): {dns.address} {why}")


@pytest.mark.parametrize(("tcp", "how"), [(False, "gave no answer"), (True, "gave no answer by TCP")])
async def test_nobody_listens(tcp: bool, how: str) -> None:
    with socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with lasting(0):
        said = await trouble(NameServers([("127.0.0.1", port)], tcp=tcp).ask(WEB, Kind.A))
    assert said == f"web.example (A): 127.0.0.1:{port} {how}: Connection refused"


async def test_a_connection_that_ends_within_an_answer() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def half(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"\0\x40" + b"half")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, half, [server])
        said = await trouble(NameServers([listener.getsockname()], tcp=True).ask(WEB, Kind.A))
        assert said.endswith("by TCP: the connection ended after 4 of 64 bytes")
        nursery.cancel_scope.cancel()


async def test_an_answer_of_another_address_is_not_taken(dns: NameServer) -> None:
    """It is sent to the right port, with the right id and question: only who sends it is wrong."""
    with (
        trio.socket.socket(type=socket.SOCK_DGRAM) as liar,
        trio.socket.socket(type=socket.SOCK_DGRAM) as silent,
    ):
        await silent.bind(("127.0.0.1", 0))
        await liar.bind(("127.0.0.1", 0))

        async def lie() -> None:
            while True:
                wire, where = await silent.recvfrom(1000)
                await liar.sendto(dns._answer(wire, "udp"), where)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lie)
            said = await trouble(NameServers([silent.getsockname()]).ask(WEB, Kind.A))
            assert said.endswith("gave no answer in 2 s")
            nursery.cancel_scope.cancel()
    assert len(dns.asked) == 2  # the lies were told


async def test_aliases_in_a_circle(dns: NameServer) -> None:
    dns.has("a.example", "CNAME", "b.example.")
    dns.has("b.example", "CNAME", "a.example.")
    said = await trouble(of(dns).ask(name_of("a.example"), Kind.A))
    assert said == f"a.example (A): {dns.address} says that a.example is an alias of itself"


async def test_aliases_in_a_circle_from_answer_to_answer(dns: NameServer) -> None:
    dns.nothing_counts = None

    for one, two in (("a.example", "b.example"), ("b.example", "a.example")):
        dns.has(one, "CNAME", f"{two}.")
        dns.does(one, "A", alone)
    said = await trouble(of(dns).ask(name_of("a.example"), Kind.A))
    assert said == "a.example (A): more than 16 aliases, one behind the other"


async def test_a_number_of_packets_that_are_none_is_enough(dns: NameServer) -> None:
    with trio.socket.socket(type=socket.SOCK_DGRAM) as flood:
        await flood.bind(("127.0.0.1", 0))

        async def pour() -> None:
            _, where = await flood.recvfrom(1000)
            while True:
                await flood.sendto(b"water", where)
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            said = await trouble(NameServers([flood.getsockname()]).ask(WEB, Kind.A))
            assert said.endswith("gave no answer, but 100 packets that are none")
            nursery.cancel_scope.cancel()


# -- several servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "seconds"), [(Rcode.SERVFAIL, 0), (Rcode.REFUSED, 0), (referring, 0), (silence, 2)]
)
async def test_where_one_is_of_no_use_the_next_is_asked(
    dns: NameServer, other: NameServer, deed: Deed | Rcode, seconds: float
) -> None:
    servers = of(dns, other)
    dns.does("web.example", "A", deed)
    with lasting(seconds):
        assert texts(await servers.ask(WEB, Kind.A)) == ["10.0.0.9"]
    with lasting(0):  # from then on the one that answered comes first
        assert texts(await servers.ask(WEB, Kind.A)) == ["10.0.0.9"]
    assert len(dns.asked) == 1


async def test_a_name_that_does_not_exist_is_not_asked_for_elsewhere(
    dns: NameServer, other: NameServer
) -> None:
    dns.forgets("web.example")
    said = await trouble(of(dns, other).ask(WEB, Kind.A))
    assert said == f"web.example (A): {dns.address} says that web.example does not exist (NXDOMAIN)"
    assert other.asked == []


async def test_all_that_failed_is_told_and_who_was_silent_is_asked_twice(
    dns: NameServer, other: NameServer
) -> None:
    dns.does("web.example", "A", silence)
    other.does("web.example", "A", Rcode.SERVFAIL)
    said = await trouble(of(dns, other).ask(WEB, Kind.A))
    assert said == (f"web.example (A): {dns.address} gave no answer in 2 s; {other.address} answers SERVFAIL")
    assert (len(dns.asked), len(other.asked)) == (2, 1)


async def test_a_packet_may_get_lost(dns: NameServer) -> None:
    def lost_once(answer: Answer, by: str) -> Answer:
        dns.does("web.example", "A", None)
        return silence(answer, by)

    dns.does("web.example", "A", lost_once)
    with lasting(UDP_SECONDS):
        assert texts(await of(dns).ask(WEB, Kind.A)) == ["10.0.0.1", "10.0.0.2"]


async def test_there_is_an_end_to_it_however_many_are_silent(dns: NameServer) -> None:
    dns.does("web.example", "A", silence)
    host, port = at(dns)
    servers: list[Server] = [(host, port), *((f"127.0.0.{each}", port) for each in range(2, 12))]
    bound = []
    for server in servers[1:]:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(server)
        bound.append(sock)
    try:
        with lasting(LOOKUP_SECONDS):
            said = await trouble(NameServers(servers).ask(WEB, Kind.A))
    finally:
        for sock in bound:
            sock.close()
    assert said.startswith("web.example (A): no answer in 15 s: ")
    assert said.count("gave no answer in 2 s") == 7


# -- sockets ---------------------------------------------------------------------------------------------


class CancelAtStep(trio.abc.Instrument):
    """Cancels the scope before the given step of the task that runs now."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left = step
        self._scope = scope
        self._task = trio.lowlevel.current_task()

    @property
    def reached(self) -> bool:
        return self._left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("deed", [None, truncated, silence, silent_by_tcp, Rcode.SERVFAIL, of_another_id])
async def test_no_socket_is_left_wherever_it_is_cancelled(
    dns: NameServer, deed: Deed | Rcode | None, tcp: bool
) -> None:
    dns.does("web.example", "A", deed)
    before = descriptors()
    for step in count(1):
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(step, scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                with suppress(SourceFailed):
                    await of(dns, tcp=tcp).ask(WEB, Kind.A)
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await trio.testing.wait_all_tasks_blocked()  # the name server sees that we have left
        assert descriptors() == before
        if not instrument.reached:
            break
    assert step >= 4
