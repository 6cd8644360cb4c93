"""Requests whose end two parsers might see in different places.

Each row of the table is what a client sends on one connection: a request whose framing fields are disguised,
doubled or damaged in one way, and a second request where a parser that is deceived would find one.
"""

from collections.abc import Iterator

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"0\r\n\r\n" + HIDDEN
"""For a parser of chunks an empty body and then a request; for one that counts bytes a body."""
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)

CODINGS = (
    b"chunked",
    b"Chunked",
    b"CHUNKED",
    b"xchunked",
    b"chunkedx",
    b"chunke",
    b"chunked,",
    b",chunked",
    b"chunked, chunked",
    b"chunked,chunked",
    b"chunked, identity",
    b"identity, chunked",
    b"identity",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked;q=1",
    b"chunked ;",
    b'"chunked"',
    b"'chunked'",
    b"\tchunked",
    b"chunked\t",
    b" chunked ",
    b"\x0bchunked",
    b"chunked\x0b",
    b"\x0cchunked",
    b"chunked\x00",
    b"\x00chunked",
    b"chunk\xa0ed",
    b"chunked\xa0",
    b"\xa0chunked",
    b"\xff",
    b"chunked\r",
    b"chun\rked",
    b"\nchunked",
    b"\r\n chunked",
    b"\r\n\tchunked",
    b"x\r\n chunked",
    b"chunked\r\n ",
    b"",
    b"0",
    b"true",
    b"cow",
)
CODING_NAMES = (
    b"Transfer-Encoding:",
    b"transfer-encoding:",
    b"TRANSFER-ENCODING:",
    b"Transfer-Encoding :",
    b"Transfer-Encoding\t:",
    b" Transfer-Encoding:",
    b"\tTransfer-Encoding:",
    b"Transfer_Encoding:",
    b"Transfer.Encoding:",
    b"Transfer Encoding:",
    b"Transfer-Encoding\x00:",
    b"\x00Transfer-Encoding:",
    b"\x0bTransfer-Encoding:",
    b"Transfer-Encoding\xa0:",
    b"\xa0Transfer-Encoding:",
    b"Transfer-\r\nEncoding:",
    b"Transfer-Encoding\r\n:",
    b"X: y\rTransfer-Encoding:",
    b"X: y\nTransfer-Encoding:",
    b"X: y\x00\r\nTransfer-Encoding:",
    b"X-Transfer-Encoding:",
    b"Transfer-Encodings:",
    b"Content-Encoding:",
    b":\r\nTransfer-Encoding:",
    b"nothing\r\nTransfer-Encoding:",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding:",
    b"Connection: Content-Length\r\nTransfer-Encoding:",
)
LENGTHS = (
    b"%d",
    b"+%d",
    b"-%d",
    b"0%d",
    b"00000000000000000000000%d",
    b"0x%x",
    b"%d.0",
    b"%de0",
    b"%d;x",
    b"%d ",
    b" %d",
    b"\t%d",
    b"\x0b%d",
    b"%d\x0b",
    b"%d\x00",
    b"\x00%d",
    b"%d\xa0",
    b"\xb2%d",
    b"%d_0",
    b"%d, %d",
    b"%d,%d",
    b"%d, 0",
    b"0, %d",
    b",%d",
    b"%d,",
    b"%d %d",
    b'"%d"',
    b"",
    b"18446744073709551616",
    b"9223372036854775808",
    b"%d\r\nContent-Length: %d",
    b"%d\r\nContent-Length: 0",
    b"0\r\nContent-Length: %d",
    b"%d\r\nContent-Length :0",
    b"\r\n %d",
    b"%d\r\n 0",
)
LENGTH_NAMES = (
    b"Content-Length:",
    b"content-length:",
    b"Content-Length :",
    b" Content-Length:",
    b"Content_Length:",
    b"Content-Length\x00:",
    b"\x0bContent-Length:",
    b"Content-Length\xa0:",
    b"X: y\nContent-Length:",
    b"X: y\rContent-Length:",
    b":\r\nContent-Length:",
    b"Connection: Content-Length\r\nContent-Length:",
)
METHODS = (b"POST", b"GET", b"HEAD", b"OPTIONS", b"DELETE")
CHUNK_LINES = (
    b"0x%x\r\n",
    b"+%x\r\n",
    b"-%x\r\n",
    b" %x\r\n",
    b"%x \r\n",
    b"%x\n",
    b"%x\r",
    b"%x;\n\r\n",
    b"%x;a\rb\r\n",
    b"%x;a=\x00\r\n",
    b"%x_0\r\n",
    b"%x,0\r\n",
    b"%x\x0b\r\n",
    b"%x\xa0\r\n",
    b"%x;ext=1\r\n",
    b'%x;ext="a;b"\r\n',
    b"000000000000000%x\r\n",
    b"00000000000000000000%x\r\n",
    b"10000000000000000%x\r\n",
    b"\r\n%x\r\n",
    b"\r\n",
    b";\r\n",
    b"g\r\n",
)


def head(fields: bytes, method: bytes = b"POST") -> bytes:
    return b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, fields)


def gadgets() -> Iterator[bytes]:
    """The whole table, several hundred rows."""
    yield from _coding_against_length()
    yield from _damaged_lengths()
    yield from _damaged_chunks()


def _coding_against_length() -> Iterator[bytes]:
    codings = [b"Transfer-Encoding: " + coding for coding in CODINGS]
    named = [name + b" chunked" for name in CODING_NAMES]
    doubled = [a + b"\r\n" + b for a in codings[:4] for b in (codings[0], b"Transfer-Encoding: identity")]
    for coding in (*codings, *named, *doubled):
        length = b"Content-Length: %d\r\n"
        yield head(length % len(CHUNKS) + coding + b"\r\n") + CHUNKS
        yield head(coding + b"\r\n" + length % len(CHUNKS)) + CHUNKS
        yield head(length % 4 + coding + b"\r\n") + ONE_CHUNK
        yield head(coding + b"\r\n") + CHUNKS


def _damaged_lengths() -> Iterator[bytes]:
    for method in METHODS:
        for length in LENGTHS:
            count = length.count(b"%d") + length.count(b"%x")
            value = length % ((len(HIDDEN),) * count)
            yield head(b"Content-Length: " + value + b"\r\n", method) + HIDDEN
        for name in LENGTH_NAMES:
            yield head(name + b" %d\r\n" % len(HIDDEN), method) + HIDDEN


def _damaged_chunks() -> Iterator[bytes]:
    coding = b"Transfer-Encoding: chunked\r\n"
    for line in CHUNK_LINES:
        opening = line % ((len(HIDDEN),) * line.count(b"%x"))
        yield head(coding) + opening + HIDDEN + b"\r\n0\r\n\r\n"
    for behind in (b"", b"\n", b"\r", b"xx", b"\r\r\n", b"\n\n"):
        yield head(coding) + b"%x\r\n" % len(HIDDEN) + HIDDEN + behind + b"0\r\n\r\n"
    for trailer in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: b", b"a", b": b", b" a: b"):
        yield head(coding) + b"0\r\n" + trailer + b"\r\n\r\n" + HIDDEN
