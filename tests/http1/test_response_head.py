"""What the judge of responses lets pass, what it refuses, and how the rest is forwarded.

Numbers are those of the checks.
"""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import BadResponse
from lb.http1.body import CHUNKED, UNTIL_CLOSE
from lb.http1.response_head import judge_response
from tests.http1.messages import (
    CL_GADGETS,
    FIELD_LIMIT,
    TE_GADGETS,
    answered,
    is_refused,
    relayed,
    response,
)

# -- A: the bytes of a head --------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"X : a", b"X\t: a", b"Content-Length : 5"])
def test_a12_whitespace_before_the_colon_of_an_answer(line: bytes) -> None:
    assert is_refused(response(b"Content-Length: 0", line))


# -- A: framing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [b"0", b"100"])
def test_a52_the_length_of_an_answer_to_head_is_shown_and_not_awaited(length: bytes) -> None:
    head = answered(response(b"Content-Length: " + length), b"HEAD")
    assert (head.length, head.keep_alive) == (0, True)
    assert relayed(head).values(b"content-length") == [length]
    coded = answered(response(b"Transfer-Encoding: chunked"), b"HEAD")
    assert (coded.length, coded.keep_alive) == (0, True)
    assert answered(response(), b"HEAD").keep_alive


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"204 No Content"])
@pytest.mark.parametrize(
    ("line", "keeps"),
    [(b"X: y", True), (b"Content-Length: 0", True), (b"Content-Length: 5", False),
    (b"Transfer-Encoding: chunked", False)],
)  # fmt: skip
def test_a53_answers_that_cannot_have_a_body(status: bytes, line: bytes, keeps: bool) -> None:
    head = answered(response(line, start=b"HTTP/1.1 " + status))
    assert (head.length, head.keep_alive) == (0, keeps)
    assert not relayed(head).names & {b"content-length", b"transfer-encoding"}


def test_a53_not_modified_shows_the_length_it_would_have() -> None:
    head = answered(response(b"Content-Length: 5", start=b"HTTP/1.1 304 Not Modified"))
    assert (head.length, head.announced, head.keep_alive) == (0, 5, True)
    coded = answered(response(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 304 Not Modified"))
    assert coded.length == 0
    assert b"transfer-encoding" not in relayed(coded).names


@pytest.mark.parametrize("start", [b"HTTP/1.1 200", b"HTTP/1.1 200 "])
def test_a56_an_answer_without_a_reason(start: bytes) -> None:
    head = answered(response(b"Content-Length: 0", start=start))
    assert head.to_client(b"now", b"", b"").startswith(b"HTTP/1.1 200 \r\n")


# -- B: what travels on ------------------------------------------------------------------------------------


def test_b77_a_missing_date_is_added() -> None:
    assert relayed(answered(response(b"Content-Length: 0"))).values(b"date") == [b"now"]
    assert relayed(answered(response(b"date: then", b"Content-Length: 0"))).values(b"date") == [b"then"]
    interim = answered(response(start=b"HTTP/1.1 103 Early Hints"))
    assert b"date" not in relayed(interim).names


def test_b79_an_answer_with_both_framings_is_chunked_and_costs_the_connection() -> None:
    head = answered(response(b"Transfer-Encoding: chunked", b"Content-Length: 5"))
    assert (head.length, head.announced, head.keep_alive) == (CHUNKED, None, False)
    assert relayed(head).values(b"transfer-encoding") == [b"chunked"]
    assert b"content-length" not in relayed(head).names


def test_b80_an_answer_without_framing_ends_with_its_connection() -> None:
    head = answered(response())
    assert (head.length, head.keep_alive) == (UNTIL_CLOSE, False)
    assert relayed(head).values(b"transfer-encoding") == [b"chunked"]
    assert not relayed(head, to_1_0=True).names & {b"content-length", b"transfer-encoding"}


def test_a20_no_chunks_for_http_1_0() -> None:
    head = answered(response(b"Transfer-Encoding: chunked"))
    assert relayed(head).values(b"transfer-encoding") == [b"chunked"]
    assert not relayed(head, to_1_0=True).names & {b"content-length", b"transfer-encoding"}
    assert relayed(answered(response(b"Content-Length: 5")), to_1_0=True).values(b"content-length") == [b"5"]


def test_b83_the_protocol_that_a_backend_switches_to_is_known() -> None:
    lines = (b"Connection: Upgrade", b"Upgrade: websocket")
    head = answered(response(*lines, start=b"HTTP/1.1 101 Switching Protocols"))
    assert (head.status, head.is_interim, head.upgrade, head.length) == (101, True, b"websocket", 0)


# -- C: smuggling ------------------------------------------------------------------------------------------


def test_c89_gadgets_of_a_backend_are_refused() -> None:
    assert [g for g in TE_GADGETS + CL_GADGETS if not is_refused(response(g, b"Content-Length: 5"))] == []


@pytest.mark.parametrize("piece", [b"\r\nX: y", b"\rX: y", b"\nX: y", b"\x00", b"\r\n\r\nHTTP/1.1 200 OK"])
def test_c96_nothing_is_injected_into_an_answer(piece: bytes) -> None:
    head = response(b"Location: /a" + piece, b"Content-Length: 0")
    if piece == b"\r\nX: y":
        assert relayed(answered(head)).values(b"x") == [b"y"]  # an honest second line
    elif piece.startswith(b"\r\n\r\n"):
        assert b"HTTP/1.1 200 OK" not in answered(head).to_client(b"", b"", b"")[10:]
    else:
        assert is_refused(head)
    assert is_refused(response(b"Content-Length: 0", start=b"HTTP/1.1 200 O" + piece[:1] + b"K"))


RESPONSES = (
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda line: response(line))
    | st.binary(max_size=20).map(lambda status: response(start=b"HTTP/1.1 " + status))
)


@given(RESPONSES, st.sampled_from((b"GET", b"HEAD")))
def test_c102_any_bytes_of_a_backend_are_a_verdict_or_a_refusal(data: bytes, method: bytes) -> None:
    with suppress(BadResponse):
        relayed(judge_response(data, method, FIELD_LIMIT))


# -- D, E: limits and answers that are none ----------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 abc", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/1.1 +20 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200\tOK", b"HTTP/1.1 099 x", b"HTTP/1.1 000 x", b"HTTP/1.1  20 OK",
        b"HTTP/1.1\t200 OK", b"HTTP/1.1 \t200 OK", b"HTTP/1.1 1000 x", b"HTTP/1.1  2000 OK",
        b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.10 200 OK", b"http/1.1 200 OK", b"HTTP/1 200 OK",
        b"",
        b" HTTP/1.1 200 OK", b"ICY 200 OK", b"SSH-2.0-x", b"PRI * HTTP/2.0", b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\x7fK",
    ],
)  # fmt: skip
def test_e121_status_lines_that_are_none(start: bytes) -> None:
    assert is_refused(response(b"Content-Length: 0", start=start))


