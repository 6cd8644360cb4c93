"""Heads that come in pieces: the same verdict however they are cut, and limits that are exact to the byte."""

from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import BadRequest, BadResponse
from lb.http1.head_reader import (
    INTERIM_COUNTS_AS,
    INTERIM_LIMITS,
    HeadBuffer,
    RequestHeadReader,
    ResponseHeadReader,
    recognise_whole_request,
    recognise_whole_response,
)
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from tests.http1.messages import (
    DEFAULT_HOST,
    FIELD_LIMIT,
    TARGET_LIMIT,
    assert_same_request,
    assert_same_response,
    request,
    response,
)

HEAD_LIMIT = 400
OK = response(b"Content-Length: 2")
EARLY = response(b"Link: </a>", start=b"HTTP/1.1 103 Early Hints")


def of_requests() -> RequestHeadReader:
    return RequestHeadReader(
        DEFAULT_HOST, head_limit=HEAD_LIMIT, target_limit=TARGET_LIMIT, field_limit=FIELD_LIMIT
    )


def of_responses(method: bytes = b"GET") -> ResponseHeadReader:
    return ResponseHeadReader(method, head_limit=HEAD_LIMIT, field_limit=FIELD_LIMIT)


def feed_all(reader: RequestHeadReader | ResponseHeadReader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        assert reader.feed(piece) is None


def refused_request(pieces: Iterable[bytes]) -> tuple[int, str]:
    with pytest.raises(BadRequest) as caught:
        feed_all(of_requests(), pieces)
    return caught.value.status, str(caught.value)


def refused_response(pieces: Iterable[bytes]) -> str:
    with pytest.raises(BadResponse) as caught:
        feed_all(of_responses(), pieces)
    return str(caught.value)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_no_byte_is_searched_again_once_it_cannot_be_part_of_the_end() -> None:
    buffer = HeadBuffer()
    for count, byte in enumerate(bytewise(b"A: b\r\nC: d\r\n\r"), start=1):
        buffer.data += byte
        assert buffer.find_end() == 0
        assert buffer.searched == max(0, count - 3)
    buffer.data += b"\nrest"
    assert buffer.find_end() == 14
    assert buffer.split(14) == (b"A: b\r\nC: d\r\n\r\n", b"rest")
    assert (buffer.data, buffer.searched) == (b"", 0)


# -- requests ----------------------------------------------------------------------------------------------


def test_a_whole_head_comes_with_what_is_behind_it() -> None:
    found = of_requests().feed(request(b"Content-Length: 3", start=b"POST /a HTTP/1.1") + b"abcGET")
    assert found is not None
    head, rest = found
    assert (head.method, head.target, head.length, rest) == (b"POST", b"/a", 3, b"abcGET")


def test_one_reader_reads_one_head_after_the_other() -> None:
    reader, rest = of_requests(), request(start=b"GET /1 HTTP/1.1") + request(start=b"GET /2 HTTP/1.1")
    for target in (b"/1", b"/2"):
        found = reader.feed(rest)
        assert found is not None
        head, rest = found
        assert head.target == target
        assert not reader.has_begun
    assert rest == b""
    assert reader.feed(rest) is None


@pytest.mark.parametrize("cut", range(6))
def test_empty_lines_before_a_head_are_no_part_of_it(cut: int) -> None:
    reader, data = of_requests(), b"\r\n\r\n\r\n" + request()
    assert reader.feed(data[:cut]) is None
    assert not reader.has_begun
    found = reader.feed(data[cut:])
    assert found is not None
    assert found[0].host == b"a"


def test_a_head_has_begun_with_its_first_byte() -> None:
    reader = of_requests()
    reader.add(b"\r\n\r")
    assert not reader.has_begun
    reader.add(b"\nG")
    assert reader.has_begun
    assert reader.next_head() is None
    reader.add(b"ET / HTTP/1.1\r\nHost: a\r\n\r\nG")
    found = reader.next_head()
    assert found is not None
    assert found[1] == b"G"
    assert not reader.has_begun


def test_a_head_may_be_as_long_as_the_limit() -> None:
    data = request(b"A: " + b"a" * (HEAD_LIMIT - len(request(b"A: "))))
    assert len(data) == HEAD_LIMIT
    for pieces in ([data], bytewise(data), [data[:-1], data[-1:] + b"behind"]):
        reader = of_requests()
        assert [reader.feed(piece) for piece in pieces][-1] is not None


def test_a_head_one_byte_longer_is_refused_before_its_end() -> None:
    data = request(b"A: " + b"a" * (HEAD_LIMIT - len(request(b"A: ")) + 1))
    why = 431, f"the head is longer than {HEAD_LIMIT} bytes"
    assert refused_request([data]) == why
    assert refused_request(bytewise(data[: HEAD_LIMIT + 1])) == why
    assert refused_request([data[:-4] + b"a" * 1000]) == why
    assert all(of_requests().feed(data[:end]) is None for end in range(HEAD_LIMIT))


def test_a_target_that_fills_the_head_is_too_long_itself() -> None:
    data = b"GET /" + b"a" * HEAD_LIMIT
    why = 414, f"the target is longer than {TARGET_LIMIT} bytes"
    assert refused_request([data]) == refused_request(bytewise(data)) == why
    assert refused_request([data + b" HTTP/1.1\r\n\r\n"]) == why


BARE_LF, BARE_CR = "a line feed without a carriage return", "a carriage return without a line feed"


@pytest.mark.parametrize(
    ("data", "flaw", "offset"),
    [
        (b"GET /\x00", "an illegal byte (0x00)", 5),
        (b"\x01", "an illegal byte (0x01)", 0),
        (b"\xe4\xf6\xfc", "an illegal byte (0xe4)", 0),
        (b"GET /\xff", "an illegal byte (0xff)", 5),
        (b"GET\t/", "an illegal byte (0x09)", 3),
        (b"GET / HTTP/1.1\r\nA: \x7f", "an illegal byte (0x7f)", 19),
        (b"GET / HTTP/1.1\n", BARE_LF, 14),
        (b"GET / HTTP/1.1\r\nA: b\n", BARE_LF, 20),
        (b"GET / HTTP/1.1\r\nA: b\r\n c", "a folded line", 21),
        (b"\rG", BARE_CR, 0),
        (b"G\rE", BARE_CR, 1),
        (b"G\r\r\n", BARE_CR, 1),
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes, flaw: str, offset: int) -> None:
    why = 400, f"the head has {flaw} at offset {offset}"
    assert refused_request([data]) == refused_request(bytewise(data)) == why


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (b"A" * 33, 501, "the method is longer than 32 bytes"),
        (b"A" * 100_000, 501, "the method is longer than 32 bytes"),
        (b"A" * 100_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "the method is longer than 32 bytes"),
        (b"A" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "the method is longer than 32 bytes"),
        (b"(" * 33, 400, "the method is not a token"),
        (b"GET /" + b"a" * TARGET_LIMIT, 414, f"the target is longer than {TARGET_LIMIT} bytes"),
        (b"CONNECT a:80 HTTP/1.1\r\n", 501, "the method CONNECT is not supported"),
        (b"GET / HTTP/3.0\r\n", 505, "HTTP/3.0 is not spoken here"),
        (b"GET / \r\n", 400, "the request line is not `method target HTTP/1.1`"),
        (b"hello\r\n", 400, "the request line is not `method target HTTP/1.1`"),
        (b"GET / HTTP/1.1\r\n\r", 0, ""),
    ],
)
def test_a_first_line_is_judged_as_soon_as_it_can_be(data: bytes, status: int, why: str) -> None:
    if not status:
        feed_all(of_requests(), bytewise(data))
        return
    assert refused_request([data]) == refused_request(bytewise(data)) == (status, why)


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (b"", (b"", b"")),
        (b"\x16\x03\x01", (b"", b"\x16\x03\x01")),
        (b"HEAD /x y HTTP/1.1\r\nA: b", (b"HEAD", b"/x y HTTP/1.1")),
        (b"HEAD /x HTTP/1.1\r\nA: b", (b"HEAD", b"/x")),
        (b"HEAD ", (b"HEAD", b"")),
        (b"hello\r\nAuthorization: secret", (b"", b"hello")),
        (b"A" * 200, (b"", b"A" * 100)),
        (b"GET /" + b"a" * 200, (b"GET", b"/" + b"a" * 95)),
    ],
)
def test_what_was_asked_is_known_as_far_as_it_came(data: bytes, asked: tuple[bytes, bytes]) -> None:
    reader = of_requests()
    with suppress(BadRequest):
        reader.feed(data)
    assert reader.asked == asked


