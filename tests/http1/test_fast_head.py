"""The fast way to a verdict is held to the judge, and both are held to h11.

For any bytes the recogniser declines, or it gives the very verdict that the judge would; and that is the
request or the answer that h11 reads. The bytes come from a grammar of heads, sound and doubtful, with a few
of them changed.
"""

import h11
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lb.errors import BadRequest, BadResponse
from lb.http1.body import CHUNKED
from lb.http1.fast_head import (
    MEMO_NAMES,
    REQUEST_NAMES,
    RESPONSE_NAMES,
    Names,
    plain_request,
    plain_response,
    read_request,
    read_response,
)
from lb.http1.fields import (
    HOP_BY_HOP,
    IDENTITY,
    REQUEST_CONTROL,
    RESPONSE_CONTROL,
    is_disguised,
    is_identity,
)
from lb.http1.request_head import RequestHead, judge_request
from lb.http1.response_head import ResponseHead, judge_response
from tests.http1.messages import (
    DEFAULT_HOST,
    FIELD_LIMIT,
    TARGET_LIMIT,
    Fields,
    assert_same_request,
    assert_same_response,
    fields,
    forwarded,
    relayed,
    request,
    response,
)

# -- typical heads, so that the rest is not vacuous --------------------------------------------------------

CURL = request(b"User-Agent: curl/8.5.0", b"Accept: */*", host=b"localhost:8080")
WRK = request(start=b"GET /hello?x=1 HTTP/1.1", host=b"127.0.0.1:8080")
AB = request(b"Connection: Keep-Alive", b"Host: [::1]:80", b"User-Agent: ApacheBench/2.3", host=None)
CHROME = request(
    b"Connection: keep-alive",
    b"Cache-Control: max-age=0",
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"',
    b"sec-ch-ua-mobile: ?0",
    b"Upgrade-Insecure-Requests: 1",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    b"Sec-Fetch-Site: none",
    b"Referer: http://a.test/",
    b"Accept-Encoding: gzip, deflate",
    b"Accept-Language: de,en;q=0.9",
    b"Cookie: a=b; c=d",
    b'If-None-Match: W/"abc"',
    start=b"GET /a/b.js?v=1 HTTP/1.1",
    host=b"example.test",
)
FORM = request(
    b"Connection: keep-alive",
    b"Content-Length: 27",
    b"Origin: http://example.test",
    b"Content-Type: application/x-www-form-urlencoded",
    start=b"POST /login HTTP/1.1",
    host=b"example.test",
)
HTTPX = request(
    b"host:a.test",
    b"accept:*/*",
    b"connection:keep-alive",
    b"user-agent:python-httpx/0.28",
    b"content-length:0",
    b"authorization:Bearer x.y.z",
    start=b"PUT /v1/x HTTP/1.1",
    host=None,
)
NGINX = response(
    b"Server: nginx/1.22.1",
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT",
    b"Content-Type: text/html",
    b"Content-Length: 615",
    b"Last-Modified: Wed, 31 Dec 2025 00:00:00 GMT",
    b"Connection: keep-alive",
    b'ETag: "6953-267"',
    b"Accept-Ranges: bytes",
)
UVICORN = response(
    b"date: Thu, 01 Jan 2026 00:00:00 GMT",
    b"server: uvicorn",
    b"content-length: 17",
    b"content-type: application/json",
)
STREAM = response(
    b"date: Thu, 01 Jan 2026 00:00:00 GMT",
    b"server: uvicorn",
    b"content-type: text/event-stream; charset=utf-8",
    b"Transfer-Encoding: chunked",
)
GO = response(b"Date: x", b"Content-Length: 0", start=b"HTTP/1.1 404 Not Found")
REDIRECT = response(
    b"location: /x", b"set-cookie: a=1", b"set-cookie: b=2", b"content-length: 0", start=b"HTTP/1.1 302 "
)


@pytest.mark.parametrize(
    ("data", "host", "length"),
    [
        (CURL, b"localhost:8080", None),
        (WRK, b"127.0.0.1:8080", None),
        (AB, b"[::1]:80", None),
        (CHROME, b"example.test", None),
        (FORM, b"example.test", 27),
        (HTTPX, b"a.test", 0),
    ],
)
def test_requests_of_everyday_are_plain(data: bytes, host: bytes, length: int | None) -> None:
    head = plain_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    assert head is not None
    assert (head.host, head.length, head.keep_alive) == (host, length, True)
    assert_same_request(head, judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT))
    assert b"connection" not in forwarded(head).names


