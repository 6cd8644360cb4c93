"""What hostile clients say in place of a handshake, or within one. None of it holds a place for long."""

import random
import socket
import ssl
import struct
from contextlib import suppress

import pytest
import trio
import trio.testing

from lb.tls.refusal import HandshakeReason, Refusal
from tests.kit import GET, OK, Line, Scene, lasting, running, virtual_time
from tests.kit.wires import Wires, among

pytestmark = virtual_time

HANDSHAKE_SECONDS = 10.0
FRONT = Wires(front=True)


def hello(name: str = "localhost", *protocols: str) -> bytes:
    """The ClientHello of a client that asks for this name, and would speak these protocols."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def knocks(lb: Scene) -> Line:
    """A connection on which nothing has been said."""
    host, _, port = lb.balancer.control.listening[0].rpartition(":")
    sock = trio.socket.socket()
    await sock.connect((host, int(port)))
    line = Line(sock)
    lb.clients.append(line)  # type: ignore[arg-type]  # it is closed with them
    return line


def refusals(lb: Scene) -> list[Refusal]:
    """What was refused, the newest first."""
    termination = lb.balancer.traffic.termination
    assert termination is not None
    return list(termination.handshakes.last())


def reasons(lb: Scene) -> list[HandshakeReason]:
    return [refusal.reason for refusal in refusals(lb)]


async def test_a_million_bytes_of_junk() -> None:
    chance = random.Random(1)
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            with suppress(OSError):
                for _ in range(64):
                    await line.says(chance.randbytes(16 * 1024))
            await trio.testing.wait_all_tasks_blocked()
            assert reasons(lb) == [HandshakeReason.NOT_TLS]


async def test_half_a_hello_has_its_time_and_no_more() -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            with lasting(HANDSHAKE_SECONDS):
                await line.says(hello()[:100])
                await line.hears_all()
            assert reasons(lb) == [HandshakeReason.TOO_SLOW]


async def test_a_hello_byte_by_byte_is_bounded_by_its_time_too() -> None:
    with among(FRONT):
        async with running() as lb:
            line, began = await knocks(lb), trio.current_time()
            with suppress(OSError):
                for byte in hello():
                    await line.says(bytes([byte]))
                    await trio.sleep(1)
            assert trio.current_time() - began < HANDSHAKE_SECONDS + 2
            assert reasons(lb) == [HandshakeReason.TOO_SLOW]


async def test_a_hello_in_records_of_one_byte_is_refused_or_understood() -> None:
    """It is refused once there are more records than any client makes."""
    message = hello()[5:]
    records = b"".join(b"\x16\x03\x01\x00\x01" + message[at : at + 1] for at in range(len(message)))
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(records)
            await line.hears_all()
            assert reasons(lb) == [HandshakeReason.BROKEN]


async def test_who_stops_after_the_first_flight_makes_room_for_others() -> None:
    with among(FRONT):
        async with running(limits={"handshakes": 4}) as lb:
            for _ in range(4):
                await (await knocks(lb)).says(hello())
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                client = await lb.client()
            await client.says(GET)
            peer = await lb.backend.hears()
            await peer.says(OK)
            await client.hears(200)
            assert reasons(lb) == [HandshakeReason.TOO_MANY]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody.test", HandshakeReason.UNKNOWN_NAME),
        (".".join(["a" * 62] * 4), HandshakeReason.UNKNOWN_NAME),
    ],
)
async def test_a_name_that_nobody_has(name: str, reason: HandshakeReason) -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(hello(name))
            heard, _ = await line.hears_all()
            assert heard == b"\x15\x03\x03\x00\x02\x02\x70"
            assert reasons(lb) == [reason]
            assert name in refusals(lb)[0].sentence


@pytest.mark.parametrize(
    ("name", "alert"),
    [("a..test", 112), ("*.test", 112), ("a.test/", 112), ("a\0.test", 112)],
)
async def test_a_name_that_is_none_is_told(name: str, alert: int) -> None:
    said = hello("x" * len(name)).replace(b"x" * len(name), name.encode())
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(said)
            heard, _ = await line.hears_all()
            assert heard == b"\x15\x03\x03\x00\x02\x02" + bytes([alert])
            assert reasons(lb) == [HandshakeReason.UNKNOWN_NAME]


async def test_a_hello_that_cannot_be_decoded_is_told() -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(hello().replace(b"\x00\x09localhost", b"\x00\x08localhost"))
            assert (await line.hears_all())[0] == b"\x15\x03\x03\x00\x02\x02\x32"
            assert reasons(lb) == [HandshakeReason.BROKEN]


@pytest.mark.parametrize("protocols", [("h2",), ("ftp", "acme-tls/1")])
async def test_who_speaks_other_protocols_only_is_refused_in_words(protocols: tuple[str, ...]) -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(hello("localhost", *protocols))
            assert (await line.hears_all())[0] == b"\x15\x03\x03\x00\x02\x02\x78"
            [refusal] = refusals(lb)
            assert refusal.reason is HandshakeReason.NO_COMMON_PROTOCOL
            assert (
                refusal.sentence == f"The client speaks {', '.join(protocols)} only, and we speak http/1.1."
            )


@pytest.mark.parametrize("protocols", [("h2", "http/1.1"), ("http/1.0",)])
async def test_one_that_is_ours_is_enough(protocols: tuple[str, ...]) -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(hello("localhost", *protocols))
            await trio.testing.wait_all_tasks_blocked()
            assert not refusals(lb)
            line.closes()
            await trio.testing.wait_all_tasks_blocked()
            assert reasons(lb) == [HandshakeReason.HUNG_UP]


async def test_plain_http_is_answered_in_words() -> None:
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(GET)
            heard, _ = await line.hears_all()
            assert heard.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"https://" in heard
            assert reasons(lb) == [HandshakeReason.PLAIN_HTTP]


async def test_a_port_scanner_costs_a_counter() -> None:
    with among(FRONT):
        async with running() as lb:
            for _ in range(300):
                (await knocks(lb)).closes()
            await trio.testing.wait_all_tasks_blocked()
            termination = lb.balancer.traffic.termination
            assert termination is not None
            assert sum(termination.handshakes.failed.values()) == 300
            assert len(refusals(lb)) == 100


async def test_nobody_renegotiates() -> None:
    """TLS 1.2 let a client ask for handshakes without end; OpenSSL's own client cannot be made to."""
    with among(FRONT):
        async with running() as lb:
            termination = lb.balancer.traffic.termination
            assert termination is not None
            served = termination.certificates.find("localhost")
            assert served is not None
            assert served.context.options & ssl.OP_NO_RENEGOTIATION


async def test_a_body_that_was_to_end_with_the_connection_is_not_whole_without_a_close_notify() -> None:
    with among(Wires(back=True)):
        async with running() as lb:
            client = await lb.asks(GET)
            peer = await lb.backend.hears()
            await peer.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
            await client.hears_head(200)
            await client.hears_chunk(b"abc")
            sock = peer.sock
            with socket.socket(fileno=socket.dup(sock.fileno())) as bare:
                bare.shutdown(socket.SHUT_WR)
            heard, _ = await client.hears_all()
            assert heard == b"", "no last chunk"
            assert lb.reason == "http_response_incomplete"


async def test_empty_records_do_not_keep_the_loop() -> None:
    """Records without content, encrypted or not, are taken in and are no progress."""
    with among(FRONT):
        async with running() as lb:
            line = await knocks(lb)
            await line.says(struct.pack(">BHH", 22, 0x0301, 0))
            await line.hears_all()
            assert reasons(lb) == [HandshakeReason.BROKEN]
