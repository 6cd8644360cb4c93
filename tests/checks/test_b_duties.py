"""Checks 57 to 88: what an intermediary owes both sides (RFC 9110)."""

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
    Client,
    Peer,
    Refusing,
    Request,
    Response,
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
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def exchanged(request: bytes, answered: bytes = OK) -> tuple[Request, Response]:
    """What the backend heard and what the client did, where nothing is special."""
    async with running() as lb, lb.backend.answering(answered) as heard:
        client = await lb.asks(request)
        response = await client.hears(int(answered[9:12]))
        return heard[0], response


def with_lines(lines: bytes, request: bytes = GET) -> bytes:
    return request.replace(b"Host: a\r\n", b"Host: a\r\n" + lines)


# -- fields -----------------------------------------------------------------------------------------------


async def test_b57_what_connection_names_ends_here_both_ways() -> None:
    lines = ("Connection: x-a", "X-A: 1", "X-B: 2")
    request, response = await exchanged(
        with_lines(b"Connection: x-a\r\nX-A: 1\r\nX-B: 2\r\n"), answer(b"", *lines)
    )
    for message in (request, response):
        assert message["X-B"] == "2"
        assert not {"X-A", "Connection"} & set(message.names)


async def test_b58_every_connection_line_counts() -> None:
    lines = b"Connection:\r\nX-A: 1\r\nconnection: ,X-a ,\r\nCONNECTION: x-B\r\nx-b: 2\r\n"
    request, response = await exchanged(
        with_lines(lines), answer(b"", "Connection: ", "X-A: 1", "Connection: x-A")
    )
    assert not {"X-A", "x-b", "Connection"} & set(request.names)
    assert "X-A" not in response


@plain_only("it names the scheme")
async def test_b59_no_connection_line_takes_away_what_we_add() -> None:
    lines = (
        b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-IP, X-Request-Id, Via\r\n"
    )
    request, _ = await exchanged(with_lines(lines))
    assert request["X-Forwarded-For"] == "127.0.0.1"
    assert request["X-Forwarded-Proto"] == "http"
    assert {"X-Forwarded-Host", "X-Request-Id", "Via"} <= set(request.names)


