"""One client connection: requests in order, the timeout of each wait, refusals, and how it ends."""

import pytest
import trio
import trio.testing

from lb.core.exchange_record import ExchangeRecord
from lb.http1.request_head import ALLOW
from tests.kit import GET, OK, Refusing, answer, lasting, running, virtual_time
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]

CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


# -- one request after the other --------------------------------------------------------------------------


async def test_a_connection_carries_one_exchange_after_the_other() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        for _ in range(3):
            await client.says(GET)
            response = await client.hears(200)
            assert "Connection" not in response
        assert len(heard) == 3


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    answers = [answer(b"%d" % n) for n in range(10)]
    async with running() as lb, lb.backend.answering(*answers) as heard:
        client = await lb.asks(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(10)))
        assert [(await client.hears(200)).body for _ in range(10)] == [b"%d" % n for n in range(10)]
        assert [request.target for request in heard] == [f"/{n}" for n in range(10)]


async def test_the_next_request_goes_out_only_when_the_answer_before_it_has_come() -> None:
    async with running() as lb:
        await lb.asks(GET + GET)
        peer = await lb.backend.hears()
        await peer.hears_nothing()
        await lb.backend.accepts_nobody()


async def test_a_request_that_comes_byte_by_byte_is_one_request() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        await client.says_bytewise(b"\r\n" + UPLOAD + b"hello")
        await client.hears(200)
        assert [request.body for request in heard] == [b"hello"]


async def test_a_body_is_followed_by_the_next_request() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(UPLOAD + b"hello" + GET)
        await client.hears(200)
        await client.hears(200)
        assert [(request.method, request.body) for request in heard] == [("POST", b"hello"), ("GET", b"")]


@pytest.mark.parametrize("value", ["close", "ClOsE", "keep-alive, close"])
async def test_close_is_said_and_done(value: str) -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(f"GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n".encode())
        assert (await client.hears(200))["Connection"] == "close"
        await client.hears_end()


async def test_what_follows_a_close_is_never_processed() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(CLOSING + GET)
        await client.hears(200)
        client.ends()
        await client.hears_end()
        assert len(heard) == 1


@pytest.mark.parametrize("fields", ["", "Connection: keep-alive\r\n"])
async def test_http_1_0_gets_one_answer_and_the_end(fields: str) -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(f"GET / HTTP/1.0\r\n{fields}\r\n".encode())
        assert (await client.hears(200))["Connection"] == "close"
        await client.hears_end()
        assert heard[0].start == "GET / HTTP/1.1"
        assert heard[0]["Host"] == lb.balancer.control.listening[0]


async def test_a_connection_ends_after_the_last_request_that_it_may_carry() -> None:
    async with running(limits={"requests_per_connection": 2}) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET + GET)
        assert "Connection" not in await client.hears(200)
        assert (await client.hears(200))["Connection"] == "close"
        await client.hears_end()


# -- how long we wait -------------------------------------------------------------------------------------


async def test_who_says_nothing_is_let_go_without_a_word() -> None:
    async with running() as lb:
        client = await lb.client()
        with lasting(10.0):
            await client.hears_end()
        assert lb.exchanges == []


