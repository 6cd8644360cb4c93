"""Active checks: what they say, what they take for a failure, when they come, and when they do not count."""

import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import msgspec
import pytest
import structlog
import trio
import trio.testing

from lb.config.pool_settings import PoolSettings, Probe
from lb.core.backend import Backend as CoreBackend
from lb.core.backend import BackendSpec
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.registry import Registry
from lb.net.resolver import Names
from lb.probes.prober import HEAD_LIMIT, MOST_INTERIM, Aim, Probes, Question, request
from tests.kit import OK, Backend, BlackHole, Peer, Refusing, Steps, answer, until_not_reached, virtual_time
from tests.kit.backend import Stand
from tests.kit.balancer import IDS, open_sockets
from tests.kit.time import EXACTLY

pytestmark = virtual_time

UNAVAILABLE = answer(b"", status="503 Service Unavailable")
MIDDLE = 0.5
"""The chance of most tests: there is no jitter, and a first probe comes after half an interval."""


class Noting(Registry):
    """A registry that keeps what it was told."""

    def __init__(self, chance: Callable[[], float]) -> None:
        super().__init__(trio.current_time, chance, lambda _file: b"")
        self.told: list[tuple[str, Check]] = []
        self.events: list[tuple[str, str, float]] = []
        self.subscribe(lambda event: self.events.append((event.kind, event.backend.id, self.now())))

    def checked(self, backend: CoreBackend, check: Check) -> None:
        self.told.append((backend.id, check))
        super().checked(backend, check)


class House:
    """A registry with one pool, its backends ("one", "two", ...) and their probes."""

    def __init__(self, stands: list[Stand], chance: Callable[[], float], probe: Probe | None) -> None:
        self.stands = stands
        self.registry = Noting(chance)
        self.pool = self.registry.add_pool("default", PoolSettings(probe=probe))
        self.names = Names(self.registry)
        self.probes = Probes(self.registry, self.names, chance)
        for id, stand in zip(IDS, stands, strict=False):
            self.add(id, stand)

    def add(self, id: str, stand: Stand) -> CoreBackend:
        return self.registry.add(BackendSpec(id=id, url=stand.url))[0]

    def __getitem__(self, id: str) -> CoreBackend:
        return self.registry.backend(id)

    @property
    def stand(self) -> Backend:
        stand = self.stands[0]
        assert isinstance(stand, Backend)
        return stand

    async def check(self) -> Check:
        return await self.probes.check(self["one"])

    @property
    def told(self) -> list[Check]:
        return [check for _, check in self.registry.told]

    @property
    def times(self) -> list[float]:
        """When each probe that counts had its result."""
        return [round(check.at, 6) for check in self.told]

    def flips(self) -> list[tuple[str, str, float]]:
        return [(kind, id, round(at, 6)) for kind, id, at in self.registry.events if kind in ("up", "down")]

    def configure(self, **changes: Any) -> None:
        """Change settings of the probe that there is."""
        assert self.pool.settings.probe is not None
        self.set_probe(msgspec.structs.replace(self.pool.settings.probe, **changes))

    def set_probe(self, probe: Probe | None) -> None:
        settings = msgspec.structs.replace(self.pool.settings, probe=probe)
        assert self.registry.configure(self.pool, settings)


@asynccontextmanager
async def house(
    *kinds: Callable[[], Stand], chance: Callable[[], float] = lambda: MIDDLE, **probe: Any
) -> AsyncIterator[House]:
    """One that asks only when it is told to. Behind the block no socket may be left."""
    before = open_sockets()
    stands = [kind() for kind in kinds or (Backend,)]
    try:
        yield House(stands, chance, Probe(**probe))
    finally:
        for stand in stands:
            stand.close()
    assert not open_sockets() - before


@asynccontextmanager
async def probing(*kinds: Callable[[], Stand], **probe: Any) -> AsyncIterator[House]:
    """One whose probes run for as long as the block lasts."""
    async with house(*kinds, **probe) as there, trio.open_nursery() as nursery:
        nursery.start_soon(there.probes.run)
        yield there
        nursery.cancel_scope.cancel()


async def check_against(
    *says: bytes, then: Callable[[Peer], None] = lambda peer: peer.ends(), **probe: Any
) -> Check:
    """The check of a backend that answers with these pieces, and then does that."""
    async with house(**probe) as there, trio.open_nursery() as nursery:

        async def serve() -> None:
            peer = await there.stand.hears()
            with suppress(OSError):  # it may have heard enough
                await peer.says_bytewise(says[0], 7) if len(says) == 1 else await peer.says(*says)
                then(peer)

        nursery.start_soon(serve)
        return await there.check()
    raise AssertionError


