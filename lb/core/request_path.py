"""One path, many spellings: how a usual backend reads the path of a request.

`/%61dmin`, `/x/../admin` and `//admin` are `/admin` to a server that decodes once and collapses what has no
meaning. A route that compared bytes could be walked around by such a spelling, so routes are compared with
the reading, while the request is forwarded as it came (RFC 9110 section 7.7 forbids a proxy to change it).

The usual reading is RFC 3986 section 6.2.2 and what nginx does beyond it: all of the path is decoded once, an
encoded slash too. Of two bytes there is no usual reading. A backslash is a slash to IIS and to WHATWG's URL;
what follows a semicolon in a segment does not count for Java servers. Such a path has further readings.

Dot segments are resolved by most servers, but not by all, and not by all in the same order: before decoding
and with empty segments (RFC 3986, so also WHATWG's URL), or never. And `//x/admin` is `/admin` on the host x
to whoever takes the target for a reference. These are `stray_readings`.
"""

import re
from itertools import product
from string import hexdigits

SPELLED = re.compile(rb"%|\\|;|/[/.]")
"""Found in each path whose reading may differ from its bytes. All other paths cost this search only.

Each branch begins with one plain byte, so that the search can skip to the next of these bytes.
"""
DOUBTFUL = re.compile(
    rb"[\\]"
    rb"|/(?=/)"
    rb"|/\.\.?(?:[/;]|%3[bB]|\Z)"
    rb"|%(?:25)*(?:2[eEfF]|5[cC]|00)"
    rb"|%[cC][01]"
    rb"|%(?![0-9A-Fa-f]{2})"
)
"""What backends read in different ways: each of these has led past the rules of some proxy.

A backslash; an empty segment; a dot segment, also with parameters behind it; an encoded dot, slash, backslash
or NUL, also where it was encoded twice; an encoded byte that no UTF-8 has (an overlong slash begins with it);
a percent sign that encodes nothing.
"""


PARAMETERS = re.compile(rb";[^/]*")
ENCODED = re.compile("%([0-9A-Fa-f]{2})")
APART = 0x100
"""Added to an encoded byte once it is decoded, so that it is no slash yet for who cuts before decoding."""
DECODED = {high + low: chr(APART + int(high + low, 16)) for high, low in product(hexdigits, repeat=2)}
ENCODED_DOT = DECODED["2e"]
SLASHES = re.compile(rb"//+")
AUTHORITY = re.compile(r"\A[/\\]{2,}[^/\\]*/?")
ODD_AUTHORITY = re.compile("\\A//[^/@]*@[^/%;|^`{}\"'<>\u0100-\u01ff]*/?")
"""What stands before the path of a reference. Node's `url.parse` ends a host at what none can have."""
REFERENCES = 2
"""How often a path may be taken for a reference: by who splits the target, and by who joins it to a base."""
STRAY = re.compile(rb"\A[/\\]{2}|(?:\.|%2[eE]){2}")
"""Some servers do not resolve `..`, or do it before they decode; `//x/admin` is on the host x to others."""


def reading(path: bytes) -> bytes:
    """The path as a usual backend reads it: decoded once, dot segments and empty segments resolved.

    It begins with a slash, and ends with one where the path names a folder. What is no path (`*`) stays.
    """
    return readings(path)[0]


def readings(path: bytes) -> list[bytes]:
    r"""The usual reading, and behind it those of backends with other ideas of `\` and `;`."""
    found = [_bytes_of(_decoded(path)) if b"%" in path else path]
    if b"\\" in found[0]:
        found.append(found[0].replace(b"\\", b"/"))
    if b";" in found[0]:
        found += [PARAMETERS.sub(b"", each) for each in found]
    return [_collapsed(each) for each in found]


def stray_readings(path: bytes) -> set[bytes]:
    """What a few servers read, as `STRAY` says, each also with backslashes that are slashes."""
    if STRAY.search(path) is None:
        return set()
    raw = _decoded(path).replace(ENCODED_DOT, ".")
    slashed = raw.replace("\\", "/")
    forms = {raw, slashed}
    for _ in range(REFERENCES):
        forms |= {rest for each in forms for rest in _without_authority(each)}
    forms |= {_resolved(each) for each in forms if ".." in each}
    return {SLASHES.sub(b"/", _bytes_of(each)) for each in forms}


def _decoded(path: bytes) -> str:
    """The path decoded once, a character for each byte; those that were encoded are kept `APART`.

    So all forms of a path can be made from one decoding: it is the dear part of a reading.
    """
    return ENCODED.sub(lambda found: DECODED[found[1]], path.decode("latin-1"))


def _bytes_of(decoded: str) -> bytes:
    """The bytes that these characters stand for: the lower half of each."""
    return decoded.encode("utf-16-le")[::2]


def _without_authority(path: str) -> list[str]:
    """What is left where the path is taken for a reference that begins with a host."""
    found = AUTHORITY.match(path), ODD_AUTHORITY.match(path)
    return ["/" + path[each.end() :] for each in found if each is not None]


def _resolved(path: str) -> str:
    """RFC 3986 section 5.2.4: an empty segment is one that `..` takes away."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _collapsed(path: bytes) -> bytes:
    if not path.startswith(b"/"):
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if kept and segments[-1] in (b"", b".", b"..") else b""
    return b"/" + b"/".join(kept) + end


def doubt(path: bytes) -> str | None:
    """What makes this path doubtful, in words for the client; None where all backends read it alike."""
    found = DOUBTFUL.search(path)
    if found is None:
        return None
    what = found[0].decode("latin-1")
    if what.startswith("%"):
        what = path[found.start() : found.end() + 2 * (what == "%")].decode("latin-1")
        return f"the path has {what!r}, which backends decode in more than one way"
    if what == "/":
        return "the path has an empty segment (`//`)"
    return "the path has a backslash" if what == "\\" else "the path has a dot segment"
