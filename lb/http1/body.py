"""How a body is framed: by its length, in chunks, or by the end of the connection (RFC 9112 section 6).

A reader is fed received bytes and returns content, with the framing taken off; towards the other side the
framing is made anew. The chunk reader is our own because h11's accepts what can smuggle requests past other
parsers (a bare CR or LF in an extension, endless extensions); a property test holds it to h11.

A chunk costs as much time as a kilobyte of content, so a client may not send any number of small ones. It may
send them as they come to be (a log, a feed): each receive entitles it to `CHUNKS_PER_FEED`, and up to
`CHUNKS_SAVED` that did not come are saved. Only many small chunks that come at once are refused. No clock is
needed, as what comes slowly comes in many receives. Backends are not judged: their chunks may be small, and
heap up while a client is slow. One call reads `CHUNKS_AT_ONCE` at most, so that others get their turn.
"""

import re
from typing import Protocol

from lb.http1.fields import TOKEN, end_to_end_trailers

CHUNKED = -1
UNTIL_CLOSE = -2
"""Stand where a length is expected, for the two framings in which the length is not known beforehand."""

LINE_LIMIT = 256
"""Bytes of one chunk-size line; the extensions that are in use (AWS signatures) take about 100."""
TRAILER_LIMIT = 16 * 1024
TRAILER_FIELDS = 100
CHUNKS_AT_ONCE = 512
CHUNKS_SAVED = 1024
CHUNKS_PER_FEED = 16
CHUNKS_PER_KIB = 64
_SIZE = rb"([0-9A-Fa-f]{1,16})"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (TOKEN, TOKEN, _QUOTED)
_ANY_EXTENSION = rb"[ \t]*;[\t -~\x80-\xff]*"
CHUNK_HEAD = re.compile(_SIZE + rb"(?:" + _EXTENSION + rb")*\r\n")
LENIENT_CHUNK_HEAD = re.compile(_SIZE + rb"(?:" + _ANY_EXTENSION + rb"\r|[ \t]*\r?)\n")
"""From a backend also blanks behind the size (old servers pad it), a line feed alone, and any extension."""
CHUNK_HEAD_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t]*|" + _ANY_EXTENSION + rb")\r?")
LENIENT_TRAILERS_END = re.compile(rb"\n\r?\n")


class BadBody(ValueError):
    """The framing of a body is broken. Where the body ends is not known, so the connection must end."""