def test_what_was_asked_is_known_of_a_head_that_was_refused_whole() -> None:
    reader = of_requests()
    with pytest.raises(BadRequest):
        reader.feed(request(start=b"HEAD /x HTTP/1.1", host=b"a b") + b"behind")
    assert reader.asked == (b"HEAD", b"/x")


def test_the_fast_way_takes_a_whole_plain_head_and_nothing_else() -> None:
    plain = request(b"Accept: */*")
    found = recognise_whole_request(plain + b"rest", DEFAULT_HOST, HEAD_LIMIT, TARGET_LIMIT, FIELD_LIMIT)
    assert found is not None
    assert found[1] == b"rest"
    for other in (b"", plain[:-1], request(b"Expect: 100"), request(b"A: " + b"a" * HEAD_LIMIT)):
        assert recognise_whole_request(other, DEFAULT_HOST, HEAD_LIMIT, TARGET_LIMIT, FIELD_LIMIT) is None


# -- responses ---------------------------------------------------------------------------------------------


def test_interim_heads_come_one_by_one_and_the_final_one_last() -> None:
    reader, rest, statuses = of_responses(), EARLY + EARLY + OK + b"hi", []
    while (found := reader.feed(rest)) is not None:
        head, rest = found
        statuses.append((head.status, head.is_final))
        if head.is_final:
            break
    assert statuses == [(103, False), (103, False), (200, True)]
    assert rest == b"hi"


