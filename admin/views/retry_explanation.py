"""Why a failed exchange was not tried on another backend, or not on one more, in a sentence.

Where more than one reason is possible, as when the retry budget was spent, it says nothing.
"""

from collections.abc import Sequence

from admin.views.sentences import listed, quoted
from lb.core.backend import Backend
from lb.core.exchange_record import ExchangeRecord
from lb.core.pool import Pool
from lb.core.retry import IDEMPOTENT
from lb.errors import BadResponse, LBError, NotHttp, Retryable
from lb.observe.access_log import safe

MAY_BE_TRIED = ("full", "pool full", "not needed", "tried already")
"""How the reasons begin for which a backend was passed over that another attempt may go to, or went to."""


def why_no_other(
    exchange: ExchangeRecord, error: type[LBError], pool: Pool | None, tried: Sequence[Backend]
) -> str:
    """The sentence, or "". `pool` is None where it is gone; `tried` has the backends of the attempts."""
    if exchange.status != error.status or exchange.response_bytes:
        return "Its answer had begun, so no other backend could be asked."
    if error in (BadResponse, NotHttp) and exchange.method in IDEMPOTENT:
        return "An answer that is no proper HTTP is not tried again."
    if error.retry is Retryable.NEVER:
        return "The request may have been carried out, so it was not sent again."
    if pool is None:
        return ""
    if error.retry is Retryable.IF_IDEMPOTENT and not _may_be_sent_twice(exchange, pool) and len(tried) == 1:
        return f"{safe(exchange.method)} is not idempotent, so it was not sent again."
    return _none_left(exchange, pool, tried) or _limit_reached(exchange, pool, tried)


def _may_be_sent_twice(exchange: ExchangeRecord, pool: Pool) -> bool:
    """As far as the record tells: it does not hold whether a field marked the request as idempotent."""
    return exchange.method in IDEMPOTENT or pool.settings.retry.marked_by is not None


def _none_left(exchange: ExchangeRecord, pool: Pool, tried: Sequence[Backend]) -> str:
    passed_over = exchange.deciding.passed_over if exchange.deciding else ()
    out = {backend: why for backend, why in passed_over if not why.startswith(MAY_BE_TRIED)}
    others = [b for b in pool.backends if b not in tried and b.since <= exchange.started and b.id not in out]
    if others:
        return ""
    if out:
        reasons = listed([f"{backend} was {quoted(why)}" for backend, why in out.items()])
        return f"There was no other to ask: {reasons}."
    if len(tried) > 1:
        return "Every backend of the pool was tried."
    return f"There is no other backend in pool {pool.name}."


def _limit_reached(exchange: ExchangeRecord, pool: Pool, tried: Sequence[Backend]) -> str:
    settings = pool.settings.retry
    if len(tried) > settings.attempts:
        return f"The pool allows {settings.attempts} attempts beside the first (retry.attempts)."
    took = 0.0 if exchange.ended is None else exchange.ended - exchange.started
    if settings.deadline is not None and took >= settings.deadline:
        return f"The {settings.deadline:g} s for all attempts were over (retry.deadline)."
    return ""
