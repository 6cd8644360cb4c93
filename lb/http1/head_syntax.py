"""What request and response heads have in common: legal bytes, lengths, and how h11's fields are sorted."""

import re

import h11

from lb.http1.fields import NEVER_CONNECTION_OPTIONS

_CONTROL = rb"[\x00-\x08\n-\x1f\x7f]"
_NO_LINE_END = rb"(?<=[^\r\n])"
_BAD_LINE_FEED = rb"(?<=\n)(?:(?<!\r\n)|(?=[ \t]))"
ILLEGAL = re.compile(_CONTROL + rb"(?:%b|(?<=\r)(?!\n)|%b)" % (_NO_LINE_END, _BAD_LINE_FEED))
"""Control characters, a lone CR or LF (RFC 9112 section 2.2), or a folded line (section 5.2).

It begins with one set of bytes, so that the search can skip to the next of them; the rest looks back at it.
"""
HOPELESS = re.compile(_CONTROL + rb"(?:%b|(?<=\r)(?=[^\n])|%b)" % (_NO_LINE_END, _BAD_LINE_FEED))
"""What is illegal in a head that has not ended yet, where a CR may still be followed by its LF."""
LENGTH = re.compile(rb"[0-9]{1,19}")

H11_HEAD_LIMIT = 1 << 20
"""Our limits apply before h11 sees a head, so that of h11 must never be the first to refuse one."""

TRAVELS_ON = frozenset((b"host", b"date", b"via"))
"""Fields that are judged and forwarded; all other fields that are judged end here."""

Judged = dict[bytes, list[bytes]]
"""The values of the fields on which a verdict depends, by name in lower case."""
Kept = list[tuple[bytes, bytes]]
"""(name in lower case, the whole line) of each field that travels on."""


def flaw_at(data: bytes, at: int) -> str:
    """What ILLEGAL or HOPELESS has found there, in words."""
    what = data[at : at + 1]
    if what == b"\r":
        return f"a carriage return without a line feed at offset {at}"
    if what == b"\n":
        is_folded = data.endswith(b"\r", 0, at)
        return (
            f"a folded line at offset {at}"
            if is_folded
            else f"a line feed without a carriage return at offset {at}"
        )
    return f"an illegal byte (0x{data[at]:02x}) at offset {at}"


def sort_fields(
    event: h11.Request | h11.Response | h11.InformationalResponse, control: frozenset[bytes]
) -> tuple[Judged, Kept]:
    """The values of the `control` fields, and the lines that travel on; both in the order of the head."""
    judged: Judged = {}
    kept: Kept = []
    raw_items = event.headers.raw_items()
    for (name, value), (raw, _) in zip(event.headers, raw_items, strict=True):
        if name in control:
            judged.setdefault(name, []).append(value)
        if name not in control or name in TRAVELS_ON:
            kept.append((name, b"%b: %b\r\n" % (raw, value)))
    return judged, kept


def joined(kept: Kept, options: frozenset[bytes]) -> bytes:
    """All kept lines but those that a Connection field names in its options (RFC 9110 section 7.6.1)."""
    cut = options - NEVER_CONNECTION_OPTIONS
    return b"".join(line for name, line in kept if name not in cut)