def test_behind_a_101_no_other_head_follows() -> None:
    found = of_responses().feed(response(b"Upgrade: a", start=b"HTTP/1.1 101 Switching Protocols"))
    assert found is not None
    assert found[0].is_final


def test_interim_heads_have_a_limit() -> None:
    most = INTERIM_LIMITS * HEAD_LIMIT // INTERIM_COUNTS_AS
    reader, rest = of_responses(), EARLY * (most + 1)
    for _ in range(most):
        found = reader.feed(rest)
        assert found is not None
        rest = found[1]
    with pytest.raises(BadResponse, match="no end of interim answers"):
        reader.feed(rest)


def test_a_response_to_head_has_no_body() -> None:
    found = of_responses(b"HEAD").feed(OK)
    assert found is not None
    assert (found[0].length, found[0].announced) == (0, 2)


def test_a_response_head_may_be_as_long_as_the_limit() -> None:
    data = response(b"Content-Length: 0", b"A: ")
    data = response(b"Content-Length: 0", b"A: " + b"a" * (HEAD_LIMIT - len(data)))
    for pieces in ([data], bytewise(data), [data + b"behind"]):
        reader = of_responses()
        assert [reader.feed(piece) for piece in pieces][-1] is not None
    longer = data[:-4] + b"a\r\n\r\n"
    why = f"the head of the answer is longer than {HEAD_LIMIT} bytes"
    assert refused_response([longer]) == refused_response(bytewise(longer)) == why


@pytest.mark.parametrize("cut", range(4))
def test_f5_21_an_empty_line_before_a_status_line_is_skipped(cut: int) -> None:
    reader, data = of_responses(), b"\r\n" + EARLY
    assert reader.feed(data[:cut]) is None
    assert reader.has_begun is (cut > 2)
    found = reader.feed(data[cut:] + OK + b"hi")
    assert found is not None
    again = reader.feed(found[1])
    assert again is not None
    assert (found[0].status, again[0].status, again[1]) == (103, 200, b"hi")


@pytest.mark.parametrize("blanks", [2, 3, 30])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_f5_21_more_blanks_than_one_behind_the_version(version: bytes, blanks: int) -> None:
    data = response(b"Content-Length: 5", start=version + b" " * blanks + b"200 OK")
    for pieces in ([data], bytewise(data)):
        reader = of_responses()
        found = [reader.feed(piece) for piece in pieces][-1]
        assert found is not None
        assert (found[0].status, found[0].reason, found[0].length) == (200, b"OK", 5)


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1\t200 OK", b"HTTP/1.1 \t200 OK", b"HTTP/1.1  20 OK", b"HTTP/1.1  "]
)
def test_what_else_is_odd_in_a_status_line_is_refused(start: bytes) -> None:
    assert refused_response([response(start=start)]).startswith("the answer is not HTTP")


