"""Each pattern, and each verdict on a head, takes linear time.

The inputs are the worst that each pattern can get. On a slow machine a pattern takes a fifth of the bound and
the worst verdict four fifths; a quadratic one would take a hundred times as long.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from sys import getsizeof
from time import thread_time

import pytest

from lb.errors import BadRequest, BadResponse
from lb.http1 import (
    authority,
    body,
    fast_head,
    fields,
    forwarded_fields,
    head_reader,
    head_syntax,
    keep_alive,
    request_head,
    request_line,
)
from lb.http1.body import ChunkedReader
from lb.http1.fast_head import read_request, read_response
from tests.http1.messages import request, response
from tests.kit.held import slowness

pytestmark = pytest.mark.alone

SIZE = 16 * 1024
BOUND = 0.005
PATIENCE = 5.0


def fastest(work: Callable[[], object], bound: float = BOUND) -> float:
    """The best of a few times, or of `PATIENCE` seconds while other programs slow this one down.

    In seconds of a machine of usual speed.
    """
    best, attempts, started = 1.0, 0, thread_time()
    while attempts < 3 or (best >= bound and thread_time() - started < PATIENCE):
        began = thread_time()
        work()
        best = min(best, (thread_time() - began) / slowness())
        attempts += 1
    return best


def of(piece: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """Pieces to a length of SIZE, between what stands before and behind."""
    return before + piece * (SIZE // len(piece)) + behind


FIRST = b"GET / HTTP/1.1\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PATTERNS = [
    (head_syntax.ILLEGAL.search, [of(b"a", behind=b"\x00"), of(b"\r\n"), of(b"a\r\n", behind=b"\n"),
    of(b"\xff", behind=b"\r")]),
    (head_syntax.HOPELESS.search, [of(b"\r\n"), of(b"a", behind=b"\n"), of(b"\r")]),
    (partial(head_reader.EMPTY_LINES.sub, b"", count=1), [of(b"\r\n"), of(b"\r\n", behind=b"\r")]),
    (request_line.REQUEST_LINE.match, [of(b"A"), of(b"A "), of(b"A", b"G ", b" HTTP/1.x"), of(b" ", b"G")]),
    (request_line.LINE_BEGUN.match, [of(b"A"), of(b"A "), of(b"A", b"G "), of(b" ", b"G")]),
    (request_line.LINE_FLAW.search, [of(b"A"), of(b"\r\n"), of(b"A", behind=b"\r")]),
    (request_line.ANOTHER_PROTOCOL.match, [of(b"A"), of(b"PROXY ")]),
    (request_line.METHOD.fullmatch, [of(b"A", behind=b"(")]),
    (authority.HOST.fullmatch, [
        of(b"a", behind=b" "), of(b"%41", behind=b"%"), of(b"a:"), of(b":", b"["), of(b"1", b"a:"), of(b":",
        b"[", b"]"),
    ]),
    (request_head.ABSOLUTE.fullmatch, [of(b"a", b"http://", b"#"), of(b"/", b"http://", b"#"), of(b"?",
    b"http://a/", b"#")]),
    (head_syntax.LENGTH.fullmatch, [of(b"1"), of(b"1", behind=b"x")]),
    (request_head.CODINGS.findall, [of(b"\ntransfer-encoding:"), of(b"\n"), of(b"\ntransfer-encodin")]),
    (request_head.PROTOCOL.fullmatch, [of(b"a", behind=b","), of(b"a/"), of(b"a", b"a/", b"/")]),
    (forwarded_fields.REQUEST_ID.fullmatch, [of(b"a"), of(b"a", behind=b" ")]),
    (fields.NAME.fullmatch, [of(b"a"), of(b"a", behind=b"(")]),
    (head_reader.VERSION_AND_BLANKS.match, [of(b" ", b"HTTP/1.1"), of(b"HTTP/1.1 ")]),
    (fields.FIELD_LINES.fullmatch, [
        of(b"a:\r\n", behind=b"x"), of(b"a: b\r\n", behind=b"\r"), of(b" ", b"a:", b"\x00"), of(b"a"),
    ]),
    (partial(fields.NOT_ALPHANUMERIC.sub, b"-"), [of(b"-"), of(b"a"), of(b"a_")]),
    (body.CHUNK_HEAD.match, [of(b" ", b"5"), of(b"a", b"5;"), of(b"5"), of(b" ;", b"5", b"\r"), of(b";",
    b"5", b"\r")]),
    (body.CHUNK_HEAD.match, [
        of(b'"', b"5;a="), of(b"\\", b'5;a="'), of(b"\\a", b'5;a="', b'"\r'), of(b";a", b"5", b"\r"),
        of(b" ", b"5;a", b"\r"), of(b" ", b"5;a=", b"\r"), of(b";a=b", b"5", b"\r"), of(b'a"', b'5;a="'),
    ]),
    (body.LENIENT_CHUNK_HEAD.match, [of(b" ", b"5"), of(b"a", b"5;"), of(b"5"), of(b" ;", b"5", b"\r"),
    of(b" \t", b"5", b"\r")]),
    (body.LENIENT_TRAILERS_END.search, [of(b"\r\n"), of(b"\n\r"), of(b"a: b\r\n")]),
    (body.CHUNK_HEAD_BEGUN.fullmatch, [of(b" ", b"5", b"\n"), of(b"a", b"5;", b"\n"), of(b" ;", b"5",
    b"\r\r")]),
    (fast_head.USUAL_LINE.fullmatch, [of(b"A"), of(b"A", b"GET /"), of(b"a", b"GET /", b" HTTP/1.1")]),
    (fast_head.PLAIN_STATUS.fullmatch, [of(b" ", b"HTTP/1.1 200 "), of(b"a", b"HTTP/1.1 200 ", b"\r\r")]),
    (keep_alive.PARAMETER.findall, [
        of(b","), of(b" ", b","), of(b",max"), of(b"max=1,"), of(b" ", b"max=123456789", b"x"),
        of(b"1", b"max="),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("use", "inputs"), PATTERNS)
def test_d105_every_pattern_is_linear(use: Callable[[bytes], object], inputs: list[bytes]) -> None:
    for data in inputs:
        assert fastest(partial(use, data)) < BOUND


def test_every_pattern_is_in_the_table() -> None:
    used = {getattr(getattr(use, "func", use), "__self__", None) for use, _ in PATTERNS}
    modules = [authority, head_syntax, request_head, request_line, fields, forwarded_fields, body, fast_head]
    modules += [head_reader, keep_alive]
    there = [value for module in modules for value in vars(module).values()]
    assert used == {value for value in there if isinstance(value, re.Pattern)}


LINES = [
    of(b"a:\r\n")[:-2],
    of(b"a"),
    of(b" ", b"a:"),
    of(b" ", b"a: b"),
    of(b"b ", b"a:"),
    of(b",", b"Connection:"),
    of(b"a,", b"Connection:"),
    of(b"a", b"Host: "),
    of(b"%41", b"Host: "),
    of(b"1", b"Content-Length: "),
    of(b"1,", b"Content-Length: "),
    of(b"a,", b"Transfer-Encoding: ", b"chunked"),
    of(b"a,", b"Connection: upgrade\r\nUpgrade: "),
    of(b"a,", b"Transfer-Encoding: chunked\r\nTrailer: "),
    of(b"a/", b"Connection: upgrade\r\nUpgrade: "),
    of(b"X-Forwarded-For: 1\r\n")[:-2],
    of(b"a", b"X-Forwarded-", b": 1"),
    of(b"Via: 1\r\n")[:-2],
    of(b"Host: a\r\n")[:-2],
    of(b"Connection: a\r\n")[:-2],
    of(b"a: b\r\n", b"Connection: c, d\r\n")[:-2],
    of(b"c,", b"TE: "),
    of(b"X-Forwarded-For: 1\r\nVia: 1\r\n", b"TE: x\r\n")[:-2],
    of(b"\xff", b"a: ", b"\x7f"),
]


@pytest.mark.parametrize("lines", LINES, ids=[repr(line[:20]) for line in LINES])
@pytest.mark.parametrize(("limit", "bound"), [(100, BOUND), (1_000_000, 10 * BOUND)])
def test_d105_every_verdict_is_linear(lines: bytes, limit: int, bound: float) -> None:
    """With the usual limit on fields, and with none."""

    def verdict(data: bytes) -> None:
        with suppress(BadRequest):
            read_request(data, b"a", SIZE, limit)

    for data in (request(lines), request(lines, host=None), request(lines, start=b"OPTIONS / HTTP/1.1")):
        assert fastest(partial(verdict, data), bound) < bound

    def verdict_on_answer() -> None:
        with suppress(BadResponse):
            read_response(response(lines), b"GET", limit)

    assert fastest(verdict_on_answer, bound) < bound


def test_d105_a_long_target_is_linear() -> None:
    for target in (of(b"/"), of(b"#", b"/", b""), of(b"a", b"http://", b""), of(b"@", b"http://", b"/")):
        data = request(start=b"GET %b HTTP/1.1" % target)
        for limit in (SIZE * 2, 8192):
            assert fastest(partial(_refused, data, limit)) < BOUND


def test_many_cookies_cost_less_than_the_head() -> None:
    """A sticky pool looks at them more than once for each request."""
    for pairs in (of(b";"), of(b"; "), of(b"a;"), of(b" "), of(b"lb=;"), of(b"\t", b";")):
        assert (
            fastest(partial(fields.cookies_in, b"Cookie: " + pairs + b"\r\n", b"lb"), BOUND / 5) < BOUND / 5
        )


def _refused(data: bytes, target_limit: int) -> None:
    with suppress(BadRequest):
        read_request(data, b"a", target_limit, 100)


@pytest.mark.parametrize("pattern", [head_syntax.ILLEGAL, head_syntax.HOPELESS])
def test_legal_bytes_are_skipped(pattern: re.Pattern[bytes]) -> None:
    """They cost as little as with a pattern that looks for one byte of a set, and for nothing else."""
    legal, plainest = of(b"a") * 16, re.compile(rb"[\x00\r\n]")
    assert fastest(partial(pattern.search, legal), 1) < 3 * fastest(partial(plainest.search, legal), 1)


def test_lines_of_other_fields_are_skipped() -> None:
    """They cost as little as with a pattern that looks for a line feed first."""
    others, plainest = of(b"a", b"a: ", b"\r\n") * 16, re.compile(rb"\n\x00")
    bound = 10 * fastest(partial(plainest.search, others), 1)
    assert fastest(partial(fields.field_in, others, b"content-type"), 1) < bound
    assert fastest(partial(fields.cookies_in, others, b"lb"), 1) < bound


@pytest.mark.parametrize(("line", "is_strict"), [(b"a: b\r\n", True), (b"a: b\r\n", False), (b"a\n", False)])
def test_d112_trailers_that_trickle_are_linear(line: bytes, is_strict: bool) -> None:
    """Four times as many bytes, each received alone, take four times as long."""

    def read(size: int) -> None:
        reader = ChunkedReader(is_strict=is_strict)
        for byte in b"0\r\n" + line * (size // len(line)):
            reader.feed(bytes((byte,)))

    few, many = fastest(partial(read, 4000), 1), fastest(partial(read, 16000), 1)
    assert many < 8 * few


@pytest.mark.parametrize("piece", [1, 65536])
def test_d112_one_byte_chunks_are_linear(piece: int) -> None:
    """Four times as many chunks take four times as long, and no memory is kept of earlier ones."""

    def read(count: int) -> ChunkedReader:
        reader, data = ChunkedReader(is_strict=False), b"1\r\na\r\n" * count
        for at in range(0, len(data), piece):
            reader.feed(data[at : at + piece])
            while reader.rest:
                reader.feed(reader.rest)
        return reader

    few, many = fastest(partial(read, 2000), 1), fastest(partial(read, 8000), 1)
    assert many < 8 * few
    assert sum(map(getsizeof, (read(8000)._held, read(8000).rest, read(8000).trailers))) < 1000
