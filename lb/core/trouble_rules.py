"""The rules by which something is found to be wrong. Each is a plain function of what is counted already.

A backend is compared with the others of its pool, because a pool whose backends are all slow is another
trouble than one that has a slow backend. Where there is little traffic nothing is compared: of five requests
the share of failures means nothing. All thresholds stand in one table (`lb.core.trouble_kinds`).
"""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from math import ceil, sqrt
from statistics import median
from typing import NamedTuple

from lb.core.backend import AdminState, Backend
from lb.core.health.ejection import Standing
from lb.core.measures.histogram import LONGEST_TOLD
from lb.core.measures.rates import Rates
from lb.core.pool import Pool
from lb.core.running_exchange import Waits
from lb.core.tenses import ARE, FAILS, IS, WAITS, Tenses, clause
from lb.core.trouble_kinds import THRESHOLDS, Found, Threshold
from lb.settings.balancer_settings import DEFAULT_POOL
from lb.settings.pool_settings import Probe
from lb.suggestions import plural

MOST_NAMED = 3
DEVIATIONS = 5
FEW = 6
"""Of no more than these each is left out of what it is compared with."""
LONG_SECONDS = 10.0
"""So long a request may wait for its response where nobody knows what is usual."""

ANSWER = Tenses("answers", "has answered", "answered")
TAKE = Tenses("takes", "has taken", "took")
NEED = Tenses("needs", "has needed", "needed")
GET = Tenses("get", "have got", "got")
MANY_WAIT = Tenses("wait", "have waited", "waited")


class Seen(NamedTuple):
    """One backend, and what happened on it in the last ten seconds."""

    backend: Backend
    rates: Rates

    @property
    def failing(self) -> float:
        return self.rates.share_5xx + self.rates.share_failed


class Survey:
    """What was seen of the backends of one pool, each at its own moment within a second.

    `states` counts them by their state, `open` those that may have requests at all, `full` has the ids of
    those of them that are full, `busy` those with enough traffic to compare, `unfit` what is wrong already.
    """

    def __init__(self) -> None:
        self.states = Counter[str]()
        self.open = 0
        self.full: list[str] = []
        self.busy: list[Seen] = []
        self.unfit: list[Found] = []

    def see(self, backend: Backend, rates: Rates) -> None:
        self.states[backend.state] += 1
        self.open += backend.is_open
        if backend.is_open and backend.is_full:
            self.full.append(backend.id)
        if (unfit := _unfit(backend)) is not None:
            self.unfit.append(unfit)
        if rates.ended >= THRESHOLDS["slow"].least_requests:
            self.busy.append(Seen(backend, rates))


def of_pool(pool: Pool, survey: Survey, rates: Rates) -> Generator[None, None, list[Found]]:
    """All that is wrong with the pool and its backends. `rates` are of what its clients got."""
    found, others = [*survey.unfit], Others(survey.busy)
    for seen in survey.busy:
        if seen.backend.is_open:  # of one that is out already there is nothing left to do
            found.extend(_unlike(seen, others))
        yield
    found.extend(_nobody(pool, survey, rates))
    found.extend(_panic(pool, survey))
    found.extend(_queue(pool, survey))
    found.extend(_clients(pool, rates, found))
    return found


# -- backends ---------------------------------------------------------------------------------------------


def _unfit(backend: Backend) -> Found | None:
    """It is out though the operator wants it in."""
    if backend.admin_state is not AdminState.READY or backend.spec.weight == 0:
        return None
    name, pool = backend.id, backend.pool
    if backend.health is not None and backend.state == "down":
        return Found(
            "down",
            name,
            what=clause(f"{name} ", IS, " down"),
            why=backend.health.why,
            advice=f"Look at {backend.spec.url}. Probes take it back by themselves.",
            pool=pool,
            backend=name,
            since=backend.health.since,
        )
    if backend.outcomes.standing is Standing.ADMITTED:
        return None
    is_on_trial = backend.outcomes.standing is Standing.TRIAL
    return Found(
        "ejected",
        name,
        what=clause(f"{name} ", IS, " on trial" if is_on_trial else " ejected"),
        why=backend.outcomes.why.removeprefix(f"{name} at {backend.spec.url}: "),
        advice=f"`lb why --backend {name}` explains its last failure. It is tried again by itself.",
        pool=pool,
        backend=name,
    )


class Deed(NamedTuple):
    """What one backend does otherwise than the others, and the kind of trouble that this is."""

    kind: str
    deed: Tenses


