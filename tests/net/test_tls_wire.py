"""A wire with TLS, over a socket pair: by another one, and by what others would send."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from lb.net.epoll import Readiness
from lb.net.tls_memory import TlsMemory
from lb.net.tls_wire import MOST_BARREN, MOST_OWED, TlsWire
from lb.net.wire import no_delay
from lb.net.wire_errors import TlsBroken, Truncated
from tests.kit import virtual_time
from tests.kit.key_updates import NOT_REQUESTED, REQUESTED, ClientKeys
from tests.kit.wires import files

pytestmark = virtual_time

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def contexts(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server named localhost, and of a client that trusts it; both speak this version only."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(files().chain, files().key)
    client.load_verify_locations(files().ca)
    client.minimum_version = client.maximum_version = version
    return server, client


Ends = tuple[TlsWire, TlsWire]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    no_delay(ours)
    no_delay(theirs)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=["watched", "by Trio"])
async def readiness(request: pytest.FixtureRequest) -> AsyncIterator[Readiness | None]:
    if request.param == "by Trio":
        yield None
        return
    readiness = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.run)
        await trio.testing.wait_all_tasks_blocked()
        yield readiness
        nursery.cancel_scope.cancel()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
async def ends(
    request: pytest.FixtureRequest,
    sockets: tuple[socket.socket, socket.socket],
    readiness: Readiness | None,
) -> AsyncIterator[Ends]:
    """A server's end and a client's, which have shaken hands."""
    serving, asking = contexts(request.param)
    server, client = TlsWire(sockets[0], readiness), TlsWire(sockets[1], readiness)
    server.begin(serving)
    client.begin(asking, is_server=False, server_name="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        nursery.start_soon(client.shake_hands)
    yield server, client
    client.close()
    server.close()


async def everything(wire: TlsWire) -> bytes:
    received = b""
    while data := await wire.receive():
        received += data
    return received


async def test_what_is_sent_on_one_side_is_received_on_the_other(ends: Ends) -> None:
    for source, sink in (ends, ends[::-1]):
        await source.send(b"hello")
        with trio.fail_after(5):
            assert await sink.receive() == b"hello"


async def test_megabytes_arrive_whole_and_at_the_pace_of_the_reader(ends: Ends) -> None:
    server, client = ends
    data = bytes(range(256)) * (1 << 14)
    assert not server.send_now(data)
    assert server.unsent is not None
    received: list[bytes] = []

    async def read() -> None:
        received.append(await everything(client))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await server.flush()
            server.end_sending()
    assert received == [data]


async def test_no_more_is_received_than_asked_for_and_none_is_lost(ends: Ends) -> None:
    server, client = ends
    await client.send(b"abcdefgh")
    with trio.fail_after(5):
        assert [await server.receive(3) for _ in range(3)] == [b"abc", b"def", b"gh"]
        with trio.move_on_after(0.1) as waited:
            await server.receive()
        assert waited.cancelled_caught
        await client.send(b"i")
        assert await server.receive() == b"i"


async def test_what_comes_in_many_records_is_received_at_once(ends: Ends) -> None:
    server, client = ends
    for piece in (b"one ", b"two ", b"three"):
        await client.send(piece)
    with trio.fail_after(5):
        await server.readable()
        while (data := server.receive_now()) is None:
            await server.readable()
        while len(data) < 13:
            data += await server.receive()
    assert data == b"one two three"
    assert server.receive_now() is None


async def test_an_end_leaves_the_other_direction_open(ends: Ends) -> None:
    server, client = ends
    await client.send(b"before the end")
    client.end_sending()
    with trio.fail_after(5):
        assert await everything(server) == b"before the end"
        assert await server.receive() == b"", "an end stays"
        await server.send(b"still here")
        assert await client.receive() == b"still here"
        server.end_sending()
        assert await client.receive() == b""


async def test_what_had_come_before_we_end_is_still_received(ends: Ends) -> None:
    server, client = ends
    await client.send(b"x" * 100)
    with trio.fail_after(5):
        assert await server.receive(10) == b"x" * 10
        server.end_sending()
        assert await server.receive(10) == b"x" * 10
        await client.send(b"y")
        assert await client.receive() == b""
        client.end_sending()
        assert await everything(server) == b"x" * 80 + b"y"


async def test_an_end_without_a_close_notify_is_no_end(ends: Ends) -> None:
    """Whoever can cut the connection could pass a part for the whole otherwise."""
    server, client = ends
    await client.send(b"a part")
    client._sock.shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        assert await server.receive() == b"a part"
        for _ in range(2):
            with pytest.raises(Truncated):
                await server.receive()
    assert server.receive_now() == b""


async def test_a_close_is_one_that_the_peer_can_believe(ends: Ends) -> None:
    server, client = ends
    await server.send(b"all of it")
    server.close()
    server.close()
    with trio.fail_after(5):
        assert await everything(client) == b"all of it"


async def test_a_reset_is_one(ends: Ends) -> None:
    server, client = ends
    server.reset()
    with trio.fail_after(5), pytest.raises(ConnectionResetError):
        await client.receive()


async def test_bytes_that_are_no_records_break_the_connection(ends: Ends) -> None:
    server, client = ends
    await client.send(b"good")
    client._sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with trio.fail_after(5):
        assert await server.receive(4) == b"good"
        for _ in range(2):
            with pytest.raises(TlsBroken):
                await server.receive()
        with pytest.raises(ConnectionResetError):
            await client.receive()  # our alert


async def test_tickets_and_the_like_leave_it_quiet(ends: Ends) -> None:
    """With TLS 1.3 the server's tickets come after the handshake, and are not content."""
    server, client = ends
    with trio.fail_after(5):
        await server.send(b"first")  # so that all that was sent before has come
        assert await client.receive() == b"first"
        assert client.is_quiet()
        assert server.is_quiet()
        await server.send(b"unasked")
        await trio.lowlevel.wait_readable(client._sock)
        assert not client.is_quiet()
        assert await client.receive() == b"unasked"
        server.close()
        await trio.lowlevel.wait_readable(client._sock)
        assert not client.is_quiet()


