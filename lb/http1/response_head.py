"""Reading a response head: h11 judges it, then we do, as for a request (`lb.http1.request_head`).

A response whose framing is doubtful also costs the backend its connection: where on it the next response
begins would be a guess. What backends write oddly, but can be read in one way only, `lb.http1.head_reader`
mends before. A line that does not end in CRLF is refused: that is how a response is split in two.
"""

import re
from collections.abc import Iterable

import h11

from lb.errors import BadResponse
from lb.http1.body import CHUNKED, UNTIL_CLOSE
from lb.http1.fields import RESPONSE_CONTROL, announced_trailers, connection_options
from lb.http1.head_syntax import H11_HEAD_LIMIT, ILLEGAL, LENGTH, Judged, flaw_at, joined, sort_fields
from lb.http1.keep_alive import KeepAlive, keep_alive_in

SWITCHING_PROTOCOLS = 101
NO_CONTENT = 204
NOT_MODIFIED = 304
UPGRADE_REQUIRED = 426
OTHER_REQUEST_ID = re.compile(rb"^x-request-id:.*\n", re.IGNORECASE | re.MULTILINE)

_ASKED = h11.Request(
    method="GET", target="/", headers=[("Host", "_"), ("Connection", "upgrade"), ("Upgrade", "_")]
)
"""h11 reads a response only after a request. This one asks for an upgrade, so that a 101 comes to us too."""


class ResponseHead:
    """A response that may be forwarded.

    `length` is that of the body, `CHUNKED` or `UNTIL_CLOSE`; 0 is no body at all. `announced` is the
    Content-Length to show, which a response to HEAD and a 304 have without a body. `trailer` has the names of
    the trailers that are to come behind a chunked body, `offer` what the server says of how long it keeps the
    connection.
    """

    __slots__ = (
        "announced",
        "has_date",
        "keep_alive",
        "length",
        "lines",
        "offer",
        "reason",
        "status",
        "trailer",
        "upgrade",
    )

    def __init__(self, status: int, reason: bytes) -> None:
        self.status = status
        self.reason = reason
        self.lines = b""
        self.length = 0
        self.announced: int | None = None
        self.keep_alive = True
        self.offer: KeepAlive | None = None
        self.has_date = False
        self.upgrade = b""
        self.trailer = b""

    @property
    def is_interim(self) -> bool:
        return self.status < 200

    @property
    def is_final(self) -> bool:
        """No other head of the same response follows; behind a 101 another protocol begins."""
        return self.status >= 200 or self.status == SWITCHING_PROTOCOLS

    def framing(self, to_1_0: bool) -> bytes:
        """The line that frames the body for the client, and what it says of trailers.

        None for a 1.0 client where there is no length: the end of the connection is the end of the body.
        """
        if self.announced is not None:
            return b"Content-Length: %d\r\n" % self.announced
        if to_1_0 or self.length >= 0:
            return b""
        return b"%bTransfer-Encoding: chunked\r\n" % self.trailer

    def with_request_id(self, request_id: bytes) -> "ResponseHead":
        """The same, but that it has this X-Request-Id and no other: clients quote what the log has."""
        head = ResponseHead(self.status, self.reason)
        head.lines = OTHER_REQUEST_ID.sub(b"", self.lines) + b"X-Request-Id: %b\r\n" % request_id
        head.length, head.announced, head.keep_alive = self.length, self.announced, self.keep_alive
        head.offer, head.has_date = self.offer, self.has_date
        head.upgrade, head.trailer = self.upgrade, self.trailer
        return head

    def to_client(self, date: bytes, framing: bytes, connection: bytes) -> bytes:
        """The head as the client gets it; a missing Date is added (RFC 9110 section 6.6.1)."""
        added = b"" if self.has_date or self.is_interim else b"Date: %b\r\n" % date
        return b"HTTP/1.1 %d %b\r\n%b%b%b%b\r\n" % (
            self.status,
            self.reason,
            self.lines,
            added,
            framing,
            connection,
        )


def judge_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead:
    """The verdict on one whole response head (interim ones too) to a request of that method.

    Raises BadResponse, after which the connection that it came on is of no more use.
    """
    if (illegal := ILLEGAL.search(data)) is not None:
        raise BadResponse(f"the head of the answer has {flaw_at(data, illegal.start())}")
    if data.count(b"\n") - 2 > field_limit:
        raise BadResponse(f"the answer has more than {field_limit} fields")
    event = _as_h11_reads(data)
    if not event.http_version.startswith(b"1."):
        raise BadResponse("the answer has a version that HTTP/1.1 does not know")
    return _verdict(event, method)


def _as_h11_reads(data: bytes) -> h11.Response | h11.InformationalResponse:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=H11_HEAD_LIMIT)
    connection.send(_ASKED)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise BadResponse(f"the answer is not HTTP: {exc}") from exc
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise BadResponse("the answer does not begin with one whole head")
    return event


def _verdict(event: h11.Response | h11.InformationalResponse, method: bytes) -> ResponseHead:
    judged, kept = sort_fields(event, RESPONSE_CONTROL)
    options = connection_options(judged.get(b"connection", ()))
    head = ResponseHead(event.status_code, bytes(event.reason))
    head.has_date = b"date" in judged
    head.lines = joined(kept, options)
    is_1_0 = event.http_version == b"1.0"
    head.keep_alive = not is_1_0 and b"close" not in options
    head.offer = keep_alive_in(judged.get(b"keep-alive", ()))
    head.upgrade = b", ".join(judged.get(b"upgrade", ()))
    if head.status == UPGRADE_REQUIRED and head.upgrade:  # RFC 9110 section 15.5.22: it goes with this status
        head.lines += b"Upgrade: %b\r\nConnection: Upgrade\r\n" % head.upgrade
    _judge_body(head, judged, method, is_1_0)
    if head.length == CHUNKED:
        head.trailer = announced_trailers(judged.get(b"trailer", ()))
    return head


def _judge_body(head: ResponseHead, judged: Judged, method: bytes, is_1_0: bool) -> None:
    """RFC 9112 section 6.3, in its order."""
    codings, lengths = judged.get(b"transfer-encoding"), judged.get(b"content-length")
    length = None if lengths is None else _content_length(lengths)
    if codings is not None and (is_1_0 or [c.lower() for c in codings] != [b"chunked"]):
        raise BadResponse("the answer has a transfer coding other than chunked")
    if head.is_interim or head.status == NO_CONTENT:
        head.keep_alive = head.keep_alive and not length and codings is None
        return
    if codings is not None and length is not None:
        head.keep_alive, length = False, None
    head.announced = length
    if method == b"HEAD" or head.status == NOT_MODIFIED:
        return
    if codings is not None:
        head.length = CHUNKED
    elif length is not None:
        head.length = length
    else:
        head.length, head.keep_alive = UNTIL_CLOSE, False


def _content_length(values: Iterable[bytes]) -> int:
    """One number, or the same number again (RFC 9112 section 6.3, item 5); h11 has merged equal ones."""
    numbers = {number.strip() for value in values for number in value.split(b",")}
    number = numbers.pop()
    if numbers or not LENGTH.fullmatch(number) or int(number) >> 63:
        raise BadResponse("the answer's Content-Length is not one number below 2^63")
    return int(number)