@pytest.mark.parametrize(
    ("data", "length", "has_date"),
    [(NGINX, 615, True), (UVICORN, 17, True), (STREAM, CHUNKED, True), (GO, 0, True), (REDIRECT, 0, False)],
)
def test_answers_of_everyday_are_plain(data: bytes, length: int, has_date: bool) -> None:
    head = plain_response(data, b"GET", FIELD_LIMIT)
    assert head is not None
    assert (head.length, head.has_date, head.keep_alive) == (length, has_date, True)
    assert_same_response(head, judge_response(data, b"GET", FIELD_LIMIT))
    assert b"connection" not in relayed(head).names


@pytest.mark.parametrize("option", [b"close", b"Close", b"close \t", b"close\r\nConnection: keep-alive"])
def test_a_wish_to_close_is_plain(option: bytes) -> None:
    line = b"Connection: " + option
    asked = plain_request(request(line), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    answered = plain_response(response(b"Content-Length: 5", line), b"GET", FIELD_LIMIT)
    assert asked is not None
    assert answered is not None
    assert (asked.keep_alive, answered.keep_alive) == (False, False)


def test_the_lines_of_a_plain_head_travel_as_they_came() -> None:
    lines = b"Host:\ta \r\nX-a:b\r\nX-Connection: keep-alive\r\nx-A:  c\t d \r\nE:\r\n"
    for cuts in (b"", b"CONNECTION:keep-alive\r\n", b"content-Length: 5\r\nConnection: Keep-Alive\r\n"):
        head = plain_request(
            b"POST / HTTP/1.1\r\n" + cuts + lines + b"\r\n", DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT
        )
        assert head is not None
        assert head.lines == lines


NOT_IN_ANSWERS = (
    b"Upgrade: x", b"TE: trailers", b"Trailer: x", b"Keep-Alive: 1", b"Proxy-Connection: x",
    b"Proxy-Authorization: x", b"HTTP2-Settings: x", b"Connection: close, x", b"Connection: keep-alive, x",
    b"Connection:", b"Content-Length: 5",
)  # fmt: skip
WRONG = (
    b"Content-Length: +5", b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length:",
    b"Content-Length: " + b"1" * 19,
)  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        *WRONG, b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding:", b"Expect: x",
        b"Expect: 100-continue\r\nExpect: 100-continue", b"Max-Forwards: 1", b"Close: 1",
        b"Host: a", b"host:b",
    ],
)  # fmt: skip
def test_what_is_wrong_or_rare_in_a_request_is_for_the_judge(line: bytes) -> None:
    assert plain_request(request(line), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None


@pytest.mark.parametrize("line", [*WRONG, *NOT_IN_ANSWERS, b"Close: 1"])
def test_what_could_frame_or_end_an_answer_is_for_the_judge(line: bytes) -> None:
    assert plain_response(response(b"Content-Length: 5", line), b"GET", FIELD_LIMIT) is None


SAID_BY_PROXIES = IDENTITY | {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-user", b"x-forwarded-"}


@pytest.mark.parametrize("name", sorted(REQUEST_CONTROL | SAID_BY_PROXIES))
def test_no_name_that_decides_about_a_request_escapes_the_fast_way(name: bytes) -> None:
    disguises = {name, *(name.replace(b"-", mark) for mark in (b"_", b".", b"~", b"'", b"|"))}
    for each in {spelling for other in disguises for spelling in (other, other.title(), other.upper())}:
        assert REQUEST_NAMES[each] == each.lower()
        for value in VALUES:
            data = request(
                each + b": " + value, start=b"POST / HTTP/1.1", host=None if name == b"host" else b"a"
            )
            plain = plain_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
            if plain is not None:
                assert_same_request(plain, judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT))


@pytest.mark.parametrize("name", sorted(RESPONSE_CONTROL))
def test_no_name_that_decides_about_a_response_escapes_the_fast_way(name: bytes) -> None:
    for each in (name, name.title(), name.upper()):
        assert RESPONSE_NAMES[each] == each.lower()
        for value in VALUES:
            data = response(each + b": " + value, b"Content-Length: 0")
            plain = plain_response(data, b"GET", FIELD_LIMIT)
            if plain is not None:
                assert_same_response(plain, judge_response(data, b"GET", FIELD_LIMIT))
                assert name in (b"date", b"connection")


@pytest.mark.parametrize("name", [b"Content_Length", b"keep.alive", b"TRANSFER~ENCODING"])
def test_a_name_of_a_response_in_disguise_is_told(name: bytes) -> None:
    assert RESPONSE_NAMES[name] == name.lower()
    assert plain_response(response(b"Content-Length: 0", name + b": 5"), b"GET", FIELD_LIMIT) is None


@pytest.mark.parametrize("name", [b"", b"a b", b"a\r", b" a", b"a\x00", b"\xe4"])
def test_what_is_no_name_is_known_as_none(name: bytes) -> None:
    for _ in range(2):
        assert REQUEST_NAMES[name] is RESPONSE_NAMES[name] is None


def test_names_that_somebody_invents_take_no_room() -> None:
    names = Names(lambda name: name == b"host")
    for number in range(3 * MEMO_NAMES):
        assert names[b"x-%d" % number] == b""
        assert names[b"Host"] == b"host"
        assert len(names) <= MEMO_NAMES
    assert names[b"x" * 1000] == b""
    assert b"x" * 1000 not in names


NEAR = st.sampled_from(sorted(REQUEST_CONTROL | SAID_BY_PROXIES))


@given(
    NEAR,
    st.integers(0, 20),
    st.sampled_from((b"", b"-", b"_", b".", b"~", b"a", b"E", b"2")),
    st.integers(0, 2),
)
def test_the_names_of_the_sets_are_told_and_no_other(name: bytes, at: int, piece: bytes, cut: int) -> None:
    name = name[:at] + piece + name[at + cut :]
    if name:
        lower = name.lower()
        is_told = lower in REQUEST_CONTROL or is_identity(lower) or is_disguised(lower) or lower == b"close"
        assert REQUEST_NAMES[name] == (lower if is_told else b"")


@pytest.mark.parametrize(
    "start",
    [
        b"GET https://a/ HTTP/1.1", b"GET * HTTP/1.1", b"GET http://u@a/ HTTP/1.0", b"GET / HTTP/1.2",
        b"BREW / HTTP/1.1",
        b"get / HTTP/1.1", b"GET /# HTTP/1.1", b"GET /" + b"a" * TARGET_LIMIT + b" HTTP/1.1",
        b"TRACE / HTTP/1.1",
    ],
)  # fmt: skip
def test_unusual_request_lines_are_for_the_judge(start: bytes) -> None:
    assert plain_request(request(start=start), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\r \nY: b", b"X: a\rb\nY: c", b"X: a\nY: b", b"X: a\r", b"\rX: a", b"X: a\r\rY: b\n\nZ: c",
        b"X: \x00", b"X: \x7f", b"X : a", b" X: a", b": a", b"X", b"", b"X: a\r\n folded", b"X\r\n: a",
    ],
)  # fmt: skip
def test_broken_lines_are_for_the_judge(line: bytes) -> None:
    assert plain_request(request(line, b"Z: z"), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None
    assert plain_response(response(b"Content-Length: 0", line, b"Z: z"), b"GET", FIELD_LIMIT) is None


@pytest.mark.parametrize("host", [b"", b"a b", b"a,b", b"a:99999", b"[::1", b"u@a", b"a%", None])
def test_unusual_hosts_are_for_the_judge(host: bytes | None) -> None:
    assert plain_request(request(host=host), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 x", b"HTTP/1.1 204 x",
        b"HTTP/1.1 600 x", b"HTTP/1.2 200 OK",
    ],
)  # fmt: skip
def test_unusual_status_lines_are_for_the_judge(start: bytes) -> None:
    assert plain_response(response(b"Content-Length: 0", start=start), b"GET", FIELD_LIMIT) is None