@pytest.mark.parametrize("status", [600, 699, 999])
def test_f5_9_a_status_of_no_class_is_passed_on(status: int) -> None:
    head = answered(response(b"Content-Length: 5", start=b"HTTP/1.1 %d Odd" % status))
    assert (head.status, head.length, head.is_final) == (status, 5, True)
    assert relayed(head).start == b"HTTP/1.1 %d Odd" % status


@pytest.mark.parametrize("protocols", [b"websocket", b"TLS/1.0, HTTP/1.1", b"h2c"])
def test_f5_8_the_protocols_that_an_answer_of_426_asks_for(protocols: bytes) -> None:
    lines = (b"Upgrade: " + protocols, b"Connection: upgrade", b"Content-Length: 0")
    said = relayed(answered(response(*lines, start=b"HTTP/1.1 426 Upgrade Required")))
    assert said.values(b"upgrade") == [protocols]
    assert said.values(b"connection") == [b"Upgrade"]
    assert not relayed(answered(response(*lines))).names & {b"upgrade", b"connection"}
    bare = relayed(answered(response(b"Content-Length: 0", start=b"HTTP/1.1 426 Upgrade Required")))
    assert not bare.names & {b"upgrade", b"connection"}


@pytest.mark.parametrize(
    ("trailer", "kept"),
    [
        (b"X-Sum", [b"X-Sum"]),
        (b"X-Sum, Content-Length,Expires , X-B", [b"X-Sum, X-B"]),
        (b"X-A\r\nTrailer: X-B", [b"X-A, X-B"]),
        (b"Content-Length", []),
        (b"", []),
        (b"a b, (", []),
    ],
)
def test_f5_22_trailers_are_announced_where_they_are_forwarded(trailer: bytes, kept: list[bytes]) -> None:
    chunked = answered(response(b"Trailer: " + trailer, b"Transfer-Encoding: chunked"))
    assert relayed(chunked).values(b"trailer") == kept
    assert b"trailer" not in relayed(chunked, to_1_0=True).names
    for framing in ((b"Content-Length: 5",), ()):
        assert b"trailer" not in relayed(answered(response(b"Trailer: " + trailer, *framing))).names
    assert (
        b"trailer"
        not in relayed(answered(response(b"Trailer: X", b"Transfer-Encoding: chunked"), b"HEAD")).names
    )


def test_e132_an_answer_of_http_1_0_costs_the_connection() -> None:
    head = answered(response(b"Content-Length: 5", start=b"HTTP/1.0 200 OK"))
    assert (head.length, head.keep_alive) == (5, False)
    assert relayed(head).start == b"HTTP/1.1 200 OK"