async def test_b60_no_connection_line_takes_away_framing_routing_or_credentials() -> None:
    """Such an option is not obeyed; the field stays."""
    lines = b"Connection: Host, Content-Length, Transfer-Encoding, Authorization, Cookie\r\n"
    lines += b"Authorization: b\r\nCookie: c\r\n"
    request, _ = await exchanged(with_lines(lines, POST))
    assert (request["Host"], request.framing, request.body) == ("a", "length", b"hello")
    assert (request["Authorization"], request["Cookie"]) == ("b", "c")
    chunked, _ = await exchanged(with_lines(lines, CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n")
    assert (chunked.framing, chunked.body) == ("chunked", b"hello")


HOPS: tuple[str, ...] = (
    "Keep-Alive: 5",
    "Proxy-Connection: y",
    "TE: gzip",
    "Trailer: z",
    "Upgrade: foo",
    "HTTP2-Settings: q",
)
HOPS += ("Proxy-Authenticate: Basic", "Proxy-Authorization: Basic eA==")


async def test_b61_fields_of_one_connection_end_here() -> None:
    lines = "".join(f"{line}\r\n" for line in HOPS).encode()
    request, response = await exchanged(with_lines(lines), answer(b"", *HOPS))
    ours = ["X-Forwarded-For", "X-Forwarded-Proto", "Via", "X-Forwarded-Host", "X-Request-Id"]
    assert request.names == ["Host", *ours]
    assert response.names == ["Date", "Content-Length"]


async def test_b61_te_is_said_anew_for_trailers_only() -> None:
    request, _ = await exchanged(with_lines(b"TE: gzip, Trailers\r\nConnection: TE\r\n"))
    assert (request["TE"], request["Connection"]) == ("trailers", "TE")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_b62_via_is_added_behind_those_before_us(version: str) -> None:
    """It names the version in which we got the request, and nothing of what is inside."""
    request, response = await exchanged(
        with_lines(b"Via: 1.1 x\r\n").replace(b"1.1\r", version.encode() + b"\r", 1)
    )
    before, ours = request.all("Via")
    assert before == "1.1 x"
    assert ours.startswith(f"{version} lb (")
    assert "127.0.0.1" not in ours
    assert "Via" not in response  # it may be there; we say nothing of ourselves to clients


@plain_only("the loop is made of plain connections")
async def test_b63_a_request_that_comes_back_to_us_is_a_loop() -> None:
    """We are our own backend: the second time we see the request is the last."""
    async with running(Refusing) as lb:
        lb.registry.remove(lb["one"])
        own = f"http://{lb.balancer.control.listening[0]}"
        lb.registry.add(BackendSpec(id="ourselves", url=own))
        client = await lb.asks(GET)
        response = await client.hears(508)
        assert "proxy_loop_detected" in response["Proxy-Status"]
        assert [exchange.status for exchange in lb.exchanges] == [508, 508]


async def test_b64_max_forwards_counts_down_for_options() -> None:
    options = b"OPTIONS / HTTP/1.1\r\nHost: a\r\n"
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        for line, left in ((b"Max-Forwards: 3\r\n", ["2"]), (b"", []), (b"max-forwards: 1\r\n", ["0"])):
            await client.says(options + line + b"\r\n")
            await client.hears(200)
            assert heard[-1].all("Max-Forwards") == left
        await client.says(with_lines(b"Max-Forwards: 0\r\n"))
        await client.hears(200)
        assert heard[-1]["Max-Forwards"] == "0"
        await client.says(options + b"Max-Forwards: 0\r\n\r\n")
        assert "OPTIONS" in (await client.hears(204))["Allow"]
        assert len(heard) == 4


async def test_b64_who_gets_our_answer_before_its_body_has_left_draws_no_reset() -> None:
    async with running() as lb:
        client = await lb.asks(
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: 5\r\n\r\n"
        )
        assert (await client.hears(204))["Connection"] == "close"
        await client.says_bytewise(b"hello")  # a pipe is broken at the second byte where nobody reads
        await client.hears_end()


@pytest.mark.parametrize(
    "lines", [b"", b"Max-Forwards: 0\r\n", b"Authorization: secret\r\nCookie: secret\r\n"]
)
async def test_b65_trace_is_not_allowed_and_reflects_nothing(lines: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(with_lines(lines, GET.replace(b"GET", b"TRACE")))
        response = await client.hears(405)
        assert "TRACE" not in response["Allow"]
        assert b"secret" not in response.head + response.body
        await lb.backend.accepts_nobody()


@plain_only("it names the scheme")
async def test_b66_who_the_client_is_is_for_us_to_say() -> None:
    lines = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    lines += b"Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n"
    request, _ = await exchanged(with_lines(lines))
    assert request["X-Forwarded-For"] == "127.0.0.1"
    assert request["X-Forwarded-Proto"] == "http"
    assert request["X-Forwarded-Host"] == "a"
    assert not {"Forwarded", "X-Real-IP"} & set(request.names)


async def test_b66_of_a_trusted_proxy_we_believe_it_and_add_to_it() -> None:
    async with running(trusted_proxies=["127.0.0.1"]) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(with_lines(b"X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n"))
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == "10.0.0.9, 127.0.0.1"
        assert heard[0]["X-Forwarded-Proto"] == "https"


@pytest.mark.parametrize("name", ["X_Forwarded_For", "x.forwarded.for", "X-Forwarded_Proto", "X_REAL_IP"])
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
async def test_b67_names_that_a_backend_would_take_for_ours_are_dropped(
    name: str, trusted: list[str]
) -> None:
    async with running(trusted_proxies=trusted) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(with_lines(f"{name}: 6.6.6.6\r\nX_Other: kept\r\n".encode()))
        await client.hears(200)
        assert b"6.6.6.6" not in heard[0].head
        assert heard[0]["X_Other"] == "kept"


# -- interim answers and expectations ---------------------------------------------------------------------


async def test_b68_interim_answers_are_passed_on_in_their_order() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        hints = [b"HTTP/1.1 103 Early Hints\r\nLink: %d\r\nDate: now\r\n\r\n" % n for n in range(3)]
        await peer.says(CONTINUE, b"HTTP/1.1 102 Processing\r\n\r\n" + hints[0], hints[1] + hints[2] + OK)
        await client.hears(100)
        assert (await client.hears(102)).fields == []  # a Date is not ours to add before the answer
        for n in range(3):
            assert (await client.hears(103)).fields == [("Link", f"{n}"), ("Date", "now")]
        await client.hears(200)


async def test_b68_http_1_0_gets_none_of_them() -> None:
    async with running() as lb:
        client = await lb.asks(b"GET / HTTP/1.0\r\n\r\n")
        peer = await lb.backend.hears()
        await peer.says(CONTINUE + b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        await client.hears(200)
        await client.hears_end()


async def expecting(lb: Scene) -> tuple[Client, Peer, Request]:
    """A client that waits for 100, and the backend that has its head."""
    client = await lb.asks(EXPECTING)
    peer = await lb.backend.accepts()
    return client, peer, await peer.hears_head(b"POST / HTTP/1.1")


async def test_b69_an_expectation_is_passed_on_and_so_is_what_meets_it() -> None:
    async with running() as lb:
        client, peer, request = await expecting(lb)
        assert request["Expect"] == "100-continue"
        await client.hears_nothing()
        await peer.says(CONTINUE)
        await client.hears(100)
        await client.says(b"hello")
        assert await peer.hears_body(request) == b"hello"
        await client.hears_nothing()
        await peer.says(OK)
        await client.hears(200)


async def test_b69_a_backend_may_say_it_twice_and_a_client_need_not_wait() -> None:
    """We ask for no 100 ourselves, so that none of them is for us to keep."""
    async with running() as lb:
        client, peer, request = await expecting(lb)
        await client.says(b"hel")
        await peer.says(CONTINUE, CONTINUE)
        await client.hears(100)
        await client.says(b"lo")
        await client.hears(100)
        assert await peer.hears_body(request) == b"hello"
        await peer.says(OK)
        assert "Connection" not in await client.hears(200)


@pytest.mark.parametrize("status", ["417 Expectation Failed", "401 Unauthorized"])
async def test_b70_a_refusal_instead_of_100_is_passed_on_and_nothing_is_used_again(status: str) -> None:
    async with running() as lb:
        client, peer, _ = await expecting(lb)
        await peer.says(answer(b"no", status=status))
        with lasting(0.0):
            assert (await client.hears(int(status[:3])))["Connection"] == "close"
            await peer.hears_end()
        await client.says(b"GET /", b" HTTP/1.1\r\nHost: a\r\n\r\n")  # body or request: nobody reads it
        await client.hears_end()
        await lb.backend.accepts_nobody()


async def test_b70_a_refusal_that_crosses_the_body_is_passed_on_too() -> None:
    async with running() as lb:
        client, peer, request = await expecting(lb)
        await client.says(b"hello")
        assert await peer.hears_body(request) == b"hello"
        await peer.says(answer(b"no", status="401 Unauthorized"))
        assert "Connection" not in await client.hears(401)
        await client.says(GET)
        await peer.hears_request()


async def test_b71_without_100_nobody_waits_for_ever() -> None:
    async with running() as lb:
        client, peer, request = await expecting(lb)
        await trio.sleep(1)
        await client.says(b"hello")
        assert await peer.hears_body(request) == b"hello"
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize("value", ["x", "100-continue, x", "y 100-continue", "100-continue\r\nExpect: x"])
async def test_b72_other_expectations_are_refused(value: str) -> None:
    async with running() as lb:
        client = await lb.asks(EXPECTING.replace(b"100-continue", value.encode()))
        await client.hears(417)
        await lb.backend.accepts_nobody()


async def test_b72_so_is_a_folded_one() -> None:
    async with running() as lb:
        client = await lb.asks(EXPECTING.replace(b"100-continue", b"100-\r\n continue"))
        await client.hears(400)
        await lb.backend.accepts_nobody()


@pytest.mark.parametrize("value", [b"100-continue", b"x"])
async def test_b73_http_1_0_expects_nothing(value: bytes) -> None:
    old = EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"100-continue", value)
    request, _ = await exchanged(old + b"hello")
    assert "Expect" not in request
    assert request.body == b"hello"


# -- what is not ours to touch ----------------------------------------------------------------------------


async def test_b74_unknown_fields_travel_in_their_order_and_apart() -> None:
    lines = ("X-New: 1", "Set-Cookie: a=b, c", "X-New: 2", "set-cookie: d=e", "X-New: 1")
    sent = "".join(f"{line}\r\n" for line in lines).encode()
    request, response = await exchanged(with_lines(sent), answer(b"", *lines))
    for message in (request, response):
        assert message.all("X-New") == ["1", "2", "1"]
        assert message.all("Set-Cookie") == ["a=b, c", "d=e"]


async def test_b74_trailers_travel_both_ways_to_who_may_have_them() -> None:
    trailed = b"5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\nX-Real-IP: 6.6.6.6\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + trailed
    request, response = await exchanged(CHUNKED + trailed, chunked)
    assert request.trailers == response.trailers == [("X-Sum", "7")]
    _, old = await exchanged(b"GET / HTTP/1.0\r\n\r\n", chunked)
    assert (old.framing, old.body) == ("close", b"hello")


TARGETS = ["//a/../b%2Fc;x?y=%0d%0a&&", "/%00%c0%ae", "/?", "/a//b/./?q=http://x/?", '/[{}]|^`\\"<>~']


@pytest.mark.parametrize("target", TARGETS)
async def test_b75_a_target_keeps_its_bytes(target: str) -> None:
    request, _ = await exchanged(GET.replace(b"/", target.encode(), 1))
    assert request.target == target


ASKED: tuple[str, ...] = (
    'If-Match: "x"',
    'If-None-Match: W/"a",  *',
    "If-Modified-Since: never",
    "Range: bytes=0-1,-5",
)
ASKED += ("If-Range: x", "Authorization: Basic  eDp5", "Cache-Control: no-cache", "Accept-Encoding: br;q=0")
ANSWERED: tuple[str, ...] = (
    "WWW-Authenticate: Basic realm=x, Digest",
    "Allow: ",
    'ETag: W/"a"',
    'Cache-Control: private="x"',
)
ANSWERED += ("Content-Encoding: gzip", "Vary: *", "Age: 5", "Server: x", "Accept-Ranges: none")


async def test_b76_conditions_ranges_and_credentials_are_passed_on_as_they_are() -> None:
    sent = "".join(f"{line}\r\n" for line in ASKED).encode()
    request, response = await exchanged(with_lines(sent), answer(b"", *ANSWERED, status="401 No"))
    for lines, message in ((ASKED, request), (ANSWERED, response)):
        assert set(lines) <= {f"{name}: {value}" for name, value in message.fields}


@pytest.mark.parametrize(("lines", "date"), [((), " GMT"), (("Date: then",), "then")])
async def test_b77_an_answer_without_a_date_gets_one(lines: tuple[str, ...], date: str) -> None:
    _, response = await exchanged(GET, answer(b"", *lines))
    assert response["Date"].endswith(date)


# -- how an answer is framed ------------------------------------------------------------------------------


LENGTHS = ("x", "-1", "+1", "", "1, 2", "1\r\nContent-Length: 2", "0x1", "1 1", "9223372036854775808")


@pytest.mark.parametrize("length", LENGTHS)
async def test_b78_an_answer_with_an_invalid_length_is_502(length: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nx".encode())
        assert "http_protocol_error" in (await client.hears(502))["Proxy-Status"]
        await peer.hears_all()
        assert lb["one"].connections == 0


async def test_b79_of_two_framings_the_chunks_count_and_the_connection_ends() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.says(b"2\r\nok\r\n0\r\n\r\n")
        response = await client.hears(200)
        assert (response.framing, response.body) == ("chunked", b"ok")
        await peer.hears_end()


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "chunked, chunked", "x", "", "chunked;q=1"])
async def test_b79_a_coding_that_we_do_not_know_is_502(coding: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n".encode())
        await client.hears(502)
        await peer.hears_end()


async def test_b80_an_answer_that_ends_with_its_connection_becomes_chunks() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
        peer.closes()
        response = await client.hears(200)
        assert (response.framing, response.body) == ("chunked", b"abc")
        await client.says(GET)
        await lb.backend.hears()


async def test_b80_if_it_breaks_there_is_no_last_chunk() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await client.hears_head(200)
        await client.hears_chunk(b"abc")
        peer.resets()
        await client.hears_end()


# -- upgrades ---------------------------------------------------------------------------------------------


async def test_b81_a_tunnel_carries_everything_both_ways_and_its_ends_one_by_one() -> None:
    async with running() as lb:
        client = await lb.asks(UPGRADE)
        peer = await lb.backend.accepts()
        request = await peer.hears_request()
        assert (request["Connection"], request["Upgrade"]) == ("Upgrade", "websocket")
        await peer.says(SWITCHED + b"glued")
        assert (await client.hears(101))["Upgrade"] == "websocket"
        await client.hears_exactly(b"glued")
        await client.says(b"last")
        client.ends()
        await peer.hears_exactly(b"last")
        await peer.hears_end()
        await trio.sleep(10)
        await peer.says(b"left over")
        peer.ends()
        await client.hears_exactly(b"left over")
        await client.hears_end()


@pytest.mark.parametrize("said", [SWITCHED, OK])
async def test_b82_bytes_behind_an_upgrade_request_wait_for_its_answer(said: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(UPGRADE + GET.replace(b"/", b"/next", 1))
        peer = await lb.backend.hears()
        await client.says(GET.replace(b"/", b"/later", 1))
        await peer.hears_nothing()
        await peer.says(said)
        await client.hears(int(said[9:12]))
        if said == SWITCHED:
            await peer.hears_exactly(
                b"GET /next HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n"
            )
        else:
            assert "Via" in await peer.hears_request(b"GET /next HTTP/1.1")
            await peer.says(OK)
            assert "Via" in await peer.hears_request(b"GET /later HTTP/1.1")


@pytest.mark.parametrize(
    ("request_", "switch"),
    [
        (GET, SWITCHED),
        (UPGRADE, SWITCHED.replace(b"websocket", b"other")),
        (UPGRADE, SWITCHED.replace(b"websocket", b"websocket, other")),
        (UPGRADE, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (UPGRADE.replace(b"websocket", b"h2c"), SWITCHED.replace(b"websocket", b"h2c")),
    ],
)
async def test_b83_a_switch_to_what_was_not_asked_for_is_502_and_the_end(
    request_: bytes, switch: bytes
) -> None:
    async with running() as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.hears()
        await peer.says(switch + b"evil")
        response = await client.hears(502)
        assert "http_upgrade_failed" in response["Proxy-Status"]
        assert response["Connection"] == "close"
        await client.hears_end()
        await peer.hears_all()
        assert lb["one"].connections == 0


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_lines(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n", POST
        ),  # with a body: plain, the safe reading
    ],
)
async def test_b84_an_upgrade_that_does_not_count_gets_a_plain_answer(request_: bytes) -> None:
    """The admin's port does the same: `tests/admin/transport/test_hypercorn_connection.py`."""
    request, _ = await exchanged(request_)
    assert not {"Upgrade", "Connection", "HTTP2-Settings"} & set(request.names)


async def test_b84_of_several_protocols_h2c_alone_is_left_out() -> None:
    request, _ = await exchanged(UPGRADE.replace(b"websocket", b"h2c, websocket, foo/2"))
    assert request["Upgrade"] == "websocket, foo/2"


# -- once more --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, POST, POST.replace(b"POST", b"PATCH"), CHUNKED])
async def test_b85_a_refused_connection_leads_to_the_next_backend(request_: bytes) -> None:
    async with running(Refusing, Backend) as lb:
        client = await lb.asks(request_)
        peer = await lb.backend.accepts()
        head = await peer.hears_head()
        if request_ == CHUNKED:
            await client.says(b"2\r\nok\r\n0\r\n\r\n")
        await peer.hears_body(head)
        await peer.says(OK)
        await client.hears(200)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"NEW"])
async def test_b86_what_is_not_idempotent_is_sent_once(method: bytes) -> None:
    async with running(Backend, Backend) as lb:
        client = await lb.asks(POST.replace(b"POST", method))
        (await lb.backend.hears()).closes()
        assert "connection_terminated" in (await client.hears(502))["Proxy-Status"]
        await lb.backends[1].accepts_nobody()


async def used_before(lb: Scene) -> tuple[Client, Peer]:
    """A client, and the connection to the backend that its first exchange left idle."""
    client = await lb.asks(GET)
    peer = await lb.backend.hears()
    await peer.says(OK)
    await client.hears(200)
    return client, peer


async def test_b87_a_stale_connection_is_made_up_for_by_a_fresh_one() -> None:
    async with running() as lb:
        client, stale = await used_before(lb)
        await client.says(GET)
        await stale.hears_request()
        stale.closes()
        await (await lb.backend.hears()).says(OK)
        await client.hears(200)
        assert lb.metrics.retries == {("default", Reason.CONNECTION_TERMINATED): 1}


async def test_b88_there_are_three_attempts_at_most() -> None:
    """As many as in HAProxy and Envoy, where two would do: a rolling restart may refuse twice in a row."""
    async with running(Refusing, Refusing, Refusing, Backend) as lb:
        client = await lb.asks(GET)
        await client.hears(502)
        assert len(lb.exchange.attempts) == 3
        await lb.backend.accepts_nobody()


async def test_b88_what_was_sent_is_repeated_twice_at_most() -> None:
    async with running(Backend, Backend, Backend, Backend) as lb:
        client = await lb.asks(GET)
        for backend in lb.backends[:3]:
            (await backend.hears()).closes()
        await client.hears(502)
        await lb.backends[3].accepts_nobody()


async def test_b88_a_body_that_has_flowed_and_was_not_kept_cannot_go_again() -> None:
    """What came with the head is kept, and is what one read can hold; of the rest as much as is set."""
    async with running(pools={"default": {"retry": {"body": 2}}}) as lb:
        client, stale = await used_before(lb)
        await client.says(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        await stale.hears_head()
        await client.says(b"hel")
        await stale.hears_exactly(b"hel")
        stale.closes()
        await client.hears(502)
        await lb.backend.accepts_nobody()


async def test_b88_a_body_that_has_not_flowed_yet_goes_to_who_takes_it() -> None:
    async with running(BlackHole, Backend) as lb:
        client = await lb.asks(CHUNKED)
        with lasting(5.0):
            peer = await lb.backend.accepts()
        await client.says(b"2\r\nok\r\n0\r\n\r\n")
        assert (await peer.hears_request()).body == b"ok"
        await peer.says(OK)
        await client.hears(200)
