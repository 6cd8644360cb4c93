"""Where a body ends: by its length, in chunks, with its connection. The chunk reader is held to h11."""

import re
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TypeVar

import h11
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lb.http1.body import (
    CHUNKED,
    CHUNKS_AT_ONCE,
    CHUNKS_PER_FEED,
    LINE_LIMIT,
    TRAILER_FIELDS,
    TRAILER_LIMIT,
    UNTIL_CLOSE,
    BadBody,
    ChunkedReader,
    CloseReader,
    LengthReader,
    Reader,
    as_chunk,
    last_chunk,
    reader_for,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What a reader made of some bytes; `is_bad` and nothing else where it refused them."""

    content: bytes = b""
    done: bool = False
    rest: bytes = b""
    trailers: bytes = b""
    is_bad: bool = False


def outcome(reader: Reader, pieces: Iterable[bytes]) -> Outcome:
    content, rest = b"", b""
    try:
        for piece in pieces:
            if reader.done:
                rest += piece
            else:
                content += reader.feed(piece)
    except BadBody:
        return Outcome(is_bad=True)
    return Outcome(content, reader.done, reader.rest + rest, reader.trailers)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def chunked(data: bytes) -> Outcome:
    """Whole and byte by byte: it must not matter."""
    whole = outcome(ChunkedReader(), [data])
    long, rest = data[:-1000], data[-1000:]
    assert outcome(ChunkedReader(), [long[:9], long[9:], *bytewise(rest)]) == whole
    return whole


# -- by length, by close -----------------------------------------------------------------------------------


@given(length=st.integers(0, 20), pieces=st.lists(st.binary(max_size=9), max_size=9))
def test_a_body_by_length_takes_exactly_its_bytes(length: int, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    made = outcome(LengthReader(length), pieces)
    assert made == Outcome(data[:length], len(data) >= length, data[length:])


def test_a47_a_body_by_length_that_ends_early_has_not_ended() -> None:
    reader = LengthReader(5)
    reader.feed(b"1234")
    assert not reader.ends_with_connection()
    reader.feed(b"5")
    assert reader.ends_with_connection()


def test_no_body_is_done_before_it_begins() -> None:
    reader = LengthReader(0)
    assert reader.done
    assert (reader.feed(b"GET"), reader.rest) == (b"", b"GET")


def test_a_body_until_the_end_is_all_there_is() -> None:
    reader = CloseReader()
    assert reader.feed(b"a") + reader.feed(b"\r\n\r\n") == b"a\r\n\r\n"
    assert not reader.done
    assert reader.ends_with_connection()
    assert reader.done


def test_each_length_has_its_reader() -> None:
    assert isinstance(reader_for(CHUNKED), ChunkedReader)
    assert isinstance(reader_for(UNTIL_CLOSE), CloseReader)
    assert isinstance(reader_for(0), LengthReader)


# -- in chunks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content", "rest"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET / ", b"hello world", b"GET / "),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b""),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", b""),
        (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello", b""),
    ],
)
def test_chunks(data: bytes, content: bytes, rest: bytes) -> None:
    assert chunked(data) == Outcome(content, done=True, rest=rest)


@pytest.mark.parametrize(
    "size",
    [
        b"0x5", b"+5", b"-5", b"5_0", b" 5", b"5 ", b"\t5", b"5\t", b"", b"g", b"5g", b"5h", b"5,5", b"5.0",
        b"5 5",
        b'"5"', b"5\x00", b"\x005", b"5\x0b", b"5\xa0", b"\xb2", b"\xd9\xa5", b"\xef\xbb\xbf5", b"1" * 17,
        b"0" * 16 + b"5", b"0" * 1000 + b"5", b"5:x", b"5=x", b"5\\",
    ],
)  # fmt: skip
def test_a39_sizes_that_are_none(size: bytes) -> None:
    assert chunked(size + b"\r\nhello\r\n0\r\n\r\n").is_bad


@pytest.mark.parametrize(
    "size", [b"8000000000000000", b"ffffffffffffffff", b"10000000000000000", b"FFFFFFFFFFFFFFFFF"]
)
def test_c101_sizes_do_not_wrap(size: bytes) -> None:
    assert chunked(size + b"\r\n").is_bad


def test_c101_the_largest_size() -> None:
    assert chunked(b"7fffffffffffffff\r\nhello") == Outcome(b"hello")


@pytest.mark.parametrize(
    "line",
    [
        b"5\n", b"5;a\n", b"5;a\nb\r\n", b"5\n\r\n", b"5;\n\r\n", b"5;a=\"\n\"\r\n", b"5\r\nhello\n",
        b"5\r\nhello\r0",
        b"0\n\n", b"0\r\n\n", b"0\n\r\n", b"0;\n\r\n\r\n",
    ],
)  # fmt: skip
def test_a40_bare_line_feeds(line: bytes) -> None:
    assert chunked(line + b"hello\r\n0\r\n\r\n").is_bad


@pytest.mark.parametrize(
    "line", [b"5;a\rb\r\n", b"5;\r\r\n", b"5\r\r\n", b"5\rX\r\n", b'5;a="\r"\r\n', b"\r5\r\n"]
)
def test_a41_bare_carriage_returns(line: bytes) -> None:
    assert chunked(line + b"hello\r\n0\r\n\r\n").is_bad


@pytest.mark.parametrize("byte", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_a41_control_characters_in_an_extension(byte: int) -> None:
    assert chunked(b"5;a%bb\r\nhello\r\n0\r\n\r\n" % bytes([byte])).is_bad


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b';a="b;c"',
        b';a=""',
        b';a="\\"\xe4\\\\";b',
        b" ;a",
        b"\t;a",
        b"; a ; b = c",
        b' \t;\t a\t=\t"b" ;c',
        b";chunk-signature=0123456789abcdef",
        b";" + b"a" * (LINE_LIMIT - 4),
    ],
)
def test_a42_extensions_are_dropped(extension: bytes) -> None:
    data = b"5%b\r\nhello\r\n0%b\r\n\r\nrest" % (extension, extension)
    assert chunked(data) == Outcome(b"hello", done=True, rest=b"rest")


@pytest.mark.parametrize(
    "extension",
    [
        b";", b" ;", b";;a", b";a;", b";a=", b";=b", b";a==b", b";bad[=x", b";a=b c", b";a b", b";a=b;",
        b";a ",
        b';a="', b';a="b', b';a="b\\"', b';a="b"c', b';a=b"c"', b';"a"=b', b";a\xe4", b";a=\xe4", b";a=(b)",
        b";a,b", b":a", b'="b"', b';a="\x7f"', b";a=b ", b" ", b"\t", b" a",
    ],
)  # fmt: skip
def test_f5_18_extensions_are_those_of_the_grammar(extension: bytes) -> None:
    """RFC 9112 section 7.1.1; a backend's are skipped whatever they are."""
    assert chunked(b"5%b\r\nhello\r\n0\r\n\r\n" % extension).is_bad
    assert chunked(b"0%b\r\n\r\n" % extension).is_bad


@pytest.mark.parametrize("length", [LINE_LIMIT - 3, LINE_LIMIT, 4096, 65536])
def test_a43_endless_extensions(length: int) -> None:
    assert chunked(b"5;" + b"a" * length).is_bad is (length + 2 > LINE_LIMIT)
    assert chunked(b"5;%b\r\nhello\r\n0\r\n\r\n" % (b"a" * length)).is_bad
    assert chunked(b"5" + b" " * length + b";\r\nhello\r\n0\r\n\r\n").is_bad


@pytest.mark.parametrize(
    "end", [b"XX", b"\rX", b"X\n", b"\n\r", b"\n", b"\r", b"0\r\n", b"", b"\r\r\n", b" \r\n"]
)
def test_a44_a_chunk_ends_where_it_said(end: bytes) -> None:
    assert chunked(b"5\r\nhello%b0\r\n\r\n" % end).is_bad


@pytest.mark.parametrize(
    ("trailers", "kept"),
    [
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A:b\r\nC:\r\n", b"A:b\r\nC:\r\n"),
        (b"X-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\n", b"X-Sum: 1\r\n"),
        (b"authorization: x\r\nTRANSFER-ENCODING: chunked\r\nX: y\r\n", b"X: y\r\n"),
        (b"X-Forwarded-For: 1\r\nX_Real_IP: 2\r\nCookie: c\r\n", b""),
        (b"If-Match: x\r\nPragma: y\r\nRetry-After: 1\r\n", b""),
    ],
)
def test_a45_trailers_are_judged(trailers: bytes, kept: bytes) -> None:
    assert chunked(b"0\r\n%b\r\nrest" % trailers) == Outcome(b"", True, b"rest", kept)


@pytest.mark.parametrize(
    "trailers",
    [
        b"A : b\r\n", b" A: b\r\n", b"A: b\r\n c\r\n", b"A\r\n", b": b\r\n", b"A: b\x00\r\n", b"A: b\x7f\r\n",
        b"A: b\rC: d\r\n", b"A: b\nC: d\r\n", b"A\xe4: b\r\n", b"GET / HTTP/1.1\r\n", b"\rA: b\r\n",
    ],
)  # fmt: skip
def test_a45_what_is_no_trailer(trailers: bytes) -> None:
    assert chunked(b"0\r\n%b\r\n" % trailers).is_bad


def test_a45_a_bare_line_feed_in_the_trailers_is_not_waited_upon() -> None:
    assert chunked(b"0\r\nA: b\n").is_bad


@pytest.mark.parametrize("over", [-1, 0, 1, 2, 3, 100])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n", b"\r", b""])
def test_a46_endless_trailers(over: int, end: bytes) -> None:
    line = b"A: " + b"b" * (TRAILER_LIMIT - 5 + over)  # and its CRLF
    made = chunked(b"0\r\n" + line + end)
    if end == b"\r\n\r\n":
        assert (made.done, made.is_bad) == (over <= 0, over > 0)
    else:
        assert made == Outcome(is_bad=len(line + end) > TRAILER_LIMIT + 1)


def test_a46_many_trailers() -> None:
    assert chunked(b"0\r\n" + b"A: b\r\n" * TRAILER_FIELDS + b"\r\n").done
    assert chunked(b"0\r\n" + b"A: b\r\n" * (TRAILER_FIELDS + 1) + b"\r\n").is_bad


@pytest.mark.parametrize("end", range(1, 24))
def test_a47_chunks_that_end_early_have_not_ended(end: int) -> None:
    reader = ChunkedReader()
    whole = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    reader.feed(whole[:end])
    assert reader.ends_with_connection() is (end >= len(whole))


def fed(reader: ChunkedReader, data: bytes) -> tuple[int, int]:
    """Feed it, again and again where the reader stops. Returns the length of the content and the calls."""
    length, calls = 0, 0
    while data and not (calls and reader.done):
        length, calls, data = length + len(reader.feed(data)), calls + 1, b""
        if not reader.done:
            data = reader.rest
    return length, calls


def test_d112_small_chunks_cost_time_and_memory_in_proportion() -> None:
    count, piece = 100_000, 65536
    data = b"1\r\na\r\n" * count + b"0\r\n\r\n"
    reader, length = ChunkedReader(is_strict=False), 0
    began = perf_counter()
    for at in range(0, len(data), piece):
        length += fed(reader, data[at : at + piece])[0]
    assert perf_counter() - began < 3  # 0.1 s here
    assert (length, reader.done) == (count, True)
    tracemalloc.start()
    try:
        ChunkedReader(is_strict=False).feed(data[:piece])
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_strict", [True, False])
def test_f5_13_one_call_reads_so_many_chunks_and_no_more(is_strict: bool) -> None:
    reader = ChunkedReader(is_strict=is_strict)
    data = b"10\r\n0123456789abcdef\r\n" * (2 * CHUNKS_AT_ONCE + 1) + b"0\r\n\r\nGET"
    assert len(reader.feed(data)) == 16 * CHUNKS_AT_ONCE
    assert (reader.done, len(reader.rest)) == (False, 22 * (CHUNKS_AT_ONCE + 1) + 8)
    assert fed(reader, reader.rest) == (16 * (CHUNKS_AT_ONCE + 1), 2)
    assert (reader.done, reader.rest) == (True, b"GET")


def small_chunks(size: int, count: int) -> bytes:
    return (b"%x\r\n%b\r\n" % (size, b"a" * size)) * count


@pytest.mark.parametrize(
    ("size", "count", "is_too_many"),
    [
        (1, 1000, False),
        (1, 2000, True),
        (1, 100_000, True),
        (5, 5000, True),
        (11, 100_000, False),
        (20, 9000, False),
    ],
)
def test_f5_13_many_small_chunks_at_once_are_refused(size: int, count: int, is_too_many: bool) -> None:
    data = small_chunks(size, count)
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]

    def read(reader: ChunkedReader) -> int:
        return sum(fed(reader, piece)[0] for piece in pieces)

    assert read(ChunkedReader(is_strict=False)) == size * count  # a backend may
    if is_too_many:
        with pytest.raises(BadBody, match="chunks are too small"):
            read(ChunkedReader())
    else:
        assert read(ChunkedReader()) == size * count


