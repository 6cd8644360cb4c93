"""Heads to judge, and a strict reader of forwarded heads that shares nothing with the code under test."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lb.errors import BadRequest, BadResponse
from lb.http1.fast_head import read_request, read_response
from lb.http1.request_head import RequestHead, judge_request
from lb.http1.response_head import ResponseHead, judge_response
from tests.kit.classes import attributes

TARGET_LIMIT = 200
FIELD_LIMIT = 20
DEFAULT_HOST = b"default.test:80"
IDENTITY = b"X-Forwarded-For: 192.0.2.1\r\nVia: 1.1 lb\r\n"

POST = b"POST / HTTP/1.1"
OLD = b"GET / HTTP/1.0"
OPTIONS = b"OPTIONS / HTTP/1.1"

LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")

Fields = list[tuple[bytes, bytes]]


def request(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"a") -> bytes:
    """A whole head; `host` None leaves Host out."""
    first = (start,) if host is None else (start, b"Host: " + host)
    return b"\r\n".join((*first, *lines, b"", b""))


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


def fields(lines: bytes) -> Fields:
    """Field lines as names in lower case and values; an AssertionError where one is not a field line."""
    found: Fields = []
    for line in lines.split(b"\r\n")[:-1]:
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append((match[1].lower(), match[2].strip(b" \t")))
    return found


def judged(data: bytes) -> RequestHead:
    """The judge's verdict, or its refusal; the fast way must come to the same."""
    try:
        head = judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    except BadRequest:
        try:
            read_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
        except BadRequest:
            raise
        raise AssertionError("only the judge refuses it") from None
    assert_same_request(head, read_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT))
    return head


def refusal(data: bytes) -> int:
    """The status with which a request is refused; 0 if it is not."""
    try:
        judged(data)
    except BadRequest as exc:
        return exc.status
    return 0


def answered(data: bytes, method: bytes = b"GET") -> ResponseHead:
    head = judge_response(data, method, FIELD_LIMIT)
    assert_same_response(head, read_response(data, method, FIELD_LIMIT))
    return head


def is_refused(data: bytes, method: bytes = b"GET") -> bool:
    """Is that response refused? The judge and the fast way must agree."""
    refused = 0
    for read in (judge_response, read_response):
        try:
            read(data, method, FIELD_LIMIT)
        except BadResponse:
            refused += 1
    assert refused in (0, 2)
    return refused == 2


def assert_same_request(one: RequestHead, other: RequestHead) -> None:
    for name in set(attributes(RequestHead)) - {"lines"}:
        assert getattr(one, name) == getattr(other, name), name
    assert fields(one.lines) == fields(other.lines)


def assert_same_response(one: ResponseHead, other: ResponseHead) -> None:
    for name in set(attributes(ResponseHead)) - {"lines"}:
        assert getattr(one, name) == getattr(other, name), name
    assert fields(one.lines) == fields(other.lines)


@dataclass(frozen=True)
class Forwarded:
    """A head as its receiver reads it."""

    start: bytes
    fields: Fields

    def values(self, name: bytes) -> list[bytes]:
        return [value for there, value in self.fields if there == name]

    @property
    def names(self) -> set[bytes]:
        return {name for name, _ in self.fields}


def read(data: bytes) -> Forwarded:
    """One head with nothing behind it, and with one framing at most."""
    assert data.count(b"\r\n\r\n") == 1
    assert data.endswith(b"\r\n\r\n")
    start, _, lines = data[:-2].partition(b"\r\n")
    assert re.fullmatch(rb"[\t -~\x80-\xff]+", start)
    head = Forwarded(start, fields(lines))
    assert len(head.values(b"content-length")) + len(head.values(b"transfer-encoding")) <= 1
    assert all(re.fullmatch(rb"0|[1-9][0-9]*", value) for value in head.values(b"content-length"))
    assert head.values(b"transfer-encoding") in ([], [b"chunked"])
    return head


def forwarded(head: RequestHead) -> Forwarded:
    """What a backend gets to see."""
    read_head = read(head.to_backend(IDENTITY))
    assert len(read_head.values(b"host")) == 1
    assert read_head.start.endswith(b" HTTP/1.1")
    return read_head


def relayed(head: ResponseHead, to_1_0: bool = False) -> Forwarded:
    """What a client gets to see."""
    return read(head.to_client(b"now", head.framing(to_1_0), b""))


def gadgets(name: bytes, value: bytes) -> Iterator[bytes]:
    """Lines that one parser may take for that field and another may not."""
    blanks = [
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\r",
        b"\n",
        b"\x00",
        b"\x01",
        b"\x1f",
        b"\x7f",
        b"\xa0",
        b"\x85",
        b"\xff",
    ]
    for blank in blanks:
        yield blank + name + b": " + value
        yield name + blank + b": " + value
        yield name[:4] + blank + name[4:] + b": " + value
        yield b"X: y\r\n" + blank + name + b": " + value
        yield b"X:\r\n" + blank + name + b": " + value
        if blank not in b" \t":
            yield name + b":" + blank + value
            yield name + b": " + blank + value
            yield name + b": " + value + blank
            yield name + b": " + value[:1] + blank + value[1:]
            yield b"X: y" + blank + name + b": " + value if blank not in b"\xa0\x85\xff" else b": x"
    for joint in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t", b"\n "):
        yield name + b":" + joint + value
        yield b"X: y" + joint + name + b": " + value
        yield name + b": " + value + joint + b"x"
    for before in (b":", b"(", b'"', b"[", b"@", b",", b";", b"=", b"/", b"\\", b"{", b"?"):
        yield before + name + b": " + value
        yield name + before + b": " + value
    yield name + b"; " + value
    yield name + b"=" + value
    yield name + b" " + value
    yield name


TE_GADGETS = list(gadgets(b"Transfer-Encoding", b"chunked"))


CL_GADGETS = list(gadgets(b"Content-Length", b"7"))
