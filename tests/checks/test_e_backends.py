"""Checks 117 to 134: backends that misbehave."""

import socket
import time
import tracemalloc
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from lb.errors import Reason
from lb.settings.backend_spec import BackendSpec
from tests.kit import (
    GET,
    OK,
    Backend,
    BlackHole,
    Ended,
    Peer,
    Refusing,
    answer,
    lasting,
    running,
    virtual_time,
)
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"


# -- connecting -------------------------------------------------------------------------------------------


@pytest.mark.alone
async def test_e117_a_refusal_leads_to_the_next_and_at_last_to_502_at_once() -> None:
    """502 as nginx says it: there was a backend to ask, and it was the one that failed."""
    async with running(Refusing, Backend) as lb, lb.backend.answering(OK):
        await (await lb.asks(POST)).hears(200)
    async with running(Refusing, Refusing) as lb:
        client, took = await lb.client(), []
        for _ in range(3):
            began = time.perf_counter()
            await client.says(POST)
            with lasting(0.0):
                assert "connection_refused" in (await client.hears(502))["Proxy-Status"]
            took.append(time.perf_counter() - began)
        assert min(took) < 0.05


async def test_e118_a_black_hole_is_given_up_after_5_seconds() -> None:
    async with running(BlackHole) as lb:
        client = await lb.asks(GET)
        with lasting(5.0):
            assert "connection_timeout" in (await client.hears(504))["Proxy-Status"]


async def test_e118_a_black_hole_leads_to_the_next_backend() -> None:
    async with running(BlackHole, Backend) as lb, lb.backend.answering(OK):
        client = await lb.asks(POST)
        with lasting(5.0):
            await client.hears(200)


@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_e119_an_end_without_an_answer_lets_get_go_once_more(how: str) -> None:
    async with running(Backend, Backend) as lb:
        client = await lb.asks(GET)
        getattr(await lb.backends[0].hears(), how)()
        await (await lb.backends[1].hears()).says(OK)
        await client.hears(200)


