"""The errors of an exchange: whose fault it was, which status the client gets, may it be tried again.

Each class is one way for an exchange to fail. Its `reason` is the RFC 9209 token that stands in the
`Proxy-Status` field, the log, the metric and the API alike, so that the four can be read side by side.
"""

from collections.abc import Iterable
from enum import Enum, StrEnum


class Reason(StrEnum):
    """RFC 9209 section 2.3 error types, and one of our own for a client that left."""

    DNS_TIMEOUT = "dns_timeout"
    DNS_ERROR = "dns_error"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_TERMINATED = "connection_terminated"
    CONNECTION_TIMEOUT = "connection_timeout"
    CONNECTION_READ_TIMEOUT = "connection_read_timeout"
    CONNECTION_WRITE_TIMEOUT = "connection_write_timeout"
    CONNECTION_LIMIT_REACHED = "connection_limit_reached"
    HTTP_REQUEST_ERROR = "http_request_error"
    HTTP_RESPONSE_INCOMPLETE = "http_response_incomplete"
    HTTP_RESPONSE_TIMEOUT = "http_response_timeout"
    HTTP_UPGRADE_FAILED = "http_upgrade_failed"
    HTTP_PROTOCOL_ERROR = "http_protocol_error"
    TLS_PROTOCOL_ERROR = "tls_protocol_error"
    TLS_CERTIFICATE_ERROR = "tls_certificate_error"
    TLS_ALERT_RECEIVED = "tls_alert_received"
    PROXY_INTERNAL_ERROR = "proxy_internal_error"
    PROXY_LOOP_DETECTED = "proxy_loop_detected"
    CLIENT_DISCONNECTED = "client_disconnected"


class Retryable(Enum):
    """When the same request may be sent once more, seen from the error alone."""

    NEVER = "never"
    NOTHING_SENT = "nothing was sent"
    IF_IDEMPOTENT = "if the method is idempotent"


class LBError(Exception):
    """How an exchange failed: the status that the client gets, the reason, and the rule for retries.

    `too_slow` is the text of the error where a timeout raises it. After one that `is_free` no backend has
    had any work of it, so another attempt is no load to be budgeted.
    """

    status = 500
    reason = Reason.PROXY_INTERNAL_ERROR
    retry = Retryable.NEVER
    too_slow = "it took too long"
    is_free = False


class ClientError(LBError):
    """The client's fault: never tried again, never counted against a backend."""

    reason = Reason.HTTP_REQUEST_ERROR


class BadRequest(ClientError):
    """A request that may not be acted on; `status` says which rule it breaks."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class LoopDetected(BadRequest):
    """The request has passed through this very balancer before (RFC 9110 section 7.6.3)."""

    reason = Reason.PROXY_LOOP_DETECTED


class RequestTimeout(ClientError):
    """The client took too long to send its head or its body (RFC 9110 section 15.5.9)."""

    status = 408
    too_slow = "the request did not come in time"


class RequestUnfinished(RequestTimeout):
    """The client did not send the rest of its request, and the backend stopped waiting for it."""

    too_slow = "the backend ended the connection, as the rest of the request did not come"


class ClientGone(ClientError):
    """The client left, so there is no response to send; 499 is nginx's number for it in the log."""

    status = 499
    reason = Reason.CLIENT_DISCONNECTED


class ClientStalled(ClientGone):
    """The client stopped reading its response for longer than `send`, or than its backend waited."""

    reason = Reason.CONNECTION_WRITE_TIMEOUT
    too_slow = "the client stopped reading its answer"


class BackendError(LBError):
    """A backend's fault: counted against it."""

    status = 502


class ConnectFailed(BackendError):
    """No connection came about, so nothing was sent."""

    reason = Reason.CONNECTION_REFUSED
    retry = Retryable.NOTHING_SENT


class ConnectTimeout(ConnectFailed):
    """The backend did not take the connection in time."""

    status = 504
    reason = Reason.CONNECTION_TIMEOUT


class TlsFailed(ConnectFailed):
    """The connection was made, and no TLS came about on it."""

    reason = Reason.TLS_PROTOCOL_ERROR


class CertificateRefused(TlsFailed):
    """We do not accept the backend's certificate."""

    reason = Reason.TLS_CERTIFICATE_ERROR


