"""The checks that are one dialogue on one connection, as rows: the same ones serve tests and comparisons.

A row is every byte that a client says on its connection, what a backend answers to each request, what the
client must hear and what the backend may have seen. `hears` is the status of each answer in turn, and
"close" if the connection then ends by itself; `seen` is one line for each request that was forwarded:
method, target, how its body is framed, the body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.http1.messages import request, response
from tests.kit.backend import OK
from tests.kit.smuggling import HIDDEN

POST = b"POST / HTTP/1.1"
OLD = b"GET / HTTP/1.0"
GET = request()
POISON = b"GET /poison HTTP/1.1\r\nHost: a\r\n\r\n"
SEEN = "GET /"
CONTROLS = tuple(bytes([byte]) for byte in (*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F))
RUN = re.compile(rb"([^ ])\1{9,}")


@dataclass(frozen=True, kw_only=True)
class Row:
    check: str
    says: bytes
    hears: str = "400 close"
    seen: tuple[str, ...] = ()
    answer: bytes = OK

    def __str__(self) -> str:
        said = self.says if self.answer is OK else self.answer
        return repr(RUN.sub(rb"\1..", said).replace(b" / HTTP/1.1\r\nHost: a\r\n", b" ... ")[:100])[2:-1]


def refused(check: str, *says: bytes, hears: str = "400 close") -> Iterator[Row]:
    for data in says:
        yield Row(check=check, says=data, hears=hears)


def passed(check: str, says: bytes, *seen: str, hears: str = "200") -> Iterator[Row]:
    yield Row(check=check, says=says, hears=hears, seen=seen or (SEEN,))


def answered(
    check: str, *answers: bytes, hears: str = "502", says: bytes = GET, seen: str = SEEN
) -> Iterator[Row]:
    """Rows about what a backend answers. An answer of 502 says nothing against the client's connection."""
    for answer in answers:
        yield Row(check=check, says=says, hears=hears, seen=(seen,), answer=answer)


