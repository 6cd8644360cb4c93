"""How a body is framed: by its length, in chunks, or by the end of the connection (RFC 9112 section 6).

A reader is fed received bytes and returns content, with the framing taken off; towards the other side the
framing is made anew. The chunk reader is our own because h11's accepts what can smuggle requests past other
parsers (a bare CR or LF in an extension, endless extensions); a property test holds it to h11.
"""

import re
from typing import Protocol

from lb.http1.fields import end_to_end_trailers

CHUNKED = -1
UNTIL_CLOSE = -2
"""Stand where a length is expected, for the two framings in which the length is not known beforehand."""

LINE_LIMIT = 256
"""Bytes of one chunk-size line; the extensions that are in use (AWS signatures) take about 100."""
TRAILER_LIMIT = 16 * 1024
TRAILER_FIELDS = 100
_EXTENSION = rb"[ \t]*;[\t -~\x80-\xff]*"
CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")?\r\n")
CHUNK_HEAD_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t]*|" + _EXTENSION + rb")\r?")


class BadBody(ValueError):
    """The framing of a body is broken. Where the body ends is not known, so the connection must end."""


class Reader(Protocol):
    """Takes the framing off a body. Once `done`, `rest` holds the bytes behind the body."""

    done: bool
    rest: bytes
    trailers: bytes

    def feed(self, data: bytes) -> bytes:
        """The content in `data`; BadBody where the framing is broken."""
        ...

    def ends_with_connection(self) -> bool:
        """The connection has ended: is that the end of the body?"""
        ...


class LengthReader:
    """A body of exactly `left` bytes."""

    __slots__ = ("done", "left", "rest", "trailers")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = left == 0
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        if len(data) < self.left:
            self.left -= len(data)
            return data
        content, self.rest = data[: self.left], data[self.left :]
        self.left, self.done = 0, True
        return content

    def skip(self, count: int) -> None:
        """Count content that was spliced past the reader; not more than is left."""
        self.left -= count
        self.done = not self.left

    def ends_with_connection(self) -> bool:
        return self.done


class CloseReader:
    """A body that ends when the connection does; only a response can have one."""

    __slots__ = ("done", "rest", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def ends_with_connection(self) -> bool:
        self.done = True
        return True


class ChunkedReader:
    """A body in chunks (RFC 9112 section 7.1); extensions are dropped, trailers judged and kept apart.

    It takes linear time however the input is cut: between two calls it holds at most one chunk-size line or
    one trailer section, and both are bounded.
    """

    __slots__ = ("_held", "_in_trailers", "_left", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # of the current chunk: its content and the CRLF behind it
        self._in_trailers = False
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data, self._held = self._held + data, b""
        content: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            if self._in_trailers:
                self._read_trailers(data[at:])
                break
            if not self._left:
                at = self._read_size(data, at)
                continue
            at = self._read_content(data, at, content)
        return b"".join(content)

    def _read_size(self, data: bytes, at: int) -> int:
        match = CHUNK_HEAD.match(data, at)
        if match is None:
            self._held = data[at : at + LINE_LIMIT + 1]
            if len(self._held) > LINE_LIMIT or not CHUNK_HEAD_BEGUN.fullmatch(self._held):
                raise BadBody("a chunk does not begin with its size in hexadecimal digits")
            return len(data)
        if match.end() - at > LINE_LIMIT:
            raise BadBody(f"the extensions of a chunk are longer than {LINE_LIMIT} bytes")
        size = int(match[1], 16)
        if size >> 63:
            raise BadBody("a chunk says that it has more than 2^63 bytes")
        self._left = size + 2 if size else 0
        self._in_trailers = not size
        return match.end()

    def _read_content(self, data: bytes, at: int, content: list[bytes]) -> int:
        end = at + self._left
        upto = min(end - 2, len(data))
        if at < upto:
            content.append(data[at:upto])
        mark = data[max(at, end - 2) : end]
        if not b"\r\n"[max(0, 2 - self._left) :].startswith(mark):
            raise BadBody("a chunk is longer than its size says")
        self._left = max(0, end - len(data))
        return min(end, len(data))

    def _read_trailers(self, data: bytes) -> None:
        if data.startswith(b"\r\n"):
            end, section = 2, b""
        else:
            end = data.find(b"\r\n\r\n") + 4
            section = data[: end - 2]
        if end == 3:
            self._held = data
            if len(data) > TRAILER_LIMIT + 1 or data.count(b"\n") != data.count(b"\r\n"):
                raise BadBody(f"the trailers are not field lines of {TRAILER_LIMIT} bytes at most")
            return
        if len(section) > TRAILER_LIMIT or section.count(b"\n") > TRAILER_FIELDS:
            raise BadBody(f"more than {TRAILER_LIMIT} bytes or {TRAILER_FIELDS} fields of trailers")
        try:
            self.trailers = end_to_end_trailers(section)
        except ValueError as exc:
            raise BadBody(str(exc)) from None
        self.done, self.rest = True, data[end:]

    def ends_with_connection(self) -> bool:
        return self.done


def reader_for(length: int) -> Reader:
    """The reader for a body of so many bytes, `CHUNKED` or `UNTIL_CLOSE`."""
    if length == CHUNKED:
        return ChunkedReader()
    if length == UNTIL_CLOSE:
        return CloseReader()
    return LengthReader(length)


def as_chunk(content: bytes) -> bytes:
    """One chunk; nothing for no content, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """The end of a chunked body, with trailer lines that may travel on."""
    return b"0\r\n%b\r\n" % trailers
