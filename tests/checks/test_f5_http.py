"""Faults f5.8 to f5.22: what is no request, and answers that are unusual or unusually written."""

from contextlib import suppress

import pytest
import trio
import trio.testing

from lb.http1.body import CHUNKS_AT_ONCE
from lb.observe.access_log import LONGEST_TEXT, safe
from tests.http1.messages import request
from tests.kit import GET, OK, Backend, lasting, running, virtual_time

pytestmark = virtual_time

TRUSTED = ["127.0.0.0/8"]


# -- an https URL from a proxy that has ended TLS ----------------------------------------------------------


async def test_f5_10_an_https_url_from_a_trusted_proxy() -> None:
    async with (
        running(Backend, trusted_proxies=TRUSTED, forwarded=True) as lb,
        lb.backend.answering(OK) as heard,
    ):
        client = await lb.asks(request(start=b"GET https://b.test/x?y HTTP/1.1"))
        await client.hears(200)
        await client.says(request(b"X-Forwarded-Proto: http", start=b"GET HTTPS://b.test HTTP/1.1"))
        await client.hears(200)
        await client.says(request(start=b"GET http://b.test/ HTTP/1.1"))
        await client.hears(200)
        first, second, third = heard
        assert (first.target, first["Host"]) == ("/x?y", "b.test")
        assert first["X-Forwarded-Proto"] == "https"
        assert first["Forwarded"].endswith("proto=https")
        assert (second.target, second["X-Forwarded-Proto"]) == ("/", "http")  # what it says itself counts
        assert third["X-Forwarded-Proto"] == "http"
        assert not any(name.startswith(":") for each in heard for name in each.names)


async def test_f5_10_an_https_url_from_anybody_else() -> None:
    async with running(Backend) as lb:
        client = await lb.asks(request(start=b"GET https://a/ HTTP/1.1"))
        assert b"https URL" in (await client.hears(400)).body
        await client.hears_end()


async def test_f5_14_via_can_be_left_out() -> None:
    async with running(Backend, via="") as lb, lb.backend.answering(OK) as heard:
        await (await lb.asks(GET)).hears(200)
        await (await lb.asks(request(b"Via: 1.1 other", start=b"GET / HTTP/1.0"))).hears(200)
        first, second = heard
        assert "Via" not in first
        assert second["Via"] == "1.1 other"
        lb.registry.remove(lb["one"])
        assert (await (await lb.asks(GET)).hears(503))["Proxy-Status"].startswith("lb; ")


# -- what is no request ------------------------------------------------------------------------------------

TLS = bytes.fromhex("1603010200010001fc0303") + bytes(range(200))
STRANGERS = {
    TLS: "TLS",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n" + GET: "PROXY protocol",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + GET: "PROXY protocol",
    b"SSH-2.0-OpenSSH_9.9\r\n": "SSH",
    b"EHLO a.test\r\n": "SMTP",
    b"\x05\x01\x00": "SOCKS 5",
    b"hello\r\n": "not `method target HTTP/1.1`",
}


@pytest.mark.parametrize("says", STRANGERS, ids=lambda says: repr(says[:12]))
async def test_f5_15_what_came_instead_of_a_request_is_logged_and_named(says: bytes) -> None:
    async with running(Backend) as lb:
        client = await lb.asks(says)
        with lasting(0):
            answer = await client.hears(400)
        assert STRANGERS[says].encode() in answer.body
        assert STRANGERS[says] in lb.exchange.detail
        record = lb.exchange
        shown = b" ".join(filter(None, (record.method, record.target)))
        assert shown == says.lstrip(b"\r\n")[:100].split(b"\r\n")[0]
        assert safe(record.target).isprintable()
        client.closes()


