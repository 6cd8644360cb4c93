"""Sources of backends, as an operator sees them.

`lb.discovery` offers `Finding`; the operator's side uses it. A balancer without sources has none.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lb.core.measures.histogram import Histogram


class SourceStanding(NamedTuple):
    """How it is with one source. Times are of the registry's clock, None where there was no such moment.

    `good_at` is when it gave the last good set, `well_since` since when it is well (None: it fails, and
    `error` says why), `next_at` when it is asked again. `here` are the backends that it has here, `missing`
    since when those are missed that it does not name any more. `held` says of backends why they stay although
    the source does not want them, `shadowed` who has them instead, `waiting` until when they wait. `hidden`
    are those that an operator removed, `skipped` sentences about entries that were of no use. `results`
    counts answers, "success" and "failure", `changes` what was done, by kind; `applications` how long each
    took.
    """

    pool: str
    name: str
    kind: str
    where: str
    good_at: float | None
    well_since: float | None
    next_at: float | None
    error: str
    here: int
    missing: dict[str, float]
    held: dict[str, str]
    shadowed: dict[str, str]
    waiting: dict[str, float]
    hidden: Sequence[str]
    skipped: Sequence[str]
    results: Counter[str]
    changes: Counter[str]
    applications: Histogram


class Accepting(NamedTuple):
    """What an operator has let happen: the ids of backends that leave, and the names of sources.

    Such a source is followed again though what it is read from has become another.
    """

    backends: Sequence[str]
    sources: Sequence[str]


class Finding(Protocol):
    """All sources of one balancer."""

    def standings(self, pool: str | None = None) -> Sequence[SourceStanding]:
        """How it is with those of this pool, or of all, in the order of the file."""
        ...

    def missing_since(self, pool: str, source: str, backend_id: str) -> float | None:
        """Since when this backend is missed; None where it is named."""
        ...

    def is_promised(self, pool: str) -> bool:
        """The pool has sources, and not all of them have said that there is nobody and may say so."""
        ...

    def refresh(self, pool: str) -> int:
        """Ask the sources of this pool at once; how many there are."""
        ...

    def accept(self, pool: str) -> Accepting:
        """Follow the sources of this pool in what is held, and those that are others than they were."""
        ...


class NothingFound:
    """The sources of a balancer that has none."""

    def standings(self, pool: str | None = None) -> Sequence[SourceStanding]:
        return ()

    def missing_since(self, pool: str, source: str, backend_id: str) -> float | None:
        return None

    def is_promised(self, pool: str) -> bool:
        return False

    def refresh(self, pool: str) -> int:
        return 0

    def accept(self, pool: str) -> Accepting:
        return Accepting((), ())
