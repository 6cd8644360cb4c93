"""The first line of a request: judged when it is complete, or earlier where it cannot become one.

What comes first on a connection is often no HTTP at all: TLS on a plain port, the PROXY line of a load
balancer in front, HTTP/2. These are recognised by their first bytes, and named. In every case the error is
the same however the bytes were cut into pieces, so each rule here looks at a beginning of the line only.
"""

import re

from lb.errors import BadRequest
from lb.http1.fields import TOKEN
from lb.http1.head_syntax import flaw_at

REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
LINE_BEGUN = re.compile(rb"([!-~]*)(?: ([!-~]*))?")
LINE_FLAW = re.compile(rb"[^\r\n -~]|\r(?!\n|\Z)|(?<!\r)\n")
"""Anything but visible ASCII, blanks and the line end; no request line has another byte."""
METHOD = re.compile(TOKEN)
METHOD_LIMIT = 32
SHOWN_BYTES = 100
"""How much of a first line that is none is logged."""

NOT_TAKEN = "which is not taken here; a listener that begins with proxy+ takes one, and no second"
OTHER_PROTOCOLS = {
    b"\x16": (400, "this is TLS, and this port speaks plain HTTP"),
    b"PROXY TCP": (400, f"this is a line of the PROXY protocol, {NOT_TAKEN}"),
    b"PROXY UNKNOWN": (400, f"this is a line of the PROXY protocol, {NOT_TAKEN}"),
    b"\x00\r\nQUIT\n": (400, f"this is a header of the PROXY protocol, {NOT_TAKEN}"),
    b"PRI * HTTP/2": (505, "this is HTTP/2, and HTTP/1.1 is spoken here"),
    b"SSH-": (400, "this is SSH, and HTTP is spoken here"),
    b"EHLO ": (400, "this is SMTP, and HTTP is spoken here"),
    b"HELO ": (400, "this is SMTP, and HTTP is spoken here"),
    b"*1\r\n$": (400, "this is Redis, and HTTP is spoken here"),
    b"*2\r\n$": (400, "this is Redis, and HTTP is spoken here"),
    b"\x03": (400, "this is RDP, and HTTP is spoken here"),
    b"\x04": (400, "this is SOCKS 4, and HTTP is spoken here"),
    b"\x05": (400, "this is SOCKS 5, and HTTP is spoken here"),
}
"""How other protocols begin, the status, and the sentence for client and log.

Empty lines before a request are skipped, so the first four bytes of the signature of PROXY v2 are gone.
"""
ANOTHER_PROTOCOL = re.compile(b"|".join(map(re.escape, OTHER_PROTOCOLS)))


def read_request_line(data: bytes, target_limit: int) -> tuple[bytes, bytes, bool]:
    """Method, target, and whether it is HTTP/1.0; `data` has the whole line. BadRequest where it is none."""
    refuse_line_begun(data, target_limit)
    line = REQUEST_LINE.match(data)
    if line is None:
        raise BadRequest("the request line is not `method target HTTP/1.1`")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise BadRequest(f"HTTP/{major.decode()}.{minor.decode()} is not spoken here", status=505)
    _judge_method(method)
    return method, target, minor == b"0"


def refuse_line_begun(data: bytes, target_limit: int, searched: int = 0) -> None:
    """Raise BadRequest if no valid line begins as `data` does; flaws of bytes are known up to `searched`."""
    if (other := ANOTHER_PROTOCOL.match(data)) is not None:
        status, what = OTHER_PROTOCOLS[other[0]]
        raise BadRequest(what, status=status)
    begun = LINE_BEGUN.match(data)
    assert begun is not None
    method, target = begun.groups(b"")
    if len(method) > METHOD_LIMIT:
        if METHOD.fullmatch(method[: METHOD_LIMIT + 1]):
            raise BadRequest(f"the method is longer than {METHOD_LIMIT} bytes", status=501)
        raise BadRequest("the method is not a token")
    if len(target) > target_limit:
        raise BadRequest(f"the target is longer than {target_limit} bytes", status=414)
    end = data.find(b"\r\n")
    if (flaw := LINE_FLAW.search(data, searched, len(data) if end < 0 else end + 2)) is not None:
        raise BadRequest(f"the head has {flaw_at(data, flaw.start())}")


def _judge_method(method: bytes) -> None:
    if not METHOD.fullmatch(method):
        raise BadRequest("the method is not a token")
    if method == b"CONNECT":
        raise BadRequest("the method CONNECT is not supported", status=501)
    if method == b"TRACE":
        raise BadRequest("TRACE is not allowed", status=405)


def as_asked(data: bytes) -> tuple[bytes, bytes]:
    """Method and target of a head that was refused, or is not complete, for the record of the exchange.

    Where the line is none, the target is what there is of it, `SHOWN_BYTES` at most; fields, which may hold
    secrets, are no part of it.
    """
    line = REQUEST_LINE.match(data)
    if line is not None and len(line[1]) <= METHOD_LIMIT:
        return line[1], line[2]
    begun = data[:SHOWN_BYTES].split(b"\r\n", 1)[0]
    method, blank, rest = begun.partition(b" ")
    if blank and len(method) <= METHOD_LIMIT and METHOD.fullmatch(method):
        return method, rest
    return b"", begun
