"""May this request be tried once more? (RFC 9110 section 9.2.2; pingora's ReusedOnly)

Nothing may be processed twice. A connection that never came about has processed nothing, so any method may
go elsewhere. A connection that ended without a byte of answer may have: only an idempotent request whose
body is still in our hands goes again, and only once more.
"""

from lb.core.decision import Exchange
from lb.errors import LBError, Retry

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
MAX_ATTEMPTS = 3


def may_retry(error: LBError, exchange: Exchange, replayable: bool) -> bool:
    """`replayable`: everything of the request that was sent could be sent again, byte for byte."""
    if len(exchange.attempts) >= MAX_ATTEMPTS or not replayable:
        return False
    if error.retry is Retry.NOTHING_SENT:
        return True
    return error.retry is Retry.IF_IDEMPOTENT and exchange.method in IDEMPOTENT and _is_first(exchange)


def _is_first(exchange: Exchange) -> bool:
    """No attempt before the last one got as far as sending."""
    return all(attempt.connected is None for attempt in exchange.attempts[:-1])
