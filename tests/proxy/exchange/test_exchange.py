"""One exchange: what goes to the backend, what comes back, which attempt follows which, how it fails."""

import os
import socket
import tracemalloc
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing

from lb.errors import Reason
from tests.kit import (
    GET,
    OK,
    Backend,
    BlackHole,
    Client,
    Peer,
    Refusing,
    Scene,
    answer,
    lasting,
    running,
    virtual_time,
)
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"


# -- what the backend gets --------------------------------------------------------------------------------


async def test_a_request_keeps_its_bytes_its_names_and_their_order() -> None:
    lines = b"X-b: 1\r\naccept:  a/b \r\nX-B: 2\r\nCOOKIE: a=b; c\r\n"
    async with running() as lb:
        await lb.asks(b"GET //a/../b%2Fc;x?y=%0d%0a&& HTTP/1.1\r\nHost: A.b:80\r\n" + lines + b"\r\n")
        peer = await lb.backend.accepts()
        request = await peer.hears_request(b"GET //a/../b%2Fc;x?y=%0d%0a&& HTTP/1.1")
        assert request.names[:5] == ["Host", "X-b", "accept", "X-B", "COOKIE"]
        assert request["Host"] == "A.b:80"
        assert request.all("X-B") == ["1", "2"]


async def test_fields_of_one_connection_end_here() -> None:
    lines = b"Connection: x-a, close\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nTrailer: x\r\n"
    lines += (
        b"Proxy-Connection: y\r\nProxy-Authorization: z\r\nUpgrade: h2c\r\nHTTP2-Settings: q\r\nX-B: 2\r\n"
    )
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        await client.hears(200)
        ours = ["X-Forwarded-For", "X-Forwarded-Proto", "Via", "X-Forwarded-Host", "X-Request-Id"]
        assert heard[0].names == ["Host", "X-B", *ours]


async def test_no_connection_field_takes_away_what_a_backend_trusts() -> None:
    named = b"Connection: X-Forwarded-For, Via, Host, X-Request-Id, Content-Length, Cookie\r\nCookie: c\r\n"
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(POST.replace(b"Content", named + b"Content"))
        await client.hears(200)
        assert {"X-Forwarded-For", "Via", "Host", "X-Request-Id", "Cookie"} <= set(heard[0].names)
        assert heard[0].body == b"hello"


@plain_only("it names the scheme")
async def test_a_backend_is_told_who_asks() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(GET)
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "127.0.0.1"
        assert heard[0]["X-Forwarded-Proto"] == "http"
        assert heard[0]["X-Forwarded-Host"] == "a"
        assert heard[0]["X-Request-Id"] == lb.exchange.id.decode()
        assert heard[0]["Via"].startswith("1.1 lb (")
        assert "Forwarded" not in heard[0]


CLAIMS = b"Forwarded: for=10.0.0.9\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n"
CLAIMS += b"X-Forwarded-Host: shop\r\nX-Request-Id: mine\r\n"
CLAIMING = b"GET / HTTP/1.1\r\nHost: a\r\n" + CLAIMS + b"\r\n"


@plain_only("it names the scheme")
async def test_a_stranger_is_not_believed() -> None:
    async with running(forwarded=True) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(CLAIMING.replace(b"X-Request", b"X_Forwarded_For: 6.6.6.6\r\nX-Request"))
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "127.0.0.1"
        assert heard[0]["X-Forwarded-Proto"] == "http"
        assert heard[0]["X-Forwarded-Host"] == "a"
        assert heard[0]["X-Request-Id"] == lb.exchange.id.decode() != "mine"
        assert heard[0]["Forwarded"] == 'for=127.0.0.1;host="a";proto=http'
        assert b"6.6.6.6" not in heard[0].head