class Others:
    """What those of the pool have that are to be compared with one of them."""

    def __init__(self, busy: Sequence[Seen]) -> None:
        self._count = len(busy)
        self._ended = sum([each.rates.ended for each in busy])
        self._failed = sum([each.rates.ended * each.failing for each in busy])
        self._p50 = sorted([each.rates.p50_seconds or 0.0 for each in busy])
        self._p99 = sorted([each.rates.p99_seconds or 0.0 for each in busy])

    @property
    def are_none(self) -> bool:
        return self._count < 2

    def failing(self, but: Seen) -> float:
        """The share of the requests of all others that failed."""
        ended = self._ended - but.rates.ended
        return max(0.0, self._failed - but.rates.ended * but.failing) / ended if ended else 0.0

    def p50(self, but: float) -> float:
        """The median of the others' medians."""
        return _without(self._p50, but)

    def p99(self, but: float) -> float:
        return _without(self._p99, but)


def _without(ordered: Sequence[float], one: float) -> float:
    """The median of the others. Of many, one that is left out moves it by nothing that matters here."""
    if len(ordered) > FEW:
        return median(ordered)
    rest = [*ordered]
    rest.remove(one)
    return median(rest)


def _unlike(seen: Seen, others: Others) -> Iterator[Found]:
    """It fails more often than the others, or is slower: both in one sentence where both are true."""
    if others.are_none:
        return
    deeds = [deed for deed in (_fails(seen, others), _is_slow(seen, others)) if deed is not None]
    if not deeds:
        return
    backend, first, more = seen.backend, deeds[0], deeds[1:]
    yield Found(
        kind=first.kind,
        subject=backend.id,
        what=clause(f"{backend.id} ", first.deed, *[clause(" and ", each.deed) for each in more]),
        advice=f"`lb backends drain {backend.id}`, if the others can carry its share; "
        "then look into its log.",
        pool=backend.pool,
        backend=backend.id,
    )


def _fails(seen: Seen, others: Others) -> Deed | None:
    bar, share, usual = THRESHOLDS["errors"], seen.failing, others.failing(seen)
    if share < bar.share or share < bar.times * usual:
        return None
    expected = seen.rates.ended * usual
    if seen.rates.ended * share < bar.least_failures + expected + DEVIATIONS * sqrt(expected):
        return None
    of_what = f"{percent(share)} of its requests (the others {percent(usual)})"
    if seen.rates.share_5xx >= seen.rates.share_failed:
        return Deed("errors", clause(ANSWER, f" 5xx to {of_what}"))
    return Deed("errors", clause(FAILS, f" {of_what}"))


def _is_slow(seen: Seen, others: Others) -> Deed | None:
    rates, bar, tail = seen.rates, THRESHOLDS["slow"], THRESHOLDS["slow tail"]
    half, most = rates.p50_seconds or 0.0, rates.p99_seconds or 0.0
    if _is_above(half, usual := others.p50(half), bar):
        return Deed("slow", clause(TAKE, f" {took(half)} (the others {took(usual)})"))
    if rates.ended >= tail.least_requests and _is_above(most, usual := others.p99(most), tail):
        up_to = "" if most >= LONGEST_TOLD else " up to"
        return Deed("slow tail", clause(NEED, f"{up_to} {took(most)} (p99; the others {took(usual)})"))
    return None


def _is_above(value: float, usual: float, bar: Threshold) -> bool:
    return value >= bar.times * usual and value >= usual + bar.seconds


# -- pools ------------------------------------------------------------------------------------------------


def _nobody(pool: Pool, survey: Survey, rates: Rates) -> Iterator[Found]:
    """An empty pool is wrong only where somebody wants something of it."""
    if survey.open or not (pool.backends or rates.ended or pool.waiting):
        return
    yield Found(
        "nobody",
        pool.name,
        what=clause("nobody ", TAKE, f" requests of pool {pool.name}"),
        why=_counted(survey.states) or "it has no backend",
        advice=" ".join(_ways_back(pool, survey.states)),
        pool=pool.name,
    )


def _ways_back(pool: Pool, states: Mapping[str, int]) -> Iterator[str]:
    """What brings backends of the pool back, of which so many are in each state."""
    probe = pool.settings.probe
    if probe is not None and states["down"]:
        yield f"Start one of the servers; the probes take it back within {seconds_to_rise(probe)} s."
    if states["ejected"] or states["trial"]:
        yield "Who is ejected is tried again by itself; `lb why` explains the last failure."
    if any(states[state] for state in ("draining", "drained", "maintenance")):
        yield "Bring one back: `lb backends ready ID`."
    to_pool = "" if pool.name == DEFAULT_POOL else f" --pool {pool.name}"
    yield f"Add one: `lb backends add URL{to_pool}`."


