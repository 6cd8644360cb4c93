"""The explanation of an exchange, for people on call: what happened and where, why no other backend was asked
or why that did not help, how these backends are now, and what to look at.

It says only what the record shows, and how the pool and its backends are at this moment. Everything is a pure
function of its arguments. The text is safe to print, and no longer than a paragraph.
"""

from collections.abc import Sequence
from itertools import groupby

from admin.views.failed_exchange_backends import NO_BACKEND, standings, standings_then
from admin.views.failure_words import DID, HAPPENED, LOOK, error_of
from admin.views.retry_explanation import why_no_other
from admin.views.sentences import Wall, duration, names, quoted, size
from admin.views.time_words import where_time_went
from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.errors import (
    Abandoned,
    AttemptCut,
    BackendError,
    BadResponse,
    ClientGone,
    ConnectFailed,
    LBError,
    NotHttp,
    QueueFull,
    Reason,
    TlsFailed,
    Unavailable,
)

LONGEST = 800


def explain(exchange: ExchangeRecord, registry: Registry, wall: Wall) -> str:
    """A few sentences; `wall` turns a time of the registry's clock into seconds since 1970."""
    if exchange.reason is None:
        sentences = _of_an_answer(exchange)
    elif issubclass(error := error_of(exchange), BackendError):
        sentences = _of_backends(exchange, error, registry, wall)
    else:
        sentences = _of_others(exchange, error, registry, wall)
    text = " ".join(sentence for sentence in (*sentences, *_of_slow_clients(exchange)) if sentence)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _of_slow_clients(exchange: ExchangeRecord) -> Sequence[str]:
    """What was held so that a slow client did not hold a backend."""
    took, held = exchange.gathered, exchange.held
    return (
        f"Its body came within {duration(took)}, before a backend was chosen." if took else "",
        f"The client read slowly: up to {size(held)} of the answer were held for it here." if held else "",
    )


# -- the three kinds of ends ------------------------------------------------------------------------------


def _of_an_answer(exchange: ExchangeRecord) -> list[str]:
    answered = [each for each in exchange.attempts if each.reason is None and not each.is_beaten]
    took = duration((exchange.ended or exchange.started) - exchange.started)
    if not answered:
        return [f"The balancer answered {exchange.status} itself, in {took}."]
    beaten = [each.backend.id for each in exchange.attempts if each.is_beaten]
    return [
        f"{answered[-1].backend.id} answered {exchange.status} in {took}.",
        "That is its own answer, passed on as it came: look into its log." if exchange.status >= 500 else "",
        f"{names(beaten)} was asked too, and was slower." if beaten else "",
        _before_that(_failed(exchange)),
        *where_time_went(exchange),
    ]


def _of_backends(exchange: ExchangeRecord, error: type[LBError], registry: Registry, wall: Wall) -> list[str]:
    failed, pool = _failed(exchange), registry.pools.get(exchange.pool)
    tried = list(dict.fromkeys(each.backend for each in exchange.attempts))
    of = "" if len(exchange.attempts) == 1 else f"{len(failed)} of {len(exchange.attempts)} attempts failed: "
    detail = f" ({quoted(exchange.detail)})" if _detail_says_more(exchange, error) else ""
    return [
        f"{of}{_what_they_did(failed) or 'the last attempt failed'}{detail}.",
        why_no_other(exchange, error, pool, tried),
        standings(tried, exchange, registry.now(), wall),
        LOOK[error],
    ]


def _of_others(exchange: ExchangeRecord, error: type[LBError], registry: Registry, wall: Wall) -> list[str]:
    failed, pool = _failed(exchange), registry.pools.get(exchange.pool)
    if error is Unavailable and pool is not None and exchange.detail.startswith(NO_BACKEND):
        return _of_no_backend(exchange, pool, registry.now(), wall)
    if error in (ClientGone, Abandoned) and failed and failed[-1].reason is exchange.reason:
        del failed[-1]  # that attempt was running when the exchange ended, and its backend did not fail
    concerned: Sequence[Backend] = ()
    if error in (Unavailable, QueueFull) and pool is not None:
        concerned = [*pool.backends]
    elif error is AttemptCut:
        concerned = [each.backend for each in exchange.attempts[-1:]]
    return [
        HAPPENED[error].format(**_facts(exchange)),
        _before_that(failed),
        standings(concerned, exchange, registry.now(), wall),
        LOOK[error],
    ]


def _of_no_backend(exchange: ExchangeRecord, pool: Pool, now: float, wall: Wall) -> list[str]:
    before = _before_that(_failed(exchange))
    if pool.backends and all(each.why_not() is None for each in pool.backends):
        detail = quoted(exchange.detail)
        return [f"Nobody could take the request: {detail}.", before, "All are available now."]
    then = standings_then(pool, exchange, now, wall)
    return ["Nobody could take the request.", before, *then, LOOK[Unavailable]]


# -- what happened ----------------------------------------------------------------------------------------


def _failed(exchange: ExchangeRecord) -> list[AttemptRecord]:
    return [each for each in exchange.attempts if each.reason is not None and not each.is_beaten]


def _before_that(failed: Sequence[AttemptRecord]) -> str:
    return f"Before that, {_what_they_did(failed)}." if failed else ""


def _what_they_did(failed: Sequence[AttemptRecord]) -> str:
    groups = groupby(failed, _deed)
    return ", then ".join(f"{names(each.backend.id for each in some)} {deed}" for deed, some in groups)


def _deed(attempt: AttemptRecord) -> str:
    if attempt.reused and attempt.reason is Reason.CONNECTION_TERMINATED:
        return "closed the connection that was reused, without an answer"
    if attempt.reason is Reason.HTTP_RESPONSE_TIMEOUT and attempt.ended is not None:
        waited = attempt.ended - (attempt.connected or attempt.started)
        return f"did not answer within {waited:.3g} s (timeouts.response_head)"
    return DID.get(attempt.reason, f"failed ({attempt.reason})") if attempt.reason else ""


def _facts(exchange: ExchangeRecord) -> dict[str, object]:
    return {
        "status": exchange.status,
        "detail": quoted(exchange.detail),
        "pool": exchange.pool,
        "sent": exchange.response_bytes,
        "after": duration((exchange.ended or exchange.started) - exchange.started),
        "last": exchange.deciding.backend.id if exchange.deciding else "a backend",
        "where": _where(exchange),
    }


def _where(exchange: ExchangeRecord) -> str:
    """The phase that the exchange had reached."""
    if not exchange.pool and not exchange.attempts:
        return "in the middle of its request"
    if not exchange.attempts:
        return "while it waited for a backend"
    last = exchange.attempts[-1]
    if exchange.status == 101:
        return f"while its tunnel to {last.backend.id} was open"
    if last.first_byte is None:
        return f"before {last.backend.id} had answered"
    return f"in the middle of the answer of {last.backend.id}"


def _detail_says_more(exchange: ExchangeRecord, error: type[LBError]) -> bool:
    """Whether the detail tells more than the error: a bad answer, no TLS, a connect that was not refused."""
    if error in (BadResponse, NotHttp) or issubclass(error, TlsFailed):
        return True
    return error is ConnectFailed and "refused" not in exchange.detail