class TlsRefused(TlsFailed):
    """The backend has refused the handshake, and said so."""

    reason = Reason.TLS_ALERT_RECEIVED


class NameNotResolved(ConnectFailed):
    """The backend's name has no address."""

    reason = Reason.DNS_ERROR
    is_free = True


class NameUnanswered(ConnectFailed):
    """Whether the backend's name has an address is not known yet: no resolver has answered."""

    status = 504
    reason = Reason.DNS_TIMEOUT
    is_free = True


class NoPortLeft(ConnectFailed):
    """This machine has no port left from which to connect to the backend: not the backend's fault."""

    status = 503
    reason = Reason.CONNECTION_LIMIT_REACHED
    is_free = True


class ConnectionTerminated(BackendError):
    """The backend closed or reset the connection before the first byte of a response."""

    reason = Reason.CONNECTION_TERMINATED
    retry = Retryable.IF_IDEMPOTENT


class ResponseTimeout(BackendError):
    """The head of the response did not come in time."""

    status = 504
    reason = Reason.HTTP_RESPONSE_TIMEOUT
    retry = Retryable.IF_IDEMPOTENT
    too_slow = "the backend did not answer in time"


class BackendStalled(BackendError):
    """The backend stopped reading the request for longer than the send timeout."""

    status = 504
    reason = Reason.CONNECTION_WRITE_TIMEOUT
    too_slow = "the backend stopped reading the request"


class BadResponse(BackendError):
    """The response is not HTTP, or not HTTP that may be passed on."""

    reason = Reason.HTTP_PROTOCOL_ERROR


class NotHttp(BadResponse):
    """The response is not HTTP/1 at all: the fault is the backend's, and not that of one page."""

    what = "the answer is not HTTP/1"


class UpgradeFailed(BadResponse):
    """The backend switched to a protocol that the client had not asked for."""

    reason = Reason.HTTP_UPGRADE_FAILED


class AnswerRefused(BackendError):
    """The response has a status after which the pool's settings want another attempt."""

    reason = Reason.DESTINATION_UNAVAILABLE
    retry = Retryable.IF_IDEMPOTENT


class ResponseIncomplete(BackendError):
    """The response broke off. The client has got a part of it, and must see that it is incomplete."""

    reason = Reason.HTTP_RESPONSE_INCOMPLETE


class ResponseStalled(ResponseIncomplete):
    """The body of the response stopped for longer than the idle timeout."""

    reason = Reason.CONNECTION_READ_TIMEOUT
    too_slow = "the backend stopped in the middle of its answer"


class TunnelIdle(LBError):
    """Nothing went through an upgraded connection for longer than the idle timeout."""

    reason = Reason.CONNECTION_READ_TIMEOUT
    too_slow = "nothing went through the tunnel"


class Unavailable(LBError):
    """No backend may take the request: each is out (draining, down, ejected, ...) or was tried already."""

    status = 503
    reason = Reason.DESTINATION_UNAVAILABLE


class AttemptCut(Unavailable):
    """A drain came to its timeout, or an operator took a backend out, while the request ran on it."""


class Abandoned(AttemptCut):
    """The whole connection was ended from outside; there was no response, so there is no status either."""

    status = 0


class QueueFull(Unavailable):
    """Every backend is at its cap, and the queue is full or the wait was too long."""

    reason = Reason.CONNECTION_LIMIT_REACHED


class TooManyDescriptors(LBError):
    """This process has no file descriptor left to connect with."""

    status = 503
    reason = Reason.CONNECTION_LIMIT_REACHED


class ConfigError(Exception):
    """A setting is wrong: the message names the key, what was found and what was expected.

    `mistakes` has each of them as `key: what is wrong`, and is empty where no single key is to blame. `told`
    has the same as people read them, with their lines, where these are known.
    """

    def __init__(self, message: str, mistakes: Iterable[str] = (), told: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)
        self.told = tuple(told) or self.mistakes

    @property
    def first(self) -> str:
        """The first mistake, on one line."""
        text = self.told[0] if self.told else str(self)
        return text.partition("\n")[0].strip()


class NotEverywhere(Exception):
    """A configuration holds, but not in all workers; the message says where, and why."""


class NotUpgraded(Exception):
    """The program could not be replaced, and goes on as before; the message says why, and what to do."""
