"""Asking a server: one answer, a stream of lines, what fails and how it is told, and what stays open."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Asker, Bounds, Patience
from lb.http_client.server_url import Server, server_of
from tests.kit import OK, Backend, BlackHole, Peer, Refusing, answer, lasting, virtual_time
from tests.kit.backend import Stand
from tests.kit.balancer import open_sockets
from tests.kit.cancel import cancelled_everywhere

pytestmark = virtual_time
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRET = (("Authorization", "Bearer hush"),)


def server(stand: Stand) -> Server:
    return server_of(stand.url)[0]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Steps(trio.abc.Instrument):
    """Counts the steps of a task, the current one: in each of them it holds the event loop."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._task


@asynccontextmanager
async def saying(*pieces: bytes, ends: bool = True) -> AsyncIterator[Backend]:
    """A server that answers its first request with these pieces, and then ends or is silent."""
    backend = Backend()
    before = open_sockets()

    async def serve() -> None:
        peer = await backend.hears()
        await peer.says(*pieces)
        if ends:
            peer.ends()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield backend
        nursery.cancel_scope.cancel()
    for peer in backend.peers:
        peer.closes()
    assert open_sockets() == before, "the client has left a socket open"
    backend.close()


async def failure(backend: Stand, patience: Patience = Patience(), bounds: Bounds = Bounds()) -> str:  # noqa: B008
    """What is said of a question that fails."""
    asker = Asker(server(backend), fields=SECRET, patience=patience, bounds=bounds)
    with pytest.raises(AskFailed) as caught:
        await asker.ask("GET", "/v1/x?token=hush")
    seen = "".join(str(exc) + repr(exc) for exc in chain(caught.value))
    assert "hush" not in seen
    assert backend.address in str(caught.value)
    return str(caught.value)


