"""Responses of our own: short, plain, and saying what went wrong in the words of RFC 9209.

The same token stands in the log, the metric and the API; the id leads from a user's report to the record.
"""

from http import HTTPStatus

from lb.core.exchange_record import ExchangeRecord
from lb.errors import ClientError, LBError
from lb.http1.request_head import ALLOW

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def reason_phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


def error_answer(
    error: LBError,
    exchange: ExchangeRecord,
    date: bytes,
    closing: bool,
    *,
    by: bytes = b"lb",
    tells_all: bool = True,
) -> bytes:
    """The whole response for a failed exchange; to HEAD without its body (RFC 9110 section 9.3.2).

    `by` is the balancer's name in Proxy-Status, as `known_as` writes it. Details of errors may name backends:
    unless `tells_all`, the client gets only those of its own mistakes.
    """
    detail = _quotable(str(error)) if tells_all or isinstance(error, ClientError) else b""
    body = b"%d %b%b\n" % (error.status, reason_phrase(error.status), b": " + detail if detail else b"")
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\nDate: %b\r\n" % (error.status, reason_phrase(error.status), date),
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(body),
            b"Proxy-Status: %b; error=%b" % (by, error.reason.encode()),
            b'; details="%b"\r\n' % detail if detail else b"\r\n",
            b"X-Request-Id: %b\r\n" % exchange.id,
            b"Allow: %b\r\n" % ALLOW if error.status == 405 else b"",
            b"Connection: close\r\n\r\n" if closing else b"\r\n",
            b"" if exchange.method == b"HEAD" else body,
        )
    )


def known_as(name: str) -> bytes:
    """A name for Proxy-Status: an RFC 8941 token, or a string where the name cannot be a token."""
    return (name if name[:1].isalpha() else f'"{name}"').encode()


def options_answer(date: bytes) -> bytes:
    """The response to OPTIONS with `Max-Forwards: 0`, which asks this balancer (RFC 9110 section 7.6.2).

    Its last lines are the caller's: Connection, and the empty one.
    """
    return b"HTTP/1.1 204 No Content\r\nDate: %b\r\nAllow: %b\r\n" % (date, ALLOW)


def redirect_answer(date: bytes, place: bytes) -> bytes:
    """The response that sends a client to another URL with the same request (RFC 9110 section 15.4.9).

    Its last lines are the caller's, as above. The empty body may be all that a HEAD gets, too.
    """
    return b"HTTP/1.1 308 Permanent Redirect\r\nDate: %b\r\nLocation: %b\r\nContent-Length: 0\r\n" % (
        date,
        place,
    )


def challenge_answer(date: bytes, body: bytes) -> bytes:
    """The response to a certificate authority that asks for a proof (RFC 8555 section 8.3).

    Its last lines are the caller's, as above, and the body behind them.
    """
    return (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: %d\r\n" % (date, len(body))
    )


def _quotable(text: str) -> bytes:
    """As an RFC 8941 string: printable ASCII, quotes and backslashes replaced."""
    clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
    return clean.encode()[:256]
