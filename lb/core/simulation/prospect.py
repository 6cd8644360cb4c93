"""How many backends of a pool would be available after a change: counted without changing or copying any.

What the pool itself would do then is part of the count (`lb.core.pool_health`): it may try ejected backends
before their time, or panic.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import INITIALLY, Verdict
from lb.core.pool import Pool
from lb.settings.backend_spec import BackendSpec


class Prospect(NamedTuple):
    """One backend as it would stand. `until` is when its ejection ends, `places` what a trial lets in."""

    is_ready: bool
    is_up: bool
    standing: Standing
    until: float
    running: int
    cap: int | None
    places: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backend of a set would be: its settings, and its state where the set says one."""

    spec: BackendSpec
    state: AdminState | None


def without(pool: Pool, gone: Backend) -> Generator[None, None, int]:
    """How many would be available, were this one in maintenance; a backend is looked at with each step."""
    return (yield from _counted(pool, (_as_it_is(each) for each in [*pool.backends] if each is not gone)))


def with_set(
    pool: Pool, wanted: Iterable[Wanted], find: Callable[[str], Backend | None]
) -> Generator[None, None, int]:
    """How many would be available, were these all; `find` gives the backend of an id that is there."""
    return (yield from _counted(pool, (_as_wanted(pool, each, find(each.spec.id)) for each in wanted)))


def _as_it_is(backend: Backend) -> Prospect:
    return _standing(backend, backend.is_ready, backend.spec, backend.outcomes.standing)


def _as_wanted(pool: Pool, wanted: Wanted, there: Backend | None) -> Prospect:
    spec = wanted.spec
    if there is None:
        is_ready = wanted.state in (None, AdminState.READY) and spec.weight > 0
        probe = pool.settings.probe
        is_up = probe is None or INITIALLY[probe.initial][0] is Verdict.UP
        return Prospect(is_ready, is_up, Standing.ADMITTED, 0.0, 0, _cap(spec), 1)
    stays = there.drain is not None and there.drain.then is Then.REMOVE
    state = wanted.state or (AdminState.READY if stays else there.admin_state)
    is_back = state is AdminState.READY and (stays or there.admin_state is not state)
    standing = Standing.ADMITTED if is_back else there.outcomes.standing
    return _standing(there, state is AdminState.READY and spec.weight > 0, spec, standing)


def _standing(backend: Backend, is_ready: bool, spec: BackendSpec, standing: Standing) -> Prospect:
    until, places = backend.outcomes.until, backend.trial_places
    return Prospect(is_ready, backend.is_up, standing, until, backend.in_flight, _cap(spec), places)


def _cap(spec: BackendSpec) -> int | None:
    return min((cap for cap in (spec.max_in_flight, spec.max_connections) if cap is not None), default=None)


def _counted(pool: Pool, prospects: Iterator[Prospect]) -> Generator[None, None, int]:
    ready = fit = ejected = available = in_panic = 0
    triable: list[Prospect] = []
    for each in prospects:
        if each.is_ready:
            ready += 1
            has_room = each.cap is None or each.running < each.cap
            in_panic += has_room
            if each.standing is Standing.EJECTED:
                ejected += 1
                if each.is_up:
                    triable.append(each)
            elif each.is_up:
                fit += 1
                is_free = each.standing is Standing.ADMITTED or each.running < each.places
                available += has_room and is_free
        yield
    triable.sort(key=lambda each: each.until)
    for each in triable:
        if ejected <= pool.settings.ejection.share * ready:
            break
        ejected, fit = ejected - 1, fit + 1
        available += not each.running
    return in_panic if ready and fit < pool.settings.panic * ready else available