@pytest.mark.parametrize("at_once", [1, 5, CHUNKS_PER_FEED])
def test_f5_13_small_chunks_may_come_one_after_the_other(at_once: int) -> None:
    reader = ChunkedReader()
    for _ in range(20_000 // at_once):
        assert len(reader.feed(small_chunks(1, at_once))) == at_once
    reader.feed(small_chunks(1, CHUNKS_AT_ONCE))  # also when a stall has let some heap up
    for _ in range(100):
        reader.feed(small_chunks(1, at_once))


# -- in chunks, from a backend -----------------------------------------------------------------------------


def from_backend(data: bytes) -> Outcome:
    whole = outcome(ChunkedReader(is_strict=False), [data])
    assert outcome(ChunkedReader(is_strict=False), bytewise(data)) == whole
    return whole


@pytest.mark.parametrize(
    ("data", "trailers"),
    [
        (b"5   \r\nhello\r\n0 \r\n\r\n", b""),
        (b"5\t\r\nhello\r\n0\r\n\r\n", b""),
        (b"5\nhello\r\n0\r\n\r\n", b""),
        (b"5 \nhello\n0\n\n", b""),
        (b"5\r\nhello\n0\r\n\n", b""),
        (b"5;\r\nhello\r\n0;bad[=x\r\n\r\n", b""),
        (b"0005\nhello\n000\nA: b\nC: d\n\n", b"A: b\r\nC: d\r\n"),
        (b"5\r\nhello\r\n0\r\nA: b\r\n\n", b"A: b\r\n"),
        (b"2\n\r\n\r\n1\n\n\n2\nhi\n0\n\n", b""),
    ],
)
def test_f5_21_what_a_backend_may_write_in_another_way(data: bytes, trailers: bytes) -> None:
    made = from_backend(data + b"rest")
    assert (made.content in (b"hello", b"\r\n\nhi"), made.done, made.rest) == (True, True, b"rest")
    assert made.trailers == trailers
    assert chunked(data).is_bad


@pytest.mark.parametrize(
    "data",
    [
        b" 5\r\nhello", b"5;a\nhello", b"5 5\r\nhello", b"5\rhello", b"5\r\r\nhello", b"5 \r\r\nhello",
        b"\nhello",
        b"5\r\nhello\r0", b"5\r\nhelloX\n", b"5\r\nhello\n\n0", b"0x5\r\nhello", b"0\r\nA\n\n",
        b"0\nA: b\rC: d\n\n",
        b"5;a\rb\r\nhello", b"5;\n\r\nhello",
    ],
)  # fmt: skip
def test_f5_21_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    assert from_backend(data).is_bad


def test_d112_what_is_held_back_is_bounded_however_it_is_cut() -> None:
    for data in (b"5;" + b"a" * 200, b"0\r\nA: " + b"b" * 16000):
        reader = ChunkedReader()
        began = perf_counter()
        for byte in bytewise(data):
            reader.feed(byte)
        assert perf_counter() - began < 2  # 0.06 s here


# -- held to h11 -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What h11 made of a chunked body."""

    content: bytes
    done: bool
    rest: bytes
    trailers: list[tuple[bytes, bytes]]
    is_bad: bool


def h11_reads(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.next_event()
    if data:  # nothing is how h11 is told of the end
        connection.receive_data(data)
    content, done, trailers = b"", False, []
    try:
        while True:
            match connection.next_event():
                case h11.Data(data=piece):
                    content += piece
                case h11.EndOfMessage(headers=headers):
                    done, trailers = True, list(headers)
                    break
                case _:
                    break
    except h11.RemoteProtocolError:
        return Reading(content, False, b"", [], True)
    return Reading(content, done, connection.trailing_data[0] if done else b"", trailers, False)


CONTENT = st.binary(min_size=1, max_size=12) | st.sampled_from(
    (b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")
)
SIZES = ("%x", "%X", "0%x", "%016x", "%x;a", "%x ;a=b", '%x; \ta="b"')
DOUBTFUL_SIZES = ("%x ", "%x;", "%x; \t", "%x;a[", " %x", "%017x", "+%x", "0x%x", "%d", "%x;\n")
ENDS = (b"\n", b"\r", b"", b"XX", b"\r\r\n")
TRAILERS = (b"A: b\r\n", b"a:\r\n", b"Content-Length: 5\r\n", b"X_Real_Ip: 1\r\n")
DOUBTFUL_TRAILERS = (b"A : b\r\n", b" x\r\n", b"A: b\n", b"A\r\n")
H11_REFUSES = re.compile(rb"[0-9a-f][ \t]+;|\r\n(content-length|transfer-encoding):", re.IGNORECASE)
"""What we accept and h11 does not: `5 ;a` (allowed by RFC 9112 section 7.1.1), and trailers that we drop."""
CUTS = st.lists(st.integers(0, 120), max_size=6)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Half of them sound, the others with a size, an end, a trailer or some bytes that are not."""
    rarely = 10 if draw(st.booleans()) else 0

    def pick(usual: Sequence[T], doubtful: Sequence[T]) -> T:
        return draw(st.sampled_from(doubtful if draw(st.integers(0, 10)) < rarely // 5 else usual))

    data: bytes = b""
    for content in draw(st.lists(CONTENT, max_size=4)):
        size = pick(SIZES, DOUBTFUL_SIZES) % len(content)
        data += size.encode() + pick((b"\r\n",), ENDS) + content + pick((b"\r\n",), ENDS)
    data += pick((b"0\r\n", b"00\r\n", b"0;a\r\n"), (b"0\n", b""))
    data += b"".join(pick(TRAILERS, DOUBTFUL_TRAILERS) for _ in range(draw(st.integers(0, 3))))
    data += pick((b"\r\n",), (b"\n", b"")) + draw(st.sampled_from((b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n")))
    if rarely and draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 0 else data


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


@settings(max_examples=300)
@given(data=bodies() | st.binary(max_size=60), cuts=CUTS)
def test_for_any_bytes_we_refuse_or_read_what_h11_reads(data: bytes, cuts: list[int]) -> None:
    ours = chunked(data)
    assert outcome(ChunkedReader(), cut(data, cuts)) == ours
    event("refused" if ours.is_bad else "done" if ours.done else "unfinished")
    if ours.is_bad:
        return
    theirs = h11_reads(data)
    if theirs.is_bad:
        assert H11_REFUSES.search(data)
        return
    assert (ours.content, ours.done) == (theirs.content, theirs.done)
    if ours.done:
        assert ours.rest == theirs.rest
        kept = [line.split(b":", 1) for line in ours.trailers.split(b"\r\n")[:-1]]
        assert [(n.lower(), v.strip(b" \t")) for n, v in kept] == [
            (n, v) for n, v in theirs.trailers if n not in (b"content-length", b"x_real_ip")
        ]


@given(st.lists(st.binary(max_size=40)), st.sampled_from((b"", b"A: b\r\n")))
def test_what_we_write_is_what_we_and_h11_read(contents: list[bytes], trailers: bytes) -> None:
    data = b"".join(map(as_chunk, contents)) + last_chunk(trailers)
    assert chunked(data) == Outcome(b"".join(contents), True, b"", trailers)
    assert h11_reads(data).content == b"".join(contents)
