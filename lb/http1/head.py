"""Reading the two kinds of head: h11 judges, then we do, and we are only ever stricter.

h11 alone is not a safe parser for a proxy: it takes Transfer-Encoding beside Content-Length, folded lines,
bare line feeds, any `HTTP/d.d` and any Host, because a server can live with them. Between two parties that
may read them differently they are how requests are smuggled. So a head passes four gates in this order:
its bytes, its request line, h11, and the fields that frame and route it. What comes out is a verdict in
few words (what to forward, how the body ends, whether the connection may stay), never a copy of framing.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

import h11

from lb.errors import BadRequest, BadResponse
from lb.http1.body import CHUNKED, UNTIL_CLOSE
from lb.http1.fields import (
    FRAMING,
    HOP_BY_HOP,
    IDENTITY,
    NEVER_CONNECTION_OPTIONS,
    TOKEN,
    connection_options,
    is_identity,
)

ILLEGAL = re.compile(rb"[^\t\r\n -~\x80-\xff]|\r(?!\n)|(?<!\r)\n|\n[ \t]")
"""Control characters, a lone CR or LF (RFC 9112 section 2.2), or a folded line (section 5.2)."""
HOPELESS = re.compile(rb"[^\t\r\n -~\x80-\xff]|\r[^\n]|(?<!\r)\n|\n[ \t]")
"""What is illegal in a head that has not ended yet, where a CR may still be followed by its LF."""
REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
METHOD = re.compile(TOKEN)
METHOD_LIMIT = 32
HOST = re.compile(
    rb"(?:(?:[-._~!$&'()*+;=0-9A-Za-z]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?"
)
"""RFC 3986 section 3.2.2 without user information and without a comma."""
HOST_LIMIT = 4096  # far beyond any name; the pattern takes 150 times the memory of what it matches
ABSOLUTE = re.compile(rb"[hH][tT][tT][pP]://([^/?#]*)((?:[/?][^#]*)?)")
LENGTH = re.compile(rb"[0-9]{1,19}")
CODINGS = re.compile(rb"\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
ALLOW = b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
SWITCHING_PROTOCOLS = 101
MOST_OFFERS = 10
"""Protocols that are looked at in one Upgrade line; more may be ignored (RFC 9110 section 7.8)."""
PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

_H11_HEAD_LIMIT = 1 << 20  # ours apply before h11 sees anything; its own must never be the first to bite
_ASKED = h11.Request(
    method="GET", target="/", headers=[("Host", "_"), ("Connection", "upgrade"), ("Upgrade", "_")]
)
"""h11 reads an answer only after a request. It asks for an upgrade so that h11 lets us judge a 101."""


class RequestHead:
    """A request that may be forwarded.

    `lines` are its end-to-end field lines as they came, Host among them; `length` is that of the body,
    `CHUNKED`, or None where there is none; `claims` is what it says of the client's identity, by name in
    lower case; `upgrade` the protocols it asks for, in one value.
    """

    __slots__ = (
        "answer_here",
        "claims",
        "expects_continue",
        "host",
        "is_1_0",
        "keep_alive",
        "length",
        "lines",
        "method",
        "target",
        "te_trailers",
        "upgrade",
        "via",
    )

    def __init__(self, method: bytes, target: bytes, is_1_0: bool) -> None:
        self.method = method
        self.target = target
        self.is_1_0 = is_1_0
        self.host = b""
        self.lines = b""
        self.length: int | None = None
        self.keep_alive = not is_1_0
        self.expects_continue = False
        self.te_trailers = False
        self.upgrade = b""
        self.via = b""
        self.claims: dict[bytes, bytes] | None = None
        self.answer_here = False

    @property
    def has_body(self) -> bool:
        return bool(self.length)

    def framing(self) -> bytes:
        """The one line that frames the body for the backend; made from the verdict, never copied."""
        if self.length is None:
            return b""
        return (
            b"Transfer-Encoding: chunked\r\n"
            if self.length == CHUNKED
            else b"Content-Length: %d\r\n" % self.length
        )

    def to_backend(self, identity: bytes) -> bytes:
        """The head as the backend gets it, with our identity lines behind what may travel on."""
        connection = b""
        if self.upgrade:
            connection = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        elif self.te_trailers:
            connection = b"Connection: TE\r\nTE: trailers\r\n"
        if self.expects_continue:
            connection += b"Expect: 100-continue\r\n"
        return b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n" % (
            self.method,
            self.target,
            self.lines,
            identity,
            connection,
            self.framing(),
        )


class ResponseHead:
    """An answer that may be forwarded. `length` is as in a request, or `UNTIL_CLOSE`; 0 is no body at all.

    `announced` is the Content-Length to show, which HEAD and 304 have without a body.
    """

    __slots__ = ("announced", "has_date", "keep_alive", "length", "lines", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes) -> None:
        self.status = status
        self.reason = reason
        self.lines = b""
        self.length = 0
        self.announced: int | None = None
        self.keep_alive = True
        self.has_date = False
        self.upgrade = b""

    @property
    def is_interim(self) -> bool:
        return self.status < 200

    @property
    def is_final(self) -> bool:
        """No other head of the same response follows; behind a 101 another protocol begins."""
        return self.status >= 200 or self.status == SWITCHING_PROTOCOLS

    def framing(self, to_1_0: bool) -> bytes:
        """The line that frames the body for the client; to a 1.0 client what has no length ends by close."""
        if self.announced is not None:
            return b"Content-Length: %d\r\n" % self.announced
        return b"" if to_1_0 or self.length >= 0 else b"Transfer-Encoding: chunked\r\n"

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


def judge_request(data: bytes, default_host: bytes, target_limit: int, field_limit: int) -> RequestHead:
    """The verdict on one whole request head, from its first byte to its empty line; BadRequest otherwise.

    `default_host` stands in for the Host that an HTTP/1.0 request need not have.
    """
    if (illegal := ILLEGAL.search(data)) is not None:
        raise BadRequest(f"the head has an illegal byte or line end at offset {illegal.start()}")
    method, target, is_1_0 = _request_line(data, target_limit)
    if data.count(b"\n") - 2 > field_limit:
        raise BadRequest(f"more than {field_limit} fields", status=431)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_H11_HEAD_LIMIT)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        about_coding = exc.error_status_hint == 501 and not is_1_0
        unknown = about_coding and _is_unknown_before_chunked(CODINGS.findall(data))
        raise BadRequest(str(exc), status=501 if unknown else 400) from exc
    if not isinstance(event, h11.Request):
        raise BadRequest("the head is not one whole request")
    head = RequestHead(method, target, is_1_0)
    _apply_request(head, event, default_host)
    return head


def _request_line(data: bytes, target_limit: int) -> tuple[bytes, bytes, bool]:
    line = REQUEST_LINE.match(data)
    if line is None:
        raise _bad_request_line(data, target_limit)
    method, target, major, minor = line.groups()
    if len(target) > target_limit:
        raise BadRequest(f"the target is longer than {target_limit} bytes", status=414)
    if major != b"1":
        raise BadRequest(f"HTTP/{major.decode()}.{minor.decode()} is not spoken here", status=505)
    if not METHOD.fullmatch(method):
        raise BadRequest("the method is not a token")
    if len(method) > METHOD_LIMIT or method == b"CONNECT":
        raise BadRequest(f"the method {method[:METHOD_LIMIT].decode()} is not supported", status=501)
    if method == b"TRACE":
        raise BadRequest("TRACE is not allowed", status=405)
    return method, target, minor == b"0"


def _bad_request_line(data: bytes, target_limit: int) -> BadRequest:
    first = data.split(b"\r\n", 1)[0].split(b" ")
    if len(first) > 1 and len(first[1]) > target_limit:
        return BadRequest(f"the target is longer than {target_limit} bytes", status=414)
    return BadRequest("the request line is not `method target HTTP/1.1`")


TELLING_OF_REQUEST = HOP_BY_HOP | FRAMING | {b"host", b"expect"}
TELLING_OF_OPTIONS = TELLING_OF_REQUEST | {b"max-forwards"}
TELLING_OF_RESPONSE = HOP_BY_HOP | FRAMING | {b"date"}

Told = dict[bytes, list[bytes]]
"""The values of the fields that frame and route, by name in lower case."""
Kept = list[tuple[bytes, bytes]]
"""(name in lower case, the whole line) of each field that travels on."""


def _sort_out(
    event: h11.Request | h11.Response | h11.InformationalResponse, telling: frozenset[bytes]
) -> tuple[Told, Kept]:
    told: Told = {}
    kept: Kept = []
    raw_items = event.headers.raw_items()
    for (name, value), (raw, _) in zip(event.headers, raw_items, strict=True):
        if name in telling:
            told.setdefault(name, []).append(value)
        if name not in telling or name in (b"host", b"date"):
            kept.append((name, b"%b: %b\r\n" % (raw, value)))
    return told, kept


def _joined(kept: Kept, named: frozenset[bytes]) -> bytes:
    """The lines that travel on: all but those that a Connection field names (RFC 9110 section 7.6.1)."""
    options = named - NEVER_CONNECTION_OPTIONS
    return b"".join(line for name, line in kept if name not in options)


def _apply_request(head: RequestHead, event: h11.Request, default_host: bytes) -> None:
    telling = TELLING_OF_OPTIONS if head.method == b"OPTIONS" else TELLING_OF_REQUEST
    told, kept = _sort_out(event, telling)
    named = connection_options(told.get(b"connection", ()))
    kept = _hear_claims(head, kept)
    if _judge_host(head, told.get(b"host", []), default_host):
        kept = [(name, line) for name, line in kept if name != b"host"]
        kept.insert(0, (b"host", b"Host: %b\r\n" % head.host))
    _judge_request_body(head, told)
    _judge_connection(head, told, named)
    _judge_expectations(head, told)
    head.lines = _joined(kept, named) + _forwards_left(head, told)


def _hear_claims(head: RequestHead, kept: Kept) -> Kept:
    """Take out what the client says of its identity; a name in disguise (`X_Forwarded_For`) is dropped."""
    claims: dict[bytes, bytes] = {}
    others: Kept = []
    for name, line in kept:
        if is_identity(name):
            if name in IDENTITY:
                value = line.split(b":", 1)[1].strip()
                claims[name] = claims[name] + b", " + value if name in claims else value
            continue
        if name == b"via":
            head.via += line
        others.append((name, line))
    head.claims = claims or None
    return others


def _judge_host(head: RequestHead, hosts: list[bytes], default_host: bytes) -> bool:
    """RFC 9112 section 3.2: one valid Host. True where the line must be made anew."""
    if len(hosts) > 1 or (not hosts and not head.is_1_0):
        raise BadRequest("exactly one Host field is needed")
    head.host = hosts[0] if hosts else default_host
    if not is_host(head.host):
        raise BadRequest("Host is not a valid host and port")
    if not head.target.startswith(b"/"):
        _judge_target(head)
    if b"#" in head.target:
        raise BadRequest("the target has a fragment")
    return hosts != [head.host]


def is_host(value: bytes) -> bool:
    """A host and perhaps a port, as RFC 9110 section 7.2 wants it; an empty one is legal but useless here."""
    match = HOST.fullmatch(value) if len(value) <= HOST_LIMIT else None
    if match is None or (match[2] and int(match[2]) > 65535):
        return False
    return not match[1] or _is_ipv6(match[1].decode())


def _is_ipv6(literal: str) -> bool:
    try:
        IPv6Address(literal)
    except ValueError:
        return False
    return True


def _judge_target(head: RequestHead) -> None:
    """RFC 9112 sections 3.2.2 to 3.2.4: in an absolute target the authority replaces Host."""
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    absolute = ABSOLUTE.fullmatch(head.target)
    if absolute is None:
        raise BadRequest("the target is neither a path nor an http URL")
    head.host, rest = absolute.groups()
    if not is_host(head.host):
        raise BadRequest("the target does not name a valid host and port")
    if not rest and head.method == b"OPTIONS":
        head.target = b"*"
    else:
        head.target = rest if rest.startswith(b"/") else b"/" + rest


def _judge_request_body(head: RequestHead, told: Told) -> None:
    """RFC 9112 section 6.3, without what it merely tolerates."""
    codings, lengths = told.get(b"transfer-encoding"), told.get(b"content-length")
    if codings is None:
        head.length = None if lengths is None else _request_length(lengths)
        return
    if lengths is not None:
        raise BadRequest("both Transfer-Encoding and Content-Length frame the body")
    if head.is_1_0:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
    if [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadRequest("the only transfer coding spoken here is chunked")
    head.length = CHUNKED


def _request_length(values: list[bytes]) -> int:
    if len(values) != 1 or not LENGTH.fullmatch(values[0]) or int(values[0]) >> 63:
        raise BadRequest("Content-Length is not one number below 2^63")
    return int(values[0])


def _is_unknown_before_chunked(codings: list[bytes]) -> bool:
    """RFC 9112 section 6.1: the framing is sound, it is only that we do not know the coding."""
    if len(codings) != 1:
        return False
    *before, last = (token.strip() for token in codings[0].lower().split(b","))
    return bool(before) and last == b"chunked" not in before and all(map(METHOD.fullmatch, before))


def _judge_connection(head: RequestHead, told: Told, named: frozenset[bytes]) -> None:
    if head.is_1_0:
        return  # section 9.3: a proxy does not keep a connection to a 1.0 client; 7.8: it cannot upgrade
    head.keep_alive = b"close" not in named
    head.te_trailers = b"trailers" in connection_options(told.get(b"te", ()))
    if b"upgrade" in named and not head.has_body:
        values = told.get(b"upgrade", ())
        asked = [p.strip() for value in values for p in value.split(b",", MOST_OFFERS)[:MOST_OFFERS]]
        head.upgrade = b", ".join(p for p in asked if PROTOCOL.fullmatch(p) and p.lower() != b"h2c")


def _judge_expectations(head: RequestHead, told: Told) -> None:
    """RFC 9110 section 10.1.1: one expectation is known, and HTTP/1.0 has none."""
    expected = told.get(b"expect")
    if expected is None or head.is_1_0:
        return
    if [value.lower() for value in expected] != [b"100-continue"]:
        raise BadRequest("the only expectation known is 100-continue", status=417)
    head.expects_continue = head.has_body


def _forwards_left(head: RequestHead, told: Told) -> bytes:
    """RFC 9110 section 7.6.2, for OPTIONS: at 0 we are the one who answers."""
    values = told.get(b"max-forwards")
    if values is None:
        return b""
    if len(values) != 1 or not LENGTH.fullmatch(values[0]):
        raise BadRequest("Max-Forwards is not one number")
    left = int(values[0])
    head.answer_here = left == 0
    return b"Max-Forwards: %d\r\n" % max(0, left - 1)


def judge_response(data: bytes, method: bytes, field_limit: int) -> ResponseHead:
    """The verdict on one whole response head (interim ones too) to a request of that method.

    Raises BadResponse, after which the connection that it came on is of no more use.
    """
    if (illegal := ILLEGAL.search(data)) is not None:
        raise BadResponse(f"the head of the answer has an illegal byte or line end at {illegal.start()}")
    if data.count(b"\n") - 2 > field_limit:
        raise BadResponse(f"the answer has more than {field_limit} fields")
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_H11_HEAD_LIMIT)
    connection.send(_ASKED)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise BadResponse(f"the answer is not HTTP: {exc}") from exc
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise BadResponse("the answer does not begin with one whole head")
    if not event.http_version.startswith(b"1.") or event.status_code > 599:
        raise BadResponse("the answer has a version or status that HTTP/1.1 does not know")
    return _verdict(event, method)


def _verdict(event: h11.Response | h11.InformationalResponse, method: bytes) -> ResponseHead:
    told, kept = _sort_out(event, TELLING_OF_RESPONSE)
    named = connection_options(told.get(b"connection", ()))
    head = ResponseHead(event.status_code, bytes(event.reason))
    head.has_date = b"date" in told
    head.lines = _joined(kept, named)
    is_1_0 = event.http_version == b"1.0"
    head.keep_alive = not is_1_0 and b"close" not in named
    head.upgrade = b", ".join(told.get(b"upgrade", ()))
    _judge_response_body(head, told, method, is_1_0)
    return head


def _judge_response_body(head: ResponseHead, told: Told, method: bytes, is_1_0: bool) -> None:
    """RFC 9112 section 6.3, in its order. A doubtful framing also costs the backend its connection."""
    codings, lengths = told.get(b"transfer-encoding"), told.get(b"content-length")
    length = None if lengths is None else _response_length(lengths)
    if codings is not None and (is_1_0 or [c.lower() for c in codings] != [b"chunked"]):
        raise BadResponse("the answer has a transfer coding other than chunked")
    if head.is_interim or head.status == 204:
        head.keep_alive = head.keep_alive and not length and codings is None
        return
    if codings is not None and length is not None:
        head.keep_alive, length = False, None
    head.announced = length
    if method == b"HEAD" or head.status == 304:
        return
    if codings is not None:
        head.length = CHUNKED
    elif length is not None:
        head.length = length
    else:
        head.length, head.keep_alive = UNTIL_CLOSE, False


def _response_length(values: Iterable[bytes]) -> int:
    """One number, or the same number again (RFC 9112 section 6.3, item 5)."""
    numbers = {number.strip() for value in values for number in value.split(b",")}
    number = numbers.pop()
    if numbers or not LENGTH.fullmatch(number) or int(number) >> 63:
        raise BadResponse("the answer's Content-Length is not one number below 2^63")
    return int(number)
