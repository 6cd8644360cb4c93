"""Framing (RFC 9112), check by check, over real bytes; what is one dialogue is a row of the table."""

import pytest
import trio
import trio.testing

from tests.checks.play import every, holds, plays
from tests.checks.table import GET, OLD, POISON, POST, Row, chunked
from tests.http1.messages import request, response
from tests.kit import OK, Client, answer, running, virtual_time
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]


# -- the bytes of a head ---------------------------------------------------------------------------------


async def test_a01_one_byte_at_a_time() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.client()
        await client.says_bytewise(GET)
        await client.hears(200)
        await client.hears_nothing()
        assert len(heard) == 1


@every("a02")
async def test_a02_empty_lines_before_the_request_line(row: Row) -> None:
    await holds(row)


async def test_a02_an_empty_line_in_pieces() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.client()
        await client.says_bytewise(b"\r\n\r\n" + GET + b"\r\n" + GET)
        await client.hears(200)
        await client.hears(200)


@every("a03")
async def test_a03_bare_line_feed(row: Row) -> None:
    await holds(row)


@every("a04")
async def test_a04_bare_carriage_return(row: Row) -> None:
    await holds(row)


@every("a05")
async def test_a05_nul(row: Row) -> None:
    await holds(row)


@every("a06")
async def test_a06_control_characters(row: Row) -> None:
    await holds(row)


@every("a07")
async def test_a07_whitespace_before_the_colon(row: Row) -> None:
    await holds(row)


@every("a08")
async def test_a08_whitespace_before_the_first_field(row: Row) -> None:
    await holds(row)


@every("a09")
async def test_a09_folded_line(row: Row) -> None:
    await holds(row)


@every("a10")
async def test_a10_folded_line_of_a_field_that_frames_or_routes(row: Row) -> None:
    await holds(row)


@every("a11")
async def test_a11_folded_line_in_an_answer(row: Row) -> None:
    await holds(row)


@every("a12")
async def test_a12_whitespace_before_the_colon_in_an_answer(row: Row) -> None:
    await holds(row)


@every("a13")
async def test_a13_empty_name(row: Row) -> None:
    await holds(row)


@every("a14")
async def test_a14_no_colon(row: Row) -> None:
    await holds(row)


@every("a15")
async def test_a15_a_name_that_is_no_token(row: Row) -> None:
    await holds(row)


# -- the request line, Host and the target ---------------------------------------------------------------


@every("a16")
async def test_a16_a_request_line_that_is_none(row: Row) -> None:
    await holds(row)


@every("a17")
async def test_a17_versions_not_spoken(row: Row) -> None:
    await holds(row)


@every("a18")
async def test_a18_http_1_2_is_handled_as_1_1(row: Row) -> None:
    await holds(row)


@every("a19")
async def test_a19_http_1_0_with_and_without_host(row: Row) -> None:
    """What goes on is HTTP/1.1 with one Host: the backend of the kit takes nothing else."""
    await holds(row)


@every("a20")
async def test_a20_a_chunked_answer_to_http_1_0(row: Row) -> None:
    await holds(row)


async def test_a20_its_chunks_are_gone() -> None:
    trailing = response(b"Transfer-Encoding: chunked") + b"1\r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n"
    async with running() as lb, lb.backend.answering(trailing):
        client = await lb.asks(request(start=OLD))
        response_ = await client.hears(200)
        assert (response_.framing, response_.body) == ("close", b"ok")
        await client.hears_end()


@every("a21")
async def test_a21_no_host(row: Row) -> None:
    await holds(row)


@every("a22")
async def test_a22_two_hosts(row: Row) -> None:
    await holds(row)


@every("a23")
async def test_a23_invalid_host(row: Row) -> None:
    await holds(row)


@every("a24")
async def test_a24_empty_host(row: Row) -> None:
    await holds(row)


@every("a25")
async def test_a25_absolute_target(row: Row) -> None:
    await holds(row)


@every("a26")
@plain_only("with TLS https is the scheme of the target")
async def test_a26_absolute_target_with_another_host(row: Row) -> None:
    await holds(row)


