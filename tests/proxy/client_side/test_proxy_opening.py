"""Connections that begin with a PROXY header: whose they are then, and which are refused."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest
import structlog
import trio
import trio.lowlevel
import trio.testing

from lb.core.proxy_tlvs import ALPN, AUTHORITY
from lb.net.proxy_header import SIGNATURE
from lb.net.proxy_header_writer import proxy_header
from lb.proxy.acceptor import Server
from tests.kit import GET, OK, Client, Scene, lasting, running, virtual_time
from tests.kit.certificates import certificate
from tests.kit.wires import PLAIN, SecureSocket, among, client_context, files
from tests.net.real_proxy_headers import REAL

pytestmark = virtual_time

SOURCE, DESTINATION = ("192.0.2.7", 5000), ("192.0.2.9", 443)
V1 = proxy_header(1, SOURCE, DESTINATION)
V2 = proxy_header(2, SOURCE, DESTINATION, [(ALPN, b"h2"), (AUTHORITY, b"a.test")])
LOCAL = proxy_header(2, None, None)
UNIX_SOURCE = SIGNATURE + b"\x21\x31" + (216).to_bytes(2, "big") + bytes(216)
HTTP, TLS = "proxy+http://127.0.0.1:0", "proxy+https://127.0.0.1:0"
FROM_HERE: dict[str, Any] = {"listen": [HTTP], "proxy_protocol_from": ["127.0.0.0/8"]}
CERTIFICATES: dict[str, Any] = {"certificates": [{"chain": files().chain, "key": files().key}]}
EVENT = "no usable PROXY header"


@asynccontextmanager
async def behind(**config: Any) -> AsyncIterator[Scene]:
    """A balancer at which headers come first, whatever the wires of the other tests are."""
    with among(PLAIN):
        async with running(**{**FROM_HERE, **config}) as scene:
            yield scene


@contextmanager
def told() -> Iterator[list[str]]:
    """Why headers were refused, by the log; complete after the block."""
    why: list[str] = []
    with structlog.testing.capture_logs() as logged:
        yield why
    why += [line["why"] for line in logged if line["event"] == EVENT]


def rejected(scene: Scene) -> int:
    return sum(counts.rejected["proxy_header"] for counts in scene.metrics.listeners.values())


def is_open(scene: Scene) -> int:
    return sum(counts.open for counts in scene.metrics.listeners.values())


async def shakes_hands(client: Client, name: str = "127.0.0.1") -> Client:
    """The client with TLS on its connection."""
    secure = SecureSocket(client.sock, client_context(files().ca), name)  # type: ignore[arg-type]  # it is plain
    await secure.shake_hands()
    client.sock = secure
    return client


# -- whose connection it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [V1, V2], ids=["version 1", "version 2"])
@pytest.mark.parametrize("is_joined", [True, False], ids=["one segment", "two"])
async def test_the_client_is_the_source_of_the_header(header: bytes, is_joined: bool) -> None:
    async with behind() as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        await client.says(*([header + GET] if is_joined else [header, GET]))
        await client.hears(200)
        await client.says(GET)
        await client.hears(200)
        assert [request["X-Forwarded-For"] for request in heard] == ["192.0.2.7"] * 2
        assert (lb.exchange.client, lb.exchange.peer) == ("192.0.2.7:5000", "192.0.2.7:5000")
        announced = lb.exchange.announced
        assert announced is not None
        assert announced.by == "{}:{}".format(*client.sock.getsockname())
        assert announced.destination == DESTINATION


@pytest.mark.pure
@pytest.mark.parametrize("header", [V1, V2, LOCAL], ids=["version 1", "version 2", "local"])
async def test_a_request_that_comes_with_the_header_needs_no_task(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind() as lb, lb.backend.answering(OK):
        await (await lb.asks(header + GET)).hears(200)
        with monkeypatch.context() as patched:
            patched.setattr(Server, "start_task", None)
            client = await lb.asks(header + GET)
            await client.hears(200)
            await client.says(GET)
            await client.hears(200)


@pytest.mark.parametrize(
    "request_", [GET[:5], GET[:5] + b"\0\r\n\r\n", GET * 3], ids=["a part", "nonsense", "three"]
)
async def test_what_comes_with_the_header_is_heard_whatever_it_is(request_: bytes) -> None:
    async with behind() as lb, lb.backend.answering(OK):
        client = await lb.asks(V1 + request_)
        await trio.testing.wait_all_tasks_blocked()
        if request_ == GET[:5]:
            await client.says(GET[5:])
        for _ in range(max(1, request_.count(GET))):
            await client.hears(400 if b"\0" in request_ else 200)


async def test_a_header_may_come_byte_by_byte_and_two_requests_with_its_last_one() -> None:
    for header in V1, V2, LOCAL, UNIX_SOURCE:
        async with behind() as lb, lb.backend.answering(OK):
            client = await lb.client()
            await client.says_bytewise(header[:-1])
            await client.hears_nothing()
            await client.says(header[-1:] + GET + GET)
            await client.hears(200)
            await client.hears(200)


@pytest.mark.parametrize("name", REAL)
async def test_headers_of_others(name: str) -> None:
    data, says, _ = REAL[name]
    async with behind() as lb, lb.backend.answering(OK):
        client = await lb.client()
        await client.says(bytes.fromhex(data) + GET)
        await client.hears(200)
        own = "{}:{}".format(*client.sock.getsockname())
        host = f"[{says.source}]" if ":" in (says.source or "") else says.source
        assert lb.exchange.peer == (own if says.is_local else f"{host}:{says.source_port}")
        assert (lb.exchange.announced is None) == says.is_local


async def test_a_header_that_says_nothing_leaves_the_connections_own_addresses() -> None:
    for header in LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff::1 1 1 2\r\n":
        async with behind() as lb, lb.backend.answering(OK) as heard:
            client = await lb.client()
            await client.says(header + GET)
            await client.hears(200)
            assert heard[0]["X-Forwarded-For"] == "127.0.0.1"
            assert lb.exchange.announced is None


CLAIM = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n")


@pytest.mark.parametrize(
    ("header", "trusted", "client"),
    [
        (V1, ["192.0.2.7"], "198.51.100.1"),
        (V1, ["127.0.0.1", "unix"], "192.0.2.7:5000"),
        (UNIX_SOURCE, ["127.0.0.1", "unix"], "unix"),
        (LOCAL, ["127.0.0.1"], "198.51.100.1"),
    ],
    ids=["source", "sender", "a Unix socket elsewhere", "local"],
)
async def test_trust_is_decided_for_the_source(header: bytes, trusted: list[str], client: str) -> None:
    async with behind(trusted_proxies=trusted) as lb, lb.backend.answering(OK):
        one = await lb.client()
        await one.says(header, CLAIM)
        await one.hears(200)
        assert lb.exchange.client == client
        lb.balancer.traffic.configure(lb.balancer.control.config)  # open connections are asked again
        await one.says(CLAIM)
        await one.hears(200)
        assert lb.exchange.client == client


async def test_places_are_those_of_the_source() -> None:
    async with behind(limits={"connections_per_address": 1}) as lb, lb.backend.answering(OK):
        clients = []
        for number in range(1, 5):
            clients.append(await lb.client())
            await clients[-1].says(proxy_header(1, (f"192.0.2.{number}", 1), DESTINATION), GET)
            await clients[-1].hears(200)
        for header in LOCAL, LOCAL:
            await (await lb.client()).says(header)
        again = await lb.client()
        await again.says(proxy_header(1, ("192.0.2.1", 2), DESTINATION))
        await again.hears_end()
        assert is_open(lb) == 6
        clients[0].closes()
        await trio.sleep(1)
        again = await lb.client()
        await again.says(proxy_header(1, ("192.0.2.1", 2), DESTINATION) + GET)
        await again.hears(200)


# -- who is refused --------------------------------------------------------------------------------------


async def test_a_peer_that_is_not_listed_is_refused_at_once_and_told_once_in_a_while() -> None:
    async with behind(proxy_protocol_from=["10.0.0.0/8"]) as lb:
        with told() as why:
            for _ in range(3):
                await (await lb.client()).hears_end()
            await trio.sleep(601)
            await (await lb.client()).hears_end()
            assert rejected(lb) == 4
            assert sum(counts.accepted for counts in lb.metrics.listeners.values()) == 0
    assert why == ["127.0.0.1 is not in proxy_protocol_from"] * 2


async def test_who_may_send_one_is_asked_each_time() -> None:
    async with behind() as lb, lb.backend.answering(OK):
        config = lb.balancer.control.config
        kept = await lb.client()
        await kept.says(V1 + GET)
        await kept.hears(200)
        lb.balancer.traffic.configure(msgspec.structs.replace(config, proxy_protocol_from=("10.0.0.0/8",)))
        await (await lb.client()).hears_end()
        lb.balancer.traffic.configure(config)
        again = await lb.client()
        await again.says(V1 + GET)
        await again.hears(200)
        await kept.says(GET)
        await kept.hears(200)


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GET.replace(b"/", b"/health?key=1", 1), "no PROXY header came first, but HTTP (GET /health)"),
        (HELLO, "no PROXY header came first, but TLS"),
        (b"\0\xff" * 50, "neither HTTP nor TLS"),
        (b"P" + GET, "no PROXY header came first"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.9 5000 x\r\n", "b'x' for a port"),
        (b"PROXY UNKNOWN " + b"a" * 93, "does not end within 107 bytes"),
        (SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000), "65551 bytes, and 4096 are the most"),
        (SIGNATURE + b"\x21\x11\x0f\xff" + bytes(12), "4111 bytes, and 4096 are the most"),
        (b"\r\n\r\n" + GET, "no PROXY header came first"),
    ],
    ids=["HTTP", "TLS", "junk", "nearly", "broken", "107", "65551", "4111", "lines"],
)
async def test_what_is_no_header_is_refused_and_told(data: bytes, words: str) -> None:
    async with behind() as lb:
        with told() as why:
            client = await lb.client()
            with lasting(0):
                await client.says(data)
                heard, _ = await client.hears_all()
            assert (heard, rejected(lb), is_open(lb)) == (b"", 1, 0)
    assert len(why) == 1
    assert words in why[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "without a byte"), (V1[:-1], "within the PROXY header"), (V2[:20], "within the PROXY header")],
)
async def test_a_connection_that_ends_before_its_header_does(data: bytes, words: str) -> None:
    async with behind() as lb:
        with told() as why:
            client = await lb.client()
            await client.says(data)
            client.ends()
            await client.hears_end()
            resets = await lb.client()
            await resets.says(data)
            resets.resets()
            await trio.sleep(1)
            assert (rejected(lb), is_open(lb)) == (2, 0)
    assert len(why) == 1
    assert words in why[0]


async def test_a_header_after_a_header_is_no_request() -> None:
    for first, second in (V1, V1), (V1, V2), (V2, V1), (LOCAL, LOCAL):
        async with behind() as lb:
            client = await lb.client()
            await client.says(first + second + GET)
            await client.hears(400)
            await client.hears_end()
            assert not lb.exchange.attempts


async def test_there_is_a_deadline() -> None:
    async with behind(timeouts={"handshake": 5}) as lb:
        with told() as why:
            client = await lb.client()
            with lasting(5):
                await trio.sleep(4)
                await client.says(V1[:-1])
                await client.hears_end()
            assert rejected(lb) == 1
    assert why == ["no whole PROXY header came within timeouts.handshake"]


async def test_thousands_that_send_nothing_keep_nobody_out() -> None:
    async with behind(limits={"handshakes": 20}) as lb, lb.backend.answering(OK):
        most = await most_open(lb, V1 + GET)
        assert most == 20
        assert rejected(lb) >= 900


async def test_nor_where_they_are_to_shake_hands() -> None:
    async with behind(listen=["https://127.0.0.1:0"], tls=CERTIFICATES, limits={"handshakes": 20}) as lb:
        assert await most_open(lb, b"GET ") == 20


async def most_open(scene: Scene, request: bytes) -> int:
    """The most connections that were open while thousands came that are silent, and one that is answered."""
    silent = [await scene.client() for _ in range(1000)]
    late = await scene.client()
    await late.says(request)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, is_open(scene))
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await late.take_until(b"HTTP/1.1")
        nursery.cancel_scope.cancel()
    for client in silent:
        client.closes()
    late.closes()
    await trio.sleep(1)
    return most


async def test_the_end_of_the_balancer_waits_for_no_header() -> None:
    async with behind(timeouts={"grace": 1, "handshake": 60}) as lb:
        with told() as why:
            client = await lb.client()
            await client.says(V1[:5])
            await trio.sleep(1)
            with lasting(1):
                lb.balancer.stop()
                await client.hears_end()
            assert (rejected(lb), is_open(lb)) == (0, 0)
    assert not why


# -- other listeners -------------------------------------------------------------------------------------


async def test_a_unix_socket_is_listed_by_its_word(tmp_path: Any) -> None:
    where = f"proxy+http://unix:{tmp_path}/lb.sock"
    for senders, is_served in (["unix"], True), (["0.0.0.0/0"], False):
        async with behind(listen=[where], proxy_protocol_from=senders) as lb, lb.backend.answering(OK):
            client = await lb.client()
            if is_served:
                await client.says(V2 + GET)
                await client.hears(200)
                assert lb.exchange.client == "192.0.2.7:5000"
                assert lb.exchange.announced is not None
                assert lb.exchange.announced.by == "unix"
            else:
                await client.hears_end()


async def test_other_listeners_take_no_header() -> None:
    async with behind(listen=[HTTP, "127.0.0.1:0"]) as lb, lb.backend.answering(OK):
        plain = await lb.client(1)
        await plain.says(GET)
        await plain.hears(200)
        assert lb.exchange.announced is None
        await (await lb.client(1)).says(V1 + GET)
        proxied = await lb.client(0)
        await proxied.says(V1 + GET)
        await proxied.hears(200)


async def test_tls_may_follow() -> None:
    async with behind(listen=[TLS], tls=CERTIFICATES) as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        await client.says_bytewise(V2)
        await shakes_hands(client, "localhost")
        await client.says(GET)
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "192.0.2.7"
        assert heard[0]["X-Forwarded-Proto"] == "https"
        assert lb.exchange.announced is not None


async def test_the_hello_may_come_with_the_header() -> None:
    async with behind(listen=[TLS], tls=CERTIFICATES) as lb, lb.backend.answering(OK):
        client = await lb.client()
        send = client.sock.send

        async def send_both(data: bytes) -> int:
            client.sock.send = send  # type: ignore[method-assign]
            return await send(V1 + bytes(data)) - len(V1)

        client.sock.send = send_both  # type: ignore[method-assign, assignment]
        await shakes_hands(client, "localhost")
        await client.says(GET)
        await client.hears(200)
        assert lb.exchange.client == "192.0.2.7:5000"


async def test_who_names_no_server_gets_the_certificate_of_where_it_had_connected_to(tmp_path: Any) -> None:
    chain, key = certificate("192.0.2.9").write(tmp_path)
    async with behind(listen=[TLS], tls={"certificates": [{"chain": chain, "key": key}]}) as lb:
        there = await lb.client()
        await there.says(V1)
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):  # it came: nobody we know issued it
            await shakes_hands(there, "192.0.2.9")
        elsewhere = await lb.client()
        await elsewhere.says(LOCAL)
        with pytest.raises(Exception, match=r"(?i)unrecognized.name"):
            await shakes_hands(elsewhere, "192.0.2.9")
        there.closes()
        await trio.sleep(1)


async def test_one_deadline_for_header_and_handshake() -> None:
    async with behind(listen=[TLS], tls=CERTIFICATES, timeouts={"handshake": 5}) as lb:
        client = await lb.client()
        with lasting(5):
            await trio.sleep(4)
            await client.says(V1)
            await client.hears_end()
        termination = lb.balancer.traffic.termination
        assert termination is not None
        (refusal,) = termination.handshakes.last()
        assert refusal.peer == "192.0.2.7:5000"


async def test_many_on_a_listener_with_tls_as_well() -> None:
    limits = {"handshakes": 10}
    async with behind(listen=[TLS], tls=CERTIFICATES, limits=limits) as lb, lb.backend.answering(OK):
        for number in range(60):
            client = await lb.client()
            if number % 2:
                await client.says(V1)
        late = await lb.client()
        await late.says(V1)
        await shakes_hands(late, "localhost")
        await late.says(GET)
        await late.hears(200)