def with_lines(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> tuple[bytes, ...]:
    """A head for each line."""
    return tuple(request(line, start=start) for line in lines)


def chunked(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked", start=POST) + body


def sized(length: bytes, body: bytes = b"hello", start: bytes = POST) -> bytes:
    return request(b"Content-Length: " + length, start=start) + body


def _lines_and_bytes() -> Iterator[Row]:
    yield from passed("a02", b"\r\n" + GET)
    yield from passed("a02", b"\r\n\r\n\r\n" + GET)
    yield from passed("a02", GET + b"\r\n" + GET, SEEN, SEEN, hears="200 200")
    yield from passed("a02", sized(b"5") + b"\r\n" + GET, "POST / length hello", SEEN, hears="200 200")
    yield from refused(
        "a03",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n" + HIDDEN,
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nX: b\nHost: a\r\n\r\n",
        b"\n" + GET,
        b"\r\n\n" + GET,
    )
    yield from refused(
        "a04",
        b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        *with_lines(b"X: a\rb", b"X: a\r", b"\rX: a", b"X\r: a", b"X:\ra"),
        b"\r" + GET,
        b"\r\n\r" + GET,
    )
    yield from refused("a05", *with_lines(b"X: a\x00b", b"X: \x00", b"X: a\x00", b"X\x00: a"))
    yield from refused("a05", request(host=b"a\x00"))
    yield from refused("a06", *with_lines(*(b"X: a%bb" % control for control in CONTROLS)))
    yield from passed("a06", request(b"X:\ta\tb\xe4 \xff"))


def _field_lines() -> Iterator[Row]:
    yield from refused("a07", *with_lines(b"X : a", b"X\t: a", b"Content-Length : 7", b"Host : b"))
    for space in (b" ", b"\t"):
        yield from refused("a08", b"GET / HTTP/1.1\r\n%bX: b\r\nHost: a\r\n\r\n" % space)
        yield from refused("a08", b"GET / HTTP/1.1\r\n%bHost: a\r\n\r\n" % space)
    yield from refused("a09", *with_lines(b"X: a\r\n b", b"X: a\r\n\tb", b"X:\r\n a", b"X: a\r\n \r\nY: b"))
    yield from refused(
        "a10",
        *with_lines(
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding: chunked\r\n ",
            b"Content-Length:\r\n 5",
            b"Content-Length: 5\r\n\t5",
            b"Expect:\r\n 100-continue",
            start=POST,
        ),
        request(host=b"\r\n a"),
        request(host=b"a\r\n b"),
    )
    yield from answered(
        "a11", *(response(b"X: a\r\n" + fold, b"Content-Length: 0") for fold in (b" b", b"\tb"))
    )
    yield from answered("a11", response(b"Content-Length:\r\n 2") + b"ok")
    yield from answered(
        "a12", response(b"X : a", b"Content-Length: 0"), response(b"Content-Length : 2") + b"ok"
    )
    yield from refused("a13", *with_lines(b": x", b":", b"::"))
    yield from refused("a14", *with_lines(b"X", b"Transfer-Encoding", b"GET / HTTP/1.1"))
    yield from refused("a15", *with_lines(b"X[]: a", b"X\xe4: a", b"X(: a", b'"X": a', b"X@: a", b"X\xa0: a"))


def _request_lines() -> Iterator[Row]:
    starts = (
        b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ", b"GET / x HTTP/1.1", b"GET /", b"GET / ", b"GET", b"/ HTTP/1.1",
    )  # fmt: skip
    yield from refused("a16", *(request(start=start) for start in starts), b"GET /\r\n\r\n")
    for version in (b"HTTP/2.0", b"HTTP/9.9", b"HTTP/0.9"):
        yield from refused("a17", request(start=b"GET / " + version), hears="505 close")
    yield from refused("a17", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", hears="505 close")
    malformed = (b"HTTP/1.10", b"HTTP/11.1", b"http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/1.1x")
    yield from refused("a17", *(request(start=b"GET / " + version) for version in malformed))
    yield from passed("a18", request(start=b"GET / HTTP/1.2"))
    yield from refused("a18", request(start=b"GET / HTTP/1.2", host=None))
    yield from passed("a19", request(start=OLD, host=None), hears="200 close")
    yield from passed("a19", request(start=OLD), hears="200 close")
    by_chunks = response(b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"
    yield from answered("a20", by_chunks, hears="200 close", says=request(start=OLD))


def _hosts_and_targets() -> Iterator[Row]:
    yield from refused("a21", request(host=None), request(start=b"GET http://a/ HTTP/1.1", host=None))
    yield from refused("a22", *with_lines(b"Host: a", b"Host: b", b"HOST: a", b"Host:"))
    invalid = (b"a b", b"a/b", b"u@a", b"a,b", b"a:99999", b"[::1", b"a\x00", b"a:x", b"a#b", b"a?b", b"a\\b")
    yield from refused("a23", *(request(host=host) for host in invalid))
    yield from refused("a24", request(host=b""), request(host=b" "))
    yield from passed("a25", request(start=b"GET http://a/b?c HTTP/1.1"), "GET /b?c")
    yield from passed("a25", request(start=b"GET http://a HTTP/1.1"))
    yield from passed("a25", request(start=b"GET HTTP://a:80/ HTTP/1.1", host=b"a:80"))
    yield from passed("a26", request(start=b"GET http://b/ HTTP/1.1"))
    yield from refused("a26", request(start=b"GET http://u@b/ HTTP/1.1"))
    yield from refused(
        "a26", request(start=b"GET https://b/ HTTP/1.1"), request(start=b"GET //b HTTP/1.1", host=b"")
    )
    yield from passed("a27", request(start=b"OPTIONS * HTTP/1.1"), "OPTIONS *")
    yield from passed("a27", request(start=b"OPTIONS http://a HTTP/1.1"), "OPTIONS *")
    yield from refused("a27", request(start=b"GET * HTTP/1.1"))
    yield from refused("a28", request(start=b"CONNECT a:80 HTTP/1.1") + POISON, hears="501 close")
    yield from refused("a28", request(start=b"CONNECT / HTTP/1.1") + POISON, hears="501 close")
    targets = (
        b"/#a",
        b"/\xe4",
        b"/a\x01",
        b"/\x7f",
        b"/a b",
        b"/a\x0bb",
        b"http://a/#b",
        b"a",
        b"?a",
        b"a:80",
    )
    yield from refused("a29", *(request(start=b"GET %b HTTP/1.1" % target) for target in targets))
    for length in (8 * 1024, 20_000, 60_000):
        yield from refused("a30", request(start=b"GET /%b HTTP/1.1" % (b"a" * length)), hears="414 close")
    yield from passed("a30", request(start=b"GET /%b HTTP/1.1" % (b"a" * 8191)), "GET /" + "a" * 8191)
    yield from passed("a31", request(start=b"M-SEARCH / HTTP/1.1"), "M-SEARCH /")
    yield from passed("a31", request(start=b"get / HTTP/1.1"), "get /")
    yield from refused("a31", request(start=b"A" * 33 + b" / HTTP/1.1"), hears="501 close")


def _lengths_and_codings() -> Iterator[Row]:
    both = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
    for lines in (both, both[::-1]):
        yield from refused("a32", request(*lines, start=POST) + b"0\r\n\r\n")
    for twice in (b"5, 5", b"5\r\nContent-Length: 5"):
        yield from passed("a33", sized(twice), "POST / length hello")
    yield from refused("a34", sized(b"5\r\nContent-Length: 6"), sized(b"5, 6"))
    bad = (b"+5", b"-1", b"0x5", b"5_0", b"5 5", b"", b",5", b"5;x", "\u0665".encode(), b"5.0", b"'5'", b"5,")
    yield from refused("a35", *map(sized, bad), sized(b"0" * 20 + b"5"), sized(b"1" * 21))
    yield from passed("a36", sized(b"005"), "POST / length hello")
    yield from passed("a36", sized(b"00", b""), "POST / length")
    codings = (
        b"identity", b"gzip", b"chunked, chunked", b"xchunked", b'"chunked"', b"chunked;q=1", b",chunked",
        b"", b"chunk\xa0ed", b"chunked, identity", b"chunked,", b"chunked\r\nTransfer-Encoding: chunked",
        b"chunked\r\nTransfer-Encoding: identity", b"identity\r\nTransfer-Encoding: chunked",
    )  # fmt: skip
    for coding in codings:
        yield from refused("a37", request(b"Transfer-Encoding: " + coding, start=POST) + b"0\r\n\r\n")
    for coding in (b"gzip, chunked", b"x, chunked"):
        head = request(b"Transfer-Encoding: " + coding, start=POST)
        yield from refused("a37", head + b"0\r\n\r\n", hears="501 close")
    yield from passed(
        "a37", request(b"TRANSFER-encoding:\tCHUNKed ", start=POST) + b"0\r\n\r\n", "POST / chunked"
    )
    old_post = b"POST / HTTP/1.0"
    yield from refused("a38", request(b"Transfer-Encoding: chunked", start=old_post) + b"0\r\n\r\n")
    yield from refused("a38", request(*both, b"Connection: keep-alive", start=old_post) + b"0\r\n\r\n")


def _chunks() -> Iterator[Row]:
    sizes = (
        b"0x5",
        b"+5",
        b"-5",
        b"5_0",
        b" 5",
        b"5 ",
        b"",
        b"g",
        b"0" * 16 + b"5",
        b"0" * 1000 + b"5",
        b"5,5",
    )
    for size in sizes:
        yield from refused("a39", chunked(size + b"\r\nhello\r\n0\r\n\r\n"))
    yield from refused("a40", chunked(b"5\nhello\r\n0\r\n\r\n"), chunked(b"5\r\nhello\r\n0\n\r\n"))
    yield from refused(
        "a40", chunked(b"5;\nxx\r\nhello\r\n0\r\n\r\n"), chunked(b"0\r\n\n"), chunked(b"0;\n\r\n\r\n")
    )
    yield from refused("a41", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), chunked(b"5\r\r\nhello\r\n0\r\n\r\n"))
    for extension in (b";a", b";a=b", b';a="b;c"', b" ;a = b", b";a;b=1"):
        body = b"5%b\r\nhello\r\n0%b\r\n\r\n" % (extension, extension)
        yield from passed("a42", chunked(body), "POST / chunked hello")
    long = b"1;" + b"a" * 4096 + b"\r\nx\r\n"  # no more of them than are read once the answer is no
    yield from refused("a43", chunked(b"5;" + b"a" * 60_000), chunked(long * 15))
    for behind in (b"xx", b"\n\n", b"\r\r", b"x\n", b"\rx", b"0\r\n"):
        yield from refused("a44", chunked(b"5\r\nhello" + behind + b"0\r\n\r\n"))
    trailers = (
        b"X-Sum: 1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: c\r\n"
    )
    yield from passed("a45", chunked(b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"), "POST / chunked hello")
    for trailer in (b"a", b": b", b" a: b", b"a : b", b"a: b\r\n c", b"a: \x00", b"a: b\nc: d"):
        yield from refused("a45", chunked(b"0\r\n" + trailer + b"\r\n\r\n"))
    yield from refused("a46", chunked(b"0\r\n" + b"a: b\r\n" * 101 + b"\r\n"))
    yield from refused("a46", chunked(b"0\r\na: " + b"b" * 17_000), chunked(b"0\r\n" + b"a: b\r\n" * 10_000))


def _connections() -> Iterator[Row]:
    targets = [b"/%d" % number for number in range(10)]
    pipeline = b"".join(request(start=b"GET %b HTTP/1.1" % target) for target in targets)
    seen = [f"GET {target.decode()}" for target in targets]
    yield from passed("a48", pipeline, *seen, hears="200 " * 9 + "200")
    for garbage in (b"garbage\r\n\r\n", b"\x16\x03\x01\n", b"GET / HTTP/1.1\r\n\r\n"):
        yield from passed("a49", GET + garbage, hears="200 400 close")
        yield from passed("a49", sized(b"5") + garbage, "POST / length hello", hears="200 400 close")
    for closing in (b"close", b"CLOSE", b"a, close", b"keep-alive, close"):
        yield from passed("a50", request(b"Connection: " + closing) + POISON, hears="200 close")
    yield from passed("a50", request(start=OLD) + POISON, hears="200 close")
    yield from refused("a51", request(b"X") + POISON)
    yield from refused("a51", request(b"X: " + b"a" * 17_000) + POISON, hears="431 close")
    yield from refused("a51", request(start=b"CONNECT a:1 HTTP/1.1") + POISON, hears="501 close")
    yield from refused("a51", request(start=b"TRACE / HTTP/1.1") + POISON, hears="405 close")
    yield from refused("a51", request(b"Expect: x") + POISON, hears="417 close")
    head = b"HEAD / HTTP/1.1"
    fake = response(b"Content-Length: 100")
    yield Row(check="a52", says=request(start=head) * 2, hears="200 200", seen=("HEAD /",) * 2, answer=fake)
    for line in (b"Content-Length: 2", b"Transfer-Encoding: chunked"):
        starts = (b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified")
        yield from answered("a53", response(line, start=starts[0]) + b"ok", hears="204")
        yield from answered("a53", response(line, start=starts[1]) + b"ok", hears="304")
        interim = response(line, start=b"HTTP/1.1 103 Early Hints")
        yield from answered("a53", interim + OK, hears="103 200")
    for closing in (b"ClOsE", b"keep-alive, close", b"close, keep-alive", b",close"):
        yield from passed("a54", request(b"Connection: " + closing), hears="200 close")
    yield from passed("a55", request(b"Connection: keep-alive", start=OLD), hears="200 close")
    bare = (b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n")
    yield from answered("a56", *(line + b"Content-Length: 2\r\n\r\nok" for line in bare), hears="200")


def _smuggling() -> Iterator[Row]:
    both = (b"Content-Length: %d", b"Transfer-Encoding: chunked")
    end = b"0\r\n\r\n" + POISON
    for first, second in (both, both[::-1]):
        lines = [line % len(end) if b"%d" in line else line for line in (first, second)]
        yield from refused("c90", request(*lines, start=POST) + end)
        lines = [line % 4 if b"%d" in line else line for line in (first, second)]
        yield from refused(
            "c90", request(*lines, start=POST) + b"%x\r\n%b\r\n%b" % (len(POISON), POISON, end)
        )
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        start = f"{method} / HTTP/1.1".encode()
        body = POISON.decode()
        length = b"%d" % len(POISON)
        yield from passed("c91", sized(length, POISON, start), f"{method} / length {body}")
        head = request(b"Transfer-Encoding: chunked", start=start)
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(POISON), POISON)
        yield from passed("c91", head + chunks, f"{method} / chunked {body}")
    zero = (
        b"Content-Length : 7", b"Content-Length:\n 7", b"\x0bContent-Length: 7", b"Content-Length\xa0: 7",
        b"Content-Length:\r\n 7", b" Content-Length: 7", b"X: y\rContent-Length: 7",
        b"Content-Length\r\n: 7",
    )  # fmt: skip
    yield from refused("c92", *(head + POISON for head in with_lines(*zero)))
    injected = (b"X: a\rSet-Cookie: b", b"X: a\nSet-Cookie: b", b"X: a\x00b", b"X: a\r\r", b"X: a\x0bb")
    yield from answered("c96", *(response(line, b"Content-Length: 2") + b"ok" for line in injected))
    yield from answered("c96", response(b"Content-Length: 2", start=b"HTTP/1.1 200 O\rK") + b"ok")
    huge = (b"18446744073709551616", b"9223372036854775808", b"18446744073709551621", b"4294967296" * 2)
    yield from refused("c101", *(sized(length, POISON) for length in huge))
    chunk_sizes = (b"10000000000000000", b"8000000000000000", b"ffffffffffffffff", b"10000000000000005")
    yield from refused("c101", *(chunked(size + b"\r\nhello\r\n" + POISON) for size in chunk_sizes))


ROWS = (
    *_lines_and_bytes(),
    *_field_lines(),
    *_request_lines(),
    *_hosts_and_targets(),
    *_lengths_and_codings(),
    *_chunks(),
    *_connections(),
    *_smuggling(),
)


def rows(check: str) -> list[Row]:
    """Those of one check, in their order."""
    found = [row for row in ROWS if row.check == check]
    assert found, f"no row is of {check}"
    return found