async def test_a26_the_authority_of_the_target_replaces_host() -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(request(start=b"GET http://b:81/ HTTP/1.1"))
        await client.hears(200)
        assert heard[0].all("Host") == ["b:81"]
        assert heard[0]["X-Forwarded-Host"] == "b:81"


@every("a27")
async def test_a27_the_target_asterisk(row: Row) -> None:
    await holds(row)


@every("a28")
async def test_a28_connect(row: Row) -> None:
    await holds(row)


@every("a29")
async def test_a29_targets_that_are_none(row: Row) -> None:
    await holds(row)


@every("a30")
async def test_a30_a_long_target(row: Row) -> None:
    await holds(row)


@every("a31")
async def test_a31_unknown_and_long_methods(row: Row) -> None:
    await holds(row)


# -- how long a body is ----------------------------------------------------------------------------------


@every("a32")
async def test_a32_content_length_beside_transfer_encoding(row: Row) -> None:
    await holds(row)


@every("a33")
async def test_a33_the_same_content_length_twice(row: Row) -> None:
    """Legal either way; the backend gets one, which is ours."""
    await holds(row)


@every("a34")
async def test_a34_two_content_lengths(row: Row) -> None:
    await holds(row)


@every("a35")
async def test_a35_a_content_length_that_is_no_number(row: Row) -> None:
    await holds(row)


@every("a36")
async def test_a36_zeros_before_a_content_length_are_not_forwarded(row: Row) -> None:
    await holds(row)


@every("a37")
async def test_a37_transfer_encodings_other_than_chunked(row: Row) -> None:
    await holds(row)


@every("a38")
async def test_a38_transfer_encoding_in_http_1_0(row: Row) -> None:
    await holds(row)


@every("a39")
async def test_a39_chunk_sizes_that_are_none(row: Row) -> None:
    await holds(row)


@every("a40")
async def test_a40_bare_line_feed_in_a_chunk_s_line(row: Row) -> None:
    await holds(row)


@every("a41")
async def test_a41_bare_carriage_return_in_a_chunk_s_line(row: Row) -> None:
    await holds(row)


@every("a42")
async def test_a42_chunk_extensions_end_here(row: Row) -> None:
    await holds(row)


@every("a43")
async def test_a43_endless_chunk_extensions(row: Row) -> None:
    await holds(row)


@every("a44")
async def test_a44_a_chunk_that_does_not_end_where_it_said(row: Row) -> None:
    await holds(row)


@every("a45")
async def test_a45_trailers(row: Row) -> None:
    await holds(row)


async def test_a45_trailers_stay_trailers_and_never_frame_route_or_authorize() -> None:
    refused = (
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: c\r\nCookie: d\r\n"
    )
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(chunked(b"0\r\n" + refused + b"X-Sum: 1\r\n\r\n"))
        await client.hears(200)
        assert heard[0].trailers == [("X-Sum", "1")]
        assert "X-Sum" not in heard[0]


@every("a46")
async def test_a46_endless_trailers(row: Row) -> None:
    await holds(row)


async def client_drips(client: Client) -> None:
    while True:
        await client.says(b"a: b\r\n")
        await trio.sleep(1)


async def test_a46_trailers_that_never_end() -> None:
    async with running(limits={"body_rate": 100}) as lb:
        client = await lb.asks(chunked(b"0\r\n"))
        peer = await lb.backend.accepts()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client_drips, client)
            await client.hears(408)
            nursery.cancel_scope.cancel()
        assert 30 < trio.current_time() - began < 40  # the limit on silence, and what its bytes have earned
        await peer.hears_head()
        await peer.hears_end()


