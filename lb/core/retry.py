"""May this request be tried once more? (RFC 9110 section 9.2.2; pingora's ReusedOnly)

Nothing may be processed twice that does not bear it. A connection that never came about has processed
nothing, so any method may go elsewhere. An attempt that ended without an answer, or with one that counts as
none, may have been processed: only an idempotent request whose body is still in our hands goes again.
"""

from lb.errors import LBError, Retryable
from lb.settings.pool_settings import Retry

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
LONGEST_PAUSE = 1.0


def may_retry(error: LBError, is_idempotent: bool, replayable: bool) -> bool:
    """`replayable`: everything of the request that was sent could be sent again, byte for byte."""
    if error.retry is Retryable.NOTHING_SENT:
        return replayable
    return error.retry is Retryable.IF_IDEMPOTENT and is_idempotent and replayable


def pause(settings: Retry, further: int, chance: float) -> float:
    """Seconds to wait before the further attempt of this number, from 1: the first goes at once.

    Those behind it wait `backoff`, twice that and so on, between a half and all of it by `chance`, so that
    many that failed together do not come back together (the AWS architecture blog's jitter).
    """
    if further < 2 or not settings.backoff:
        return 0.0
    longest = min(settings.backoff * float(1 << min(further - 2, 16)), LONGEST_PAUSE)
    return longest * (0.5 + chance / 2)
