"""How an exchange can fail, in words: what each error of `lb.errors` means, and where to look.

The words belong to the classes of errors, while a record holds reason, status and detail of an error;
`error_of` finds the class by the three. A test checks that each class has its words here.
"""

from lb.core.exchange_record import ExchangeRecord
from lb.errors import (
    Abandoned,
    AttemptCut,
    BackendStalled,
    BadRequest,
    BadResponse,
    CertificateRefused,
    ClientGone,
    ClientStalled,
    ConnectFailed,
    ConnectionTerminated,
    ConnectTimeout,
    LBError,
    LoopDetected,
    NameNotResolved,
    NameUnanswered,
    NoPortLeft,
    NotHttp,
    QueueFull,
    Reason,
    RequestTimeout,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseStalled,
    ResponseTimeout,
    TlsFailed,
    TlsRefused,
    TooManyDescriptors,
    TunnelIdle,
    Unavailable,
    UpgradeFailed,
)

DID: dict[Reason, str] = {
    Reason.DNS_TIMEOUT: "had a name that was not resolved yet",
    Reason.DNS_ERROR: "had a name without an address",
    Reason.DESTINATION_UNAVAILABLE: "answered with a status that is tried again",
    Reason.CONNECTION_REFUSED: "refused the connection",
    Reason.TLS_PROTOCOL_ERROR: "did not come to speak TLS",
    Reason.TLS_CERTIFICATE_ERROR: "showed a certificate that we do not accept",
    Reason.TLS_ALERT_RECEIVED: "refused our TLS handshake",
    Reason.CONNECTION_TERMINATED: "closed the connection without an answer",
    Reason.CONNECTION_TIMEOUT: "took no connection in time",
    Reason.CONNECTION_READ_TIMEOUT: "stopped in the middle of the answer",
    Reason.CONNECTION_WRITE_TIMEOUT: "stopped reading the request",
    Reason.CONNECTION_LIMIT_REACHED: "could not be connected to, as this machine had no port left for it",
    Reason.HTTP_RESPONSE_INCOMPLETE: "broke off the answer",
    Reason.HTTP_RESPONSE_TIMEOUT: "did not answer in time",
    Reason.HTTP_UPGRADE_FAILED: "switched to a protocol that nobody had asked for",
    Reason.HTTP_PROTOCOL_ERROR: "gave an answer that cannot be passed on",
}
"""What a backend did where an attempt failed; no backend causes the reasons that are missing here."""

HAPPENED: dict[type[LBError], str] = {
    LBError: "The balancer itself failed; the traceback is in its log.",
    BadRequest: "The balancer refused the request with {status}: {detail}.",
    LoopDetected: "The request had come through this balancer before, and was refused with {status}.",
    RequestTimeout: "The client did not send its whole request in time.",
    RequestUnfinished: "The client did not send the rest of its request, and {last} would not wait for it.",
    ClientGone: "The client left after {after}, {where} ({detail}).",
    ClientStalled: "The client stopped reading; its answer was broken off after {sent} bytes.",
    TunnelIdle: "Nothing went through the tunnel to {last} for too long, so it was closed.",
    Unavailable: "Nobody could take the request: {detail}.",
    AttemptCut: "The request was cut {where}: {detail}.",
    Abandoned: "The connection was ended from outside {where}: {detail}.",
    QueueFull: "Every backend of pool {pool} was at its cap: {detail}.",
    TooManyDescriptors: "The balancer had no file descriptor left to connect to {last} with.",
}
"""What happened where no backend caused it; what backends did is told from the attempts."""