@plain_only("it names the scheme")
async def test_a_trusted_proxy_is_believed_and_added_to() -> None:
    async with running(trusted_proxies=["127.0.0.0/8"], forwarded=True) as lb:
        async with lb.backend.answering(OK) as heard:
            client = await lb.asks(CLAIMING)
            await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "10.0.0.9, 127.0.0.1"
        assert heard[0]["X-Forwarded-Proto"] == "https"
        assert heard[0]["X-Forwarded-Host"] == "shop"
        assert heard[0]["X-Request-Id"] == lb.exchange.id.decode() == "mine"
        assert heard[0]["Forwarded"] == 'for=10.0.0.9, for=127.0.0.1;host="a";proto=http'


async def test_an_id_that_is_not_fit_to_be_logged_is_replaced() -> None:
    async with running(trusted_proxies=["127.0.0.1"]) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(b'GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a"b\r\n\r\n')
        await client.hears(200)
        assert heard[0]["X-Request-Id"] == lb.exchange.id.decode() != 'a"b'


async def test_a_request_that_comes_back_to_us_is_a_loop() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(GET)
        await client.hears(200)
        via = heard[0]["Via"].encode()
        await client.says(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 x, " + via + b"\r\n\r\n")
        assert "proxy_loop_detected" in (await client.hears(508))["Proxy-Status"]
        assert len(heard) == 1


async def test_a_chunked_body_is_framed_anew_and_its_trailers_travel() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        body = b"005;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n"
        client = await lb.asks(CHUNKED + body)
        await client.hears(200)
        assert (heard[0].framing, heard[0].body) == ("chunked", b"hello world")
        assert heard[0].trailers == [("X-Sum", "7")]
        assert lb.exchange.request_bytes == 11


async def test_a_body_is_passed_on_while_it_comes() -> None:
    async with running() as lb:
        client = await lb.asks(CHUNKED)
        peer = await lb.backend.accepts()
        await peer.hears_head(b"POST / HTTP/1.1")
        await client.says(b"3\r\nabc\r\n")
        await peer.hears_exactly(b"3\r\nabc\r\n")
        await client.says(b"2\r\nd")
        await peer.hears_exactly(b"1\r\nd\r\n")
        await client.says(b"e\r\n0\r\n\r\n")
        await peer.hears_exactly(b"1\r\ne\r\n0\r\n\r\n")
        await peer.says(OK)
        await client.hears(200)
        await client.hears_nothing()


@pytest.mark.parametrize("chunk", [b"0x5\r\n", b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello!!\r\n"])
async def test_a_body_with_broken_framing_is_cut_off(chunk: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(CHUNKED)
        peer = await lb.backend.accepts()
        await client.says(chunk)
        assert (await client.hears(400))["Connection"] == "close"
        await peer.hears_head()
        await peer.hears_end()


async def test_routes_lead_to_pools() -> None:
    routes = [{"host": "*.b", "path": "/x", "pool": "other"}]
    async with running(pools={"default": {}, "other": {}}, routes=routes) as lb, lb.backend.answering(OK):
        client = await lb.asks(b"GET /x/y HTTP/1.1\r\nHost: a.b:80\r\n\r\n")
        await client.hears(503)
        await client.says(b"GET /xy HTTP/1.1\r\nHost: a.b:80\r\n\r\n")
        await client.hears(200)
        assert [exchange.pool for exchange in lb.exchanges] == ["other", "default"]


# -- what the client gets ---------------------------------------------------------------------------------


async def test_an_answer_keeps_its_names_its_order_and_its_repetitions() -> None:
    lines = ("SET-cookie: a=b", "ETag: w", "Set-Cookie: c=d", "Date: now")
    async with running() as lb, lb.backend.answering(answer(b"x", *lines)):
        client = await lb.asks(GET)
        response = await client.hears(200)
        assert response.names == ["SET-cookie", "ETag", "Set-Cookie", "Date", "Content-Length"]
        assert response.all("Set-Cookie") == ["a=b", "c=d"]


async def test_an_answer_without_a_date_gets_one() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        assert (await client.hears(200))["Date"].endswith(" GMT")


async def test_fields_of_the_backend_s_connection_end_here() -> None:
    lines = ("Connection: x-a, keep-alive", "X-A: 1", "Keep-Alive: 5", "Upgrade: h2c", "X-B: 2", "Trailer: t")
    async with running() as lb, lb.backend.answering(answer(b"x", *lines)):
        client = await lb.asks(GET)
        assert (await client.hears(200)).names == ["X-B", "Date", "Content-Length"]


TRAILED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 7\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nabc"


async def test_a_chunked_answer_is_framed_anew_and_its_trailers_travel() -> None:
    async with running() as lb, lb.backend.answering(TRAILED):
        client = await lb.asks(GET)
        response = await client.hears(200)
        assert (response.framing, response.body) == ("chunked", b"abc")
        assert response.trailers == [("X-Sum", "7")]
        assert lb.exchange.response_bytes == 3
        assert lb["one"].idle_connections == 1


async def test_a_chunked_answer_to_http_1_0_ends_with_the_connection() -> None:
    async with running() as lb, lb.backend.answering(TRAILED):
        client = await lb.asks(OLD)
        response = await client.hears(200)
        assert (response.framing, response.body) == ("close", b"abc")


@pytest.mark.parametrize(("request_", "framing"), [(GET, "chunked"), (OLD, "close")])
async def test_an_answer_that_ends_with_its_connection(request_: bytes, framing: str) -> None:
    async with running() as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.hears()
        await peer.says(UNTIL_CLOSE)
        peer.closes()
        response = await client.hears(200)
        assert (response.framing, response.body) == (framing, b"abc")
        assert lb["one"].idle_connections == 0


async def test_an_answer_is_passed_on_while_it_comes() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.hears_head(200)
        for content in (b"a", b"bc"):
            await peer.says(b"%x\r\n%b\r\n" % (len(content), content))
            await client.hears_chunk(content)
        await peer.says(b"0\r\n\r\n")
        await client.hears_chunk(b"")


@pytest.mark.parametrize(
    ("to", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_leaves_both_connections_in_use(to: str, head: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % to.encode())
        peer = await lb.backend.hears()
        await peer.says(head)
        response = await client.hears(int(head[9:12]), to=to)
        assert response.all("Content-Length") == (["100"] if b"100" in head else [])
        await client.says(GET)
        await peer.hears_request()
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        OK + b"x",
        OK + OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_a_connection_in_doubt_is_never_used_again(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(said)
        await client.hears(int(said[9:12]))
        await client.hears_nothing()
        with lasting(0.0):
            heard, _ = await peer.hears_all()
        assert heard == b""


async def test_interim_answers_are_passed_on_in_their_order() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await client.hears(102)
        assert (await client.hears(103)).names == ["Link"]
        await peer.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        await client.hears(103)
        await client.hears(200)


async def test_http_1_0_gets_no_interim_answer() -> None:
    async with running() as lb:
        client = await lb.asks(OLD)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        await client.hears(200)


async def test_interim_answers_without_end_are_an_error() -> None:
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        nursery.start_soon(peer.says, hint * 10_000)
        count = 0
        while (await client.hears_any()).status == 103:
            count += 1
        assert count == 20 * 64 * 1024 // 256
        nursery.cancel_scope.cancel()


async def test_f5_5_a_response_may_have_many_interim_heads() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + OK)
        for _ in range(100):
            await client.hears(102)
        await client.hears(200)


async def test_f5_5_each_interim_head_renews_the_wait_up_to_a_total() -> None:
    async with running(timeouts={"response_head": 10}) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(100.0):
            for _ in range(11):
                await peer.says(b"HTTP/1.1 102 Processing\r\n\r\n")
                await client.hears(102)
                await trio.sleep(9)
            assert "http_response_timeout" in (await client.hears(504))["Proxy-Status"]


# -- request and answer at the same time ------------------------------------------------------------------


async def test_a_client_that_waits_for_100_sends_its_body_then() -> None:
    async with running() as lb:
        client = await lb.asks(EXPECTING)
        peer = await lb.backend.accepts()
        request = await peer.hears_head()
        assert request["Expect"] == "100-continue"
        await peer.hears_nothing()
        await peer.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.hears(100)
        await client.says(b"hello")
        assert await peer.hears_body(request) == b"hello"
        await peer.says(OK)
        assert "Connection" not in await client.hears(200)


async def test_a_client_that_does_not_wait_for_100_is_served() -> None:
    async with running() as lb:
        client = await lb.asks(EXPECTING)
        peer = await lb.backend.accepts()
        request = await peer.hears_head()
        await trio.sleep(1)
        await client.says(b"hello")
        assert await peer.hears_body(request) == b"hello"
        await peer.says(OK)
        await client.hears(200)


async def test_a_refusal_instead_of_100_is_passed_on_and_nothing_is_used_again() -> None:
    async with running() as lb:
        client = await lb.asks(EXPECTING)
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.says(answer(b"no", status="417 Expectation Failed"))
        assert (await client.hears(417))["Connection"] == "close"
        await peer.hears_end()


async def test_http_1_0_expects_nothing() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(
            POST.replace(b"1.1", b"1.0").replace(b"Content", b"Expect: 100-continue\r\nContent")
        )
        await client.hears(200)
        assert "Expect" not in heard[0]


async def test_an_early_answer_stops_the_upload() -> None:
    async with running() as lb:
        client = await lb.asks(POST.replace(b": 5", b": 100"))
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"hello")
        await peer.says(answer(b"no", status="403 Forbidden"))
        assert (await client.hears(403))["Connection"] == "close"
        await peer.hears_end()
        await client.says(b"more")
        await client.hears_end()
        assert (lb.exchange.status, lb.reason) == (403, None)


async def test_the_answer_may_begin_before_the_body_has_ended() -> None:
    async with running() as lb:
        client = await lb.asks(CHUNKED + b"1\r\na\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"1\r\na\r\n")
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
        await client.hears_head(200)
        await client.hears_exactly(b"a")
        await client.says(b"1\r\nb\r\n0\r\n\r\n")
        await peer.hears_exactly(b"1\r\nb\r\n0\r\n\r\n")
        await peer.says(b"bc")
        await client.hears_exactly(b"bc")
        await client.hears_end()


async def test_an_upload_that_breaks_is_no_error_while_there_is_an_answer() -> None:
    async with running() as lb:
        client = await lb.asks(POST.replace(b": 5", b": 100"))
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"hello")
        await peer.says(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        peer.closes()
        await client.says(b"more")
        assert (await client.hears(413)).body == b"no"


@plain_only("it writes to the bare socket")
@pytest.mark.parametrize("_again", range(4))
async def test_an_upload_that_fails_leaves_the_word_to_the_answer(
    narrow: partial[Backend], _again: int
) -> None:
    """Answer and reset arrive together, and Trio may run the upload or the download first."""
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 60000"))
        peer = await lb.backend.accepts()
        await client.says(b"x" * 59995)
        await trio.testing.wait_all_tasks_blocked()
        os.write(peer.sock.fileno(), answer(b"no", status="413 Content Too Large"))
        peer.closes()
        assert (await client.hears(413)).body == b"no"
        await trio.testing.wait_all_tasks_blocked()
        assert (lb.exchange.status, lb.reason) == (413, None)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> partial[Backend]:
    """A kind of backend, and connections to it, whose buffers are so small that sends block soon."""

    def narrowed(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr("lb.net.connect.no_delay", narrowed)
    return partial(Backend, receive_buffer=4096)


@plain_only("records come one by one")
async def test_a_connection_that_is_owed_the_rest_of_a_body_is_never_used_again(
    narrow: partial[Backend],
) -> None:
    """When the answer comes, the body was received whole, but the backend has not taken its end."""
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 60000"))
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await client.says(b"x" * 59995)
        await trio.testing.wait_all_tasks_blocked()
        await peer.says(OK)
        await client.hears(200)
        await client.hears_nothing()
        assert lb["one"].connections == 0


async def test_a_backend_that_stops_reading_is_given_up(narrow: partial[Backend]) -> None:
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 60000"))
        peer = await lb.backend.accepts()
        await client.says(b"x" * 59995)
        with lasting(60.0):
            assert "connection_write_timeout" in (await client.hears(504))["Proxy-Status"]
        await peer.hears_head()


async def test_a_backend_that_stops_reading_holds_its_client_back(narrow: partial[Backend]) -> None:
    """Bytes in transit are bounded by the kernel's buffers and one piece of ours."""
    async with running(narrow) as lb:
        client = await lb.asks(POST.replace(b": 5", b": 1000000000"))
        await lb.backend.accepts()
        await client.says_until_stuck(bytes(1 << 16), most=1 << 28)
        (record,) = [c.record for c in lb.connections]
        assert record is not None
        assert record.request_bytes < 1 << 18
        await client.hears(504)


@pytest.mark.parametrize("up", [True, False])
async def test_large_bodies_arrive_whole(up: bool) -> None:
    body = bytes(range(256)) * (1 << 14)
    async with running() as lb, trio.open_nursery() as nursery:
        async with lb.backend.answering(OK if up else answer(body)) as heard:
            client = await lb.client()
            head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
            nursery.start_soon(client.says, head + body if up else GET)
            response = await client.hears(200)
        assert (heard[0].body if up else response.body) == body


@pytest.mark.parametrize("up", [True, False])
async def test_a_body_is_never_held_whole(up: bool) -> None:
    size, piece = 1 << 26, bytes(1 << 20)
    length = b"Content-Length: %d\r\n\r\n" % size
    async with running() as lb, trio.open_nursery() as nursery:
        client = await lb.client()
        await client.says(b"PUT / HTTP/1.1\r\nHost: a\r\n" + length if up else GET)
        peer = await lb.backend.accepts()
        await peer.hears_head()
        if not up:
            await peer.says(b"HTTP/1.1 200 OK\r\n" + length)
            await client.hears_head(200)
        sender, receiver = (client, peer) if up else (peer, client)
        tracemalloc.start()
        nursery.start_soon(sender.says, *[piece] * (size // len(piece)))
        for _ in range(size // (1 << 16)):
            await receiver.take(1 << 16)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
        await peer.says(OK if up else b"")


# -- attempts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, POST])
async def test_a_refused_connection_leads_to_the_next_backend_for_any_method(request_: bytes) -> None:
    async with running(Refusing, Refusing, Backend) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(request_)
        with lasting(0.025):  # the pause before the second further attempt
            await client.hears(200)
        assert len(heard) == 1
        tried = [(attempt.backend.id, attempt.reason) for attempt in lb.exchange.attempts]
        refused = Reason.CONNECTION_REFUSED
        assert tried == [("one", refused), ("two", refused), ("three", None)]
        assert lb["one"].failures == {refused: 1}


async def test_when_all_refuse_it_is_502() -> None:
    async with running(Refusing, Refusing) as lb:
        client = await lb.asks(GET)
        response = await client.hears(502)
        assert response["Proxy-Status"].startswith("lb; error=connection_refused; details=")
        assert response["X-Request-Id"] == lb.exchange.id.decode()


async def test_no_more_than_three_are_tried() -> None:
    async with running(Refusing, Refusing, Refusing, Backend) as lb:
        client = await lb.asks(GET)
        await client.hears(502)
        assert len(lb.exchange.attempts) == 3


async def test_a_connection_that_does_not_come_about_is_504_after_the_connect_timeout() -> None:
    async with running(BlackHole) as lb:
        client = await lb.asks(GET)
        with lasting(5.0):
            response = await client.hears(504)
        assert "connection_timeout" in response["Proxy-Status"]


async def test_a_connection_that_does_not_come_about_leads_to_the_next_backend() -> None:
    async with running(BlackHole, Backend) as lb, lb.backend.answering(OK):
        client = await lb.asks(POST)
        with lasting(5.0):
            await client.hears(200)


@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_get_goes_once_more_where_a_connection_ended_without_an_answer(how: str) -> None:
    async with running(Backend, Backend) as lb, lb.backends[1].answering(OK) as heard:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        getattr(peer, how)()
        await client.hears(200)
        assert len(heard) == 1
        assert lb["one"].failures == {Reason.CONNECTION_TERMINATED: 1}


async def test_get_goes_to_two_others_at_most() -> None:
    async with running(Backend, Backend, Backend, Backend) as lb:
        client = await lb.asks(GET)
        for backend in lb.backends[:3]:
            (await backend.hears()).closes()
        response = await client.hears(502)
        assert "connection_terminated" in response["Proxy-Status"]
        await lb.backends[3].accepts_nobody()


async def test_post_never_goes_again_once_it_was_sent() -> None:
    async with running(Backend, Backend) as lb:
        client = await lb.asks(POST)
        (await lb.backend.hears()).closes()
        await client.hears(502)
        await lb.backends[1].accepts_nobody()


async def used_before(lb: Scene) -> tuple[Client, Peer]:
    """A client, and the connection to the backend that its first exchange left idle."""
    client = await lb.asks(GET)
    peer = await lb.backend.hears()
    await peer.says(OK)
    await client.hears(200)
    return client, peer


@pytest.mark.parametrize("request_", [GET, POST.replace(b"POST", b"PUT")])
async def test_a_stale_connection_is_made_up_for_by_a_fresh_one(request_: bytes) -> None:
    async with running() as lb:
        client, stale = await used_before(lb)
        await client.says(request_)
        await stale.hears_request()
        stale.closes()
        fresh = await lb.backend.hears()
        await fresh.says(OK)
        await client.hears(200)
        reasons = [(attempt.reused, attempt.reason) for attempt in lb.exchange.attempts]
        assert reasons == [(True, Reason.CONNECTION_TERMINATED), (False, None)]
        assert lb.metrics.retries == {("default", Reason.CONNECTION_TERMINATED): 1}


async def test_a_stale_connection_is_not_made_up_for_twice() -> None:
    async with running(Backend) as lb:
        client, stale = await used_before(lb)
        await client.says(GET)
        await stale.hears_request()
        stale.closes()
        (await lb.backend.hears()).closes()
        await client.hears(502)


async def test_post_on_a_stale_connection_is_not_repeated() -> None:
    async with running() as lb:
        client, stale = await used_before(lb)
        await client.says(POST)
        await stale.hears_request()
        stale.closes()
        await client.hears(502)
        await lb.backend.accepts_nobody()


async def test_a_body_that_has_flowed_and_was_not_kept_cannot_go_again() -> None:
    async with running(pools={"default": {"retry": {"body": 2}}}) as lb:
        client, stale = await used_before(lb)
        await client.says(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", b"he")
        await stale.hears_head()
        await stale.hears_exactly(b"he")
        await client.says(b"l")
        await stale.hears_exactly(b"l")
        stale.closes()
        await client.hears(502)


async def test_a_broken_answer_is_not_tried_again() -> None:
    async with running(Backend, Backend) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-")
        peer.closes()
        assert "http_response_incomplete" in (await client.hears(502))["Proxy-Status"]
        await lb.backends[1].accepts_nobody()


# -- backends that misbehave ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"garbage",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"x" * 65536),
        b"HTTP/1.1 200 OK\r\nX: %b" % (b"x" * 65536),
        b"HTTP/1.1 200 OK\r\n%b\r\n" % (b"X: y\r\n" * 101),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    ],
)
async def test_an_answer_that_may_not_be_passed_on_is_502(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(said)
        with lasting(0.0):
            response = await client.hears(502)
            await peer.hears_all()
        assert response["Proxy-Status"].startswith("lb; error=http_")
        assert lb["one"].failures.total() == 1


async def test_an_answer_whose_head_does_not_come_is_504() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(60.0):
            response = await client.hears(504)
            await peer.hears_end()
        assert "http_response_timeout" in response["Proxy-Status"]
        assert lb["one"].failures == {Reason.HTTP_RESPONSE_TIMEOUT: 1}
        assert not lb["one"].codes


async def test_an_answer_s_head_has_its_time_as_a_whole_however_it_trickles() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with lasting(60.0), trio.move_on_after(100):
            for byte in b"HTTP/1.1 200 OK\r\n":
                await peer.says(bytes((byte,)))
                with trio.move_on_after(10):
                    await client.hears(504)
                    break


@pytest.mark.parametrize("framing", [b"Content-Length: 50", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_an_answer_that_breaks_off_is_seen_to_break_off(framing: bytes, how: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n2\r\nab" % framing)
        await client.hears_head(200)
        await trio.testing.wait_all_tasks_blocked()
        getattr(peer, how)()
        heard, _ = await client.hears_all()
        assert heard.rstrip() == b"2\r\nab"
        assert lb.reason == "http_response_incomplete"


async def test_to_http_1_0_only_a_reset_shows_that_an_answer_broke_off() -> None:
    async with running() as lb:
        client = await lb.asks(OLD)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        peer.closes()
        await client.hears_reset()


async def test_an_answer_that_stops_is_broken_off() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await trio.sleep(59)
        await peer.says(b"c")
        await client.hears_head(200)
        await client.hears_exactly(b"abc")
        with lasting(60.0):
            await client.hears_end()
        assert lb.reason == "connection_read_timeout"
        assert lb["one"].failures == {Reason.CONNECTION_READ_TIMEOUT: 1}


# -- limits and the queue ---------------------------------------------------------------------------------


async def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_is_read() -> None:
    async with running(limits={"request_body": 4}) as lb:
        client = await lb.asks(EXPECTING)
        assert (await client.hears(413))["Connection"] == "close"
        await lb.backend.accepts_nobody()


async def test_a_body_that_turns_out_too_long_is_cut_off() -> None:
    async with running(limits={"request_body": 4}) as lb:
        client = await lb.asks(CHUNKED + b"4\r\nabcd\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await client.says(b"1\r\ne\r\n")
        await client.hears(413)
        await peer.hears_exactly(b"4\r\nabcd\r\n")
        await peer.hears_end()


async def test_a_body_may_be_as_long_as_the_limit() -> None:
    async with running(limits={"request_body": 5}) as lb, lb.backend.answering(OK):
        client = await lb.asks(POST)
        await client.hears(200)


async def test_a_cap_is_exact_and_the_queue_is_first_come_first_served() -> None:
    async with running(each={"max_in_flight": 2}) as lb:
        clients = [await lb.asks(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n) for n in range(5)]
        peers = [await lb.backend.hears(b"GET /%d HTTP/1.1" % n) for n in range(2)]
        await lb.backend.accepts_nobody()
        assert lb["one"].in_flight == 2
        for n, (client, later) in enumerate(zip(clients, clients[2:], strict=False)):
            assert later.is_open
            await trio.sleep(1)
            peer = peers[n % 2]
            await peer.says(OK)
            await client.hears(200)
            await peer.hears_request(b"GET /%d HTTP/1.1" % (n + 2))
            assert lb["one"].in_flight == 2
        for client, peer in ((clients[3], peers[1]), (clients[4], peers[0])):
            await peer.says(OK)
            await client.hears(200)
        assert [round(exchange.queued, 6) for exchange in lb.exchanges] == [0, 0, 1, 2, 3]


async def test_a_wait_in_the_queue_has_its_time() -> None:
    async with running(each={"max_in_flight": 1}) as lb:
        await lb.asks(GET)
        await lb.backend.hears()
        second = await lb.asks(GET)
        with lasting(30.0):
            response = await second.hears(503)
        assert "connection_limit_reached" in response["Proxy-Status"]
        assert lb.exchange.queued == pytest.approx(30.0)


async def test_a_full_queue_takes_nobody() -> None:
    async with running(each={"max_in_flight": 1}, pools={"default": {"queue": 1}}) as lb:
        await lb.asks(GET)
        await lb.backend.hears()
        await lb.asks(GET)
        third = await lb.asks(GET)
        with lasting(0.0):
            assert "connection_limit_reached" in (await third.hears(503))["Proxy-Status"]


async def test_who_leaves_the_queue_gives_up_its_place() -> None:
    async with running(each={"max_in_flight": 1}) as lb:
        first = await lb.asks(GET)
        peer = await lb.backend.hears()
        second, third = await lb.asks(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        second.resets()
        await trio.sleep(1.1)
        assert lb.registry.pool("default").waiting == 1
        await peer.says(OK)
        await first.hears(200)
        await peer.hears_request(b"GET / HTTP/1.1")
        await peer.says(OK)
        await third.hears(200)


async def test_without_a_backend_that_could_come_free_nobody_waits() -> None:
    async with running() as lb:
        lb.registry.maintenance(lb["one"])
        client = await lb.asks(GET)
        with lasting(0.0):
            response = await client.hears(503)
        assert "destination_unavailable" in response["Proxy-Status"]
        assert "one (maintenance)" in response["Proxy-Status"]


# -- drains -----------------------------------------------------------------------------------------------


async def test_a_drained_backend_finishes_what_it_has_and_gets_no_more() -> None:
    async with running(Backend, Backend) as lb, lb.backends[1].answering(OK) as heard:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        drain = lb.registry.drain(lb["one"], 30.0)
        for _ in range(3):
            await (await lb.asks(GET)).hears(200)
        assert (len(heard), drain.outcome) == (3, None)
        await peer.says(OK)
        await client.hears(200)
        assert (drain.outcome, drain.started_with, drain.aborted) == ("completed", 1, 0)
        await peer.hears_end()


async def test_what_a_drain_cuts_is_answered_503_and_may_go_on() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        drain = lb.registry.drain(lb["one"], 30.0)
        with lasting(30.0):
            response = await client.hears(503)
            await peer.hears_end()
        assert "destination_unavailable" in response["Proxy-Status"]
        assert (drain.outcome, drain.aborted) == ("timeout", 1)
        assert "Connection" not in response
        lb.registry.ready(lb["one"])
        async with lb.backend.answering(OK):
            await client.says(GET)
            await client.hears(200)


async def test_what_a_drain_cuts_in_its_answer_breaks_off() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        lb.registry.drain(lb["one"], 10.0)
        with lasting(10.0):
            await client.hears_end()
            await peer.hears_end()


@pytest.mark.parametrize("kind", [BlackHole, Backend])
async def test_maintenance_cuts_at_once_whatever_it_waits_for(kind: type[Backend]) -> None:
    async with running(kind) as lb:
        client = await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        with lasting(0.0):
            assert lb.registry.maintenance(lb["one"]) == 1
            await client.hears(503)


# -- fairness ---------------------------------------------------------------------------------------------


async def test_any_three_requests_in_a_row_go_to_three_backends() -> None:
    async with running(Backend, Backend, Backend) as lb, trio.open_nursery() as nursery:
        for backend in lb.backends:
            await nursery.start(serve_forever, backend)
        client = await lb.client()
        for _ in range(12):
            await client.says(GET)
            await client.hears(200)
        took = [exchange.attempts[0].backend.id for exchange in lb.exchanges]
        assert all(a != b for a, b in pairwise(took))
        assert took[:3] * 4 == took
        nursery.cancel_scope.cancel()


async def serve_forever(backend: Backend, *, task_status: trio.TaskStatus[None]) -> None:
    async with backend.answering(OK):
        task_status.started()
        await trio.sleep_forever()
