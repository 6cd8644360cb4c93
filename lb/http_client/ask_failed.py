"""The one error of the client, and what sockets and TLS say, in words."""

import ssl

import trio

NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"))


class AskFailed(Exception):
    """A server gave no answer of use: a sentence that names its address, what was asked, and what came.

    It never holds a field of the request. `status` is that of its answer, where the status was why, and
    `body` the beginning of what came with it.
    """

    def __init__(self, sentence: str, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(sentence)
        self.status = status
        self.body = body


class NotReached(AskFailed):
    """There was no connection, so nothing was asked."""


class Stale(AskFailed):
    """A connection ended before the first byte of its answer."""


def in_words(exc: BaseException) -> str:
    """What went wrong with a socket or with TLS, as the end of a sentence."""
    cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) and exc.__cause__ else exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate was refused: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return _tls_in_words(cause)
    words = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return words[:1].lower() + words[1:]


def _tls_in_words(exc: ssl.SSLError) -> str:
    reason = exc.reason or ""
    if reason in NO_TLS:
        return "it does not speak TLS there; perhaps its URL has to begin with http://"
    words = reason.replace("_", " ").lower() or exc.strerror or str(exc)
    if "ALERT" in reason:
        return f"it refused TLS: {words.partition('alert ')[2] or words}"
    return f"no TLS with it: {words}"