def chain(exc: BaseException | None) -> list[BaseException]:
    """An error and those behind it, as a traceback shows them."""
    found = []
    while exc is not None:
        found.append(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return found


# -- one answer --------------------------------------------------------------------------------------------


async def test_an_answer_has_a_status_fields_and_a_body() -> None:
    async with saying(answer(b"{}", "ETag: x"), ends=False) as backend:
        got = await Asker(server(backend)).ask("POST", "/v3/kv/range", body=b"{}")
        assert (got.status, got.fields["etag"], got.body) == (200, "x", b"{}")


async def heard(method: str, body: bytes = b"") -> bytes:
    backend = Backend()
    async with backend.answering(OK) as requests:
        await Asker(server(backend), fields=SECRET).ask(method, "/x?y", body=body)
    backend.close()
    return requests[0].head.replace(backend.address.encode(), b"ADDRESS")


async def test_what_is_sent() -> None:
    ours = b"User-Agent: trio-lb\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n\r\n"
    mine = b"Authorization: Bearer hush\r\n"
    assert await heard("GET") == b"GET /x?y HTTP/1.1\r\nHost: ADDRESS\r\n" + mine + ours
    post = b"POST /x?y HTTP/1.1\r\nHost: ADDRESS\r\n" + mine + b"Content-Length: 2\r\n" + ours
    assert await heard("POST", b"{}") == post


@pytest.mark.parametrize(
    "said",
    [
        [answer(b"[1,2]")],
        [b"HTTP/1.1 100 Continue\r\n\r\n", answer(b"[1,2]")],
        [CHUNKED, chunk(b"[1,"), chunk(b"2]"), b"0\r\n\r\n"],
        [CHUNKED + b"3\r\n[1", b",\r", b"\n2\r\n2]\r\n0", b"\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\n", b"[1,2]"],
    ],
    ids=["whole", "interim", "chunked", "cut", "until the end"],
)
async def test_an_answer_is_whole_however_it_comes(said: list[bytes]) -> None:
    async with saying(*said) as backend:
        got = await Asker(server(backend)).ask("GET", "/")
        assert (got.status, got.body) == (200, b"[1,2]")


async def test_an_answer_of_another_status_is_an_answer_until_one_is_expected() -> None:
    async with saying(answer(b'{"message":\n"no \x1b[31mleader"}', status="500 No")) as backend:
        got = await Asker(server(backend)).ask("GET", "/v1/x?token=hush")
        assert got.expect(200, 500) is got
        with pytest.raises(AskFailed, match=r": GET /v1/x: it answered 500: .*no \[31mleader") as caught:
            got.expect(200)
        assert caught.value.status == 500
        assert caught.value.body == got.body


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "it closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "in the middle of its answer"),
        (CHUNKED + b"5\r\nab", "in the middle of its answer"),
        (CHUNKED + b"zz\r\n", "is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", "'gzip'"),
        (answer(b"x" * 1001), "larger than 1000 bytes"),
        (CHUNKED + chunk(b"x" * 600) + chunk(b"x" * 600), "larger than 1000 bytes"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_what_is_no_answer_is_told(said: bytes, why: str) -> None:
    async with saying(said) as backend:
        assert why in await failure(backend, bounds=Bounds(answer=1000))


async def test_a_reset_is_told() -> None:
    backend = Backend()

    async def serve() -> None:
        (await backend.hears()).resets()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        assert "connection reset by peer" in await failure(backend)
    backend.close()


async def test_a_refusal_and_a_name_that_is_none_are_told() -> None:
    refusing = Refusing()
    assert await failure(refusing) == f"http://{refusing.address}: connection refused"
    refusing.close()
    with pytest.raises(AskFailed, match=r"unix:/none/here: no such file"):
        await Asker(server_of("unix:/none/here")[0]).ask("GET", "/")
    with pytest.raises(AskFailed, match=r"no name that can be resolved"):
        await Asker(server_of(f"http://{'a' * 70}.test")[0]).ask("GET", "/")


async def test_a_field_that_cannot_be_sent_is_not_repeated() -> None:
    async with saying(OK) as backend:
        asker = Asker(server(backend), fields=(("Authorization", "hush\n"),))
        with pytest.raises(AskFailed, match="cannot be sent") as caught:
            await asker.ask("GET", "/")
        assert "hush" not in "".join(map(str, chain(caught.value)))


# -- patience ----------------------------------------------------------------------------------------------

PATIENCE = Patience(connect=2, head=3, silence=4, body=9)


async def test_without_a_connection() -> None:
    hole = BlackHole()
    with lasting(2):
        assert (await failure(hole, PATIENCE)).endswith("no connection within 2 s")
    hole.close()


async def test_without_a_head() -> None:
    async with saying(ends=False) as backend:
        with lasting(3):
            assert (await failure(backend, PATIENCE)).endswith("GET /v1/x: no answer within 3 s")


async def test_without_the_rest_of_a_body() -> None:
    async with saying(CHUNKED, chunk(b"a"), ends=False) as backend:
        with lasting(4):
            assert "GET /v1/x: nothing came for 4 s" in await failure(backend, PATIENCE)


async def test_a_body_that_trickles() -> None:
    backend = Backend()

    async def serve() -> None:
        peer = await backend.hears()
        await peer.says(CHUNKED)
        while True:
            await peer.says(chunk(b"a"))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with lasting(9):
            assert "has not ended after 9 s" in await failure(backend, PATIENCE)
        nursery.cancel_scope.cancel()
    backend.close()


async def test_a_server_that_is_asked_to_wait_is_waited_for() -> None:
    async with saying(ends=False) as backend:
        with lasting(60), pytest.raises(AskFailed, match="no answer within 60 s"):
            await Asker(server(backend), patience=PATIENCE).ask("GET", "/", head_seconds=60)


# -- a connection that is kept -----------------------------------------------------------------------------


@asynccontextmanager
async def kept(backend: Backend) -> AsyncIterator[tuple[Asker, Peer]]:
    """One who asks, and the server's end of the connection that he has kept."""
    asker = Asker(server(backend), keeps=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asker.ask, "GET", "/first")
        peer = await backend.hears(b"GET /first HTTP/1.1")
        await peer.says(OK)
    yield asker, peer
    asker.close()
    backend.close()


async def test_it_is_used_again() -> None:
    backend = Backend()
    async with kept(backend) as (asker, peer), trio.open_nursery() as nursery:
        nursery.start_soon(asker.ask, "GET", "/second")
        await peer.hears_request(b"GET /second HTTP/1.1")
        await peer.says(OK)


async def test_two_at_once_have_one_each() -> None:
    backend = Backend()
    async with kept(backend) as (asker, peer), trio.open_nursery() as nursery:
        nursery.start_soon(asker.ask, "GET", "/x")
        nursery.start_soon(asker.ask, "GET", "/x")
        await peer.hears_request(b"GET /x HTTP/1.1")
        other = await backend.hears(b"GET /x HTTP/1.1")
        await peer.says(OK)
        await other.says(OK)
        await other.hears_end()


@pytest.mark.parametrize("how", ["end", "reset", "more"])
async def test_one_that_has_ended_meanwhile_is_not_used(how: str) -> None:
    backend = Backend()
    async with kept(backend) as (asker, peer), trio.open_nursery() as nursery:
        acts: dict[str, Callable[[], None]] = {"end": peer.ends, "reset": peer.resets}
        acts.get(how, partial(peer.says_at_once, OK))()
        nursery.start_soon(asker.ask, "POST", "/x")
        await (await backend.hears(b"POST /x HTTP/1.1")).says(OK)


async def test_one_that_ends_under_the_question_is_asked_again_on_a_new_one_once() -> None:
    backend = Backend()
    async with kept(backend) as (asker, peer), trio.open_nursery() as nursery:
        nursery.start_soon(asker.ask, "GET", "/x")
        await peer.hears_request()
        peer.closes()
        await (await backend.hears(b"GET /x HTTP/1.1")).says(OK)
    async with kept(Backend()) as (asker, peer), trio.open_nursery() as nursery:
        nursery.start_soon(fails, asker, "POST")
        await peer.hears_request()
        peer.closes()


async def fails(asker: Asker, method: str) -> None:
    with pytest.raises(AskFailed, match="without an answer"):
        await asker.ask(method, "/x")


@pytest.mark.parametrize(("how", "why"), [("end", "in the middle"), ("reset", "reset by peer")])
async def test_one_that_has_begun_its_answer_is_not_asked_again(how: str, why: str) -> None:
    backend = Backend()

    async def ask() -> None:
        with pytest.raises(AskFailed, match=why):
            await asker.ask("GET", "/x")

    async with kept(backend) as (asker, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await peer.hears_request()
        await peer.says(b"HTTP/1.1 200 OK\r\n")
        await trio.testing.wait_all_tasks_blocked()
        (peer.ends if how == "end" else peer.resets)()
        await backend.accepts_nobody()


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK + b"HTTP/1.1 200 OK\r\n"],
)
async def test_one_that_says_close_or_too_much_is_not_kept(said: bytes) -> None:
    async with saying(said, ends=False) as backend:
        await Asker(server(backend), keeps=True).ask("GET", "/")
        await backend.peers[0].hears_end()


# -- much at once ------------------------------------------------------------------------------------------

FLOODS = {
    "interim heads": b"HTTP/1.1 102 Processing\r\n\r\n" * 300
    + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "small chunks": CHUNKED + chunk(b"a") * 300 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_of_what_comes_at_once_little_is_taken_in_each_turn(flood: str) -> None:
    async with saying(FLOODS[flood]) as backend:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await Asker(server(backend)).ask("GET", "/")
        trio.lowlevel.remove_instrument(steps)
        assert steps.count >= 300


# -- a stream of lines -------------------------------------------------------------------------------------


async def test_lines_come_as_they_are_said_and_an_end_is_none() -> None:
    async with saying(CHUNKED, chunk(b'{"a"'), chunk(b":1}\n\n{}\n"), b"0\r\n\r\n") as backend:
        async with Asker(server(backend)).open_lines("GET", "/watch") as stream:
            assert [await stream.next() for _ in range(3)] == [b'{"a":1}', b"{}", None]


async def test_a_wait_for_a_line_may_be_given_up_and_goes_on() -> None:
    backend = Backend()
    async with trio.open_nursery() as nursery:
        asker = Asker(server(backend))
        opened = asker.open_lines("GET", "/watch")
        nursery.start_soon(answered, backend, CHUNKED + chunk(b"a"))
        async with opened as stream:
            with trio.move_on_after(5) as scope:
                await stream.next()
            assert scope.cancelled_caught
            await backend.peers[0].says(chunk(b"b\n"))
            assert await stream.next() == b"ab"
        await backend.peers[0].hears_end()
    backend.close()


async def test_a_batch_has_what_comes_soon_after_its_first_line() -> None:
    backend = Backend()
    async with trio.open_nursery() as nursery:
        opened = Asker(server(backend)).open_lines("GET", "/watch")
        nursery.start_soon(answered, backend, CHUNKED + chunk(b"a\nb\n"))
        async with opened as stream:
            peer = backend.peers[0]
            with lasting(0.2):
                assert await stream.batch(0.2) == [b"a", b"b"]
            with trio.move_on_after(0.1) as scope:
                await peer.says(chunk(b"c\n"))
                await stream.batch(0.2)
            assert scope.cancelled_caught
            await peer.says(chunk(b"d\n"), b"0\r\n\r\n")
            assert await stream.batch(9) == [b"c", b"d"]
            assert await stream.batch(9) == []
            assert await stream.next() is None
    backend.close()


async def test_a_batch_that_breaks_has_first_what_came() -> None:
    async with saying(CHUNKED, chunk(b"a\nb")) as backend:
        async with Asker(server(backend)).open_lines("GET", "/watch") as stream:
            assert await stream.batch(1) == [b"a"]
            for _ in range(2):
                with pytest.raises(AskFailed, match="in the middle of its answer"):
                    await stream.batch(1)


async def answered(backend: Backend, said: bytes) -> None:
    await (await backend.hears()).says(said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (chunk(b"ab") + b"0\r\n\r\n", "ended within a line"),
        (chunk(b"ab"), "in the middle of its answer"),
        (chunk(b"a" * 11), "a line is longer than 10 bytes"),
        (b"?", "in the middle|not HTTP"),
    ],
)
async def test_a_stream_that_breaks_is_told(said: bytes, why: str) -> None:
    async with saying(CHUNKED, said) as backend:
        asker = Asker(server(backend), bounds=Bounds(line=10))
        async with asker.open_lines("GET", "/watch") as stream:
            with pytest.raises(AskFailed, match=why):
                await stream.next()


async def test_silence_is_bounded_where_it_is_asked() -> None:
    async with saying(CHUNKED, ends=False) as backend:
        asker = Asker(server(backend))
        async with asker.open_lines("GET", "/watch", silence=20) as stream:
            with lasting(20), pytest.raises(AskFailed, match="nothing came for 20 s"):
                await stream.next()


async def test_a_stream_of_another_status_is_a_failure_with_what_it_said() -> None:
    async with saying(answer(b'{"code":16}', status="401 No")) as backend:
        with pytest.raises(AskFailed, match=r"it answered 401: \{") as caught:
            async with Asker(server(backend)).open_lines("GET", "/watch"):
                raise AssertionError("there is no stream")
        assert (caught.value.status, caught.value.body) == (401, b'{"code":16}')


# -- Unix sockets and cancellation -------------------------------------------------------------------------


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with trio.socket.socket(socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_once, listening)
            asked = server_of(f"unix:{path}")[0]
            assert (await Asker(asked).ask("GET", "/version")).body == b"ok"


async def serve_once(listening: trio.socket.SocketType) -> None:
    sock, _ = await listening.accept()
    peer = Peer(sock)
    assert (await peer.hears_request(b"GET /version HTTP/1.1"))["Host"] == "localhost"
    await peer.says(OK)
    peer.closes()


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    backend = Backend()

    async def serve(peer: Peer) -> None:
        try:
            while True:
                request = await peer.hears_request()
                pieces = [CHUNKED, chunk(b"a"), chunk(b"\nb\n"), b"0\r\n", b"\r\n"]
                for piece in pieces if request.target != "/one" else [OK[:20], OK[20:]]:
                    await trio.testing.wait_all_tasks_blocked()
                    await peer.says(piece)
        except (AssertionError, OSError):
            peer.closes()

    async def accept() -> None:
        while True:
            nursery.start_soon(serve, await backend.accepts())

    async def run() -> None:
        asker = Asker(server(backend), keeps=True)
        try:
            for _ in range(2):
                await asker.ask("GET", "/one")
            async with asker.open_lines("GET", "/lines") as stream:
                while await stream.next() is not None:
                    pass
        finally:
            asker.close()

    def check() -> None:
        theirs = {os.fstat(peer.sock.fileno()).st_ino for peer in backend.peers if peer.is_open}
        assert open_sockets() - before - theirs == set(), "a socket of ours is open"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        before = open_sockets()
        assert await cancelled_everywhere(run, check) > 10
        nursery.cancel_scope.cancel()
    backend.close()