async def test_an_idle_connection_is_let_go_without_a_word() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        with lasting(60.0):
            await client.hears_end()


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHos"])
async def test_a_head_that_stops_is_given_up(begun: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(begun)
        with lasting(10.0):
            response = await client.hears(408)
        assert response["Proxy-Status"].startswith("lb; error=http_request_error;")
        await client.hears_end()


async def test_a_head_has_its_time_as_a_whole_however_it_trickles() -> None:
    async with running() as lb:
        client = await lb.client()
        with lasting(10.0):
            for byte in b"GET / ":
                await client.says(bytes((byte,)))
                with trio.move_on_after(2.0):
                    await client.hears_head(408)
                    break


async def test_a_second_head_has_its_time_from_its_first_byte() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        await trio.sleep(59)
        await client.says(b"GET")
        with lasting(10.0):
            await client.hears(408)


async def test_a_body_that_stops_is_given_up() -> None:
    async with running(limits={"body_rate": 0}) as lb:
        client = await lb.asks(UPLOAD + b"he")
        peer = await lb.backend.accepts()
        await trio.sleep(29)
        await client.says(b"l")
        with lasting(30.0):
            await client.hears(408)
        await peer.hears_head()
        await peer.hears_exactly(b"hel")
        await peer.hears_end()


@plain_only("no backend shakes hands here")
async def test_a_body_that_only_trickles_is_given_up() -> None:
    """Three bytes, one in ten seconds, earn 3/240 s beyond the 30 s of `body_idle`."""
    async with running() as lb:
        client = await lb.asks(UPLOAD)
        with lasting(30 + 3 / 240):
            for _ in range(3):
                await trio.sleep(10)
                await client.says(b"x")
            await client.hears(408)


@plain_only("the reset comes behind a close_notify")
async def test_who_stops_reading_its_answer_is_left() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with lasting(60.0):
            await peer.says_until_stuck(bytes(1 << 20), most=1 << 30)
            await peer.hears_reset()
        assert lb.reason == "connection_write_timeout"
        heard, _ = await client.hears_all()
        assert len(heard) < 1 << 28


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        (405, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (414, b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 8192)),
        (414, b"GET /%b" % (b"x" * 17000)),
        (417, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: pie\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 16384)),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: %b" % (b"x" * 17000)),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x:\r\n" * 100)),
        (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (501, b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % (b"M" * 33)),
        (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ],
)
async def test_a_request_that_we_may_not_act_on_is_refused(status: int, request_: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(request_)
        response = await client.hears(status)
        assert response["Proxy-Status"].startswith("lb; error=http_request_error; details=")
        assert response["Connection"] == "close"
        assert response.body.startswith(b"%d " % status)
        client.ends()
        await client.hears_end()
        await lb.backend.accepts_nobody()
        assert [exchange.status for exchange in lb.exchanges] == [status]
        assert lb.exchange.id.decode() == response["X-Request-Id"]


@pytest.mark.parametrize("fields", [99, 100])
async def test_limits_are_the_last_that_is_allowed(fields: int) -> None:
    lines = b"X: y\r\n" * (fields - 1)
    async with running() as lb, lb.backend.answering(OK):
        head = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x" * 8191, lines)
        client = await lb.asks(head)
        await client.hears(200)


async def test_an_answer_before_garbage_is_never_lost() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET + b"garbage\r\n\r\n")
        assert (await client.hears(200)).body == b"ok"
        await client.hears(400)


async def test_405_says_what_is_allowed() -> None:
    async with running() as lb:
        client = await lb.asks(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.hears(405))["Allow"] == ALLOW.decode()


async def test_options_that_may_go_no_further_is_answered_here() -> None:
    async with running() as lb:
        options = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        client = await lb.asks(options + options)
        assert (await client.hears(204))["Allow"] == ALLOW.decode()
        await client.hears(204)
        await lb.backend.accepts_nobody()


async def test_a_refused_client_is_listened_to_until_it_is_silent() -> None:
    """Closing with unread bytes sends a reset, which may destroy the answer before it is read."""
    async with running() as lb:
        client = await lb.asks(b"garbage\r\n\r\n")
        await client.hears(400)
        await client.hears_end()
        await trio.sleep(3)
        await client.says(b"more")
        await trio.sleep(4.999)
        assert len(lb.context.clients) == 1
        await trio.sleep(0.002)
        assert not lb.context.clients


async def test_a_refused_client_may_send_any_number_of_bytes_for_thirty_seconds() -> None:
    async with running() as lb:
        client = await lb.asks(b"garbage\r\n\r\n")
        await client.hears(400)
        for _ in range(29):
            await client.says_bytewise(bytes(1 << 20), step=1 << 16)
            await trio.sleep(1)
        assert len(lb.context.clients) == 1
        await trio.sleep(1.1)
        assert not lb.context.clients


async def test_a_client_that_lingers_makes_room() -> None:
    async with running(limits={"connections": 1}) as lb:
        client = await lb.asks(b"garbage\r\n\r\n")
        await client.hears(400)
        await trio.sleep(2)
        async with lb.backend.answering(OK):
            with lasting(0.0):
                await (await lb.asks(GET)).hears(200)
        assert lb.metrics.connections_evicted == 1


