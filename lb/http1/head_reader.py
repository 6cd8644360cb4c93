"""Heads out of a stream of bytes, without I/O: feed what was received, get a judged head and the rest.

A head ends at its first empty line. The readers look for that line only in bytes that they have not searched
before, hold at most the limit and one received piece, and refuse as early as the bytes allow. How the bytes
were cut into pieces makes no difference to the head or to the error.

A reader serves one connection: after a head it is ready for the next one. After an error it is of no use.
"""

import re

from lb.errors import BadRequest, BadResponse, NotHttp
from lb.http1.fast_head import read_request, read_response, recognise_request, recognise_response
from lb.http1.head_syntax import HOPELESS, flaw_at
from lb.http1.request_head import RequestHead
from lb.http1.request_line import as_asked, read_request_line, refuse_line_begun
from lb.http1.response_head import ResponseHead

HEAD_END = b"\r\n\r\n"
EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")
NOT_BEGUN = (b"", b"\r")
"""What may still become an empty line before a head."""
RESPONSE_BEGINS = b"HTTP/1."
VERSION_AND_BLANKS = re.compile(rb"HTTP/1\.[0-9] {2,}")


class HeadBuffer:
    """The bytes of a head that has not ended; `searched` of them cannot be part of its end."""

    __slots__ = ("data", "searched")

    def __init__(self) -> None:
        self.data = b""
        self.searched = 0

    def find_end(self) -> int:
        """Where the bytes behind the head begin; 0 while the head goes on."""
        end = self.data.find(HEAD_END, self.searched)
        if end >= 0:
            return end + len(HEAD_END)
        self.searched = max(0, len(self.data) - len(HEAD_END) + 1)
        return 0

    def split(self, end: int) -> tuple[bytes, bytes]:
        """The head and what is behind it; the buffer is empty again."""
        data, self.data, self.searched = self.data, b"", 0
        return data[:end], data[end:]


class RequestHeadReader:
    """Reads the request heads of one client connection; `default_host` is that of `judge_request`.

    Empty lines before a request are skipped (RFC 9112 section 2.2). `head_limit` and `target_limit` are in
    bytes, `field_limit` is a number of fields, `takes_https` that of `judge_request`.
    """

    __slots__ = (
        "_buffer",
        "_default_host",
        "_field_limit",
        "_has_line",
        "_head_limit",
        "_takes_https",
        "_target_limit",
    )

    def __init__(
        self,
        default_host: bytes,
        *,
        head_limit: int,
        target_limit: int,
        field_limit: int,
        takes_https: bool = False,
    ) -> None:
        self._buffer = HeadBuffer()
        self._has_line = False
        self._takes_https = takes_https
        self._default_host = default_host
        self._head_limit = head_limit
        self._target_limit = target_limit
        self._field_limit = field_limit

    @property
    def has_begun(self) -> bool:
        """A head has begun and has not ended."""
        return self._buffer.data not in NOT_BEGUN

    @property
    def asked(self) -> tuple[bytes, bytes]:
        """Method and target of a head that is not complete, or was refused, as `as_asked` has them."""
        return as_asked(self._buffer.data)

    def add(self, data: bytes) -> None:
        """Take in what was received; with `next_head` behind it the same as `feed`.

        Between the two `has_begun` tells whether an error of `next_head` is about a request.
        """
        buffer = self._buffer
        buffer.data += data
        if buffer.data.startswith(b"\r\n"):
            buffer.data = EMPTY_LINES.sub(b"", buffer.data, count=1)

    def next_head(self) -> tuple[RequestHead, bytes] | None:
        """The next head, judged, and what is behind it; None while the head goes on.

        Raises BadRequest as soon as the bytes cannot become a request that may be acted on.
        """
        buffer, searched = self._buffer, self._buffer.searched
        end = buffer.find_end()
        if not end or end > self._head_limit:
            self._refuse_hopeless(buffer.data[:end] if end else buffer.data, searched)
            return None
        data, rest = buffer.split(end)
        self._has_line = False
        try:
            head = read_request(
                data, self._default_host, self._target_limit, self._field_limit, self._takes_https
            )
        except BadRequest:
            buffer.data = data  # `asked` is about it
            raise
        return head, rest

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """As `next_head`, with `data` taken in before."""
        self.add(data)
        return self.next_head()

    def _refuse_hopeless(self, data: bytes, searched: int) -> None:
        limit = self._head_limit
        if not self._has_line:
            self._judge_line(data[:limit], searched)
        if (illegal := HOPELESS.search(data, searched, limit)) is not None:
            raise BadRequest(f"the head has {flaw_at(data, illegal.start())}")
        if len(data) > limit:
            raise BadRequest(f"the head is longer than {limit} bytes", status=431)

    def _judge_line(self, begun: bytes, searched: int) -> None:
        """Judge the request line once it has come whole, and before that what has come of it."""
        if b"\r\n" in begun:
            read_request_line(begun, self._target_limit)
            self._has_line = True
        else:
            refuse_line_begun(begun, self._target_limit, searched)


