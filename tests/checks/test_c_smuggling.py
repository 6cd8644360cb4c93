"""Smuggling: no bytes of one request, or of one answer, are ever read as another one.

That real origins count the requests that we count (c100) is in tests/system/test_origins.py, the mutations
of valid requests (c102) are in test_fuzz.py.
"""

import pytest
import trio

from tests.checks.play import every, holds
from tests.checks.table import GET, POISON, POST, Row, chunked, sized
from tests.http1.messages import request, response
from tests.kit import OK, Client, Peer, Scene, answer, running, virtual_time
from tests.kit.smuggling import HIDDEN, gadgets

pytestmark = virtual_time

SOON = {"request_head": 1, "body_idle": 1, "keepalive": 1}


async def test_c89_every_gadget_ends_and_nothing_is_in_two_places() -> None:
    """At most the two requests that a gadget shows are forwarded, and the hidden one in one place only."""
    async with running(timeouts=SOON) as lb, lb.backend.answering(OK) as heard:
        for gadget in gadgets():
            heard.clear()
            client = await lb.asks(gadget)
            answered, how = await client.hears_all()
            client.closes()
            assert how == "end", gadget
            assert len(heard) <= 2, gadget
            assert answered.count(b"HTTP/1.1 200 OK\r\n") == len(heard), gadget
            as_body = sum(HIDDEN in sent.body for sent in heard)
            as_request = sum(sent.target == "/hidden" for sent in heard)
            assert as_body + as_request <= 1, gadget
            assert all(b"/hidden" not in sent.head for sent in heard if sent.target == "/"), gadget


@every("c90")
async def test_c90_content_length_against_transfer_encoding(row: Row) -> None:
    await holds(row)


@every("c91")
async def test_c91_a_body_is_a_body_whatever_the_method(row: Row) -> None:
    await holds(row)


@every("c92")
async def test_c92_a_content_length_that_another_reader_would_not_see(row: Row) -> None:
    await holds(row)


# -- answers that come too early, too late or too often ----------------------------------------------------


async def test_c93_an_answer_before_the_end_of_the_request_costs_both_connections() -> None:
    async with running() as lb:
        client = await lb.asks(request(b"Content-Length: %d" % (5 + len(POISON)), start=POST))
        peer = await lb.backend.accepts()
        await peer.hears_head(b"POST / HTTP/1.1")
        await peer.says(OK)
        assert (await client.hears(200)).all("Connection") == ["close"]
        await peer.hears_end()
        await client.says(b"hello" + POISON)
        await client.hears_end()
        await lb.backend.accepts_nobody()
        assert lb["one"].idle_connections == 0


async def test_c94_a_pause_in_a_body_does_not_make_a_request_of_its_rest() -> None:
    async with running() as lb:
        client = await lb.asks(request(b"Content-Length: %d" % len(POISON), start=POST))
        peer = await lb.backend.accepts()
        head = await peer.hears_head(b"POST / HTTP/1.1")
        await trio.sleep(5)
        await client.says(POISON)
        assert await peer.hears_body(head) == POISON
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize("framing", [b"Content-Length: 60", b"Transfer-Encoding: chunked"])
async def test_c94_after_our_timeout_late_bytes_are_not_read(framing: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(request(framing, start=POST))
        peer = await lb.backend.accepts()
        await peer.hears_head(b"POST / HTTP/1.1")
        await client.hears(408)
        await peer.hears_end()
        await client.says(POISON * 2)
        await client.hears_end()
        await lb.backend.accepts_nobody()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"OPTIONS", b"DELETE", b"M-SEARCH"])
async def test_c95_one_framing_at_most_and_it_is_ours(method: bytes) -> None:
    """That it is one is what the backend of the kit asks of every request."""
    start = method + b" / HTTP/1.1"
    framings = {
        b"": "none",
        b"content-LENGTH:\t05 ": "length",
        b"Content-Length: 5\r\nConnection: content-length": "length",
        b"transfer-ENCODING: CHUNKED": "chunked",
        b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding, close": "chunked",
    }
    async with running() as lb, lb.backend.answering(OK) as heard:
        for lines, framing in framings.items():
            body = {"none": b"", "length": b"hello", "chunked": b"05\r\nhello\r\n000\r\n\r\n"}[framing]
            client = await lb.asks(request(*filter(None, [lines]), start=start) + body)
            await client.hears(200, to=method.decode())
            assert heard[-1].framing == framing
            own = {"none": b"", "length": b"Content-Length: 5", "chunked": b"Transfer-Encoding: chunked"}
            assert own[framing] in heard[-1].head
            assert "Connection" not in heard[-1]