class Reader(Protocol):
    """Takes the framing off a body. Once `done`, `rest` holds the bytes behind the body."""

    done: bool
    rest: bytes
    """Bytes of the last `feed` that were not read; before the body is `done` they are to be fed again."""
    trailers: bytes

    def feed(self, data: bytes) -> bytes:
        """The content in `data`, up to its `rest`; BadBody where the framing is broken."""
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
    one trailer section, and both are bounded. What comes from a backend is read more leniently (`is_strict`
    False) where it can be read in one way only, as nginx and HAProxy do.
    """

    __slots__ = (
        "_chunks",
        "_head",
        "_held",
        "_in_trailers",
        "_is_strict",
        "_left",
        "_spare",
        "done",
        "rest",
        "trailers",
    )

    def __init__(self, *, is_strict: bool = True) -> None:
        self._is_strict = is_strict
        self._chunks = 0
        self._head = CHUNK_HEAD if is_strict else LENIENT_CHUNK_HEAD
        self._held = b""
        self._left = 0  # of the current chunk: its content and the CRLF behind it
        self._in_trailers = False
        self._spare = CHUNKS_SAVED  # chunks that may come beyond those which their bytes are worth
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        self.rest = b""
        searched = len(self._held) if self._in_trailers else 0
        if self._held:
            data, self._held = self._held + data, b""
        content: list[bytes] = []
        at, first = 0, self._chunks
        most = first + CHUNKS_AT_ONCE
        while at < len(data) and not self.done:
            if self._in_trailers:
                self._read_trailers(data[at:], searched)
                break
            if self._left:
                at = self._read_content(data, at, content)
            elif self._chunks < most:
                at = self._read_chunks(data, at, content, most)
            else:
                self.rest = data[at:]
                break
        if self._is_strict:
            self._count(self._chunks - first, at)
        return b"".join(content)

    def _read_chunks(self, data: bytes, at: int, content: list[bytes], most: int) -> int:
        """Read whole chunks, by no further call for each of them, and the size of one that is not whole."""
        match_head = self._head.match
        while self._chunks < most and (head := match_head(data, at, at + LINE_LIMIT)) is not None:
            begin = head.end()
            end = begin + int(head[1], 16)
            if begin == end or data[end : end + 2] != b"\r\n":
                return self._read_size(data, at)
            content.append(data[begin:end])
            self._chunks += 1
            at = end + 2
        return at if self._chunks == most or at == len(data) else self._read_size(data, at)

    def _count(self, chunks: int, size: int) -> None:
        """So many chunks were in so many bytes: BadBody if they are too many."""
        self._spare += CHUNKS_PER_FEED + size * CHUNKS_PER_KIB // 1024 - chunks
        if self._spare < 0:
            raise BadBody(f"its chunks are too small: more than {CHUNKS_PER_KIB} for each KiB")
        self._spare = min(self._spare, CHUNKS_SAVED)

    def _read_size(self, data: bytes, at: int) -> int:
        match = self._head.match(data, at, at + LINE_LIMIT)
        if match is None:
            self._held = data[at : at + LINE_LIMIT]
            if not CHUNK_HEAD_BEGUN.fullmatch(self._held):
                raise BadBody("a chunk does not begin with a line of its size, and of extensions perhaps")
            if len(self._held) == LINE_LIMIT:
                raise BadBody(f"the extensions of a chunk are longer than {LINE_LIMIT} bytes")
            return len(data)
        size = int(match[1], 16)
        if size >> 63:
            raise BadBody("a chunk says that it has more than 2^63 bytes")
        self._left = size + 2 if size else 0
        self._in_trailers = not size
        self._chunks += 1
        return match.end()

    def _read_content(self, data: bytes, at: int, content: list[bytes]) -> int:
        end = at + self._left
        upto = min(end - 2, len(data))
        if at < upto:
            content.append(data[at:upto])
        mark = data[max(at, end - 2) : end]
        if not b"\r\n"[max(0, 2 - self._left) :].startswith(mark):
            if self._is_strict or self._left < 2 or not mark.startswith(b"\n"):
                raise BadBody("a chunk is longer than its size says")
            self._left = 0
            return end - 1
        self._left = max(0, end - len(data))
        return min(end, len(data))

    def _read_trailers(self, data: bytes, searched: int) -> None:
        """Read the trailers if they have come whole; they do not end in what was `searched` before."""
        find = _trailers if self._is_strict else _trailers_of_backend
        end, section = find(data, searched)
        if not end:
            self._held = data
            if len(data) > TRAILER_LIMIT + 1 or (self._is_strict and _has_bare_line_feed(data, searched)):
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


def _trailers(data: bytes, searched: int) -> tuple[int, bytes]:
    """Where the trailer section ends, and its field lines; 0 while it goes on."""
    if data.startswith(b"\r\n"):
        return 2, b""
    end = data.find(b"\r\n\r\n", max(0, searched - 3)) + 4
    return (end, data[: end - 2]) if end > 3 else (0, b"")


def _trailers_of_backend(data: bytes, searched: int) -> tuple[int, bytes]:
    """The same, where lines may end in a line feed alone."""
    if data.startswith((b"\n", b"\r\n")):
        return data.index(b"\n") + 1, b""
    end = LENIENT_TRAILERS_END.search(data, max(0, searched - 2))
    if end is None:
        return 0, b""
    return end.end(), data[: end.start() + 1].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _has_bare_line_feed(data: bytes, searched: int) -> bool:
    """Whether a line feed without a carriage return is in what was not searched before."""
    begin = searched - data.endswith(b"\r", 0, searched)
    return data.count(b"\n", begin) != data.count(b"\r\n", begin)


def reader_for(length: int, *, is_strict: bool = True) -> Reader:
    """The reader for a body of so many bytes, `CHUNKED` or `UNTIL_CLOSE`; a client's is read strictly."""
    if length == CHUNKED:
        return ChunkedReader(is_strict=is_strict)
    if length == UNTIL_CLOSE:
        return CloseReader()
    return LengthReader(length)


def as_chunk(content: bytes) -> bytes:
    """One chunk; nothing for no content, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """The end of a chunked body, with trailer lines that may travel on."""
    return b"0\r\n%b\r\n" % trailers
