"""An exchange explained, for people at three in the morning: what happened, and where, why no other backend
was asked or why that did not help, how these backends are now, and what to look at.

Only what the record shows is said, and how the pool is set and its backends are at this moment; where several
things could have been the cause, as when the retry budget was spent, nothing is. Everything is a pure
function of its arguments. The text is safe to print, and no longer than a paragraph.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from admin.views.failure_words import DID, HAPPENED, LOOK, error_of
from lb.core.backend import AdminState, Backend
from lb.core.exchange_record import Attempt, ExchangeRecord
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Verdict
from lb.core.pool import Pool
from lb.core.registry import Registry
from lb.core.retry import IDEMPOTENT
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
    Retryable,
    Unavailable,
)
from lb.observe.access_log import safe

Wall = Callable[[float], float]

LONGEST = 800
LONGEST_QUOTED = 200
MOST_NAMES = 3
MOST_STANDINGS = 4
SAME_DAY = 12 * 3600.0
NOBODY = "no backend is available: "
NAMED = re.compile(r"(?:^|, )([A-Za-z0-9_][A-Za-z0-9._~-]*) \((.*?)\)(?=, [A-Za-z0-9_][A-Za-z0-9._~-]* \(|$)")
MAY_BE_TRIED = ("full", "pool full", "not needed", "tried already")
"""How it begins, why a backend was passed over that another attempt could have gone to, or has."""


def explain(exchange: ExchangeRecord, registry: Registry, wall: Wall) -> str:
    """A few sentences; `wall` turns a time of the registry's clock into seconds since 1970."""
    if exchange.reason is None:
        sentences = _of_an_answer(exchange)
    elif issubclass(error := error_of(exchange), BackendError):
        sentences = _of_backends(exchange, error, registry, wall)
    else:
        sentences = _of_others(exchange, error, registry, wall)
    text = " ".join(sentence for sentence in sentences if sentence)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


# -- the three kinds of ends ------------------------------------------------------------------------------


def _of_an_answer(exchange: ExchangeRecord) -> list[str]:
    answered = [each for each in exchange.attempts if each.reason is None and not each.is_beaten]
    took = _duration((exchange.ended or exchange.started) - exchange.started)
    if not answered:
        return [f"The balancer answered {exchange.status} itself, in {took}."]
    id = answered[-1].backend.id
    beaten = [each.backend.id for each in exchange.attempts if each.is_beaten]
    return [
        f"{id} answered {exchange.status} in {took}.",
        "That is its own answer, passed on as it came: look into its log." if exchange.status >= 500 else "",
        f"{_names(beaten)} was asked too, and was slower." if beaten else "",
        _before_that(_failed(exchange)),
    ]


def _of_backends(exchange: ExchangeRecord, error: type[LBError], registry: Registry, wall: Wall) -> list[str]:
    failed, pool = _failed(exchange), registry.pools.get(exchange.pool)
    tried = list(dict.fromkeys(each.backend for each in exchange.attempts))
    of = "" if len(exchange.attempts) == 1 else f"{len(failed)} of {len(exchange.attempts)} attempts failed: "
    detail = f" ({_quoted(exchange.detail)})" if _detail_says_more(exchange, error) else ""
    return [
        f"{of}{_what_they_did(failed) or 'the last attempt failed'}{detail}.",
        _why_no_other(exchange, error, pool, tried),
        _how_they_are(tried, exchange, registry.now(), wall),
        LOOK[error],
    ]


def _of_others(exchange: ExchangeRecord, error: type[LBError], registry: Registry, wall: Wall) -> list[str]:
    failed, pool = _failed(exchange), registry.pools.get(exchange.pool)
    if error is Unavailable and pool is not None and exchange.detail.startswith(NOBODY):
        return _of_nobody(exchange, pool, registry.now(), wall)
    if error in (ClientGone, Abandoned) and failed and failed[-1].reason is exchange.reason:
        del failed[-1]  # it was running, and nobody holds it against the backend
    concerned: Sequence[Backend] = ()
    if error in (Unavailable, QueueFull) and pool is not None:
        concerned = pool.backends
    elif error is AttemptCut:
        concerned = [each.backend for each in exchange.attempts[-1:]]
    return [
        HAPPENED[error].format(**_facts(exchange)),
        _before_that(failed),
        _how_they_are(concerned, exchange, registry.now(), wall),
        LOOK[error],
    ]