async def test_f5_15_http_2_is_named() -> None:
    async with running(Backend) as lb:
        client = await lb.asks(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"HTTP/2" in (await client.hears(505)).body


async def test_f5_15_a_refused_request_is_logged_with_what_it_asked_for() -> None:
    async with running(Backend) as lb:
        for says, asked in (
            (request(start=b"PUT /a?b HTTP/1.1", host=b"a b"), (b"PUT", b"/a?b")),
            (request(start=b"GET /x y HTTP/1.1"), (b"GET", b"/x y HTTP/1.1")),
            (request(start=b"GET /x HTTP/3.0"), (b"GET", b"/x")),
            (b"GET /\x00" + b"a" * 600, (b"GET", b"/\x00" + b"a" * 94)),
        ):
            client = await lb.asks(says)
            await client.hears(505 if b"3.0" in says else 400)
            client.closes()
            assert (lb.exchange.method, lb.exchange.target) == asked
            assert len(safe(lb.exchange.target)) <= LONGEST_TEXT


async def test_f5_15_a_head_that_does_not_come_is_logged_as_far_as_it_came() -> None:
    async with running(Backend) as lb:
        client = await lb.asks(b"GET /slow HTTP/1.1\r\nHost: a\r\nX: ")
        await client.hears(408)
        assert (lb.exchange.method, lb.exchange.target) == (b"GET", b"/slow")


HEADS = {
    request(start=b"HEAD / HTTP/1.1", host=b"a b"): 400,
    request(start=b"HEAD / x HTTP/1.1"): 400,
    request(b"X: \x00", start=b"HEAD / HTTP/1.1"): 400,
    b"HEAD / HTTP/1.1\n": 400,
    request(b"X", start=b"HEAD / HTTP/1.1"): 400,
    request(b"Content-Length: 1", b"Transfer-Encoding: chunked", start=b"HEAD / HTTP/1.1"): 400,
    request(start=b"HEAD https://a/ HTTP/1.1"): 400,
    b"HEAD / HTTP/1.1\r\nHost: a\r\nX: ": 408,
    b"HEAD /": 408,
    request(b"Content-Length: 20000000", start=b"HEAD / HTTP/1.1"): 413,
    request(start=b"HEAD /%b HTTP/1.1" % (b"a" * 9000)): 414,
    b"HEAD /" + b"a" * 20_000: 414,
    request(b"Expect: x", start=b"HEAD / HTTP/1.1"): 417,
    request(b"X: " + b"a" * 17_000, start=b"HEAD / HTTP/1.1"): 431,
    request(*[b"X: y"] * 101, start=b"HEAD / HTTP/1.1"): 431,
    request(start=b"HEAD / HTTP/2.0"): 505,
    request(start=b"HEAD / HTTP/1.1"): 503,
    request(start=b"HEAD / HTTP/1.0"): 503,
}


@pytest.mark.parametrize("says", HEADS, ids=lambda says: repr(says[:40]))
async def test_f5_17_no_content_behind_an_answer_to_head(says: bytes) -> None:
    async with running(limits={"request_body": "10MB"}) as lb:
        lb.registry.remove(lb["one"])
        client = await lb.asks(says)
        answer = await client.hears(HEADS[says], to="HEAD")
        assert int(answer["Content-Length"]) > 0
        if HEADS[says] == 503 and b"1.1" in says:
            await client.hears_nothing()
        else:
            client.ends()
            await client.hears_end()


async def test_f5_19_a_method_of_100_kb() -> None:
    async with running(Backend) as lb:
        client = await lb.client()
        with trio.move_on_after(1):
            await client.says(b"A" * 100_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"the method is longer" in (await client.hears(501)).body
        assert lb.exchange.target == b"A" * 100


@pytest.mark.parametrize(
    "says", [b"\xe4", b"\xff\xfe\xfd", b"\x80" * 30, b"GET /\xe4", b"\x00", "é".encode()]
)
async def test_f5_20_bytes_that_begin_no_request_are_not_waited_upon(says: bytes) -> None:
    async with running(Backend) as lb:
        client = await lb.asks(says)
        with lasting(0):
            assert b"illegal byte" in (await client.hears(400)).body


# -- chunks -------------------------------------------------------------------------------------------------

CHUNKED = request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")


async def test_f5_13_a_flood_of_chunks_of_one_byte_is_refused() -> None:
    async with running(Backend) as lb:
        client = await lb.asks(CHUNKED)
        peer = await lb.backend.accepts()
        await peer.hears_head()
        with suppress(OSError):
            await client.says(b"1\r\na\r\n" * 10_000)
        assert b"its chunks are too small" in (await client.hears(400)).body
        await peer.hears_all()
        assert lb["one"].is_open


@pytest.mark.parametrize("at_once", [1, 16])
async def test_f5_13_small_chunks_that_come_over_time_are_passed_on(at_once: int) -> None:
    async with running(Backend) as lb:
        client = await lb.asks(CHUNKED)
        peer = await lb.backend.accepts()
        head = await peer.hears_head()
        for _ in range(3000 // at_once):
            await client.says(b"1\r\na\r\n" * at_once)
            await trio.testing.wait_all_tasks_blocked()
        await client.says(b"0\r\n\r\n")
        assert await peer.hears_body(head) == b"a" * (3000 // at_once * at_once)
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize("behind", [b"", b"X-Sum: 1\r\n"])
async def test_f5_13_an_answer_in_chunks_of_one_byte_is_passed_on_in_turns(behind: bytes) -> None:
    count = 30_000
    said = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\na\r\n" * count
        + b"0\r\n%b\r\n" % behind
    )
    async with running(Backend) as lb, lb.backend.answering(said):
        client = await lb.asks(GET)
        for _ in range(2):
            answer = await client.hears(200)
            assert answer.body == b"a" * count
            assert len(answer.trailers) == bool(behind)
            assert max(map(len, answer.chunks)) <= CHUNKS_AT_ONCE + 1  # and the end of one that has begun
            await client.says(GET)
        await client.hears(200)
        assert lb["one"].connections_opened == 1


@pytest.mark.parametrize("extension", [b";", b";bad[=x", b';a="', b";a=b c", b" "])
async def test_f5_18_a_chunk_extension_that_is_none(extension: bytes) -> None:
    async with running(Backend) as lb:
        client = await lb.asks(CHUNKED + b"5%b\r\nhello\r\n0\r\n\r\n" % extension)
        await client.hears(400)
        await client.hears_end()
        await lb.backend.accepts_nobody()


async def test_f5_18_a_chunk_extension_that_is_one() -> None:
    async with running(Backend) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(CHUNKED + b'5 ; a = "b\\";c" ;d\r\nhello\r\n0;a=b\r\n\r\n')
        await client.hears(200)
        assert heard[0].body == b"hello"


LENIENT = (b"2  \r\nok\r\n0 \r\n\r\n", b"2\nok\n0\n\n", b"2;\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\nX: y\n\n")


@pytest.mark.parametrize("body", LENIENT)
async def test_f5_21_chunks_of_a_backend_that_can_be_read_in_one_way_only(body: bytes) -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    async with running(Backend) as lb, lb.backend.answering(said):
        client = await lb.asks(GET + GET)
        for _ in range(2):
            assert (await client.hears(200)).body == b"ok"
        assert lb["one"].connections_opened == 1


@pytest.mark.parametrize("body", [b" 2\r\nok\r\n", b"2;a\nok\r\n", b"x\r\n", b"2\r\nokok\r\n"])
async def test_f5_21_chunks_that_can_be_read_in_two_ways_are_refused_before_the_head_has_gone(
    body: bytes,
) -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    async with running(Backend) as lb, lb.backend.answering(said):
        client = await lb.asks(request(start=b"POST / HTTP/1.1"))
        assert b"the body of the answer" in (await client.hears(502)).body


# -- answers that are unusual, or unusually written --------------------------------------------------------

BARE = (
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    b"HTTP/1.1 200 OK\n",
)


@pytest.mark.parametrize("answer", BARE)
async def test_f5_4_a_line_feed_alone_in_the_head_of_an_answer(answer: bytes) -> None:
    async with running(Backend) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(answer)
        with lasting(0):
            assert b"a line feed without a carriage return" in (await client.hears(502)).body
        assert lb.reason == "http_protocol_error"
        await peer.hears_all()


@pytest.mark.parametrize("end", [b"", b"\r\nConnection: close"])
async def test_f5_8_an_answer_of_426_says_what_to_upgrade_to(end: bytes) -> None:
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok"
    async with running(Backend) as lb, lb.backend.answering(b"HTTP/1.1 426 Upgrade Required\r\n" + fields):
        client = await lb.asks(GET[:-4] + end + b"\r\n\r\n")
        answer = await client.hears(426)
        assert answer["Upgrade"] == "websocket"
        assert "Upgrade" in answer.all("Connection")
        assert ("close" in answer.all("Connection")) is bool(end)


@pytest.mark.parametrize("status", [600, 999])
async def test_f5_9_a_status_beyond_599_is_passed_on(status: int) -> None:
    said = b"HTTP/1.1 %d Odd\r\nContent-Length: 2\r\n\r\nok" % status
    async with running(Backend) as lb, lb.backend.answering(said):
        client = await lb.asks(GET + GET)
        for _ in range(2):
            answer = await client.hears(status)
            assert (answer.reason, answer.body) == ("Odd", b"ok")
        assert lb["one"].codes[status] == 2
        assert lb["one"].is_open


ODD = (
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"\r\nHTTP/1.1   200\r\nContent-Length: 2\r\n\r\nok",
)


@pytest.mark.parametrize("answer", ODD)
async def test_f5_21_an_answer_that_can_be_read_in_one_way_only(answer: bytes) -> None:
    async with running(Backend) as lb, lb.backend.answering(answer):
        client = await lb.asks(GET + GET)
        for _ in range(2):
            assert (await client.hears(200)).body == b"ok"
        assert lb["one"].connections_opened == 1


async def test_f5_22_announced_trailers() -> None:
    said = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum, Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n"
    said += b"2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n"
    asks = request(b"Trailer: X-Up", b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")
    async with running(Backend) as lb, lb.backend.answering(said) as heard:
        client = await lb.asks(asks + b"2\r\nhi\r\n0\r\nX-Up: 2\r\n\r\n")
        answer = await client.hears(200)
        assert (answer["Trailer"], answer.trailers) == ("X-Sum", [("X-Sum", "1")])
        assert (heard[0]["Trailer"], heard[0].trailers) == ("X-Up", [("X-Up", "2")])
        old = await lb.asks(request(start=b"GET / HTTP/1.0"))
        assert "Trailer" not in await old.hears(200)
