"""Reading a request head: h11 judges it, then we do, and we are only ever stricter.

h11 alone is not a safe parser for a proxy: it takes Transfer-Encoding beside Content-Length, folded lines,
bare line feeds, any `HTTP/d.d` and any Host, because a server can live with them. Between two parties that
may read them differently they are how requests are smuggled. So a head passes four gates in this order: its
bytes, its request line, h11, and the fields that frame and route it. The verdict says what to forward, how
the body ends and whether the connection may stay; the framing of what we send is made from the verdict,
never copied.
"""

import re
from collections.abc import Iterable

import h11

from lb.core.exchange_record import LONGEST_NOTED, Noted
from lb.errors import BadRequest
from lb.http1.authority import is_host
from lb.http1.body import CHUNKED
from lb.http1.fields import (
    REQUEST_CONTROL,
    SCHEME,
    TOKEN,
    announced_trailers,
    connection_options,
    field_in,
    is_disguised,
    is_identity,
)
from lb.http1.head_syntax import H11_HEAD_LIMIT, ILLEGAL, LENGTH, Judged, Kept, flaw_at, joined, sort_fields
from lb.http1.request_line import METHOD, read_request_line

ALLOW = b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)((?:[/?][^#]*)?)", re.IGNORECASE)
CODINGS = re.compile(rb"\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")
MOST_OFFERS = 10
"""Protocols that are looked at in one Upgrade line; more may be ignored (RFC 9110 section 7.8)."""


class RequestHead:
    """A request that may be forwarded.

    `lines` are its end-to-end field lines as they came, Host among them; `length` is that of the body,
    `CHUNKED`, or None where there is none; `claims` is what it says of the client's identity, by name in
    lower case; `upgrade` holds the protocols it asks for, and `via` what its Via fields say, in one value
    each. `answer_here`: it is for this balancer itself (OPTIONS with `Max-Forwards: 0`).
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

    def field(self, name: bytes) -> bytes | None:
        """The value of the field with this name, in lower case, as the client sent it; the first, or None."""
        if self.claims is not None and name in self.claims:
            return self.claims[name]
        return field_in(self.lines, name)

    def noted(self, names: Iterable[bytes]) -> Noted:
        """What the access log needs of it: these fields, cut to what it may show."""
        values = ((name, self.field(name)) for name in names)
        kept = {name: value[:LONGEST_NOTED] for name, value in values if value is not None}
        return Noted("HTTP/1.0" if self.is_1_0 else "HTTP/1.1", kept)

    def framing(self) -> bytes:
        """The line that frames the body for the backend, or none."""
        if self.length is None:
            return b""
        if self.length == CHUNKED:
            return b"Transfer-Encoding: chunked\r\n"
        return b"Content-Length: %d\r\n" % self.length

    def to_backend(self, identity: bytes) -> bytes:
        """The head as the backend gets it; `identity` are the lines that we add about the client."""
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


def judge_request(
    data: bytes, default_host: bytes, target_limit: int, field_limit: int, takes_https: bool = False
) -> RequestHead:
    """The verdict on one whole request head, from its first byte to its empty line; BadRequest otherwise.

    `default_host` stands in for the Host that an HTTP/1.0 request need not have. Only a trusted peer that has
    ended TLS may ask for an https URL (`takes_https`).
    """
    method, target, is_1_0 = read_request_line(data, target_limit)
    if (illegal := ILLEGAL.search(data)) is not None:
        raise BadRequest(f"the head has {flaw_at(data, illegal.start())}")
    if data.count(b"\n") - 2 > field_limit:
        raise BadRequest(f"more than {field_limit} fields", status=431)
    event = _as_h11_reads(data, is_1_0)
    head = RequestHead(method, target, is_1_0)
    _apply(head, event, default_host, takes_https)
    return head


# -- h11 ---------------------------------------------------------------------------------------------------


def _as_h11_reads(data: bytes, is_1_0: bool) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=H11_HEAD_LIMIT)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        about_coding = exc.error_status_hint == 501 and not is_1_0
        unknown = about_coding and _is_unknown_before_chunked(CODINGS.findall(data))
        raise BadRequest(str(exc), status=501 if unknown else 400) from exc
    if not isinstance(event, h11.Request):
        raise BadRequest("the head is not one whole request")
    return event


def _is_unknown_before_chunked(codings: list[bytes]) -> bool:
    """RFC 9112 section 6.1: the framing is sound, only the coding before chunked is not known here."""
    if len(codings) != 1:
        return False
    *before, last = (token.strip() for token in codings[0].lower().split(b","))
    return bool(before) and last == b"chunked" not in before and all(map(METHOD.fullmatch, before))


# -- the fields: what is not private is also used by the recogniser ---------------------------------------


def _apply(head: RequestHead, event: h11.Request, default_host: bytes, takes_https: bool) -> None:
    """Fill in the head from the fields, in the order in which their mistakes are reported."""
    # Max-Forwards is a rule for OPTIONS and TRACE; in other requests it is a field like any other.
    control = REQUEST_CONTROL if head.method == b"OPTIONS" else REQUEST_CONTROL - {b"max-forwards"}
    judged, kept = sort_fields(event, control)
    options = connection_options(judged.get(b"connection", ()))
    head.via = b", ".join(judged.get(b"via", ()))
    kept = _without_claims(head, kept)
    if judge_host(head, judged.get(b"host", []), default_host, takes_https):
        kept = [(name, line) for name, line in kept if name != b"host"]
        kept.insert(0, (b"host", b"Host: %b\r\n" % head.host))
    judge_body(head, judged)
    judge_connection(head, judged, options)
    judge_expectations(head, judged)
    head.lines = joined(kept, options) + _forwards_left(head, judged)
    if head.length == CHUNKED:
        head.lines += announced_trailers(judged.get(b"trailer", ()))


def _without_claims(head: RequestHead, kept: Kept) -> Kept:
    """Move what the client says of its identity into `head.claims`.

    A name in disguise (`X_Forwarded_For`) is dropped, whoever sends it: a trusted proxy passes on what it
    does not know.
    """
    claims: dict[bytes, bytes] = {}
    others: Kept = []
    for name, line in kept:
        if not is_identity(name):
            if not is_disguised(name):
                others.append((name, line))
        elif not is_disguised(name):
            value = line.split(b":", 1)[1].strip()
            claims[name] = claims[name] + b", " + value if name in claims else value
    head.claims = claims or None
    return others


def judge_host(head: RequestHead, hosts: list[bytes], default_host: bytes, takes_https: bool = False) -> bool:
    """RFC 9112 section 3.2: one valid Host. True where the Host line must be made anew."""
    if len(hosts) > 1 or (not hosts and not head.is_1_0):
        raise BadRequest("exactly one Host field is needed")
    head.host = hosts[0] if hosts else default_host
    if not is_host(head.host):
        raise BadRequest("Host is not a valid host and port")
    if not head.target.startswith(b"/"):
        _judge_target(head, takes_https)
    if b"#" in head.target:
        raise BadRequest("the target has a fragment")
    return hosts != [head.host]


def _judge_target(head: RequestHead, takes_https: bool) -> None:
    """RFC 9112 sections 3.2.2 to 3.2.4: in an absolute target the authority replaces Host.

    RFC 9110 section 7.4: an https URL is refused unless it came over TLS, or from a peer that has ended it.
    """
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    absolute = ABSOLUTE.fullmatch(head.target)
    if absolute is None:
        raise BadRequest("the target is neither a path nor an http URL")
    scheme, head.host, rest = absolute.groups()
    if scheme.lower() == b"https":
        if not takes_https:
            raise BadRequest("an https URL is taken from a trusted proxy only, which has ended TLS")
        head.claims = {**(head.claims or {}), SCHEME: b"https"}
    if not is_host(head.host):
        raise BadRequest("the target does not name a valid host and port")
    if not rest and head.method == b"OPTIONS":
        head.target = b"*"
    else:
        head.target = rest if rest.startswith(b"/") else b"/" + rest


def judge_body(head: RequestHead, judged: Judged) -> None:
    """RFC 9112 section 6.3, without the framings that it merely tolerates."""
    codings, lengths = judged.get(b"transfer-encoding"), judged.get(b"content-length")
    if codings is None:
        head.length = None if lengths is None else _content_length(lengths)
        return
    if lengths is not None:
        raise BadRequest("both Transfer-Encoding and Content-Length frame the body")
    if head.is_1_0:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
    if [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadRequest("the only transfer coding spoken here is chunked")
    head.length = CHUNKED


def _content_length(values: list[bytes]) -> int:
    """One number. h11 merges equal ones into one value, and refuses the head where they differ."""
    if len(values) != 1 or not LENGTH.fullmatch(values[0]) or int(values[0]) >> 63:
        raise BadRequest("Content-Length is not one number below 2^63")
    return int(values[0])


def judge_connection(head: RequestHead, judged: Judged, options: frozenset[bytes]) -> None:
    # RFC 9112 section 9.3: a proxy does not keep a connection to a 1.0 client. RFC 9110 section 7.8: a 1.0
    # client cannot upgrade.
    if head.is_1_0:
        return
    head.keep_alive = b"close" not in options
    if b"te" in judged:
        head.te_trailers = b"trailers" in connection_options(judged[b"te"])
    if b"upgrade" in options and not head.has_body:
        values = judged.get(b"upgrade", ())
        offers = [p.strip() for value in values for p in value.split(b",", MOST_OFFERS)[:MOST_OFFERS]]
        head.upgrade = b", ".join(p for p in offers if p.lower() != b"h2c" and PROTOCOL.fullmatch(p))


def judge_expectations(head: RequestHead, judged: Judged) -> None:
    """RFC 9110 section 10.1.1: 100-continue is the only expectation, and HTTP/1.0 has none."""
    expected = judged.get(b"expect")
    if expected is None or head.is_1_0:
        return
    if [value.lower() for value in expected] != [b"100-continue"]:
        raise BadRequest("the only expectation known is 100-continue", status=417)
    head.expects_continue = head.has_body


def _forwards_left(head: RequestHead, judged: Judged) -> bytes:
    """The Max-Forwards line to send (RFC 9110 section 7.6.2); at 0 the request is answered here."""
    values = judged.get(b"max-forwards")
    if values is None:
        return b""
    if len(values) != 1 or not LENGTH.fullmatch(values[0]):
        raise BadRequest("Max-Forwards is not one number")
    left = int(values[0])
    head.answer_here = left == 0
    return b"Max-Forwards: %d\r\n" % max(0, left - 1)
