"""The names of fields: which frame, route, identify or end here, and how the lines that we add read.

Fields that belong to one connection are cut before ours are added, so that no `Connection: x-forwarded-for`
can take away what a backend must be able to trust (RFC 9110 section 7.6.1; the incident was
CVE-2024-45410).

The sets of names are the only source: the judge of heads and the fast recogniser are both made from them.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from lb.settings import values

TOKEN = values.TOKEN.pattern.encode()
FIELD_LINE = TOKEN + rb"+:[ \t]*+(?:[!-~\x80-\xff][\t -~\x80-\xff]*+)?+\r\n"
"""Possessive quantifiers: a field line matches in one way only, and the engine need not remember others."""
FIELD_LINES = re.compile(rb"(?:" + FIELD_LINE + rb")*+")

FRAMING = frozenset((b"content-length", b"transfer-encoding"))
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"http2-settings",
        b"proxy-authenticate",
        b"proxy-authorization",
    )
)
IDENTITY = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-real-ip",
        b"x-request-id",
    )
)
"""Fields that say who the client is. Only a trusted peer may say it; from others they are dropped."""

REQUEST_CONTROL = FRAMING | HOP_BY_HOP | {b"host", b"expect", b"max-forwards", b"via"}
"""Fields on which the verdict on a request depends, beside those of IDENTITY; the judge sees no other."""
RESPONSE_CONTROL = FRAMING | HOP_BY_HOP | {b"date"}
"""Fields on which the verdict on a response depends; the judge sees no other."""

NEVER_CONNECTION_OPTIONS = FRAMING | {
    b"host",
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"cache-control",
    b"date",
}
"""Fields for all recipients: a Connection field that names one of them is not obeyed (RFC 9110 7.6.1)."""

NOT_IN_TRAILERS = (
    FRAMING
    | HOP_BY_HOP
    | IDENTITY
    | {b"host", b"via", b"authorization", b"cookie", b"set-cookie", b"content-type", b"content-encoding"}
    | {
        b"content-range",
        b"cache-control",
        b"expect",
        b"max-forwards",
        b"pragma",
        b"range",
        b"www-authenticate",
        b"location",
    }
    | {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"}
    | {b"date", b"expires", b"age", b"vary", b"retry-after", b"warning"}
)
"""Fields that RFC 9110 section 6.5.1 forbids in a trailer section: framing, routing, control, credentials."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")


def is_identity(name: bytes) -> bool:
    """Does the name, in lower case, say who the client is, to us or to a backend that reads `_` as `-`?

    CGI and WSGI make the same variable of both, so a client's `X_Forwarded_For` would override our field.
    """
    if name in IDENTITY:
        return True
    return (b"_" in name or b"." in name) and name.replace(b"_", b"-").replace(b".", b"-") in IDENTITY


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options in the values of all Connection fields, in lower case."""
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b","))


def end_to_end_trailers(section: bytes) -> bytes:
    """The trailer lines that may travel on; ValueError where a line is not a field line."""
    if not FIELD_LINES.fullmatch(section):
        raise ValueError("a trailer is not a field line")
    lines = section.split(b"\r\n")[:-1]
    kept = [line for line in lines if not _stays_here(line.split(b":", 1)[0].lower())]
    return b"".join(line + b"\r\n" for line in kept)


def _stays_here(name: bytes) -> bool:
    return name in NOT_IN_TRAILERS or is_identity(name)


@lru_cache(64)
def _field(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|\n)" + re.escape(name) + rb":[ \t]*([^\r\n]*)", re.IGNORECASE)


def field_in(lines: bytes, name: bytes) -> bytes | None:
    """The value of the first field of this name in field lines, or None."""
    found = _field(name).search(lines)
    return None if found is None else found[1].rstrip(b" \t")


def cookie_in(lines: bytes, name: bytes) -> bytes | None:
    """The value of the first cookie of this name (RFC 6265 section 4.2), or None."""
    for value in _field(b"cookie").findall(lines):
        for pair in value.split(b";"):
            key, equals, cookie = pair.strip(b" \t").partition(b"=")
            if equals and key == name:
                return bytes(cookie)
    return None


class Identity:
    """What backends are told about one client connection; made once, when the connection is accepted.

    A `trusted` peer (another proxy of the operator's) may name the clients before it: its fields are kept and
    extended. Those of all other peers are replaced. Via is RFC 9110 section 7.6.3; `Forwarded` is RFC 7239
    and only sent by choice; the others are custom that every framework reads.
    """

    __slots__ = ("_constant", "_peer", "_sends_forwarded", "_trusted", "_via")

    def __init__(self, peer: bytes, trusted: bool, via: bytes, sends_forwarded: bool) -> None:
        self._peer = peer
        self._trusted = trusted
        self._sends_forwarded = sends_forwarded
        self._via = b"Via: 1.1 %b\r\n" % via, b"Via: 1.0 %b\r\n" % via
        self._constant = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\n" % peer

    def request_id(self, claims: dict[bytes, bytes] | None) -> bytes | None:
        """The id that a trusted peer gave the request, if it is fit to be logged."""
        if not claims or not self._trusted:
            return None
        claimed = claims.get(b"x-request-id", b"")
        return claimed if REQUEST_ID.fullmatch(claimed) else None

    def lines(
        self, host: bytes, request_id: bytes, claims: dict[bytes, bytes] | None, is_1_0: bool = False
    ) -> bytes:
        """The field lines to add to a request; `claims` is that of its head.

        Via names the version in which the request came, not the one in which it is sent on.
        """
        via = self._via[is_1_0]
        if claims and self._trusted:
            return self._extended(host, request_id, claims) + via
        lines = b"%b%bX-Forwarded-Host: %b\r\nX-Request-Id: %b\r\n" % (self._constant, via, host, request_id)
        return lines + b"Forwarded: %b\r\n" % self._forwarded(host) if self._sends_forwarded else lines

    def _extended(self, host: bytes, request_id: bytes, claims: dict[bytes, bytes]) -> bytes:
        fields = dict(claims)
        before = claims.get(b"x-forwarded-for")
        fields[b"x-forwarded-for"] = before + b", " + self._peer if before else self._peer
        fields.setdefault(b"x-forwarded-proto", b"http")
        fields.setdefault(b"x-forwarded-host", host)
        fields[b"x-request-id"] = request_id
        if self._sends_forwarded:
            before = claims.get(b"forwarded")
            ours = self._forwarded(host)
            fields[b"forwarded"] = before + b", " + ours if before else ours
        return b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in fields.items())

    def _forwarded(self, host: bytes) -> bytes:
        peer = b'"[%b]"' % self._peer if b":" in self._peer else self._peer
        return b'for=%b;host="%b";proto=http' % (peer, host)
