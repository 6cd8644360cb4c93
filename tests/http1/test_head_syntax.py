"""What requests and responses have in common: legal bytes, lengths, and which fields travel on.

Numbers are those of the checks.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.head_syntax import HOPELESS, ILLEGAL
from tests.http1.messages import (
    FIELD_LIMIT,
    OLD,
    POST,
    answered,
    forwarded,
    is_refused,
    judged,
    refusal,
    relayed,
    request,
    response,
)

# -- A: the bytes of a head --------------------------------------------------------------------------------


@pytest.mark.parametrize("byte", [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
@pytest.mark.parametrize("line", [b"X: a%bb", b"X%b: a", b"X: %b", b"%b", b"X:%ba"])
def test_a05_a06_control_characters(line: bytes, byte: int) -> None:
    assert refusal(request(line % bytes([byte]))) == 400
    assert is_refused(response(line % bytes([byte]), b"Content-Length: 0"))


@pytest.mark.parametrize("fold", [b"\r\n b", b"\r\n\tb", b"\r\n ", b"\r\n \r\n b"])
@pytest.mark.parametrize(
    "line",
    [b"X: a", b"X:", b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Expect: 100-continue", b""],
)
def test_a09_a10_a11_folded_lines(line: bytes, fold: bytes) -> None:
    assert refusal(request(line + fold, start=POST)) == 400
    assert refusal(request(host=b"a" + fold)) == 400
    assert is_refused(response(b"Content-Length: 0", line + fold))


@pytest.mark.parametrize("line", [b": x", b":", b" : x", b"::"])
def test_a13_empty_name(line: bytes) -> None:
    assert refusal(request(line)) == 400
    assert is_refused(response(b"Content-Length: 0", line))


@pytest.mark.parametrize("line", [b"X", b"Host", b"Transfer-Encoding", b"GET / HTTP/1.1"])
def test_a14_no_colon(line: bytes) -> None:
    assert refusal(request(line)) == 400
    assert is_refused(response(b"Content-Length: 0", line))


@pytest.mark.parametrize("character", [*b'()<>@,;\\"/[]?={} ', 0x80, 0xA0, 0xE4, 0xFF])
@pytest.mark.parametrize("name", [b"%bX", b"X%b", b"X%bY", b"Content-Length%b", b"%bTransfer-Encoding"])
def test_a15_a_name_that_is_no_token(name: bytes, character: int) -> None:
    assert refusal(request(name % bytes([character]) + b": 7")) == 400
    assert is_refused(response(name % bytes([character]) + b": 7", b"Content-Length: 0"))


# -- A: framing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5, 6"],
        [b"Content-Length: 5", b"Content-Length: 05"],
        [b"Content-Length: 5", b"Content-Length:"],
        [b"Content-Length: 0", b"Content-Length: 5"],
    ],
)
def test_a34_lengths_that_differ(lines: list[bytes]) -> None:
    assert refusal(request(*lines, start=POST)) == 400
    assert is_refused(response(*lines))


@pytest.mark.parametrize(
    "length",
    [
        b"+5", b"-1", b"0x5", b"5_0", b"5 5", b"", b" ", b",5", b"5,", b",", b"5;x", b"\xd9\xa5", b"\xb2",
        b"5.0",
        b"5e1", b'"5"', b"1" * 21, b"1" * 300, b"%d" % (1 << 63), b"%d" % (1 << 64), b"%d" % (1 << 128),
        b"5\t5",
        b"5,\t6", b"chunked", b"NaN", b"5 bytes",
    ],
)  # fmt: skip
def test_a35_c101_lengths_that_are_none(length: bytes) -> None:
    assert refusal(request(b"Content-Length: " + length, start=POST)) == 400
    assert is_refused(response(b"Content-Length: " + length))


def test_a36_a_length_is_normalised() -> None:
    for length in (b"005", b"\t 5", b"5 \t"):
        head = judged(request(b"Content-Length: " + length, start=POST))
        assert forwarded(head).values(b"content-length") == [b"5"]
        assert relayed(answered(response(b"Content-Length: " + length))).values(b"content-length") == [b"5"]
    largest = (1 << 63) - 1
    assert judged(request(b"Content-Length: %d" % largest, start=POST)).length == largest


@pytest.mark.parametrize(
    ("coding", "status"),
    [
        (b"identity", 400),
        (b"gzip", 400),
        (b"chunked, chunked", 400),
        (b"chunked, gzip", 400),
        (b"chunked, identity", 400),
        (b"xchunked", 400),
        (b'"chunked"', 400),
        (b"'chunked'", 400),
        (b"chunked;q=1", 400),
        (b"chunked;", 400),
        (b",chunked", 400),
        (b"chunked,", 400),
        (b",", 400),
        (b"", 400),
        (b" ", 400),
        (b"chunked chunked", 400),
        (b"chunked\tx", 400),
        (b"chunk\xa0ed", 400),
        (b"\xa0chunked", 400),
        (b"chunked\xa0", 400),
        (b"chun\xc4\xb7ed", 400),
        (b"chunked\r\nTransfer-Encoding: chunked", 400),
        (b"gzip\r\nTransfer-Encoding: chunked", 400),
        (b"gzip, chunked\r\nTransfer-Encoding: chunked", 400),
        (b"chunked\r\nTransfer-Encoding: identity", 400),
        (b"\r\nTransfer-Encoding: chunked", 400),
        (b"gzip;q=1, chunked", 400),
        (b"gz ip, chunked", 400),
        # an unknown coding before a last chunked: sound, but not spoken here
        (b"gzip, chunked", 501),
        (b"identity,chunked", 501),
        (b"GZIP , br ,\tCHUNKED", 501),
    ],
)
def test_a37_transfer_codings(coding: bytes, status: int) -> None:
    assert refusal(request(b"Transfer-Encoding: " + coding, start=POST)) == status
    assert is_refused(response(b"Transfer-Encoding: " + coding))


@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity"])
def test_a38_http_1_0_has_no_transfer_coding(coding: bytes) -> None:
    assert refusal(request(b"Transfer-Encoding: " + coding, start=b"POST / HTTP/1.0")) == 400
    assert is_refused(response(b"Transfer-Encoding: " + coding, start=b"HTTP/1.0 200 OK"))


@pytest.mark.parametrize(
    "line", [b"Connection: ClOsE", b"Connection: keep-alive, close", b"Connection: x,\tCLOSE ,"]
)
def test_a54_close_is_close(line: bytes) -> None:
    assert not judged(request(line)).keep_alive
    assert not judged(request(b"Connection:", line)).keep_alive
    assert not answered(response(line, b"Content-Length: 0")).keep_alive


@pytest.mark.parametrize(
    "line", [b"Connection: keep-alive", b"Connection: closed", b"Connection: x-close", b"X: close"]
)
def test_a54_what_is_not_close_is_not(line: bytes) -> None:
    assert judged(request(line)).keep_alive
    assert answered(response(line, b"Content-Length: 0")).keep_alive


def test_a55_http_1_0_is_never_kept() -> None:
    assert not judged(request(b"Connection: keep-alive", start=OLD)).keep_alive
    assert not answered(
        response(b"Connection: keep-alive", b"Content-Length: 0", start=b"HTTP/1.0 200 OK")
    ).keep_alive


# -- B: what travels on ------------------------------------------------------------------------------------


def test_b57_what_connection_names_stays_here() -> None:
    lines = (b"Connection: x-a, X-B", b"X-A: 1", b"x-b: 2", b"X-C: 3")
    assert forwarded(judged(request(*lines))).names & {b"x-a", b"x-b", b"x-c", b"connection"} == {b"x-c"}
    there = relayed(answered(response(*lines, b"Content-Length: 0"))).names
    assert there & {b"x-a", b"x-b", b"x-c", b"connection"} == {b"x-c"}


@pytest.mark.parametrize(
    "lines",
    [
        (b"Connection:", b"Connection: x-a"),
        (b"Connection: ", b"CONNECTION: ,,X-A"),
        (b"Connection: close", b"Connection: X-a"),
        (b"connection: \tx-A\t,",),
        (b"Connection: keep-alive", b"Connection: keep-alive", b"Connection: x-a"),
    ],
)
def test_b58_every_connection_field_is_heard(lines: tuple[bytes, ...]) -> None:
    assert b"x-a" not in forwarded(judged(request(b"X-A: 1", *lines))).names
    assert b"x-a" not in relayed(answered(response(b"X-A: 1", *lines, b"Content-Length: 0"))).names


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_b60_connection_cannot_name_fields_for_all_recipients(version: bytes) -> None:
    lines = (b"Content-Length: 5", b"Authorization: x", b"Cookie: y", b"Cache-Control: z")
    named = b"Connection: Host, Content-Length, Transfer-Encoding, Authorization, Cookie, Cache-Control"
    head = judged(request(named, *lines, start=b"POST / HTTP/" + version))
    assert head.length == 5
    for name, value in (
        (b"host", b"a"),
        (b"content-length", b"5"),
        (b"authorization", b"x"),
        (b"cookie", b"y"),
    ):
        assert forwarded(head).values(name) == [value]
    answer = answered(
        response(b"Connection: date, set-cookie, content-length", b"Date: d", b"Set-Cookie: c", *lines)
    )
    there = relayed(answer)
    assert (answer.length, there.values(b"date"), there.values(b"set-cookie")) == (5, [b"d"], [b"c"])


HOP_BY_HOP = (
    b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade", b"Trailer", b"Proxy-Authenticate",
    b"Proxy-Authorization", b"HTTP2-Settings", b"Connection",
)  # fmt: skip


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_b61_hop_by_hop_fields_stay_here(name: bytes) -> None:
    for said in (name, name.upper(), name.lower()):
        assert name.lower() not in forwarded(judged(request(said + b": x"))).names
        assert name.lower() not in relayed(answered(response(said + b": x", b"Content-Length: 0"))).names


def test_b74_unknown_fields_keep_their_names_and_their_order() -> None:
    lines = (b"X-One: 1", b"x-TWO: 2", b"X-One: 3", b"Cookie: a", b"Cookie: b", b"X-Empty:")
    head = judged(request(*lines, b"Transfer-Encoding: chunked", start=POST))
    assert head.lines == b"Host: a\r\n" + b"".join(line + b"\r\n" for line in lines[:-1]) + b"X-Empty: \r\n"
    cookies = (b"Set-Cookie: a=1", b"X: y", b"set-cookie: b=2, c=3")
    answer = answered(response(*cookies, b"Content-Length: 0"))
    assert answer.lines == b"".join(line + b"\r\n" for line in cookies)


@pytest.mark.parametrize(
    "line",
    [
        b"If-None-Match: W/\"x\", *", b"If-Modified-Since: x", b"Range: bytes=0-1,5-",
        b"Authorization: Basic eA==",
        b"WWW-Authenticate: Basic realm=\"a, b\"", b"Allow: GET", b"ETag: W/\"x\"",
        b"Cache-Control: no-store, private",
        b"Content-Encoding: gzip", b"Accept-Encoding: gzip, br", b"Warning: 110 - \"x\"", b"Age: 5",
    ],
)  # fmt: skip
def test_b76_end_to_end_fields_are_left_alone(line: bytes) -> None:
    assert line + b"\r\n" in judged(request(line)).lines
    assert line + b"\r\n" in answered(response(line, b"Content-Length: 0")).lines


# -- C: smuggling ------------------------------------------------------------------------------------------


@given(st.text("a:/ \t\r\n\x00\x7f\xff", max_size=12).map(lambda text: text.encode("latin-1")))
def test_what_is_hopeless_half_way_is_illegal_when_whole_and_nothing_else(data: bytes) -> None:
    hopeless = next((end for end in range(len(data) + 1) if HOPELESS.search(data[:end])), None)
    if hopeless is not None:
        assert all(ILLEGAL.search(data[:end] + b"\r\n\r\n") for end in range(hopeless, len(data) + 1))
    elif not data.endswith(b"\r"):
        assert ILLEGAL.search(data) is None


# -- D, E: limits and answers that are none ----------------------------------------------------------------


def test_d104_e122_the_number_of_fields_is_limited() -> None:
    many = [b"X: y"] * FIELD_LIMIT
    assert refusal(request(*many)) == 431
    assert refusal(request(*many[1:])) == 0
    assert is_refused(response(*many, b"Content-Length: 0"))
    assert not is_refused(response(*many[1:], b"Content-Length: 0"))


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\r\n\r\n", b"GET", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"]
)
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    assert refusal(data) == 400
    assert is_refused(data)
