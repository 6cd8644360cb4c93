"""How a wire breaks, beside the errors that the socket raises itself. All are OSErrors, as those are."""

import errno


class Refused(ConnectionResetError):
    """The peer has ended the connection and said why, below HTTP. Nothing else came from it."""


class Truncated(ConnectionResetError):
    """The connection ended without a close_notify, so some bytes may be missing (RFC 8446 section 6.1)."""


class TlsBroken(ConnectionResetError):
    """A record is not valid, the peer sent an alert, or does not read: the connection can only be closed."""


def broken_by(words: str, has_content: bool) -> tuple[type[OSError], int, str]:
    """What OpenSSL says, as an error: its kind, number and words.

    With TLS 1.3 a client hears only after its handshake that it was refused, in place of any content.
    """
    words = words.replace("_", " ").lower()
    if "alert" in words and not has_content:
        return Refused, errno.ECONNREFUSED, words.partition("alert ")[2]
    return TlsBroken, errno.EPROTO, f"TLS: {words}"