def _of_nobody(exchange: ExchangeRecord, pool: Pool, now: float, wall: Wall) -> list[str]:
    """Each backend once: how it is if it was so then, and else how it was and how it is now."""
    before = _before_that(_failed(exchange))
    if pool.backends and all(each.why_not() is None for each in pool.backends):
        detail = _quoted(exchange.detail)
        return [f"Nobody could take the request: {detail}.", before, "All are available now."]
    whys = dict(NAMED.findall(exchange.detail.removeprefix(NOBODY)))
    ended = exchange.ended or exchange.started
    alike: dict[str, list[str]] = {}
    for each in pool.backends:
        alike.setdefault(_then_and_now(each, whys.get(each.id), ended, now, wall), []).append(each.id)
    told = [_told(ids, how) for how, ids in list(alike.items())[:MOST_STANDINGS]]
    return ["Nobody could take the request.", before, *told, LOOK[Unavailable]]


def _told(ids: Sequence[str], how: str) -> str:
    path, whom = (ids[0], "it") if len(ids) == 1 else ("ID", "each")
    cure = f": POST /backends/{path}/ready brings {whom} back" if how.startswith("well but ") else ""
    return f"{_are(ids, how)}{cure}." if not how.startswith("was ") else f"{_names(ids)} {how}."


def _then_and_now(backend: Backend, why: str | None, ended: float, now: float, wall: Wall) -> str:
    since = _clock(backend.state_since, now, wall)
    is_out = backend.admin_state is not AdminState.READY
    if backend.why_not() is not None and backend.state_since > ended:
        return f"was {_quoted(why or 'not there')}; now: {backend.state} since {since}"
    if is_out and backend.is_fit and backend.spec.weight > 0:
        how = "in maintenance" if backend.admin_state is AdminState.MAINTENANCE else backend.state
        return f"well but {how} since {since}"
    if why is not None and backend.why_not() is None:
        return f"was {_quoted(why)}; now: available"
    return _standing(backend, now, wall)


# -- what happened ----------------------------------------------------------------------------------------


def _failed(exchange: ExchangeRecord) -> list[Attempt]:
    return [each for each in exchange.attempts if each.reason is not None and not each.is_beaten]


def _before_that(failed: Sequence[Attempt]) -> str:
    return f"Before that, {_what_they_did(failed)}." if failed else ""


def _what_they_did(failed: Sequence[Attempt]) -> str:
    groups = groupby(failed, _deed)
    return ", then ".join(f"{_names(each.backend.id for each in some)} {deed}" for deed, some in groups)


def _deed(attempt: Attempt) -> str:
    if attempt.reused and attempt.reason is Reason.CONNECTION_TERMINATED:
        return "closed the connection that was reused, without an answer"
    if attempt.reason is Reason.HTTP_RESPONSE_TIMEOUT and attempt.ended is not None:
        waited = attempt.ended - (attempt.connected or attempt.started)
        return f"did not answer within {waited:.3g} s (timeouts.response_head)"
    return DID.get(attempt.reason, f"failed ({attempt.reason})") if attempt.reason else ""


def _facts(exchange: ExchangeRecord) -> dict[str, object]:
    return {
        "status": exchange.status,
        "detail": _quoted(exchange.detail),
        "pool": exchange.pool,
        "sent": exchange.response_bytes,
        "after": _duration((exchange.ended or exchange.started) - exchange.started),
        "last": exchange.deciding.backend.id if exchange.deciding else "a backend",
        "where": _where(exchange),
    }


def _where(exchange: ExchangeRecord) -> str:
    """How far it had come."""
    if not exchange.method:
        return "in the middle of its request"
    if not exchange.attempts:
        return "while it waited for a backend" if exchange.pool else "before a backend was chosen"
    last = exchange.attempts[-1]
    if exchange.status == 101:
        return f"while its tunnel to {last.backend.id} was open"
    if last.first_byte is None:
        return f"before {last.backend.id} had answered"
    return f"in the middle of the answer of {last.backend.id}"


def _detail_says_more(exchange: ExchangeRecord, error: type[LBError]) -> bool:
    """What was wrong with an answer; how a connection failed, where it was not refused by a server."""
    return error in (BadResponse, NotHttp) or (error is ConnectFailed and "refused" not in exchange.detail)


# -- why there was no other attempt -----------------------------------------------------------------------


