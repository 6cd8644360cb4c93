"""How an exchange can fail: the token of Proxy-Status, the status, what it means, where to look."""

from collections import defaultdict
from inspect import cleandoc

from admin.reference.topic import Entry, Topic, entry
from admin.views.failure_words import LOOK
from lb import errors
from lb.errors import Abandoned, BadRequest, LBError, Reason, Retryable, TunnelIdle

PREFACE = """\
Every error answer of the balancer carries `Proxy-Status: lb; error=TOKEN` (RFC 9209) and X-Request-Id. The
same token stands in the access log (`reason`), in lb_request_failures_total{error}, in GET /requests and in
lb why. An error that a backend itself answered, such as a 500, has none and reaches the client unchanged.
Status 499 is only logged: the client has left. What is no request at all (TLS on the plain port, HTTP/2) is
named, and its first 100 bytes are logged as the target. A client may send 64 chunks for each KiB of a
chunked body, and more where they come one by one.
"""
AGAIN = {
    Retryable.NEVER: "",
    Retryable.NOTHING_SENT: "Tried on another backend, whatever the method, as nothing was sent.",
    Retryable.IF_IDEMPOTENT: "Tried on another backend if the method is idempotent.",
}
UNANSWERED = (Abandoned, TunnelIdle)
"""After these nothing is answered: the connection just ends."""
BREAKS_A_RULE = "400, 413, 414, 417, 431, 501, 505"


def errors_topic() -> Topic:
    """Every token, with the errors that have it."""
    by_reason: dict[Reason, list[type[LBError]]] = defaultdict(list)
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, LBError) and (each in LOOK):
            by_reason[each.reason].append(each)
    return Topic(tuple(_entry(reason, by_reason[reason]) for reason in Reason if by_reason[reason]), PREFACE)


def _entry(reason: Reason, found: list[type[LBError]]) -> Entry:
    return entry(reason.value, reason.value, *map(_about, found))


def _about(error: type[LBError]) -> str:
    meaning = cleandoc(error.__doc__ or "").partition("\n\n")[0]
    if error is LBError:
        meaning = "A bug of the balancer."
    status = BREAKS_A_RULE if error is BadRequest else "no answer" if error in UNANSWERED else error.status
    return f"{status}: {meaning} {AGAIN[error.retry]} {LOOK[error]}"
