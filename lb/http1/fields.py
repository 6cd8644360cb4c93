"""The names of fields: which frame, route, identify or end here. What is added: `lb.http1.forwarded_fields`.

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
NAME = re.compile(TOKEN)
FIELD_LINE = TOKEN + rb"+:[ \t]*+(?:[!-~\x80-\xff][\t -~\x80-\xff]*+)?\r\n"
"""Possessive quantifiers: a field line matches in one way only, and the engine need not remember others.

Not so the `?`: CPython 3.11.2 matches a line without its end where a possessive group is within another.
"""
FIELD_LINES = re.compile(rb"(?:" + FIELD_LINE + rb")*+")

NOT_ALPHANUMERIC = re.compile(rb"[^a-z0-9]")

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
CLIENT_CERT, CLIENT_CERT_CHAIN = b"client-cert", b"client-cert-chain"
"""RFC 9440: the certificate that a client has shown to whoever ended its TLS."""
IDENTITY = frozenset(
    (
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        CLIENT_CERT,
        CLIENT_CERT_CHAIN,
        b"client-ip",
        b"fastly-client-ip",
        b"forwarded",
        b"forwarded-for",
        b"front-end-https",
        b"path_info",
        b"proxy-client-ip",
        b"script_name",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-original-url",
        b"x-real-ip",
        b"x-request-id",
        b"x-rewrite-url",
        b"x-scheme",
        b"x-script-name",
    )
)
"""Fields that say who the client is or what it asked for, beside all that begin with X_FORWARDED.

Only a trusted peer may say it; from others they are dropped. gunicorn takes SCRIPT_NAME, from a proxy that it
trusts, off the beginning of the path, so `/x/admin` would become `/admin` behind a route."""
SCHEME = b":scheme"
"""Stands for the scheme of an absolute target among what a client claims; no field has this name."""
X_FORWARDED = b"x-forwarded-"

REQUEST_CONTROL = FRAMING | HOP_BY_HOP | {b"host", b"expect", b"max-forwards", b"proxy", b"via"}
"""Fields on which the verdict on a request depends, beside those of IDENTITY; the judge sees no other.

`Proxy` is no field of HTTP. It ends here, because CGI would make HTTP_PROXY of it (CVE-2016-5385)."""
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


MOST_ANNOUNCED = 100
"""Names that are looked at in one Trailer line; more trailers than these are refused anyway."""


def is_identity(name: bytes) -> bool:
    """Does the name, in lower case, say who the client is?"""
    return name in IDENTITY or name.startswith(X_FORWARDED)


def is_claim(name: bytes) -> bool:
    """Is what this field says, by its name in lower case, for `RequestHead.claims`?"""
    return name in IDENTITY or (name.startswith(X_FORWARDED) and not is_disguised(name))


def is_disguised(name: bytes) -> bool:
    """Would a backend that reads other marks as `-` take this name, in lower case, for one that ends here?

    CGI and WSGI make one variable of `X-Forwarded-For`, `X_Forwarded_For` and, some of them,
    `X~Forwarded~For`, so a client's field would override ours; `Content_Length` would frame the body.
    """
    plain = NOT_ALPHANUMERIC.sub(b"-", name)
    return plain != name and (plain in REQUEST_CONTROL or is_identity(plain))


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options in the values of all Connection fields, in lower case."""
    return frozenset([option.strip(b" \t") for value in values for option in value.lower().split(b",")])


def end_to_end_trailers(section: bytes) -> bytes:
    """The trailer lines that may travel on; ValueError where a line is not a field line."""
    if not FIELD_LINES.fullmatch(section):
        raise ValueError("a trailer is not a field line")
    lines = section.split(b"\r\n")[:-1]
    kept = [line for line in lines if not _stays_here(line.split(b":", 1)[0].lower())]
    return b"".join(line + b"\r\n" for line in kept)


def announced_trailers(values: Iterable[bytes]) -> bytes:
    """The Trailer line for those of the announced trailers that may travel on (RFC 9110 section 6.6.2)."""
    most = MOST_ANNOUNCED
    names = [name.strip(b" \t") for value in values for name in value.split(b",", most)[:most]]
    kept = [name for name in names if NAME.fullmatch(name) and not _stays_here(name.lower())]
    return b"Trailer: %b\r\n" % b", ".join(kept) if kept else b""


def _stays_here(name: bytes) -> bool:
    return name in NOT_IN_TRAILERS or is_identity(name) or is_disguised(name)


@lru_cache(64)
def _field(name: bytes) -> re.Pattern[bytes]:
    """For field lines with a line feed before them: it begins with one byte, so the search can skip to it."""
    return re.compile(rb"\n" + re.escape(name) + rb":[ \t]*([^\r\n]*)", re.IGNORECASE)


@lru_cache(64)
def _cookie(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|;)[ \t]*+" + re.escape(name) + rb"=([^;]*)")


def is_event_stream(lines: bytes) -> bool:
    """The response with these field lines is a stream of server-sent events, which may be silent for long."""
    return (field_in(lines, b"content-type") or b"").lower().startswith(b"text/event-stream")


def field_in(lines: bytes, name: bytes) -> bytes | None:
    """The value of the first field of this name in field lines, or None."""
    found = _field(name).search(b"\n" + lines)
    return None if found is None else found[1].rstrip(b" \t")


def cookies_in(lines: bytes, name: bytes) -> list[bytes]:
    """The values of all cookies of this name (RFC 6265 section 4.2)."""
    find = _cookie(name).findall
    values = _field(b"cookie").findall(b"\n" + lines)
    return [found.rstrip(b" \t") for value in values for found in find(value)]
