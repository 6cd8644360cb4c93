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
SCHEME = b":scheme"
"""Stands for the scheme of an absolute target among what a client claims; no field has this name."""

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


MOST_ANNOUNCED = 100
"""Names that are looked at in one Trailer line; more trailers than these are refused anyway."""


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


def announced_trailers(values: Iterable[bytes]) -> bytes:
    """The Trailer line for those of the announced trailers that may travel on (RFC 9110 section 6.6.2)."""
    most = MOST_ANNOUNCED
    names = [name.strip(b" \t") for value in values for name in value.split(b",", most)[:most]]
    kept = [name for name in names if NAME.fullmatch(name) and not _stays_here(name.lower())]
    return b"Trailer: %b\r\n" % b", ".join(kept) if kept else b""


def _stays_here(name: bytes) -> bool:
    return name in NOT_IN_TRAILERS or is_identity(name)


@lru_cache(64)
def _field(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|\n)" + re.escape(name) + rb":[ \t]*([^\r\n]*)", re.IGNORECASE)


def is_event_stream(lines: bytes) -> bool:
    """The response with these field lines is a stream of server-sent events, which may be silent for long."""
    return (field_in(lines, b"content-type") or b"").lower().startswith(b"text/event-stream")


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