@pytest.mark.parametrize(
    ("data", "flaw", "offset"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", BARE_LF, 15),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\n", BARE_LF, 34),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\n", BARE_LF, 36),
        (b"HTTP/1.1 200 OK\rA: b\r", BARE_CR, 15),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c", "a folded line", 22),
        (b"HTTP/1.1 200 OK\r\nA: \x00", "an illegal byte (0x00)", 20),
    ],
)
def test_f5_4_a_flaw_in_a_response_head_is_seen_at_once(data: bytes, flaw: str, offset: int) -> None:
    why = f"the head of the answer has {flaw} at offset {offset}"
    assert refused_response([data]) == refused_response(bytewise(data)) == why
    end = data + b"\r\nX: y\r\n\r\n"
    assert refused_response([end]) == why


@pytest.mark.parametrize(
    "data", [b"S", b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"\n", b"\r\n\r\n", b"\rH", b"\x15\x03\x01"]
)
def test_what_is_not_http_1_is_refused_at_once(data: bytes) -> None:
    assert refused_response([data]) == refused_response(bytewise(data)) == "the answer is not HTTP/1"


def test_a_response_head_has_begun_with_its_first_byte() -> None:
    reader = of_responses()
    assert reader.feed(b"") is None
    assert not reader.has_begun
    assert reader.feed(b"H") is None
    assert reader.has_begun


def test_the_fast_way_takes_a_whole_plain_response_and_nothing_else() -> None:
    found = recognise_whole_response(OK + b"hi", b"GET", HEAD_LIMIT, FIELD_LIMIT)
    assert found is not None
    assert found[1] == b"hi"
    for other in (b"", OK[:-1], EARLY, response(b"Content-Length: 2", b"A: " + b"a" * HEAD_LIMIT)):
        assert recognise_whole_response(other, b"GET", HEAD_LIMIT, FIELD_LIMIT) is None


# -- however they are cut ----------------------------------------------------------------------------------

TEXT = st.text("aB:/ \t\r\n\x00\x7f\xff,", max_size=30).map(lambda text: text.encode("latin-1"))
STARTS = TEXT | st.sampled_from(
    (b"GET / HTTP/1.1", b"PRI * HTTP/2.0", b"A" * 40, b"GET /" + b"a" * 250, b"TRACE / HTTP/1.1", b"\x16\x03")
)
LONG = st.integers(0, HEAD_LIMIT).map(lambda count: b"A: " + b"a" * count)
LINES = st.lists(TEXT | LONG | st.sampled_from((b"Content-Length: 1", b"Connection: close", b" folded")))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def read_request(pieces: Iterable[bytes]) -> tuple[RequestHead | tuple[int, str] | None, int]:
    """The head or the error, and how many bytes the reader has seen of it and behind it."""
    reader, fed = of_requests(), 0
    for piece in pieces:
        fed += len(piece)
        try:
            found = reader.feed(piece)
        except BadRequest as exc:
            return (exc.status, str(exc)), 0
        if found is not None:
            return found[0], fed - len(found[1])
    return None, 0


def read_response(pieces: Iterable[bytes]) -> tuple[ResponseHead | str | None, int]:
    reader, fed = of_responses(), 0
    for piece in pieces:
        fed += len(piece)
        try:
            found = reader.feed(piece)
        except BadResponse as exc:
            return str(exc), 0
        if found is not None:
            return found[0], fed - len(found[1])
    return None, 0


@given(STARTS, LINES, st.sampled_from((b"", b"\r\n", b"x" * 500)), st.sets(st.integers(0, 600)))
def test_a_request_is_the_same_however_it_is_cut(
    start: bytes, lines: list[bytes], before: bytes, places: set[int]
) -> None:
    data = before + request(*lines, start=start) + b"behind\r\n\r\n"
    whole, length = read_request([data])
    for pieces in (bytewise(data), cut(data, places)):
        again, end = read_request(pieces)
        assert end == length
        if isinstance(whole, RequestHead) and isinstance(again, RequestHead):
            assert_same_request(whole, again)
        else:
            assert whole == again


@given(LINES, st.sampled_from((b"", b"x", b"\r\n\r\n", b"\r", b"\n")), st.sets(st.integers(0, 600)))
def test_a_response_is_the_same_however_it_is_cut(
    lines: list[bytes], before: bytes, places: set[int]
) -> None:
    data = before + response(*lines) + b"behind\r\n\r\n"
    whole, length = read_response([data])
    for pieces in (bytewise(data), cut(data, places)):
        again, end = read_response(pieces)
        assert end == length
        if isinstance(whole, ResponseHead) and isinstance(again, ResponseHead):
            assert_same_response(whole, again)
        else:
            assert whole == again