@pytest.mark.parametrize(
    ("start", "method", "lines", "announced"),
    [
        (b"HTTP/1.1 200 OK", b"HEAD", (b"Content-Length: 100",), 100),
        (b"HTTP/1.1 200 OK", b"HEAD", (b"Transfer-Encoding: chunked",), None),
        (b"HTTP/1.1 200 OK", b"HEAD", (), None),
        (b"HTTP/1.1 304 Not Modified", b"GET", (), None),
        (b"HTTP/1.1 304 Not Modified", b"GET", (b"Content-Length: 100",), 100),
        (b"HTTP/1.1 204 No Content", b"DELETE", (), None),
    ],
)
def test_answers_without_a_body_are_plain_too(
    start: bytes, method: bytes, lines: tuple[bytes, ...], announced: int | None
) -> None:
    data = response(*lines, start=start)
    head = plain_response(data, method, FIELD_LIMIT)
    assert head is not None
    assert (head.length, head.announced) == (0, announced)
    assert_same_response(head, judge_response(data, method, FIELD_LIMIT))


def test_answers_without_a_length_are_for_the_judge() -> None:
    assert plain_response(response(), b"GET", FIELD_LIMIT) is None
    many = [b"X: y"] * FIELD_LIMIT
    assert plain_response(response(b"Content-Length: 0", *many), b"GET", FIELD_LIMIT) is None
    assert plain_request(request(*many), DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None


# -- any bytes ---------------------------------------------------------------------------------------------

# fmt: off
METHODS = (b"HEAD", b"OPTIONS", b"get", b"BREW", b"CONNECT", b"TRACE")
TARGETS = (b"//x", b"*", b"http://b/", b"/#", b"/\x80", b"", b"/ x", b"/%zz", b"/" + b"a" * 201)
VERSIONS = (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1")
STATUSES = (b"404", b"500 ", b"204 x", b"304 x", b"100 x", b"101 x", b"206  \xe4\t", b"999 x", b"20 OK")
TELLING = (
    b"Host", b"host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Max-Forwards",
    b"Via", b"Forwarded", b"TE", b"Trailer", b"Upgrade", b"Keep-Alive", b"Proxy-Connection",
    b"HTTP2-Settings",
    b"X-Forwarded-For", b"X_Forwarded_For", b"X.Real-Ip", b"X-Request-Id", b"Content_Length", b"Date",
    b"Proxy-Authenticate", b"X~Forwarded~For", b"Transfer_Encoding", b"X-Forwarded-User", b"Proxy",
    b"CF-Connecting-IP", b"Keep.Alive",
)
NAMES = (b"X", b"Accept", b"Cookie", b"x-a", b"Xhost", b"Hosts", b"X-", b"!")
VALUES = (
    b"a", b"", b"a b", b"5", b"05", b"5, 5", b"keep-alive", b"close", b"Keep-Alive", b"x-a", b"upgrade",
    b"host",
    b"chunked", b"Chunked", b"100-continue", b"trailers", b"websocket", b"0", b"a:80", b"[::1]", b"\xe4",
    b"a\tb",
    b"1" * 18, b"9" * 19, b"a,b", b"%41", b"content-length",
)
JOINTS = (b" :", b"", b":\x0b", b": \x00")
ENDS = (b"\n", b"\r", b"\r\n ", b"\r\n\r\n", b"\x7f\r\n")
HOSTS = (b"HOST: a b\r\n", b"Host:\r\n", b"Host: a,b\r\n", b"")
PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b"a", b"Z", b"0",
    b",",
    b"#", b"%",
)
FRAMINGS = (b"Content-Length: 5\r\n", b"content-length:0\r\n", b"transfer-encoding:chunked\r\n")
# fmt: on


def mostly(usual: tuple[bytes, ...], *unusual: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """One of the usual, and one time in eight one of the others."""
    others = [one for several in unusual for one in several]
    return st.integers(0, 7).flatmap(lambda n: st.sampled_from(others if n == 7 else list(usual)))


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A field line, often a control field."""
    name = draw(st.sampled_from(NAMES) | st.sampled_from(NAMES) | st.sampled_from(TELLING))
    value = draw(st.sampled_from(VALUES))
    joint, end = (
        draw(mostly((b": ", b":", b":\t "), JOINTS)),
        draw(mostly((b"\r\n", b"\r\n", b" \t\r\n"), ENDS)),
    )
    return name + joint + value + end


USUAL = st.sampled_from(
    (b"Connection: keep-alive\r\n", b"User-Agent: x/1.0 (y)\r\n", b"x-a:b\r\n", b"Cookie: a=b; c\r\n")
)
FIELDS = st.lists(USUAL | USUAL | lines(), max_size=3).map(b"".join)


def touched(draw: st.DrawFn, data: bytes) -> bytes:
    """As it was, or with one or two places changed."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2)))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=2))
        data = data[:at] + piece + data[at + draw(st.integers(0, 2)) :]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(mostly((b"GET", b"POST", b"PUT", b"DELETE"), METHODS))
    target, version = draw(mostly((b"/", b"/a?b=c"), TARGETS)), draw(mostly((b"HTTP/1.1",), VERSIONS))
    host = draw(mostly((b"Host: a\r\n", b"host:a:80 \r\n", b"Host: [::1]\r\n"), HOSTS))
    framing = draw(st.sampled_from((b"", b"", *FRAMINGS)))
    head = b"%b %b %b\r\n%b%b%b%b\r\n" % (method, target, version, draw(FIELDS), host, framing, draw(FIELDS))
    return touched(draw, head)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status, version = (
        draw(mostly((b"200 OK", b"404 Not Found"), STATUSES)),
        draw(mostly((b"HTTP/1.1",), VERSIONS)),
    )
    framing = draw(mostly(FRAMINGS, (b"",)))
    return touched(draw, b"%b %b\r\n%b%b%b\r\n" % (version, status, draw(FIELDS), framing, draw(FIELDS)))


def judged_request(data: bytes) -> RequestHead | None:
    try:
        return judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    except BadRequest:
        return None


def judged_response(data: bytes, method: bytes) -> ResponseHead | None:
    try:
        return judge_response(data, method, FIELD_LIMIT)
    except BadResponse:
        return None


@settings(max_examples=400)
@given(requests())
def test_a_plain_request_is_what_the_judge_makes_of_it(data: bytes) -> None:
    expected, plain = judged_request(data), plain_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    event("plain" if plain else "judged" if expected else "refused")
    if plain is not None:
        assert expected is not None
        assert_same_request(plain, expected)
        assert plain.to_backend(b"").count(b"\r\n\r\n") == 1
        forwarded(plain)
    if expected is not None and data.endswith(b"\r\n\r\n") and data.count(b"\r\n\r\n") == 1:
        assert_same_request(read_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT), expected)


@settings(max_examples=400)
@given(responses(), st.sampled_from((b"GET", b"GET", b"POST", b"HEAD")))
def test_a_plain_answer_is_what_the_judge_makes_of_it(data: bytes, method: bytes) -> None:
    expected, plain = judged_response(data, method), plain_response(data, method, FIELD_LIMIT)
    event("plain" if plain else "judged" if expected else "refused")
    if plain is not None:
        assert expected is not None
        assert_same_response(plain, expected)
        relayed(plain)
    if expected is not None:
        assert_same_response(read_response(data, method, FIELD_LIMIT), expected)


def without(names: frozenset[bytes], there: Fields) -> Fields:
    left = [(name, value) for name, value in there if name not in names]
    return [(name, value) for name, value in left if not is_identity(name) and not is_disguised(name)]


@settings(max_examples=400)
@given(requests())
def test_what_is_let_pass_is_what_h11_reads(data: bytes) -> None:
    head = judged_request(data)
    if head is None:
        return
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    assert head.method == theirs.method
    assert head.target == theirs.target or theirs.target.lower().startswith(b"http://b")
    assert head.is_1_0 == (theirs.http_version == b"1.0")
    said = list(theirs.headers)
    options = {option.strip().lower() for n, v in said if n == b"connection" for option in v.split(b",")}
    cut = (
        HOP_BY_HOP
        | {b"content-length", b"transfer-encoding", b"expect", b"max-forwards", b"host", b"proxy"}
        | options
    )
    assert without(cut, fields(head.lines)) == without(cut, said)
    if head.target == theirs.target and not head.is_1_0:
        assert [(b"host", head.host)] == [field for field in said if field[0] == b"host"]
    framing = [field for field in said if field[0] in (b"content-length", b"transfer-encoding")]
    match framing:
        case []:
            assert head.length is None
        case [(b"content-length", length)]:
            assert head.length == int(length)
        case [(b"transfer-encoding", coding)]:
            assert (head.length, coding) == (CHUNKED, b"chunked")
        case _:
            pytest.fail("two framings were let pass")


@settings(max_examples=400)
@given(responses())
def test_an_answer_that_is_let_pass_is_what_h11_reads(data: bytes) -> None:
    head = judged_response(data, b"GET")
    if head is None:
        return
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    asked = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]
    connection.send(h11.Request(method="GET", target="/", headers=asked))
    connection.receive_data(data)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Response | h11.InformationalResponse)
    assert (head.status, head.reason) == (theirs.status_code, theirs.reason)
    said = list(theirs.headers)
    options = {option.strip().lower() for n, v in said if n == b"connection" for option in v.split(b",")}
    cut = HOP_BY_HOP | {b"content-length", b"transfer-encoding"} | (options - {b"host", b"date"})
    assert [f for f in fields(head.lines) if f[0] not in cut] == [f for f in said if f[0] not in cut]
    assert not {name for name, _ in fields(head.lines)} & cut


@given(st.binary(max_size=120))
def test_noise_is_never_plain(data: bytes) -> None:
    assert plain_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT) is None
