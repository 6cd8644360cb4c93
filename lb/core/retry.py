"""May this request be tried once more? (RFC 9110 section 9.2.2; pingora's ReusedOnly)

No request may be processed twice unless it is idempotent. Where no connection came about nothing was
processed, so any method may be tried elsewhere. An attempt that ended without a response, or with a status
that counts as a failure, may have been processed: then only an idempotent request is tried again. In both
cases the body must still be at hand.
"""

from lb.errors import LBError, Retryable
from lb.settings.pool_settings import Retry

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
LONGEST_PAUSE = 1.0


def may_retry(error: LBError, is_idempotent: bool, replayable: bool) -> bool:
    """`replayable`: all that was sent of the request can be sent again, byte for byte."""
    if error.retry is Retryable.NOTHING_SENT:
        return replayable
    return error.retry is Retryable.IF_IDEMPOTENT and is_idempotent and replayable


def may_replace(sends: int, is_replaced: bool, further: int) -> bool:
    """An idle connection had gone stale. May the request be sent over a new one to the same backend?

    Once for each request, even where `further` attempts are 0: the backend has closed its connection, so it
    has hardly seen the request. `sends` counts how often a backend may have seen it.
    """
    return not is_replaced and sends <= max(further, 1)


def pause(settings: Retry, further: int, chance: float) -> float:
    """Seconds to wait before a further attempt, whose number begins at 1: the first goes at once.

    Later ones wait `backoff`, twice that and so on. `chance` makes it between a half and all of that, so that
    requests that failed together do not come back together (the AWS architecture blog's jitter).
    """
    if further < 2 or not settings.backoff:
        return 0.0
    longest = min(settings.backoff * float(1 << min(further - 2, 16)), LONGEST_PAUSE)
    return longest * (0.5 + chance / 2)