async def test_a_peer_to_which_much_is_owed_is_broken_off(ends: Ends) -> None:
    server, client = ends
    server._owed = bytes(MOST_OWED + 1)
    server.unsent = memoryview(b"x")  # the kernel takes nothing
    server._pay()
    with pytest.raises(TlsBroken):
        server.take(1)
    server.unsent = None
    assert client.receive_now() is None


@pytest.mark.parametrize("asks", [NOT_REQUESTED, REQUESTED])
async def test_new_keys_without_end_do_not_keep_the_loop(
    sockets: tuple[socket.socket, socket.socket], readiness: Readiness | None, tmp_path: Path, asks: int
) -> None:
    """As many as lie in the kernel would be taken in by one call, and who sends them can go on for ever."""
    serving, asking = contexts()
    asking.keylog_filename = str(tmp_path / "keys")
    server, client = TlsWire(sockets[0], readiness), TlsWire(sockets[1], readiness)
    server.begin(serving)
    client.begin(asking, is_server=False, server_name="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        nursery.start_soon(client.shake_hands)
    keys = ClientKeys(tmp_path / "keys")
    sock = trio.socket.from_stdlib_socket(sockets[1])
    for _ in range(3):  # some are nothing odd
        await sock.send(keys.update(asks) + keys.record(b"content"))
        assert await server.receive() == b"content"
    server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    left = memoryview(b"".join(keys.update() for _ in range(3 * MOST_BARREN // 27)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SocketStream(sock).send_all, left)
        with pytest.raises(TlsBroken, match="records without content"):
            await server.receive()
        nursery.cancel_scope.cancel()
    client.close()
    server.close()


async def test_a_session_is_taken_up_again(sockets: tuple[socket.socket, socket.socket], ends: Ends) -> None:
    server, client = ends
    await server.send(b"x")
    with trio.fail_after(5):
        await client.receive()
    assert client.tls.session is not None
    assert client.tls.session.has_ticket


@pytest.mark.parametrize("cut", ["nothing", "half a hello", "hello"])
async def test_who_leaves_within_the_handshake(
    sockets: tuple[socket.socket, socket.socket], cut: str
) -> None:
    serving, asking = contexts()
    server, client = TlsWire(sockets[0]), TlsWire(sockets[1])
    client.begin(asking, is_server=False, server_name="localhost")
    if cut != "nothing":
        assert not client.handshake_now()
    hello = (server.receive_raw_now() if cut != "nothing" else b"") or b""
    server.begin(serving, hello if cut == "hello" else hello[:50])
    sockets[1].shutdown(socket.SHUT_WR)
    with trio.fail_after(5), pytest.raises(Truncated):
        await server.shake_hands()


async def test_who_is_refused_hears_why(sockets: tuple[socket.socket, socket.socket]) -> None:
    serving, asking = contexts()
    serving.minimum_version = ssl.TLSVersion.TLSv1_3
    asking.minimum_version = asking.maximum_version = ssl.TLSVersion.TLSv1_2
    server, client = TlsWire(sockets[0]), TlsWire(sockets[1])
    server.begin(serving)
    client.begin(asking, is_server=False, server_name="localhost")
    refusals: dict[str, str] = {}

    async def shake(name: str, wire: TlsWire) -> None:
        with pytest.raises(ssl.SSLError) as refused:
            await wire.shake_hands()
        refusals[name] = refused.value.reason

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake, "server", server)
            nursery.start_soon(shake, "client", client)
    assert refusals == {"server": "UNSUPPORTED_PROTOCOL", "client": "TLSV1_ALERT_PROTOCOL_VERSION"}


async def test_records_are_received_however_they_are_cut(ends: Ends) -> None:
    """A record that comes alone is read on a path of its own."""
    server, client = ends
    client.tls.write(b"one ")
    client.tls.write(b"two ")
    for cut in range(len(records := client._outgoing.read()) + 1):
        received = b""
        for part in (records[:cut], records[cut:]):
            client._sock.sendall(part)
            while (data := server.receive_now()) is not None:
                received += data
            assert not server.is_ready
        assert received == b"one two "
        client.tls.write(b"one ")
        client.tls.write(b"two ")
        records = client._outgoing.read()


async def test_a_record_alone_is_received_in_parts_too(ends: Ends) -> None:
    server, client = ends
    for size in (1, 5, 6, 7, 100):
        for content in (b"hello", b"hello again"):
            await client.send(content)
            received = b""
            with trio.fail_after(5):
                while len(received) < len(content):
                    received += await server.receive(size)
            assert received == content
            assert server.receive_now() is None


async def test_an_end_goes_out_with_the_last_bytes(ends: Ends) -> None:
    server, client = ends
    sent: list[int] = []

    class Counting:
        def send(self, data: bytes) -> int:
            sent.append(len(data))
            return real.send(data)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    real, server._sock = server._sock, Counting()  # type: ignore[assignment]
    assert server.send_last_now(b"all of it")
    server.end_sending()
    server._sock = real
    with trio.fail_after(5):
        assert await everything(client) == b"all of it"
    assert len(sent) == 1


async def test_what_comes_before_our_last_bytes_is_still_received(ends: Ends) -> None:
    server, client = ends
    await client.send(b"x" * 100)
    with trio.fail_after(5):
        assert await server.receive(10) == b"x" * 10
        assert server.send_last_now(b"enough")
        assert await server.receive() == b"x" * 90
        assert await everything(client) == b"enough"


def is_empty(memory: TlsMemory) -> bool:
    return not (memory.incoming.pending or memory.outgoing.pending)


async def test_wires_of_a_thread_share_their_memory() -> None:
    """So an idle one keeps no room for what once came or went. Between two calls nothing is left in it."""
    memory = TlsMemory()
    serving, asking = contexts()
    pairs: list[Ends] = []
    for _ in range(2):
        ours, theirs = socket.socketpair()
        server, client = TlsWire(ours), TlsWire(theirs)
        server.begin(serving, memory=memory)
        client.begin(asking, is_server=False, server_name="localhost", memory=memory)
        pairs.append((server, client))
    with trio.fail_after(5):
        for step in range(6):
            for server, client in pairs:
                if step < 2:
                    client.handshake_now()
                    assert is_empty(memory)
                    server.handshake_now()
                    assert is_empty(memory)
                else:
                    data = bytes([step]) * 40_000
                    assert server.send_now(data)
                    assert is_empty(memory)
                    received = b""
                    while len(received) < len(data):
                        received += await client.receive()
                    assert received == data
        for server, client in pairs:
            assert client.send_now(bytes(20_000))
            assert server.receive_now(3) == bytes(3)
            assert is_empty(memory)
        parts = (b"\x17\x03\x03", b"\x00\x20" + bytes(99)), (b"", b"\x17\xff\xff\x00\x20" + bytes(32))
        for (server, client), (part, rest) in zip(pairs, parts, strict=True):
            client._sock.send(part)
            received = b""
            while len(received) < 20_000 - 3:
                received += await server.receive()
                assert is_empty(memory)
            assert server.receive_now() is None
            client._sock.send(rest)
            assert server.receive_now() == b""
            assert is_empty(memory)
    for pair in pairs:
        for wire in pair:
            wire.close()
            assert is_empty(memory)


async def test_tickets_go_out_with_the_first_answer_where_its_request_is_here() -> None:
    serving, asking = contexts()
    ours, theirs = socket.socketpair()
    server, client = TlsWire(ours), TlsWire(theirs)
    server.begin(serving)
    client.begin(asking, is_server=False, server_name="localhost")
    client.handshake_now()
    server.handshake_now()
    assert client.handshake_now()
    assert client.send_now(b"question")
    assert server.handshake_now()
    assert server.receive_now() == b"question"
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    assert server.send_now(b"answer")
    assert client.receive_now() == b"answer"
    assert client.tls.session is not None
    assert client.tls.session.has_ticket
    client.close()
    server.close()
