"""What the judge of requests lets pass, what it refuses, and how the rest is forwarded.

Numbers are those of the checks.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import BadRequest
from lb.http1.body import CHUNKED
from lb.http1.request_head import judge_request
from tests.http1.messages import (
    CL_GADGETS,
    DEFAULT_HOST,
    FIELD_LIMIT,
    OLD,
    OPTIONS,
    POST,
    TARGET_LIMIT,
    TE_GADGETS,
    forwarded,
    judged,
    refusal,
    request,
)

# -- A: the bytes of a head --------------------------------------------------------------------------------


def test_a02_an_empty_line_in_front_is_no_part_of_a_head() -> None:
    assert refusal(b"\r\n" + request()) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_a03_bare_line_feed(data: bytes) -> None:
    assert refusal(data) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
    ],
)
def test_a04_bare_carriage_return(data: bytes) -> None:
    assert refusal(data) == 400


def test_a06_tabs_and_obs_text_are_legal_in_a_value() -> None:
    head = forwarded(judged(request(b"X:\ta\tb\xe4 \xff\t")))
    assert head.values(b"x") == [b"a\tb\xe4 \xff"]


@pytest.mark.parametrize("line", [b"X : a", b"X\t: a", b"Host : b", b"Content-Length : 7", b"X  : a"])
def test_a07_whitespace_before_the_colon(line: bytes) -> None:
    assert refusal(request(line)) == 400


@pytest.mark.parametrize("first", [b" Host: a", b"\tHost: a", b" X: b"])
def test_a08_whitespace_before_the_first_field(first: bytes) -> None:
    assert refusal(request(first, b"Host: a", host=None)) == 400


@pytest.mark.parametrize(
    "start",
    [
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1 x",
        b"GET / x HTTP/1.1",
        b"GET /",
        b"GET / ",
        b"GET",
        b"",
        b"/ HTTP/1.1",
        b"GET HTTP/1.1",
        b"(GET) / HTTP/1.1",
        b"G\xe4T / HTTP/1.1",
        b'"GET" / HTTP/1.1',
        b"\x16\x03\x01\x02",
    ],
)
def test_a16_request_lines_that_are_none(start: bytes) -> None:
    assert refusal(request(start=start)) == 400


@pytest.mark.parametrize(
    ("version", "status"),
    [
        (b"HTTP/2.0", 505),
        (b"HTTP/0.9", 505),
        (b"HTTP/9.9", 505),
        (b"HTTP/1.10", 400),
        (b"HTTP/11.1", 400),
        (b"HTTP/1", 400),
        (b"HTTP/1.", 400),
        (b"HTTP/.1", 400),
        (b"http/1.1", 400),
        (b"Http/1.1", 400),
        (b"HTTP/1,1", 400),
        (b"HTTP /1.1", 400),
        (b"HTTP/ 1.1", 400),
        (b"HTTPS/1.1", 400),
        (b"HTTP/+1.1", 400),
        (b"HTTP/1.\xb2", 400),
    ],
)
def test_a17_versions_not_spoken(version: bytes, status: int) -> None:
    assert refusal(request(start=b"GET / " + version)) == status


def test_a17_the_preface_of_http_2_is_refused() -> None:
    assert refusal(b"PRI * HTTP/2.0\r\n\r\n") == 505


def test_a18_http_1_2_is_1_1() -> None:
    head = judged(request(start=b"GET / HTTP/1.2"))
    assert not head.is_1_0
    assert head.keep_alive
    assert forwarded(head).start == b"GET / HTTP/1.1"
    assert refusal(request(start=b"GET / HTTP/1.2", host=None)) == 400


def test_a19_http_1_0_without_host_gets_ours() -> None:
    head = judged(request(start=OLD, host=None))
    assert (head.is_1_0, head.keep_alive, head.host) == (True, False, DEFAULT_HOST)
    assert forwarded(head).values(b"host") == [DEFAULT_HOST]


def test_a19_http_1_0_with_host_keeps_it() -> None:
    assert forwarded(judged(request(start=OLD))).values(b"host") == [b"a"]


# -- A: Host and the target --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [b"/", b"*", b"http://a/"])
def test_a21_no_host(target: bytes) -> None:
    assert refusal(request(start=b"OPTIONS %b HTTP/1.1" % target, host=None)) == 400


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"GET http://a/ HTTP/1.1", OLD])
@pytest.mark.parametrize("second", [b"Host: a", b"host: b", b"HOST:", b"Host: a:80"])
def test_a22_two_hosts(start: bytes, second: bytes) -> None:
    assert refusal(request(second, start=start)) == 400


@pytest.mark.parametrize(
    "host",
    [
        b"a b", b"a/b", b"a/", b"u@a", b"u:p@a", b"@a", b"a,b", b"a, a", b"a:99999", b"a:65536", b"a:123456",
        b"a:x", b"a:-1", b"a:+1", b"a:80:80", b":80", b"::1", b"[::1", b"::1]", b"[::1]x", b"[]", b"[::g]",
        b"[1]", b"[:::]", b"[::1%25eth0]", b"[v1.a]", b"a?b", b"a#b", b"a\\b", b'"a"', b"<a>",
        b"a^b", b"{a}", b"a|b", b"a`b", b"http://a", b"a\x00", b"a\xe4", b"\xc2\xa0a", b"%", b"a%", b"a%2",
        b"a%zz", b"a\tb", b"a;b c",
    ],
)  # fmt: skip
def test_a23_invalid_hosts(host: bytes) -> None:
    assert refusal(request(host=host)) == 400
    assert refusal(request(host=host, start=OLD)) == 400
    assert refusal(request(host=host, start=b"GET http://a/ HTTP/1.1")) == 400
    if not set(host) & set(b"/?"):  # where an authority ends
        assert refusal(request(start=b"GET http://%b/ HTTP/1.1" % host)) == 400


@pytest.mark.parametrize(
    "host",
    [
        b"a", b"A.Test", b"a.", b"a:80", b"a:", b"a:65535", b"a:00080", b"1.2.3.4", b"[::1]", b"[::1]:80",
        b"[::1]:",
        b"[::ffff:1.2.3.4]", b"a_b", b"a%20b", b"a;b", b"x--y", b"~!$&'()*+=", b"-",
    ],
)  # fmt: skip
def test_a23_valid_hosts(host: bytes) -> None:
    assert judged(request(host=host)).host == host
    assert judged(request(host=b" \t%b\t " % host)).host == host
    assert judged(request(start=b"GET http://%b HTTP/1.1" % host)).host == host


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", OLD, b"GET http://a/ HTTP/1.1", b"OPTIONS * HTTP/1.1"])
@pytest.mark.parametrize("host", [b"", b" ", b"\t"])
def test_a24_empty_host(start: bytes, host: bytes) -> None:
    assert refusal(request(start=start, host=host)) == 400


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (b"http://a/x?y", b"a", b"/x?y"),
        (b"http://a", b"a", b"/"),
        (b"http://a?x=/y", b"a", b"/?x=/y"),
        (b"http://a/?", b"a", b"/?"),
        (b"HTTP://a/", b"a", b"/"),
        (b"hTtP://a:80//x", b"a:80", b"//x"),
        (b"http://b/", b"b", b"/"),
        (b"http://[::1]:80/", b"[::1]:80", b"/"),
        (b"http://b/http://c/", b"b", b"/http://c/"),
        (b"http://b/@c", b"b", b"/@c"),
    ],
)
def test_a25_a26_the_authority_of_an_absolute_target_wins(
    target: bytes, host: bytes, expected: bytes
) -> None:
    head = judged(request(b"X: y", start=b"GET %b HTTP/1.1" % target))
    assert (head.host, head.target) == (host, expected)
    assert forwarded(head).start == b"GET %b HTTP/1.1" % expected
    assert forwarded(head).values(b"host") == [host]
    if head.host != b"a":
        assert forwarded(head).fields[0] == (b"host", host)


@pytest.mark.parametrize(
    "target",
    [
        b"http://", b"http:///x", b"http:/x", b"http:x", b"http://:80/", b"http://u@a/", b"http://u:p@a/",
        b"http://a@b@c/", b"http://a\\@b/", b"http://a\\b", b"http://a#b", b"http://a/#b", b"https://a/",
        b"ftp://a/", b"//", b"a", b"a:80", b"a/b", b"?x", b"*", b"**", b"*/", b"/*#", b"javascript:x",
        b"\\\\a",
    ],
)  # fmt: skip
def test_a26_targets_that_are_neither_paths_nor_http_urls(target: bytes) -> None:
    assert refusal(request(start=b"GET %b HTTP/1.1" % target)) == (0 if target == b"//" else 400)


def test_a27_the_server_itself() -> None:
    assert judged(request(start=b"OPTIONS * HTTP/1.1")).target == b"*"
    assert judged(request(start=b"OPTIONS http://b HTTP/1.1")).target == b"*"
    assert judged(request(start=b"OPTIONS http://b?x HTTP/1.1")).target == b"/?x"
    assert judged(request(start=b"OPTIONS http://b/ HTTP/1.1")).target == b"/"
    assert judged(request(start=b"OPTIONS http://b HTTP/1.1")).host == b"b"
    for method in (b"GET", b"HEAD", b"POST", b"options", b"PRI"):
        assert refusal(request(start=b"%b * HTTP/1.1" % method)) == 400


@pytest.mark.parametrize("target", [b"a:443", b"/", b"http://a/", b"*"])
@pytest.mark.parametrize("line", [b"X: y", b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a28_connect(target: bytes, line: bytes) -> None:
    assert refusal(request(line, start=b"CONNECT %b HTTP/1.1" % target)) == 501


@pytest.mark.parametrize(
    "target", [b"/#", b"/a#b", b"#", b"/\x7f", b"/\xe4", b"/\x80", b"/\x01", b"/ a", b"/\x0b"]
)
def test_a29_illegal_bytes_in_the_target(target: bytes) -> None:
    assert refusal(request(start=b"GET %b HTTP/1.1" % target)) == 400


@pytest.mark.parametrize("version", [b" HTTP/1.1", b" HTTP/2.0", b"", b" x"])
def test_a30_long_targets(version: bytes) -> None:
    longest = b"/" + b"a" * (TARGET_LIMIT - 1)
    assert refusal(request(start=b"GET %ba%b" % (longest, version))) == 414
    assert refusal(request(start=b"GET %b HTTP/1.1" % longest)) == 0
    assert refusal(request(start=b"GET http://a%b HTTP/1.1" % longest)) == 414


@pytest.mark.parametrize(
    ("method", "status"),
    [
        (b"BREW", 0),
        (b"get", 0),
        (b"!#$%&'*+-.^_`|~0", 0),
        (b"M" * 32, 0),
        (b"M" * 33, 501),
        (b"M" * 150, 501),
    ],
)
def test_a31_unknown_methods(method: bytes, status: int) -> None:
    start = b"%b / HTTP/1.1" % method
    assert refusal(request(start=start)) == status
    if not status:
        assert forwarded(judged(request(start=start))).start == start


# -- A: framing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"identity", b"gzip", b"", b"x"])
@pytest.mark.parametrize("length", [b"5", b"0", b"x", b""])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a32_both_framings(coding: bytes, length: bytes, version: bytes) -> None:
    lines = [b"Transfer-Encoding: " + coding, b"Content-Length: " + length]
    for both in (lines, lines[::-1]):
        assert refusal(request(*both, start=b"POST / HTTP/%b" % version)) == 400


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5, 5"],
        [b"Content-Length: 5,5,5"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 5, 5"],
    ],
)
def test_a33_one_length_said_twice_is_one_length(lines: list[bytes]) -> None:
    head = judged(request(*lines, start=POST))
    assert head.length == 5
    assert forwarded(head).values(b"content-length") == [b"5"]


def test_a37_another_fault_is_not_excused_by_an_unknown_coding() -> None:
    assert refusal(request(b"X : y", b"Transfer-Encoding: gzip, chunked", start=POST)) == 400


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b" chunked\t", b"\tChunkeD"])
def test_a37_chunked_is_chunked(coding: bytes) -> None:
    head = judged(request(b"TRANSFER-encoding:" + coding, start=POST))
    assert head.length == CHUNKED
    assert forwarded(head).values(b"transfer-encoding") == [b"chunked"]


# -- B: what travels on ------------------------------------------------------------------------------------


def test_b59_b62_what_we_add_cannot_be_named_away() -> None:
    head = judged(
        request(b"Connection: X-Forwarded-For, Via, X-Real-IP", b"X-Forwarded-For: 6.6.6.6", b"Via: 1.0 x")
    )
    there = forwarded(head)
    assert there.values(b"x-forwarded-for") == [b"192.0.2.1"]
    assert there.values(b"via") == [b"1.1 lb"]
    assert head.via == b"1.0 x"  # a loop is seen all the same


def test_b61_te_trailers_is_said_anew() -> None:
    for value in (b"trailers", b"gzip, Trailers"):
        there = forwarded(judged(request(b"Connection: TE", b"TE: " + value)))
        assert (there.values(b"te"), there.values(b"connection")) == ([b"trailers"], [b"TE"])
    for value in (b"gzip", b"trailers;q=0", b"xtrailers"):
        assert b"te" not in forwarded(judged(request(b"Connection: TE", b"TE: " + value))).names


@pytest.mark.parametrize(
    ("value", "here", "left"),
    [
        (b"0", True, b"0"),
        (b"1", False, b"0"),
        (b"3", False, b"2"),
        (b"007", False, b"6"),
        (b"00", True, b"0"),
    ],
)
def test_b64_max_forwards(value: bytes, here: bool, left: bytes) -> None:
    head = judged(request(b"Max-Forwards: " + value, start=OPTIONS))
    assert head.answer_here is here
    assert forwarded(head).values(b"max-forwards") == [left]


def test_b64_max_forwards_is_for_options_and_never_made_up() -> None:
    assert forwarded(judged(request(b"Max-Forwards: 0"))).values(b"max-forwards") == [b"0"]
    assert not judged(request(b"Max-Forwards: 0")).answer_here
    assert b"max-forwards" not in forwarded(judged(request(start=OPTIONS))).names
    named = judged(request(b"Max-Forwards: 0", b"Connection: max-forwards", start=OPTIONS))
    assert named.answer_here


@pytest.mark.parametrize(
    "lines", [[b"x"], [b""], [b"-1"], [b"+1"], [b"1, 2"], [b"1" * 20], [b"1", b"1"], [b"0", b"5"]]
)
def test_b64_max_forwards_that_is_no_number(lines: list[bytes]) -> None:
    assert refusal(request(*(b"Max-Forwards: " + line for line in lines), start=OPTIONS)) == 400


@pytest.mark.parametrize("line", [b"X: y", b"Max-Forwards: 0", b"Content-Length: 5"])
def test_b65_trace(line: bytes) -> None:
    assert refusal(request(line, start=b"TRACE / HTTP/1.1")) == 405


def test_b66_what_a_client_says_of_itself_is_kept_apart() -> None:
    head = judged(
        request(
            b"X-Forwarded-For: 1", b"x-forwarded-for:\t2 ", b"Forwarded: for=1", b"X-Request-Id: i", b"X: y"
        )
    )
    assert head.claims == {b"x-forwarded-for": b"1, 2", b"forwarded": b"for=1", b"x-request-id": b"i"}
    assert forwarded(head).values(b"x-forwarded-for") == [b"192.0.2.1"]
    assert forwarded(head).names == {b"host", b"x", b"x-forwarded-for", b"via"}
    assert judged(request(b"X: y")).claims is None


@pytest.mark.parametrize(
    "name",
    [
        b"X_Forwarded_For", b"x_forwarded-for", b"X-Forwarded_For", b"X.Forwarded.For", b"X_Real_IP",
        b"x.real-ip",
        b"X_Request_Id", b"x_forwarded_host", b"X_FORWARDED_PROTO", b"X_Forwarded_Port",
        b"X-Forwarded.Prefix",
        b"X_Forwarded_Ssl", b"X-Forwarded_Server",
    ],
)  # fmt: skip
def test_b67_names_in_disguise_are_dropped(name: bytes) -> None:
    head = judged(request(name + b": 6.6.6.6", b"X_Other: y"))
    assert head.claims is None
    assert forwarded(head).names == {b"host", b"x_other", b"x-forwarded-for", b"via"}


def test_b69_expect_travels_on_where_there_is_a_body() -> None:
    for framing in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        head = judged(request(b"Expect: 100-Continue", framing, start=POST))
        assert head.expects_continue
        assert forwarded(head).values(b"expect") == [b"100-continue"]
    for framing in (b"Content-Length: 0", b"X: y"):
        head = judged(request(b"Expect: 100-continue", framing, start=POST))
        assert not head.expects_continue
        assert b"expect" not in forwarded(head).names


@pytest.mark.parametrize(
    "lines",
    [
        [b"x"], [b""], [b"100-continue, x"], [b"y 100-continue"], [b"100-continue", b"100-continue"],
        [b"100-continue", b"x"], [b"100 -continue"], [b"100-continue;q=1"], [b'"100-continue"'],
    ],
)  # fmt: skip
def test_b72_unknown_expectations(lines: list[bytes]) -> None:
    expect = [b"Expect: " + line for line in lines]
    assert refusal(request(*expect, b"Content-Length: 5", start=POST)) == 417
    assert refusal(request(*expect)) == 417


def test_b73_http_1_0_has_no_expectations() -> None:
    for value in (b"100-continue", b"x"):
        head = judged(request(b"Expect: " + value, b"Content-Length: 5", start=b"POST / HTTP/1.0"))
        assert not head.expects_continue
        assert b"expect" not in forwarded(head).names


@pytest.mark.parametrize(
    "target",
    [b"//a/../b%2Fc;x?y=%0d%0a&&", b"/./..//", b"/%zz", b"/?", b"/??#"[:3], b'/\\"<>^`{|}', b"/http://b"],
)
def test_b75_targets_travel_byte_for_byte(target: bytes) -> None:
    assert forwarded(judged(request(start=b"GET %b HTTP/1.1" % target))).start == b"GET %b HTTP/1.1" % target


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Connection: keep-alive, upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Connection: upgrade", b"Upgrade: a/1, b", b"Upgrade: c"], b"a/1, b, c"),
        ([b"Connection: upgrade", b"Upgrade: websocket, h2c"], b"websocket"),
        ([b"Connection: upgrade", b'Upgrade: "a", b c, d/, /e, f/g/h, ok'], b"ok"),
        ([b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0"], b"websocket"),
        # not asked for, not for us, or not with a body
        ([b"Upgrade: websocket"], b""),
        ([b"Connection: upgrade"], b""),
        ([b"Connection: upgrade", b"Upgrade:"], b""),
        ([b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM"], b""),
        ([b"Connection: Upgrade", b"Upgrade: H2C"], b""),
        ([b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"], b""),
        ([b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"], b""),
    ],
)  # fmt: skip
def test_b81_b84_upgrades(lines: list[bytes], expected: bytes) -> None:
    head = judged(request(*lines))
    assert head.upgrade == expected
    there = forwarded(head)
    assert there.values(b"upgrade") == ([expected] if expected else [])
    assert there.values(b"connection") == ([b"Upgrade"] if expected else [])
    assert b"http2-settings" not in there.names
    assert judged(request(*[x for x in lines if b"Transfer" not in x], start=OLD)).upgrade == b""


# -- C: smuggling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [POST, b"GET / HTTP/1.1", b"POST / HTTP/1.0"])
def test_c89_c90_c92_gadgets_are_refused(start: bytes) -> None:
    passed = [
        (gadget, other)
        for gadget in TE_GADGETS + CL_GADGETS
        for other in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y")
        if not refusal(request(gadget, other, start=start))
        or not refusal(request(other, gadget, start=start))
    ]
    assert passed == []
    assert len(TE_GADGETS + CL_GADGETS) > 200


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
def test_c91_a_body_where_none_is_expected_is_framed(method: bytes) -> None:
    start = method + b" / HTTP/1.1"
    assert forwarded(judged(request(b"Content-Length: 5", start=start))).values(b"content-length") == [b"5"]
    coded = judged(request(b"Transfer-Encoding: chunked", start=start))
    assert forwarded(coded).values(b"transfer-encoding") == [b"chunked"]


@pytest.mark.parametrize(
    "name", [b"Content_Length", b"Transfer.Encoding", b"X-Content-Length", b"Content-Length2"]
)
def test_c95_other_names_frame_nothing(name: bytes) -> None:
    head = judged(request(name + b": 7", start=POST))
    assert head.length is None
    assert not forwarded(head).names & {b"content-length", b"transfer-encoding"}


SOUND = (
    request(
        b"Content-Length: 7",
        b"Connection: x-a",
        b"X-A: b",
        b"Expect: 100-continue",
        start=b"POST /p HTTP/1.1",
    ),
    request(b"Transfer-Encoding: chunked", b"Connection: upgrade", b"Upgrade: websocket", b"TE: trailers"),
    request(b"X-Forwarded-For: 1", b"Cookie: a", start=b"OPTIONS http://b/ HTTP/1.1"),
)
BYTES = [bytes([b]) for b in b'\x00\t\n\x0b\r "#%,-/0:;=?A\\_\x7f\x80\xa0\xff']


def mutants(head: bytes) -> Iterator[bytes]:
    for at in range(len(head)):
        yield head[:at] + head[at + 1 :]
        yield head[:at] + head[at : at + 1] * 2 + head[at + 1 :]
        for byte in BYTES:
            yield head[:at] + byte + head[at + 1 :]
            yield head[:at] + byte + head[at:]


@pytest.mark.parametrize("sound", SOUND)
def test_c95_c102_whatever_one_byte_does_a_backend_reads_what_we_read(sound: bytes) -> None:
    passed, refused = 0, set()
    for data in mutants(sound):
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            continue
        try:
            head = judge_request(data[:end], DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
        except BadRequest as exc:
            refused.add(exc.status)
            continue
        passed += 1
        assert len(forwarded(head).values(b"content-length")) == (
            head.length is not None and head.length >= 0
        )
        again = judge_request(head.to_backend(b""), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
        assert (again.method, again.target, again.host) == (head.method, head.target, head.host)
        assert (again.length, again.upgrade) == (head.length, head.upgrade)
    assert passed > 100
    assert refused <= {400, 417, 505}


REQUESTS = (
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda line: request(line))
    | st.binary(max_size=20).map(lambda target: request(start=b"GET /%b HTTP/1.1" % target))
)


@given(REQUESTS)
def test_c102_any_bytes_are_a_verdict_or_a_refusal(data: bytes) -> None:
    with suppress(BadRequest):
        forwarded(judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT))


def test_f5_22_trailers_of_a_request_are_announced_too() -> None:
    chunked = judged(request(b"Trailer: X-Sum, Host", b"Transfer-Encoding: chunked", start=POST))
    assert forwarded(chunked).values(b"trailer") == [b"X-Sum"]
    assert (
        b"trailer"
        not in forwarded(judged(request(b"Trailer: X-Sum", b"Content-Length: 5", start=POST))).names
    )