@every("c96")
async def test_c96_an_answer_with_a_line_end_inside_a_line(row: Row) -> None:
    await holds(row)


async def asks(lb: Scene) -> tuple[Client, Peer]:
    """A client whose request has reached a backend."""
    client = await lb.asks(GET)
    return client, await lb.backend.hears(b"GET / HTTP/1.1")


SURPLUS = [
    OK,
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    b"x",
    b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
]


@pytest.mark.parametrize("surplus", SURPLUS, ids=repr)
@pytest.mark.parametrize("pause", [False, True])
async def test_c97_what_comes_behind_an_answer_is_nobody_s(surplus: bytes, pause: bool) -> None:
    async with running() as lb:
        client, peer = await asks(lb)
        await peer.says(*([OK, surplus] if pause else [OK + surplus]))
        assert (await client.hears(200)).body == b"ok"
        await client.hears_nothing()
        await client.says(GET)
        fresh = await lb.backend.hears(b"GET / HTTP/1.1")
        assert await peer.hears_all() in ((b"", "end"), (b"", "reset"))
        await fresh.says(answer(b"mine"))
        assert (await client.hears(200)).body == b"mine"


@pytest.mark.parametrize("bad", ["bytes", "end", "reset"])
async def test_c98_what_happens_on_an_idle_connection_makes_it_useless(bad: str) -> None:
    async with running() as lb:
        client, peer = await asks(lb)
        await peer.says(OK)
        await client.hears(200)
        assert lb["one"].idle_connections == 1
        match bad:
            case "bytes":
                await peer.says(answer(b"poison"))
            case "end":
                peer.ends()
            case "reset":
                peer.resets()
        other, fresh = await asks(lb)
        await fresh.says(answer(b"mine"))
        assert (await other.hears(200)).body == b"mine"
        assert lb["one"].connections_reused == 0


@pytest.mark.parametrize(
    ("method", "start"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK"),
        (b"GET", b"HTTP/1.1 304 Not Modified"),
        (b"GET", b"HTTP/1.1 204 No Content"),
    ],
)
async def test_c99_a_body_where_none_may_be_is_not_the_next_answer(method: bytes, start: bytes) -> None:
    fake = answer(b"poison")
    async with running() as lb:
        client = await lb.asks(request(start=method + b" / HTTP/1.1") + GET)
        peer = await lb.backend.hears()
        await peer.says(response(b"Content-Length: %d" % len(fake), start=start) + fake)
        await client.hears(int(start[9:12]), to=method.decode())
        await (await lb.backend.hears(b"GET / HTTP/1.1")).says(answer(b"mine"))
        assert (await client.hears(200)).body == b"mine"
        await peer.hears_end()


@every("c101")
async def test_c101_numbers_that_would_wrap(row: Row) -> None:
    await holds(row)


async def test_c101_numbers_that_would_wrap_in_an_answer() -> None:
    for huge in (b"18446744073709551616", b"9223372036854775808"):
        async with running() as lb, lb.backend.answering(response(b"Content-Length: " + huge)):
            await (await lb.asks(GET)).hears(502)
    async with running() as lb:
        client, peer = await asks(lb)
        await peer.says(response(b"Transfer-Encoding: chunked") + b"10000000000000002\r\nok\r\n0\r\n\r\n")
        await client.hears(502)
        await peer.hears_end()


async def test_c101_the_largest_numbers_that_do_not() -> None:
    for says in (sized(b"9223372036854775807", b"hello"), chunked(b"7fffffffffffffff\r\nhello")):
        async with running() as lb:
            client = await lb.asks(says)
            peer = await lb.backend.accepts()
            await peer.hears_head(b"POST / HTTP/1.1")
            client.resets()
            await peer.hears_all()
