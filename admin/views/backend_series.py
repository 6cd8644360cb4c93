"""The metrics of backends and pools. A series ends with its backend, or with the probe that counts it."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import chain

from admin.views.metric_families import Family, counter, gauge, histogram
from lb.core.backend import FULL_SHARE, Backend
from lb.core.backend_state import STATES
from lb.core.health.ejection import Cause, Standing
from lb.core.health.probe_verdict import Health, Verdict
from lb.core.policies.catalogue import own_policy
from lb.core.pool import Pool

LABELS = ("pool", "backend")
POOL = ("pool",)
TURNS = (Verdict.UP, Verdict.DOWN)

Keyed = Sequence[tuple[tuple[str, str], Backend]]


def of_backends(backends: Sequence[Backend], now: float) -> Iterator[Family]:
    """Every family that has series by backend; `now` is the registry's."""
    keyed = [((each.pool, each.id), each) for each in backends]
    yield from _requests(keyed)
    yield from _states(keyed)
    yield from _health([(key, each.health) for key, each in keyed if each.health is not None], now)
    yield from _ejections(keyed)
    yield from _connections(keyed)


def _requests(keyed: Keyed) -> Iterator[Family]:
    yield counter(
        "backend_requests",
        "Attempts by the status that the backend answered; 499: its answer was not waited for.",
        (*LABELS, "code"),
        (((*key, str(code)), n) for key, backend in keyed for code, n in [*backend.codes.items()]),
    )
    yield counter(
        "backend_attempt_failures",
        "Attempts that failed on a backend, by the RFC 9209 reason.",
        (*LABELS, "error"),
        (((*key, error), n) for key, backend in keyed for error, n in [*backend.failures.items()]),
    )
    starts = ((key, backend.response_start) for key, backend in keyed)
    help_text = "From the start of an attempt to the first byte of its answer."
    yield histogram("backend_response_start_seconds", help_text, LABELS, starts)
    in_flight = ((key, backend.in_flight) for key, backend in keyed)
    yield gauge("backend_requests_in_flight", "Requests on a backend now.", LABELS, in_flight)


def _states(keyed: Keyed) -> Iterator[Family]:
    weights = ((key, backend.spec.weight) for key, backend in keyed)
    yield gauge("backend_weight", "The share of requests, against the pool's others.", LABELS, weights)
    shares = ((key, backend.share / FULL_SHARE) for key, backend in keyed)
    yield gauge("backend_effective_weight", "The weight, or in slow start less.", LABELS, shares)
    yield gauge(
        "backend_state",
        "1 for the state that a backend is in.",
        (*LABELS, "state"),
        (
            ((*key, state), float(now == state))
            for key, backend in keyed
            for now in (backend.state,)
            for state in STATES
        ),
    )
    up = ((key, float(_is_up(backend.health))) for key, backend in keyed)
    yield gauge("backend_up", "1 while probes find a backend up, or there are none.", LABELS, up)


def _is_up(health: Health | None) -> bool:
    return health is None or health.verdict is Verdict.UP


def _health(probed: Sequence[tuple[tuple[str, str], Health]], now: float) -> Iterator[Family]:
    passes = (((*key, "pass"), health.passes) for key, health in probed)
    fails = (((*key, "fail"), health.fails) for key, health in probed)
    help_text = "Probes that ended, by their result."
    yield counter("backend_health_checks", help_text, (*LABELS, "result"), chain(passes, fails))
    yield counter(
        "backend_health_transitions",
        "Turns of a backend's verdict, by what it turned to.",
        (*LABELS, "to"),
        (((*key, to), health.flips[to]) for key, health in probed for to in TURNS),
    )
    down = ((key, health.down_seconds(now)) for key, health in probed)
    yield counter("backend_down_seconds", "Seconds for which probes found a backend down.", LABELS, down)


def _ejections(keyed: Keyed) -> Iterator[Family]:
    yield counter(
        "backend_ejections",
        "Ejections for bad outcomes, by their cause.",
        (*LABELS, "cause"),
        (((*key, cause), backend.outcomes.ejections[cause]) for key, backend in keyed for cause in Cause),
    )
    out = ((key, float(backend.outcomes.standing is Standing.EJECTED)) for key, backend in keyed)
    yield gauge("backend_ejected", "1 while a backend is ejected.", LABELS, out)


def _connections(keyed: Keyed) -> Iterator[Family]:
    active = (((*key, "active"), backend.connections - backend.idle_connections) for key, backend in keyed)
    idle = (((*key, "idle"), backend.idle_connections) for key, backend in keyed)
    help_text = "Connections to a backend, in use or waiting for reuse."
    yield gauge("backend_connections", help_text, (*LABELS, "state"), chain(active, idle))
    opened = ((key, backend.connections_opened) for key, backend in keyed)
    yield counter("backend_connections_opened", "Connections made to a backend.", LABELS, opened)
    reused = ((key, backend.connections_reused) for key, backend in keyed)
    help_text = "Attempts that found a connection waiting."
    yield counter("backend_connections_reused", help_text, LABELS, reused)


def of_pools(pools: Sequence[Pool], counts: Mapping[str, int]) -> Iterator[Family]:
    """Every family with series by pool that the pool itself counts; `counts` are of those `available`."""
    available = (((pool.name, "available"), counts.get(pool.name, 0)) for pool in pools)
    total = (((pool.name, "total"), len(pool.backends)) for pool in pools)
    yield gauge("pool_backends", "Backends of a pool.", ("pool", "state"), chain(available, total))
    waiting = (((pool.name,), pool.waiting) for pool in pools)
    yield gauge("queue_length", "Requests waiting for a backend below its cap.", POOL, waiting)
    panics = (((pool.name,), float(pool.is_panicking)) for pool in pools)
    help_text = "1 while too few backends are fit and all that are ready are used."
    yield gauge("pool_panic", help_text, POOL, panics)
    exhausted = (((pool.name,), pool.budget.exhausted) for pool in pools)
    help_text = "Retries and hedges that the budget refused."
    yield counter("retry_budget_exhausted", help_text, POOL, exhausted)
    hedged = (((pool.name,), pool.hedged) for pool in pools)
    yield counter("hedges", "Second attempts made beside a slow first one.", POOL, hedged)
    failures = (
        ((pool.name,), own.failures) for pool in pools if (own := own_policy(pool.policy)) is not None
    )
    help_text = "Choices in which a policy of one's own failed, and round robin chose instead."
    yield counter("policy_failures", help_text, POOL, failures)


def available(pool: Pool) -> Generator[None, None, int]:
    """How many backends of the pool may take a request; one is looked at with each step."""
    count = 0
    for backend in [*pool.backends]:
        count += backend.is_open and not backend.is_full
        yield
    return count
