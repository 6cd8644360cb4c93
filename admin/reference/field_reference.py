"""What becomes of the fields of requests and responses. A test sends each of them."""

from typing import NamedTuple

from admin.reference.topic import Entry, Topic, entry
from lb.http1.fields import CLIENT_CERT, CLIENT_CERT_CHAIN, HOP_BY_HOP, IDENTITY

PREFACE = """\
What a backend gets of a request, from a client and from a peer in `trusted_proxies`, and what a client gets
of a backend's answer and in answers of our own. *cut*: it does not go on; *ours*: what we say stands in its
place, or where it is missing; *anew*: it is written again.
"""
SPELLED = {"te": "TE", "http2-settings": "HTTP2-Settings", "x-real-ip": "X-Real-IP"}
"""Where not each word begins with a capital; those with an underscore are variables of CGI."""
OWN_ROWS = frozenset({b"forwarded", b"x-request-id", CLIENT_CERT, CLIENT_CERT_CHAIN})


class Row(NamedTuple):
    """Fields that are treated alike: their names, and what becomes of them in two cases."""

    names: tuple[str, ...]
    first: str
    second: str


def _written(names: frozenset[bytes]) -> tuple[str, ...]:
    return tuple(sorted(_cased(name.decode()) for name in names))


def _cased(name: str) -> str:
    return SPELLED.get(name, name.upper() if "_" in name else name.title())


REQUESTS = (
    Row(("X-Forwarded-For",), "ours", "extended"),
    Row(("X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id"), "ours", "kept; ours where it is missing"),
    Row(("Forwarded",), "cut; ours with `forwarded`", "kept; extended with `forwarded`"),
    Row(
        ("Client-Cert", "Client-Cert-Chain"),
        "cut; ours where the client has shown a certificate that is told",
        "kept; ours where it is missing",
    ),
    Row(("X-Forwarded-Port", "X-Forwarded-User"), "cut, as all that begin with X-Forwarded-", "kept"),
    Row(_written(IDENTITY - OWN_ROWS), "cut", "kept"),
    Row(
        ("X_Forwarded_For", "X~Real~IP", "Content_Length", "Transfer.Encoding"),
        "cut, as all that CGI takes for one of the above or below",
        "cut",
    ),
    Row(("Via",), "extended", "extended"),
    Row(
        (*_written(HOP_BY_HOP), "Proxy", "X-Named"),
        "cut, and what Connection names (X-Named); TE: trailers and an upgrade are asked for anew",
        "cut",
    ),
    Row(("Content-Length", "Transfer-Encoding", "Expect"), "anew; Expect with a body only", "anew"),
    Row(("Max-Forwards",), "kept; one less in OPTIONS", "kept"),
    Row(("Host", "Cookie", "Authorization", "User-Agent", "Date"), "kept, as any other", "kept"),
)
"""What a backend gets: of a client, of a trusted proxy."""
ANSWERS = (
    Row(("Date",), "kept; ours where it is missing", "ours"),
    Row(("Content-Length", "Transfer-Encoding"), "anew", "ours"),
    Row(("Connection",), "cut; close where the connection ends", "absent; close where the connection ends"),
    Row(
        (*_written(HOP_BY_HOP - {b"connection"}), "X-Named"),
        "cut, and what Connection names (X-Named); an upgrade is passed on anew",
        "absent",
    ),
    Row(("Set-Cookie",), "kept; in a sticky pool ours beside it", "absent"),
    Row(("Proxy-Status", "X-Request-Id"), "kept", "ours"),
    Row(("Content-Type",), "kept", "ours"),
    Row(("Via", "Server"), "kept, as any other", "absent"),
)
"""What a client gets: of a backend, of ourselves."""


def fields_topic() -> Topic:
    """Both tables, as entries."""
    asked = [_entry(row, "request", "client", "trusted proxy") for row in REQUESTS]
    answered = [_entry(row, "answer", "backend", "our own") for row in ANSWERS]
    return Topic((*asked, *answered), PREFACE)


def _entry(row: Row, what: str, first: str, second: str) -> Entry:
    return entry(
        ", ".join(row.names),
        f"{what}: {', '.join(row.names)}",
        f"{first}: {row.first}. {second}: {row.second}.",
    )
