"""A strict parser of what the balancer sends to clients and to backends. It shares no code with the balancer.

It accepts one form of each thing, the one that the balancer must send. Lines end in CRLF, a message has
exactly one framing, a chunk has a size in lower case and no extension, a request says HTTP/1.1 and has one
Host, an answer that ends with its connection has `Connection: close`.
"""

import re
from dataclasses import dataclass, field

from tests.kit.line import Line

FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")
REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.1")
STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)")
CHUNK_SIZE = re.compile(rb"[0-9a-f]+\r\n")

Fields = list[tuple[str, str]]


class NotHttp(AssertionError):
    """The balancer has sent a message that is not in the one accepted form."""


@dataclass(kw_only=True)
class Message:
    """`head` has all its bytes, `fields` their order and case. `body` is without its framing."""

    start: str
    fields: Fields
    head: bytes
    framing: str = "none"  # or "length", "chunked", "close"
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        """The value of a field, which must be there exactly once."""
        values = self.all(name)
        assert len(values) == 1, f"{name} is there {len(values)} times in {self.head!r}"
        return values[0]

    def __contains__(self, name: object) -> bool:
        return bool(self.all(str(name)))

    def all(self, name: str) -> list[str]:
        """The values of a field, in their order."""
        return [value for there, value in self.fields if there.lower() == name.lower()]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fields]

    @property
    def length(self) -> int:
        return int(self["Content-Length"])


@dataclass(kw_only=True)
class Request(Message):
    method: str
    target: str


@dataclass(kw_only=True)
class Response(Message):
    status: int
    reason: str


async def read_request_head(line: Line) -> Request:
    head, start, fields = await _read_head(line)
    match = REQUEST_LINE.fullmatch(start)
    if match is None:
        raise NotHttp(f"no request line: {start!r}")
    method, target = match.groups()
    request = Request(start=start, fields=fields, head=head, method=method, target=target)
    request.framing = _framing(request)
    if len(request.all("Host")) != 1:
        raise NotHttp(f"not exactly one Host: {head!r}")
    return request


async def read_response_head(line: Line, to: str) -> Response:
    """Read the head of an answer to a request with the method `to`."""
    head, start, fields = await _read_head(line)
    match = STATUS_LINE.fullmatch(start)
    if match is None:
        raise NotHttp(f"no status line: {start!r}")
    status, reason = int(match[1]), match[2]
    response = Response(start=start, fields=fields, head=head, status=status, reason=reason)
    framing = _framing(response)
    if status < 200 or status == 204:
        if framing != "none":
            raise NotHttp(f"{status} with a framing: {head!r}")
    elif to != "HEAD" and status != 304:
        response.framing = "close" if framing == "none" else framing
    if response.framing == "close" and response.all("Connection") != ["close"]:
        raise NotHttp(f"it ends with the connection and does not say so: {head!r}")
    return response


async def read_body(line: Line, message: Message) -> None:
    match message.framing:
        case "length":
            message.body = await line.take(message.length)
        case "chunked":
            while chunk := await read_chunk(line):
                message.chunks.append(chunk)
            message.body = b"".join(message.chunks)
            message.trailers = await read_trailers(line)
        case "close":
            message.body, how = await line.hears_all()
            if how != "end":
                raise NotHttp(f"a {how} where the end of the body was expected")


async def read_chunk(line: Line) -> bytes:
    """Read the content of the next chunk. b"" is the last chunk; its trailers are left."""
    head = await line.take_until(b"\r\n")
    if not CHUNK_SIZE.fullmatch(head):
        raise NotHttp(f"no chunk size: {head[:100]!r}")
    size = int(head, 16)
    if not size:
        return b""
    chunk = await line.take(size + 2)
    if not chunk.endswith(b"\r\n"):
        raise NotHttp(f"a chunk of {size} bytes does not end behind them")
    return chunk[:-2]


async def read_trailers(line: Line) -> Fields:
    lines = []
    while (text := await line.take_until(b"\r\n")) != b"\r\n":
        lines.append(text[:-2].decode("latin-1"))
    return [_field(text) for text in lines]


async def _read_head(line: Line) -> tuple[bytes, str, Fields]:
    head = await line.take_until(b"\r\n\r\n")
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    return head, start, [_field(text) for text in lines]


def _field(text: str) -> tuple[str, str]:
    match = FIELD.fullmatch(text)
    if match is None:
        raise NotHttp(f"no field line: {text!r}")
    return match[1], match[2].rstrip(" \t")


def _framing(message: Message) -> str:
    lengths, codings = message.all("Content-Length"), message.all("Transfer-Encoding")
    match lengths, codings:
        case [], []:
            return "none"
        case [length], [] if re.fullmatch("0|[1-9][0-9]*", length):
            return "length"
        case [], ["chunked"]:
            return "chunked"
        case _:
            raise NotHttp(f"not exactly one framing: {message.head!r}")