LOOK: dict[type[LBError], str] = {
    LBError: "Look for this request's time there, and report the traceback.",
    BadRequest: "Look at the client; no backend is at fault.",
    LoopDetected: "Look which route or backend leads back here.",
    RequestTimeout: "Look at the client and its network; timeouts.request_head, timeouts.body_idle,"
    " timeouts.request and limits.body_rate say how slow it may be.",
    RequestUnfinished: "Look at the client and its network; the server's own timeout for bodies was shorter"
    " than timeouts.body_idle.",
    ClientGone: "If many leave, look how long answers take, and after what time these clients give up.",
    ClientStalled: "Look at the client and its network; timeouts.send says how long it may stop.",
    TunnelIdle: "Where a tunnel may be silent, let either side send pings, or raise timeouts.tunnel_idle.",
    Unavailable: "Look at the routes, at the pool's backends and at what its probes say.",
    AttemptCut: "`lb audit` says who ended it, or began the drain. Where such requests must end by"
    " themselves, give drains a longer timeout and the balancer a longer timeouts.grace.",
    Abandoned: "Look who stopped the balancer, and why not gracefully.",
    QueueFull: "Look which backend is slow; or raise max_in_flight, the pool's queue or queue_timeout.",
    TooManyDescriptors: "Look for clients that keep connections open, and raise the limit of open files.",
    ConnectFailed: "Look whether the server runs, and listens where its url says.",
    TlsFailed: "Look whether the server speaks TLS at that port, and its url should begin with https.",
    CertificateRefused: "Look at the server's certificate, and at the pool's tls.ca and tls.name.",
    TlsRefused: "Look into the server's log of that second, and whether it wants a certificate of ours"
    " (the pool's tls.chain and tls.key).",
    ConnectTimeout: "Look at the network and its firewalls, and whether the server is too busy to accept.",
    NameNotResolved: "Look at DNS, and at the name in the backend's url.",
    NameUnanswered: "Look at the resolver of this machine: it gave no answer. The backend is not blamed.",
    NoPortLeft: "Look why so many connections end soon: a port stays taken for a minute after, and the sysctl"
    " net.ipv4.ip_local_port_range says how many there are. The backend is not blamed.",
    ConnectionTerminated: "Look into the server's log of that second: a crash, a restart and a killed worker"
    " end like this.",
    ResponseTimeout: "Look what the server was busy with; timeouts.response_head says how long it may take.",
    BackendStalled: "Look why the server does not read; timeouts.send says how long it may stop.",
    BadResponse: "Look at the server's answer to this request: the balancer refuses what readers may read"
    " differently, and does not hold it against the server.",
    NotHttp: "Look whether the url leads to a server that speaks HTTP/1.1, without TLS.",
    UpgradeFailed: "Look at what the server does with the field Upgrade.",
    ResponseIncomplete: "Look into the server's log of that second; the client saw that it broke off.",
    ResponseStalled: "Look what the server waited for; timeouts.response_idle says how long it may stop.",
}

BY_REASON: dict[Reason, type[LBError]] = {
    Reason.DNS_TIMEOUT: NameUnanswered,
    Reason.DNS_ERROR: NameNotResolved,
    Reason.CONNECTION_REFUSED: ConnectFailed,
    Reason.TLS_PROTOCOL_ERROR: TlsFailed,
    Reason.TLS_CERTIFICATE_ERROR: CertificateRefused,
    Reason.TLS_ALERT_RECEIVED: TlsRefused,
    Reason.CONNECTION_TERMINATED: ConnectionTerminated,
    Reason.CONNECTION_TIMEOUT: ConnectTimeout,
    Reason.HTTP_RESPONSE_INCOMPLETE: ResponseIncomplete,
    Reason.HTTP_RESPONSE_TIMEOUT: ResponseTimeout,
    Reason.HTTP_UPGRADE_FAILED: UpgradeFailed,
    Reason.PROXY_INTERNAL_ERROR: LBError,
    Reason.PROXY_LOOP_DETECTED: LoopDetected,
    Reason.CLIENT_DISCONNECTED: ClientGone,
}
"""The reasons that one class of errors has alone."""


def error_of(exchange: ExchangeRecord) -> type[LBError]:
    """The class of the error that ended a failed exchange."""
    match exchange.reason:
        case Reason.CONNECTION_READ_TIMEOUT:
            return TunnelIdle if exchange.status == 101 else ResponseStalled
        case Reason.CONNECTION_WRITE_TIMEOUT:
            return ClientStalled if exchange.detail == ClientStalled.too_slow else BackendStalled
        case Reason.CONNECTION_LIMIT_REACHED:
            return _at_a_limit(exchange)
        case Reason.HTTP_REQUEST_ERROR:
            return _of_request(exchange)
        case Reason.HTTP_PROTOCOL_ERROR:
            return NotHttp if exchange.detail == NotHttp.what else BadResponse
        case Reason.DESTINATION_UNAVAILABLE:
            return _unavailable(exchange)
        case None:
            raise ValueError("the exchange did not fail")
        case reason:
            return BY_REASON[reason]


def _at_a_limit(exchange: ExchangeRecord) -> type[LBError]:
    if _was_running(exchange):
        return TooManyDescriptors
    last = exchange.deciding
    return QueueFull if last is None or last.reason is not Reason.CONNECTION_LIMIT_REACHED else NoPortLeft


def _of_request(exchange: ExchangeRecord) -> type[LBError]:
    for slow in (RequestTimeout, RequestUnfinished):
        if exchange.detail == slow.too_slow:
            return slow
    return BadRequest


def _unavailable(exchange: ExchangeRecord) -> type[LBError]:
    """A request in the queue may be cut too, when the balancer stops."""
    if exchange.status == 0:
        return Abandoned
    is_cut = _was_running(exchange) or exchange.detail.startswith("the balancer ")
    return AttemptCut if is_cut else Unavailable


def _was_running(exchange: ExchangeRecord) -> bool:
    """Whether an attempt was running when the exchange ended."""
    return exchange.deciding is not None and exchange.deciding.reason is None