def seconds_to_rise(probe: Probe) -> int:
    """The longest that a server which answers at once is still down."""
    pauses = probe.interval + (probe.rise - 1) * probe.changing_interval
    return ceil(probe.timeout + pauses * (1 + probe.jitter))


def _panic(pool: Pool, survey: Survey) -> Iterator[Found]:
    if pool.is_panicking and survey.open:
        yield Found(
            "panic",
            pool.name,
            what=clause(f"too few backends of pool {pool.name} ", ARE, " fit, so all of them ", ARE, " used"),
            why=_counted(survey.states),
            advice=f"Requests may fail meanwhile. pools.{pool.name}.panic says from when on this is done.",
            pool=pool.name,
        )


def _queue(pool: Pool, survey: Survey) -> Iterator[Found]:
    if not pool.waiting:
        return
    is_full = pool.cap is not None and pool.in_flight >= pool.cap
    full = f"{listed(survey.full)} full" if survey.full else ""
    key = f"pools.{pool.name}.max_in_flight" if is_full else "max_in_flight of the backends"
    yield Found(
        "queue",
        pool.name,
        what=clause(
            f"{plural(pool.waiting, 'request')} of pool {pool.name} ", _waits(pool.waiting), " for a place"
        ),
        why=f"the pool has all of its {pool.cap} in use" if is_full else full,
        advice=f"Add a backend, or raise {key}.",
        pool=pool.name,
    )


def _clients(pool: Pool, rates: Rates, culprits: Sequence[Found]) -> Iterator[Found]:
    """Clients get failures, and no single backend is to blame for them."""
    bar, share = THRESHOLDS["pool errors"], rates.share_5xx
    if any(each.kind in ("errors", "nobody", "down") for each in culprits):
        return
    if rates.ended >= bar.least_requests and share >= bar.share and rates.ended * share >= bar.least_failures:
        yield Found(
            "pool errors",
            pool.name,
            what=clause(f"clients of pool {pool.name} ", GET, f" 5xx for {percent(share)} of their requests"),
            why="no backend is worse than the others",
            advice=f"`lb why` explains the last failure; `lb backends --pool {pool.name}` shows all.",
            pool=pool.name,
        )


# -- requests that hang ------------------------------------------------------------------------------------


def patience(usual: float | None) -> float:
    """How long a request may wait for its response in a pool whose answers usually take so long."""
    bar = THRESHOLDS["waiting"]
    return LONG_SECONDS if usual is None else max(bar.seconds, bar.times * usual)


def of_waits(waits: Iterable[Waits], usual: Mapping[str, float], now: float) -> Iterator[Found]:
    """Requests that wait for longer than the `patience` that their pool has; `usual` are medians of pools."""
    for each in waits:
        median_of_pool = usual.get(each.pool)
        yield Found(
            "waiting",
            f"{each.pool} {each.backend}",
            what=clause(f"{plural(each.requests, 'request')} ", _waits(each.requests), f" on {each.backend}"),
            why="" if median_of_pool is None else f"answers of the pool usually take {took(median_of_pool)}",
            advice="`lb why --running` shows them.",
            pool=each.pool,
            backend=each.backend,
            since=now - each.seconds,
        )


# -- words ------------------------------------------------------------------------------------------------


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items() if count)


def _waits(count: int) -> Tenses:
    return WAITS if count == 1 else MANY_WAIT


def listed(names: Sequence[str]) -> str:
    """ "web1 is", "web1, web2 and 4 more are": a subject with its verb."""
    shown, more = [*names[:MOST_NAMED]], len(names) - MOST_NAMED
    if more > 0:
        shown.append(f"{more} more")
    if len(names) == 1:
        return f"{shown[0]} is"
    return f"{', '.join(shown[:-1])} and {shown[-1]} are"


def percent(share: float) -> str:
    """A share for people: whole from one per cent on."""
    return f"{share:.0%}" if share >= 0.01 or not share else f"{share:.1%}"


def took(seconds: float) -> str:
    """A time for people, of three digits at most; of a quantile above the last bucket it is only a bound."""
    if seconds >= LONGEST_TOLD:
        return f"more than {seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