INTERIM_LIMITS = 20
INTERIM_COUNTS_AS = 256
"""The bytes that an interim head counts as, if it has fewer: it costs as much to judge."""


class ResponseHeadReader:
    """Reads the heads of the response to one request of `method`: interim ones, then the final one.

    `head_limit` is in bytes for each head, `field_limit` a number of fields. All interim heads together may
    have `INTERIM_LIMITS` times as many bytes. What a backend may write in more than one way, and can be read
    in one way only, is mended as HAProxy and nginx do: an empty line before the status line is skipped, of
    blanks behind the version one is left.
    """

    __slots__ = ("_buffer", "_field_limit", "_has_skipped", "_head_limit", "_interim", "_method")

    def __init__(self, method: bytes, *, head_limit: int, field_limit: int) -> None:
        self._buffer = HeadBuffer()
        self._interim = 0
        self._has_skipped = False
        self._method = method
        self._head_limit = head_limit
        self._field_limit = field_limit

    @property
    def has_begun(self) -> bool:
        """A head has begun and has not ended."""
        return self._buffer.data not in NOT_BEGUN

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The next head, judged, and what is behind it, once `data` ends it; None while the head goes on.

        Behind a head that is not `is_final` another one follows: feed the rest. Raises BadResponse as soon as
        the bytes cannot become a response that may be passed on, or where interim heads have no end.
        """
        buffer = self._buffer
        buffer.data += data
        if buffer.data.startswith(b"\r\n") and not self._has_skipped:
            buffer.data, self._has_skipped = buffer.data[2:], True
        if self.has_begun and not buffer.data.startswith(RESPONSE_BEGINS[: len(buffer.data)]):
            raise NotHttp(NotHttp.what)
        searched, end = buffer.searched, buffer.find_end()
        if not end or end > self._head_limit:
            self._refuse_hopeless(buffer.data[:end] if end else buffer.data, searched)
            return None
        data, rest = buffer.split(end)
        head = read_response(_with_one_blank(data), self._method, self._field_limit)
        if not head.is_final:
            self._interim += max(end, INTERIM_COUNTS_AS)
            if self._interim > INTERIM_LIMITS * self._head_limit:
                raise BadResponse("there is no end of interim answers")
        return head, rest

    def _refuse_hopeless(self, data: bytes, searched: int) -> None:
        limit = self._head_limit
        if (illegal := HOPELESS.search(data, searched, limit)) is not None:
            raise BadResponse(f"the head of the answer has {flaw_at(data, illegal.start())}")
        if len(data) > limit:
            raise BadResponse(f"the head of the answer is longer than {limit} bytes")


def _with_one_blank(data: bytes) -> bytes:
    blanks = VERSION_AND_BLANKS.match(data)
    return data if blanks is None else blanks[0].rstrip(b" ") + data[blanks.end() - 1 :]


def recognise_whole_request(
    data: bytes, default_host: bytes, head_limit: int, target_limit: int, field_limit: int
) -> tuple[RequestHead, bytes] | None:
    """The plain head at the beginning of `data`, and what is behind it, by the fast way only.

    None where `data` does not begin with one whole plain head: a reader takes it then.
    """
    end = data.find(HEAD_END) + len(HEAD_END)
    if not len(HEAD_END) <= end <= head_limit:
        return None
    head = recognise_request(data[:end], default_host, target_limit, field_limit)
    return None if head is None else (head, data[end:])


def recognise_whole_response(
    data: bytes, method: bytes, head_limit: int, field_limit: int
) -> tuple[ResponseHead, bytes] | None:
    """As `recognise_whole_request`, for the final head of the response to a request of `method`."""
    end = data.find(HEAD_END) + len(HEAD_END)
    if not len(HEAD_END) <= end <= head_limit:
        return None
    head = recognise_response(data[:end], method, field_limit)
    return None if head is None else (head, data[end:])