def stays(_peer: Peer) -> None:
    """Neither say more nor end."""


def say_now(peer: Peer, data: bytes) -> None:
    """Say it before anybody else can do anything."""
    os.write(peer.sock.fileno(), data)


def jump(seconds: float) -> None:
    """The process stands still for so long, with all that it waits for."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)


# -- what a backend hears ---------------------------------------------------------------------------------


async def test_a_backend_is_asked_in_full_and_left_at_once() -> None:
    async with house(path="/healthz", fields={"X-Probe": "a b"}) as there, trio.open_nursery() as nursery:
        nursery.start_soon(there.check)
        peer = await there.stand.accepts()
        asked = await peer.hears_request(b"GET /healthz HTTP/1.1")
        assert asked.fields == [
            ("Host", there.stand.address),
            ("User-Agent", "lb-probe"),
            ("X-Probe", "a b"),
            ("Connection", "close"),
        ]
        await peer.says(OK)
        await peer.hears_end()


@pytest.mark.parametrize(
    ("probe", "host", "port", "line"),
    [
        (Probe(), "127.0.0.1", 8080, "Host: 127.0.0.1:8080"),
        (Probe(), "shop.test", 80, "Host: shop.test"),
        (Probe(), "::1", 80, "Host: [::1]"),
        (Probe(), "::1", 8080, "Host: [::1]:8080"),
        (Probe(port=81), "shop.test", 80, "Host: shop.test:81"),
        (Probe(host="www.test"), "127.0.0.1", 8080, "Host: www.test"),
        (Probe(fields={"user-AGENT": "me"}), "a", 80, "user-AGENT: me"),
        (Probe(method="HEAD", path="/a?b"), "a", 80, "HEAD /a?b HTTP/1.1"),
    ],
)
async def test_the_lines_of_a_request(probe: Probe, host: str, port: int, line: str) -> None:
    lines = request(Aim(probe, host, port)).decode().split("\r\n")
    assert line in lines
    assert sum(line.lower().startswith(("host:", "user-agent:")) for line in lines) == 2
    assert lines[-3:] == ["Connection: close", "", ""]


async def test_a_kind_of_tcp_only_connects() -> None:
    async with house(kind="tcp") as there:
        check = await there.check()
        assert check == Check(True, "connected", 0.0, 0.0)
        peer = await there.stand.accepts()
        await peer.hears_end()


async def test_a_port_of_its_own_is_probed_at_the_address_of_the_backend() -> None:
    async with house(Backend, Refusing) as there:
        there.configure(port=int(there.stand.address.rpartition(":")[2]))
        async with there.stand.answering(OK) as heard:
            assert (await there.probes.check(there["two"])).ok
        assert heard[0]["Host"] == there.stand.address


class Resolver(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def getaddrinfo(self, host: Any, port: Any, *_rest: Any) -> list[Any]:
        self.asked.append(trio.current_time())
        if host != b"shop.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> Resolver:
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


async def test_a_name_is_resolved_by_those_who_resolve_for_traffic(resolver: Resolver) -> None:
    async with house() as there, trio.open_nursery() as nursery:
        port = int(there.stand.address.rpartition(":")[2])
        there.configure(port=port)
        there.registry.add(BackendSpec(id="named", url="http://shop.test:1"))
        there.registry.add(BackendSpec(id="nameless", url="http://no.test:1"))
        nursery.start_soon(there.names.run)
        async with there.stand.answering(OK) as heard:
            assert (await there.probes.check(there["named"])).ok
        assert heard[0]["Host"] == f"shop.test:{port}"
        check = await there.probes.check(there["nameless"])
        assert check.why.startswith("no.test has no address:")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("kind", "asked"), [(Refusing, [0.0, 6.0]), (Backend, [0.0])])
async def test_a_name_that_takes_no_connection_is_resolved_again_soon(
    resolver: Resolver, kind: Callable[[], Stand], asked: list[float]
) -> None:
    async with house(kind, timeout=5.0) as there, trio.open_nursery() as nursery:
        url = f"http://shop.test:{there.stands[0].url.rpartition(':')[2]}"
        there.registry.add(BackendSpec(id="named", url=url))
        nursery.start_soon(there.names.run)
        await trio.sleep(5)
        assert not (await there.probes.check(there["named"])).ok
        await trio.sleep(2)
        assert resolver.asked == asked
        nursery.cancel_scope.cancel()


# -- what passes and what does not ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 204, 302, 399])
async def test_a_status_that_is_expected_passes(code: int) -> None:
    check = await check_against(b"HTTP/1.1 %d Whatever\r\n\r\n" % code)
    assert check[:2] == (True, f"ok {code}")


async def test_the_expected_status_can_be_set() -> None:
    assert (await check_against(UNAVAILABLE, status=("200", "500-599"))).why == "ok 503"
    check = await check_against(OK, status=("201", "500-599"))
    assert check[:2] == (False, "status 200, expected 201, 500-599")


LONG = b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.0 200 OK\r\n\r\n"
CONTINUE = b"HTTP/1.1 103 Early Hints\r\n\r\n"


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (UNAVAILABLE, "status 503, expected 200-399"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, expected 200-399"),
        (b"", "closed the connection without an answer"),
        (CONTINUE, "closed the connection without an answer"),
        (b"HTTP/1.1 200 O", "closed the connection in the head of its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP: the answer does not begin with HTTP/1"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP: the answer does not begin with HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "not HTTP: "),
        (b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "not HTTP: the head of the answer has an illegal byte"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
            "not HTTP: the answer has more than 100 fields",
        ),
        (CONTINUE * (MOST_INTERIM + 1) + OK, "not HTTP: more than 20 interim answers"),
    ],
)
async def test_what_fails_says_why(says: bytes, why: str) -> None:
    check = await check_against(says)
    assert not check.ok
    assert check.why.startswith(why)
    assert check.seconds == 0.0


async def test_a_head_without_an_end_is_not_read_for_ever() -> None:
    check = await check_against(LONG, b"x" * HEAD_LIMIT, then=stays)
    assert check.why == f"not HTTP: the head of the answer is longer than {HEAD_LIMIT} bytes"


async def test_no_reason_is_longer_than_a_line() -> None:
    check = await check_against(b"HTTP/1.1 200" + b"\xff" * 5000 + b"\r\n\r\n")
    assert check.why.startswith("not HTTP: ")
    assert len(check.why) <= 200


async def test_interim_answers_are_not_the_answer() -> None:
    assert (await check_against(CONTINUE + CONTINUE + OK)).why == "ok 200"


async def test_whoever_refuses_says_so_at_once() -> None:
    async with house(Refusing) as there:
        assert await there.check() == Check(False, "connection refused", 0.0, 0.0)


async def test_a_reset_is_told_from_an_end() -> None:
    assert (await check_against(b"HTTP/1.1 200 OK\r\n", then=Peer.resets)).why == "connection reset by peer"


async def test_no_connection_takes_exactly_the_timeout() -> None:
    async with house(BlackHole, timeout=1.5) as there:
        assert await there.check() == Check(False, "no connection in 1.5 s", 1.5, 1.5)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\nContent-", CONTINUE])
async def test_no_answer_takes_exactly_the_timeout(says: bytes) -> None:
    assert await check_against(says, then=stays) == Check(False, "no answer in 2 s", 2.0, 2.0)


async def test_an_answer_just_before_the_timeout_passes() -> None:
    async with house() as there, trio.open_nursery() as nursery:

        async def serve() -> None:
            peer = await there.stand.hears()
            await trio.sleep(1.999)
            await peer.says(OK)

        nursery.start_soon(serve)
        check = await there.check()
        assert check.ok
        assert abs(check.seconds - 1.999) < EXACTLY


async def test_a_body_that_nobody_looks_at_is_not_waited_for() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    assert await check_against(says, then=stays) == Check(True, "ok 200", 0.0, 0.0)


@pytest.mark.parametrize(
    "says",
    [
        answer(b"we are ready"),
        CHUNKS + b"7\r\nwe are \r\n5\r\nready\r\n0\r\n\r\n",
        CLOSING + b"we are ready",
    ],
    ids=["length", "chunked", "close"],
)
async def test_a_pattern_is_looked_for_in_the_content_however_it_is_framed(says: bytes) -> None:
    assert (await check_against(says, body="are*ready")).why == "ok 200"
    check = await check_against(says, body="ready*are")
    assert check[:2] == (False, "the body has no 'ready*are'")


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", CHUNKS + b"270f\r\n", CLOSING],
    ids=["length", "chunked", "close"],
)
async def test_only_the_first_bytes_are_read_and_nothing_is_waited_for_behind_them(begin: bytes) -> None:
    check = await check_against(begin, b"12345", b"678xyz", then=stays, body="8", body_bytes=8)
    assert check == Check(True, "ok 200", 0.0, 0.0)


async def test_a_body_is_read_as_text_whatever_its_bytes() -> None:
    assert (await check_against(answer(b"\xff\xfe gr\xc3\xbcn"), body="grün")).ok


async def test_an_answer_to_head_has_no_body_to_match() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    check = await check_against(says, method="HEAD", body="ready")
    assert check.why == "the body has no 'ready'"


async def test_a_body_that_breaks_off_fails() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready"
    check = await check_against(says, body="ready")
    assert check[:2] == (False, "closed the connection in the middle of its answer")
    check = await check_against(CHUNKS + b"5\r\nreadyy", body="ready")
    assert check[:2] == (False, "not HTTP: a chunk is longer than its size says")


async def test_a_body_that_does_not_come_takes_exactly_the_timeout() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready"
    check = await check_against(says, then=stays, body="ready", timeout=0.7)
    assert check == Check(False, "the body did not come in 0.7 s", 0.7, 0.7)


# -- when they come ---------------------------------------------------------------------------------------


async def test_the_first_comes_within_an_interval_and_then_one_each() -> None:
    async with probing(interval=10.0) as there, there.stand.answering(OK):
        await trio.sleep(36)
        assert there.times == [5.0, 15.0, 25.0, 35.0]
        assert all(check.ok for check in there.told)


async def test_many_do_not_come_in_step() -> None:
    chances = (number / 10 % 1 for number in count())
    async with probing(Backend, Backend, Backend, kind="tcp", chance=lambda: next(chances)) as there:
        await trio.sleep(1.8)
        first = dict(reversed([(id, check.at) for id, check in there.registry.told]))
        assert len(set(first.values())) == len(first) == 3


async def test_streaks_turn_the_verdict_and_are_hurried() -> None:
    async with probing(Refusing, kind="tcp") as there:
        await trio.sleep(3)
        assert there.times == [1.0, 1.5, 2.0]
        assert there.flips() == [("down", "one", 2.0)]
        assert there["one"].why_not() == "down: connection refused"
        there.stands[0]._listening.listen(10)
        await trio.sleep(4)
        assert there.times[3:] == [4.0, 4.5, 6.5]
        assert there.flips()[1:] == [("up", "one", 4.5)]
        assert there["one"].why_not() is None


async def test_a_streak_of_timeouts_is_as_long_as_they_are() -> None:
    async with probing(BlackHole, timeout=3.0, fall=2) as there:
        await trio.sleep(10)
        assert there.flips() == [("down", "one", 1.0 + 3.0 + 0.5 + 3.0)]


async def test_a_backend_that_has_to_be_seen_first_is_seen_soon() -> None:
    async with probing(initial="probe") as there, there.stand.answering(OK):
        assert there["one"].why_not() == "checking: no probe has ended yet"
        await trio.sleep(0.3)
        assert there.flips() == [("up", "one", 0.25)]
        assert there["one"].why_not() is None


# -- who is probed ----------------------------------------------------------------------------------------


async def test_a_backend_that_comes_is_probed_and_one_that_goes_is_not() -> None:
    async with probing(Refusing, kind="tcp") as there:
        await trio.sleep(0.5)
        with_it = there.add("two", there.stands[0])
        await trio.sleep(0.6)
        there.registry.remove(there["one"])
        await trio.sleep(1.1)
        assert [(id, round(check.at, 6)) for id, check in there.registry.told] == [
            ("one", 1.0),
            ("two", 1.5),
            ("two", 2.0),
        ]
        there.registry.remove(with_it)
        await trio.sleep(100)
        assert len(there.told) == 3


async def test_a_probe_under_way_is_broken_off_when_its_backend_goes() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.registry.remove(there["one"])
        await peer.hears_end()
        assert not there.told


async def test_the_same_id_anew_is_another_backend() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.remove(there["one"])
        there.add("one", there.stand)
        await trio.sleep(1.1)
        assert there.times == [1.0, 2.5]


async def test_in_maintenance_nobody_asks_and_on_ready_somebody_does_at_once() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.maintenance(there["one"])
        await trio.sleep(100)
        assert there.times == [1.0]
        there.registry.ready(there["one"])
        await trio.sleep(2.1)
        assert there.times == [1.0, 101.5, 103.5]


async def test_a_draining_backend_is_probed_on() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.drain(there["one"], 60.0)
        await trio.sleep(2)
        there.registry.ready(there["one"])
        await trio.sleep(2)
        assert there.times == [1.0, 3.0, 5.0]


async def test_a_new_address_is_probed_at_once_and_the_old_one_no_more() -> None:
    async with probing(Backend) as there:
        peer = await there.stand.hears()
        other = Backend()
        say_now(peer, UNAVAILABLE)
        there.registry.change(there["one"], BackendSpec(id="one", url=other.url))
        async with other.answering(OK):
            await trio.testing.wait_all_tasks_blocked()
            assert [check.why for check in there.told] == ["ok 200"]
            assert there.times == [1.0]
        other.close()


async def test_a_new_weight_changes_nothing_here() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.change(there["one"], BackendSpec(id="one", url=there.stand.url, weight=7))
        await trio.sleep(2)
        assert there.times == [1.0, 3.0]


async def test_other_settings_hold_from_the_next_probe_on() -> None:
    async with probing(interval=1000.0) as there, there.stand.answering(OK) as heard:
        await trio.sleep(501)
        there.configure(path="/new", interval=4.0)
        await trio.sleep(7)
        assert there.times == [500.0, 503.0, 507.0]
        assert [request.target for request in heard] == ["/", "/new", "/new"]


async def test_other_settings_of_the_pool_do_not_disturb_a_probe() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.registry.configure(there.pool, msgspec.structs.replace(there.pool.settings, queue=5))
        await trio.testing.wait_all_tasks_blocked()
        await peer.says(OK)
        await peer.hears_end()
        assert len(there.told) == 1


async def test_a_pool_can_lose_its_probe_and_get_another() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.set_probe(None)
        await peer.hears_end()
        await trio.sleep(100)
        assert not there.told
        there.set_probe(Probe(kind="tcp"))
        await trio.sleep(3.1)
        assert there.times == [102.0, 104.0]


async def test_an_answer_that_comes_as_the_settings_change_is_not_judged() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        say_now(peer, UNAVAILABLE)
        there.configure(status=("503",))
        await trio.testing.wait_all_tasks_blocked()
        assert not there.told


# -- when they do not count -------------------------------------------------------------------------------


async def test_a_probe_through_which_we_were_stopped_does_not_count_and_is_sent_again() -> None:
    async with probing(BlackHole, fall=1) as there:
        await trio.sleep(1.5)
        jump(60)
        await trio.sleep(1.5)
        assert not there.told
        await trio.sleep(1)
        assert there.told == [Check(False, "no connection in 2 s", 2.0, 63.5)]
        assert there.flips() == [("down", "one", 63.5)]


async def test_nor_does_one_through_which_we_were_stopped_and_that_ended_in_time() -> None:
    async with probing(BlackHole) as there:
        await trio.sleep(2)
        jump(0.5)
        await trio.sleep(2.4)
        assert not there.told
        await trio.sleep(0.2)
        assert there.times == [5.0]


async def test_nor_an_end_of_the_connection_that_came_meanwhile() -> None:
    async with probing(fall=1) as there:
        peer = await there.stand.hears()
        jump(60)
        peer.closes()
        async with there.stand.answering(OK):
            await trio.testing.wait_all_tasks_blocked()
        assert [check.why for check in there.told] == ["ok 200"]
        assert not there.flips()


async def test_an_answer_that_came_meanwhile_counts() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        say_now(peer, OK)
        jump(60)
        await trio.testing.wait_all_tasks_blocked()
        assert there.told == [Check(True, "ok 200", 60.0, 61.0)]


async def test_a_delay_that_any_loop_may_have_excuses_nobody() -> None:
    async with probing(BlackHole) as there:
        await trio.sleep(2)
        jump(0.2)
        await trio.sleep(1)
        assert there.times == [3.0]


async def test_all_who_overslept_together_are_spread_anew() -> None:
    async with probing(Backend, Backend, kind="tcp") as there:
        await trio.sleep(1.5)
        jump(60)
        await trio.sleep(0.9)
        assert there.times == [1.0, 1.0]
        await trio.sleep(0.2)
        assert there.times == [1.0, 1.0, 62.5, 62.5]


async def test_who_comes_back_finds_nobody_down() -> None:
    chances = (number * 0.37 % 1 for number in count())
    async with probing(*[Backend] * 4, fall=1, chance=lambda: next(chances)) as there:
        async with trio.open_nursery() as nursery:
            for stand in there.stands:
                assert isinstance(stand, Backend)
                nursery.start_soon(serve_slowly, stand)
            for _ in range(20):
                await trio.sleep(3.3)
                jump(60)
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        assert len(there.told) > 50
        assert not there.flips()


async def serve_slowly(stand: Backend) -> None:
    """Everything in a second, half of the timeout."""
    while True:
        peer = await stand.hears()
        await trio.sleep(1.0)
        try:
            await peer.says(OK)
        except OSError:
            peer.closes()


async def test_a_loop_that_is_always_late_still_hears_a_refusal() -> None:
    async def be_late() -> None:
        while True:
            await trio.sleep(0.05)
            jump(0.4)

    async with probing(BlackHole, Refusing) as there, trio.open_nursery() as nursery:
        nursery.start_soon(be_late)
        await trio.sleep(60)
        assert there.flips()[0][:2] == ("down", "two")
        assert not [id for id, _ in there.registry.told if id == "one"]
        nursery.cancel_scope.cancel()


async def test_out_of_descriptors_it_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int, kind: int) -> socket.socket:
        raise OSError(errno.EMFILE, "too many")

    with structlog.testing.capture_logs() as logged:
        async with probing(fall=1) as there, there.stand.answering(OK):
            with monkeypatch.context() as patch:
                patch.setattr("lb.net.connect.socket.socket", refuse)
                check = await there.check()
                await trio.sleep(10)
            await trio.sleep(2)
            assert check[:2] == (False, "this balancer is out of file descriptors")
            assert [check.why for check in there.told] == ["ok 200"]
    assert [(line["event"], line["log_level"]) for line in logged] == [("probes do not count", "warning")]


async def test_a_bug_in_one_probe_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Question.ask

    async def stumble(self: Question) -> str:
        if f":{self._aim.port}" in there.stands[0].url:
            raise ZeroDivisionError
        return await ask(self)

    monkeypatch.setattr(Question, "ask", stumble)
    with structlog.testing.capture_logs() as logged:
        async with probing(Backend, Backend, kind="tcp") as there:
            await trio.sleep(4)
            monkeypatch.setattr(Question, "ask", ask)
            await trio.sleep(2)
    assert [(line["event"], line["backend"]) for line in logged] == [("bug in a probe", "one")] * 2
    assert [id for id, _ in there.registry.told].count("two") == 3
    assert [id for id, _ in there.registry.told].count("one") == 1


# -- on request -------------------------------------------------------------------------------------------


async def test_a_check_on_request_is_judged_as_any_other() -> None:
    async with house(Refusing, fall=1) as there:
        check = await there.check()
        assert there.told == [check]
        assert there["one"].health is not None
        assert there["one"].health.verdict is Verdict.DOWN


async def test_a_check_on_request_goes_to_maintenance_too() -> None:
    async with house(kind="tcp") as there:
        there.registry.maintenance(there["one"])
        assert (await there.check()).ok


async def test_where_there_is_no_probe_there_is_no_check() -> None:
    async with house() as there:
        there.set_probe(None)
        with pytest.raises(LookupError, match=re.escape("pool 'default' has no probe")):
            await there.check()


async def test_a_check_that_does_not_count_says_so() -> None:
    async with probing(BlackHole) as there, trio.open_nursery() as nursery:
        await trio.sleep(0.5)

        async def ask() -> None:
            check = await there.check()
            assert check.why == "no connection in 2 s (not counted: this balancer was late)"
            assert not there.told

        nursery.start_soon(ask)
        await trio.sleep(0.1)
        jump(60)


# -- nothing stays open -----------------------------------------------------------------------------------


async def test_cancelled_at_any_step_a_prober_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kit.cancel.OWNER", "_keep_probing")
    body = CHUNKS + b"2\r\nab\r\n"

    async def run(at: int) -> Steps:
        async with house(body="abc") as there, trio.open_nursery() as nursery:
            steps = Steps(at, lambda: nursery.cancel_scope.cancel())
            trio.lowlevel.add_instrument(steps)
            nursery.start_soon(there.probes.run)
            peer = await there.stand.hears()
            await peer.says_bytewise(CONTINUE + body + b"1\r\nc\r\n0\r\n\r\n", 20)
            await trio.sleep(0.5)
            assert there.told[0].ok
            nursery.cancel_scope.cancel()
        trio.lowlevel.remove_instrument(steps)
        return steps

    assert await until_not_reached(run) > 5
