"""What is sent in place of a handshake, and why a server name gets none."""

UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
"""The fatal alert for a server name that nobody has: RFC 6066 section 3."""
SPEAKS_TLS = b"400 Bad Request: this port speaks TLS; ask with https:// in place of http://\n"
ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(SPEAKS_TLS), SPEAKS_TLS)
)


class UnknownName(Exception):
    """Nobody has the server name that the client asks for, or it asks for none.

    `ordered` says why a certificate that is ordered is not there; None where none is.
    """

    def __init__(self, ordered: str | None = None) -> None:
        super().__init__(ordered)
        self.ordered = ordered
