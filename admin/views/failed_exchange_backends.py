"""How the backends of a failed exchange are now, in sentences: down, ejected, drained, or available again."""

from collections.abc import Sequence

from admin.views.sentences import Wall, clock, names, quoted
from lb.core.backend import AdminState, Backend
from lb.core.exchange_record import ExchangeRecord
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Verdict
from lb.core.pool import Pool

MOST_STANDINGS = 4
NO_BACKEND = "no backend is available: "
"""The detail of such an exchange begins so; behind it stand a few backends, each with the reason."""


def standings(backends: Sequence[Backend], exchange: ExchangeRecord, now: float, wall: Wall) -> str:
    """How these backends are now; those that are alike are named together.

    "web2 and web3 are both marked down since 10:03:07Z." A state that began after the exchange had ended
    cannot have caused its failure, so it is told as "now: down since ...".
    """
    alike: dict[str, list[str]] = {}
    for backend in backends:
        how = _standing(backend, now, wall)
        if not backend.removed and backend.why_not() and backend.state_since > (exchange.ended or now):
            how = f"now: {backend.state} since {clock(backend.state_since, now, wall)}"
        alike.setdefault(how, []).append(backend.id)
    return "; ".join(_are(ids, how) for how, ids in list(alike.items())[:MOST_STANDINGS]) + "." * bool(alike)


def standings_then(pool: Pool, exchange: ExchangeRecord, now: float, wall: Wall) -> list[str]:
    """Of an exchange that found no backend: how each backend is, and how it was then if that has changed."""
    whys = dict(exchange.passed_over)
    ended = exchange.ended or exchange.started
    alike: dict[str, list[str]] = {}
    for each in pool.backends:
        alike.setdefault(_then_and_now(each, whys.get(each.id), ended, now, wall), []).append(each.id)
    return [_sentence(ids, how) for how, ids in list(alike.items())[:MOST_STANDINGS]]


def _sentence(ids: Sequence[str], how: str) -> str:
    path, whom = (ids[0], "it") if len(ids) == 1 else ("ID", "each")
    cure = f": POST /backends/{path}/ready brings {whom} back" if how.startswith("well but ") else ""
    if how.startswith("was "):
        return f"{names(ids)} {'was' if len(ids) == 1 else 'were'} {how.removeprefix('was ')}."
    return f"{_are(ids, how)}{cure}."


def _then_and_now(backend: Backend, why: str | None, ended: float, now: float, wall: Wall) -> str:
    since = clock(backend.state_since, now, wall)
    is_out = backend.admin_state is not AdminState.READY
    if backend.why_not() is not None and backend.state_since > ended:
        return f"was {quoted(why or 'not there')}; now: {backend.state} since {since}"
    if is_out and backend.is_fit and backend.spec.weight > 0:
        how = "in maintenance" if backend.admin_state is AdminState.MAINTENANCE else backend.state
        return f"well but {how} since {since}"
    if why is not None and backend.why_not() is None:
        return f"was {quoted(why)}; now: available"
    return _standing(backend, now, wall)


def _are(ids: Sequence[str], how: str) -> str:
    if how.startswith("now: "):
        return f"{names(ids)} {how}"
    verb = {1: "is", 2: "are both"}.get(len(ids), "are all")
    return f"{names(ids)} {verb} {how}"


def _standing(backend: Backend, now: float, wall: Wall) -> str:
    health, outcomes = backend.health, backend.outcomes
    if backend.removed:
        return "gone from the pool since"
    if backend.admin_state is not AdminState.READY:
        return f"in {backend.state}" if backend.admin_state is AdminState.MAINTENANCE else backend.state
    if health is not None and health.verdict is Verdict.DOWN:
        return f"marked down since {clock(health.since, now, wall)}"
    if outcomes.standing is Standing.EJECTED:
        since, until = clock(outcomes.since, now, wall), clock(outcomes.until, now, wall)
        return f"ejected since {since} until {until}"
    if backend.spec.weight == 0:
        return "at weight 0"
    return quoted(backend.why_not() or "available now")