@pytest.mark.parametrize(
    "says",
    [
        request(b"Content-Length: 9", start=POST) + b"hello",
        chunked(b"5\r\nhello\r\n"),
        chunked(b"9\r\nhello"),
    ],
    ids=repr,
)
async def test_a47_a_request_body_that_ends_early(says: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(says)
        peer = await lb.backend.accepts()
        head = await peer.hears_head(b"POST / HTTP/1.1")
        client.ends()
        rest, _ = await peer.hears_all()
        assert rest == (b"hello" if head.framing == "length" else b"5\r\nhello\r\n")
        await client.hears_end()
        assert lb["one"].idle_connections == 0


# -- one request after the other -------------------------------------------------------------------------


@every("a48")
async def test_a48_pipelined_requests_are_answered_in_order(row: Row) -> None:
    await holds(row)


@every("a49")
async def test_a49_garbage_behind_a_request_costs_no_answer(row: Row) -> None:
    await holds(row)


@every("a50")
async def test_a50_nothing_is_read_behind_a_request_that_closes(row: Row) -> None:
    await holds(row)


@every("a51")
async def test_a51_nothing_is_read_behind_an_error(row: Row) -> None:
    await holds(row)


async def test_a51_nothing_is_read_behind_a_body_that_is_too_long() -> None:
    async with running(limits={"request_body": 4}) as lb:
        for body in (request(b"Content-Length: 5", start=POST), chunked(b"5\r\nhello\r\n0\r\n\r\n")):
            row = Row(check="a51", says=body + POISON, hears="413 close")
            await plays(lb, row)


async def test_a51_whoever_still_sends_can_read_the_answer() -> None:
    async with running() as lb:
        client = await lb.asks(request(b"X"))
        for _ in range(15):
            await client.says(POISON * 100)
        assert (await client.hears(400))["Connection"] == "close"
        await client.hears_end()
        await lb.backend.accepts_nobody()


async def test_a51_whoever_asks_on_when_we_have_closed_can_read_the_answer() -> None:
    async with running(limits={"requests_per_connection": 1}) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        await client.says_bytewise(GET)
        assert (await client.hears(200)).all("Connection") == ["close"]
        await client.hears_end()
        assert len(heard) == 1


@every("a52")
async def test_a52_an_answer_to_head_has_a_length_and_no_body(row: Row) -> None:
    await holds(row)


async def test_a52_the_length_is_the_backend_s() -> None:
    async with running() as lb, lb.backend.answering(response(b"Content-Length: 100"), OK):
        client = await lb.asks(request(start=b"HEAD / HTTP/1.1") + GET)
        assert (await client.hears(200, to="HEAD")).length == 100
        assert (await client.hears(200)).body == b"ok"


@every("a53")
async def test_a53_answers_that_have_no_body_get_none(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("line", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
async def test_a53_a_backend_that_sends_one_all_the_same_is_not_used_again(status: str, line: bytes) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(response(line, start=b"HTTP/1.1 " + status.encode()) + b"ok")
        await client.hears(int(status[:3]))
        await client.hears_nothing()
        await peer.hears_end()


async def test_a53_interim_answers_lose_their_framing() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(
            response(b"Transfer-Encoding: chunked", b"Link: x", start=b"HTTP/1.1 103 Early Hints")
        )
        assert (await client.hears(103)).names == ["Link"]
        await peer.says(OK)
        await client.hears(200)


@every("a54")
async def test_a54_connection_close_in_any_case_and_place(row: Row) -> None:
    await holds(row)


async def test_a54_the_answer_says_so() -> None:
    async with running() as lb, lb.backend.answering(answer(b"x", "Connection: keep-alive")):
        client = await lb.asks(request(b"Connection: ClOsE"))
        assert (await client.hears(200)).all("Connection") == ["close"]
        await client.hears_end()


@every("a55")
async def test_a55_http_1_0_is_never_kept(row: Row) -> None:
    await holds(row)


async def test_a55_the_answer_says_so() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(request(b"Connection: keep-alive", start=OLD))
        answered = await client.hears(200)
        assert answered.all("Connection") == ["close"]
        assert "Keep-Alive" not in answered
        await client.hears_end()


@every("a56")
async def test_a56_a_status_line_without_a_reason(row: Row) -> None:
    await holds(row)


async def test_a56_the_space_is_there() -> None:
    async with running() as lb, lb.backend.answering(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"):
        client = await lb.asks(GET)
        assert (await client.hears(200)).head.startswith(b"HTTP/1.1 200 \r\n")