def _why_no_other(
    exchange: ExchangeRecord, error: type[LBError], pool: Pool | None, tried: Sequence[Backend]
) -> str:
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
    return _nobody_left(exchange, pool, tried) or _no_more_allowed(exchange, pool, tried)


def _may_be_sent_twice(exchange: ExchangeRecord, pool: Pool) -> bool:
    """As far as is known: whether a request was marked as idempotent is not in its record."""
    return exchange.method in IDEMPOTENT or pool.settings.retry.marked_by is not None


def _nobody_left(exchange: ExchangeRecord, pool: Pool, tried: Sequence[Backend]) -> str:
    passed_over = exchange.deciding.passed_over if exchange.deciding else ()
    out = {id: why for id, why in passed_over if not why.startswith(MAY_BE_TRIED)}
    others = [b for b in pool.backends if b not in tried and b.since <= exchange.started and b.id not in out]
    if others:
        return ""
    if out:
        return (
            "There was no other to ask: "
            + _listed([f"{id} was {_quoted(why)}" for id, why in out.items()])
            + "."
        )
    if len(tried) > 1:
        return "Every backend of the pool was tried."
    return f"There is no other backend in pool {pool.name}."


def _no_more_allowed(exchange: ExchangeRecord, pool: Pool, tried: Sequence[Backend]) -> str:
    settings = pool.settings.retry
    if len(tried) > settings.attempts:
        return f"The pool allows {settings.attempts} attempts beside the first (retry.attempts)."
    took = 0.0 if exchange.ended is None else exchange.ended - exchange.started
    if settings.deadline is not None and took >= settings.deadline:
        return f"The {settings.deadline:g} s for all attempts were over (retry.deadline)."
    return ""


# -- how the backends are now -----------------------------------------------------------------------------


def _how_they_are(backends: Sequence[Backend], exchange: ExchangeRecord, now: float, wall: Wall) -> str:
    """Those that are alike in one breath: "web2 and web3 are both marked down since 10:03:07Z.".

    What began after the exchange had ended is no cause of it, and is told as "now: down since ...".
    """
    alike: dict[str, list[str]] = {}
    for backend in backends:
        how = _standing(backend, now, wall)
        if not backend.removed and backend.why_not() and backend.state_since > (exchange.ended or now):
            how = f"now: {backend.state} since {_clock(backend.state_since, now, wall)}"
        alike.setdefault(how, []).append(backend.id)
    return "; ".join(_are(ids, how) for how, ids in list(alike.items())[:MOST_STANDINGS]) + "." * bool(alike)


def _are(ids: Sequence[str], how: str) -> str:
    if how.startswith("now: "):
        return f"{_names(ids)} {how}"
    verb = {1: "is", 2: "are both"}.get(len(ids), "are all")
    return f"{_names(ids)} {verb} {how}"


def _standing(backend: Backend, now: float, wall: Wall) -> str:
    health, outcomes = backend.health, backend.outcomes
    if backend.removed:
        return "gone from the pool since"
    if backend.admin_state is not AdminState.READY:
        return f"in {backend.state}" if backend.admin_state is AdminState.MAINTENANCE else backend.state
    if health is not None and health.verdict is Verdict.DOWN:
        return f"marked down since {_clock(health.since, now, wall)}"
    if outcomes.standing is Standing.EJECTED:
        since, until = _clock(outcomes.since, now, wall), _clock(outcomes.until, now, wall)
        return f"ejected since {since} until {until}"
    if backend.spec.weight == 0:
        return "at weight 0"
    return _quoted(backend.why_not() or "available now")


def _clock(moment: float, now: float, wall: Wall) -> str:
    """The time of day in UTC, with the date where that may be another one."""
    style = "%H:%M:%SZ" if abs(now - moment) < SAME_DAY else "%Y-%m-%d %H:%M:%SZ"
    return datetime.fromtimestamp(wall(moment), UTC).strftime(style)


# -- words ------------------------------------------------------------------------------------------------


def _names(ids: Iterable[str]) -> str:
    return _listed(list(dict.fromkeys(ids)))


def _listed(items: Sequence[str]) -> str:
    shown = list(items[:MOST_NAMES])
    if (more := len(items) - len(shown)) > 0:
        shown.append(f"{more} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _quoted(text: str) -> str:
    """What somebody else may have worded: printable, and not too long."""
    plain = safe(text.encode("utf-8", "surrogateescape"))
    return plain if len(plain) <= LONGEST_QUOTED else plain[: LONGEST_QUOTED - 3] + "..."


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