@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_e119_where_there_is_no_other_it_is_502(how: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        getattr(await lb.backend.hears(), how)()
        assert "connection_terminated" in (await client.hears(502))["Proxy-Status"]


# -- heads ------------------------------------------------------------------------------------------------


async def test_e120_a_reset_in_the_head_is_502() -> None:
    async with running(Backend, Backend) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-")
        await trio.testing.wait_all_tasks_blocked()
        peer.resets()
        assert "http_response_incomplete" in (await client.hears(502))["Proxy-Status"]
        assert lb["one"].connections == 0


GARBAGE = [
    b"garbage",
    b"\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200\x00OK\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 99 Too Low\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
]


@pytest.mark.parametrize("said", GARBAGE)
async def test_e121_what_is_not_http_is_502(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(said)
        with lasting(0.0):
            assert "http_protocol_error" in (await client.hears(502))["Proxy-Status"]
            await peer.hears_all()


@plain_only("it is said in one piece")
@pytest.mark.parametrize(
    "lines", [b"X: %b\r\n" % bytes(b"x" * 65536), b"x: y\r\n" * 101, b"X: %b" % bytes(b"x" * 200_000)]
)
async def test_e122_a_head_beyond_the_limits_is_502(lines: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(0.0):
            await peer.says_until_stuck(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", most=1)
            await client.hears(502)
            await peer.hears_all()


async def test_e123_a_head_that_never_ends_has_its_time_as_a_whole() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(60.0):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
                await peer.says(bytes((byte,)))
                with trio.move_on_after(1):
                    await client.hears(504)
                    break


async def test_e124_no_answer_is_504_after_60_seconds() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(60.0):
            assert "http_response_timeout" in (await client.hears(504))["Proxy-Status"]
            await peer.hears_end()


async def test_e124_the_time_in_which_the_client_does_not_read_is_not_the_backend_s() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: %b\r\n\r\n" % bytes(b"x" * 65000)
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        nursery.start_soon(peer.says, *[hint] * 19)
        await trio.sleep(40)
        for _ in range(19):
            await client.hears(103)
        with lasting(60.0):
            assert "http_response_timeout" in (await client.hears(504))["Proxy-Status"]


async def says_until_cut_off(peer: Peer, data: bytes) -> None:
    with suppress(OSError):
        while True:
            await peer.says(data)


async def test_e125_interim_answers_without_end_are_502() -> None:
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        tracemalloc.start()
        nursery.start_soon(says_until_cut_off, peer, b"HTTP/1.1 103 Early Hints\r\n\r\n")
        while (answer := await client.hears_any()).status == 103:
            pass
        assert answer.status == 502
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000
        nursery.cancel_scope.cancel()


# -- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_e126_a_body_cut_short_is_seen_to_be_cut_short(how: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(BEGUN)
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        getattr(peer, how)()
        await client.hears_end()
        assert lb.reason == "http_response_incomplete"


@pytest.mark.parametrize(
    "said", [b"2\r\nab\r\n", b"2\r\nab\r\n5\r\n", b"2\r\nab\r\n0\r\n", b"2\r\nab\r\n0\r\nX: y\r\n"]
)
async def test_e127_chunks_cut_short_have_no_last_chunk(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + said)
        peer.closes()
        await client.hears_head(200)
        await client.hears_chunk(b"ab")
        await client.hears_end()


async def test_e128_a_body_that_stops_ends_both_sides_and_is_counted() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(BEGUN)
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        with lasting(60.0):
            await client.hears_end()
            await peer.hears_end()
        assert lb["one"].failures == {Reason.CONNECTION_READ_TIMEOUT: 1}


async def test_e129_a_final_answer_before_the_end_of_the_upload_is_passed_on_at_once() -> None:
    async with running() as lb:
        client = await lb.asks(POST.replace(b": 5", b": 1000000"))
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.says(answer(b"no", status="403 Forbidden"))
        with lasting(0.0):
            assert (await client.hears(403))["Connection"] == "close"
            await client.hears_end()
        for _ in range(4):  # lingering: what still comes is read and dropped
            await client.says(bytes(1000))
            await trio.sleep(0.5)
        assert lb.context.clients
        await trio.sleep(4.4)
        assert lb.context.clients
        await trio.sleep(0.2)
        assert not lb.context.clients


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> partial[Backend]:
    """A kind of backend, and connections to it, with so little room that somebody must read."""

    def narrowed(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr("lb.net.connect.no_delay", narrowed)
    return partial(Backend, receive_buffer=4096)


@plain_only("records come one by one")
async def test_e129_even_if_the_backend_has_not_taken_what_came_with_the_head(
    narrow: partial[Backend],
) -> None:
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 50000") + bytes(49995) + GET)
        peer = await lb.backend.accepts()
        await peer.hears_head()
        with lasting(0.0):
            await peer.says(answer(b"no", status="403 Forbidden"))
            await client.hears(403)
        await lb.backend.hears(b"GET / HTTP/1.1")


async def test_e130_a_backend_that_stops_reading_holds_its_client_back_and_is_given_up(
    narrow: partial[Backend],
) -> None:
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 1000000000"))
        await lb.backend.accepts()
        with lasting(60.0):
            await client.says_until_stuck(bytes(1 << 16), most=1 << 28)
            (connection,) = lb.connections
            assert connection.record is not None
            assert connection.record.request_bytes < 1 << 18
            assert "connection_write_timeout" in (await client.hears(504))["Proxy-Status"]


# -- connections that are kept ----------------------------------------------------------------------------


async def test_e131_a_backend_that_closes_when_we_would_reuse_costs_no_client_anything() -> None:
    """Its idle timeout is ours, 30 s, give or take the moment in which the next request comes."""
    chance = Random(131)

    async def serve(peer: Peer) -> None:
        try:
            while True:
                with trio.move_on_after(29.999 + chance.random() * 0.002) as idle:
                    await peer.hears_request()
                if idle.cancelled_caught:
                    break
                await peer.says(OK)
        except Ended:
            pass
        peer.closes()

    async with running(timeouts={"backend_idle": "30s"}) as lb, trio.open_nursery() as nursery:

        async def accept() -> None:
            while True:
                nursery.start_soon(serve, await lb.backend.accepts())

        nursery.start_soon(accept)
        client = await lb.client()
        for _ in range(500):
            await client.says(GET)
            await client.hears(200)
            await trio.sleep(29.999 + chance.random() * 0.002)
        assert lb["one"].connections_reused > 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "said", [OK.replace(b"1.1", b"1.0"), OK.replace(b"Content", b"Connection: close\r\nContent")]
)
async def test_e132_a_connection_that_ends_is_not_kept(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(said)
        assert "Connection" not in await client.hears(200)
        await peer.hears_end()
        await client.says(GET)
        await lb.backend.hears()


class SlowResolver(trio.abc.HostnameResolver):
    """Has no answer for a minute, and then a bad one."""

    async def getaddrinfo(self, *_args: Any) -> Any:
        await trio.sleep(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_e133_a_name_that_does_not_resolve_holds_nobody_else_up() -> None:
    trio.socket.set_custom_hostname_resolver(SlowResolver())
    async with running() as lb, lb.backend.answering(OK):
        lb.registry.add(BackendSpec(id="named", url="http://shop.test:80"))
        first, second, third = [await lb.asks(GET) for _ in range(3)]
        with lasting(0.0):
            await first.hears(200)
            await third.hears(200)
        with lasting(5.0):  # it waits for the name as it would for the connection, and goes elsewhere
            await second.hears(200)


class Flapping(Backend):
    """Listens, and does not, and listens again, always at the same address."""

    def goes_down(self) -> None:
        host, port = self._listening.getsockname()
        self._where = (host, port)
        self._listening.close()
        for peer in self.peers:
            if peer.is_open:
                peer.resets()

    def comes_up(self) -> None:
        self._listening = socket.create_server(self._where)
        self._sock = trio.socket.from_stdlib_socket(self._listening)


async def test_e134_a_backend_that_flaps_loses_no_get_while_another_is_well() -> None:
    """How its health is probed, and how often it may change its mind, is not for these checks."""

    async def serve(backend: Backend) -> None:
        async with backend.answering(OK):
            await trio.sleep_forever()

    async with running(Flapping, Backend) as lb, trio.open_nursery() as nursery:
        flapping, well = lb.backends
        assert isinstance(flapping, Flapping)
        nursery.start_soon(serve, well)

        async def flap() -> None:
            while True:
                with trio.move_on_after(0.1):
                    await serve(flapping)
                flapping.goes_down()
                await trio.sleep(0.1)
                flapping.comes_up()

        nursery.start_soon(flap)
        client = await lb.client()
        for _ in range(300):
            await client.says(GET)
            await client.hears(200)
            await trio.sleep(0.007)
        assert lb["one"].failures.total() > 0
        assert lb["one"].codes.total() > 0
        nursery.cancel_scope.cancel()