async def test_a_client_that_lingers_does_not_hold_up_a_shutdown() -> None:
    async with running() as lb:
        client = await lb.asks(b"garbage\r\n\r\n")
        await client.hears(400)
        lb.balancer.stop()
        await trio.sleep(1.1)
        assert not lb.context.clients


# -- errors on a connection that could go on --------------------------------------------------------------


async def test_a_backend_that_fails_does_not_cost_the_client_its_connection() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"garbage")
        assert "Connection" not in await client.hears(502)
        async with lb.backend.answering(OK):
            await client.says(GET)
            await client.hears(200)


@pytest.mark.parametrize("request_", [CLOSING, OLD])
async def test_an_error_honours_close_too(request_: bytes) -> None:
    async with running(Refusing) as lb:
        client = await lb.asks(request_)
        assert (await client.hears(502))["Connection"] == "close"
        with lasting(0.0):
            await client.hears_end()


async def test_an_error_is_the_last_answer_of_a_connection_that_may_carry_no_more() -> None:
    async with running(Refusing, limits={"requests_per_connection": 1}) as lb:
        client = await lb.asks(GET)
        assert (await client.hears(502))["Connection"] == "close"
        await client.hears_end()


async def test_an_error_to_head_has_no_body() -> None:
    async with running(Refusing) as lb:
        client = await lb.asks(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        assert (await client.hears(502, to="HEAD")).length > 0
        await client.hears(502)


# -- clients that leave -----------------------------------------------------------------------------------


async def test_a_half_closed_client_still_gets_its_answer() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        client.ends()
        peer = await lb.backend.hears()
        await trio.sleep(30)
        await peer.says(OK)
        await client.hears(100)
        await client.hears(200)
        await client.hears_end()


async def test_a_half_closed_http_1_0_client_is_asked_nothing() -> None:
    async with running() as lb:
        client = await lb.asks(OLD)
        client.ends()
        peer = await lb.backend.hears()
        await trio.sleep(30)
        await peer.says(OK)
        await client.hears(200)
        await client.hears_end()


@plain_only("a client with unread tickets resets")
@pytest.mark.parametrize(("how", "seconds"), [("resets", 1.0), ("closes", 1.5)])
async def test_a_client_that_left_takes_its_request_with_it(how: str, seconds: float) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        getattr(client, how)()
        with lasting(seconds):
            await peer.hears_end()
        assert lb.reason == "client_disconnected"
        assert lb["one"].in_flight == 0
        assert lb["one"].idle_connections == 0


@pytest.mark.parametrize("how", ["ends", "closes", "resets"])
async def test_a_client_that_leaves_in_its_body_takes_its_request_with_it(how: str) -> None:
    async with running() as lb:
        client = await lb.asks(UPLOAD + b"he")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"he")
        with lasting(0.0):
            getattr(client, how)()
            await peer.hears_end()
        assert lb.reason == "client_disconnected"


@pytest.mark.parametrize("how", ["ends", "closes", "resets"])
async def test_a_client_that_leaves_in_its_head_has_asked_nothing(how: str) -> None:
    async with running() as lb:
        client = await lb.asks(b"GET / HT")
        await trio.testing.wait_all_tasks_blocked()
        getattr(client, how)()
        await trio.testing.wait_all_tasks_blocked()
        assert not lb.context.clients
        assert [exchange.reason for exchange in lb.exchanges] in ([], ["client_disconnected"])


async def test_a_client_that_resets_in_its_answer_stops_it() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
        await client.hears_head(200)
        await client.hears_exactly(b"ab")
        client.resets()
        with lasting(0.0):
            await peer.says(b"cd")
            await peer.hears_end()
        assert (lb.exchange.status, lb.reason) == (200, "client_disconnected")


async def test_a_cut_that_came_too_late_for_its_exchange_costs_the_next_one_nothing() -> None:
    async with running() as lb:

        def cut(exchange: ExchangeRecord) -> None:
            if len(lb.exchanges) == 1:
                for client in lb.connections:
                    client.cut()

        lb.context.observers = (*lb.context.observers, cut)
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)
        for _ in range(2):
            await client.says(GET)
            await peer.hears_request()
            await peer.says(OK)
            await client.hears(200)
        assert [exchange.reason for exchange in lb.exchanges] == [None] * 3
