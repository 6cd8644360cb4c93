"""What the registry tells: one event for each change of a backend or a pool, to all who subscribed."""

from collections.abc import Callable
from dataclasses import dataclass

from lb.core.backend import Backend
from lb.core.pool import Pool

WISHES = frozenset(("added", "changed", "ready", "draining", "drained", "maintenance", "removed"))
"""Events by an operator: after each there is something else to be saved, and a new revision."""

PANIC = "too few backends are fit: all that are ready are used"
CALM = "enough backends are fit: only they are used"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a backend.

    By an operator: `added`, `changed`, `ready`, `draining`, `drained`, `maintenance`, `removed`. By probes:
    `up`, `down`. By what exchanges have shown: `ejected`, `trial`, `admitted`. By its source: `missing`,
    `found`, `not_ready`, `leaving`; and `added`, `changed`, `removed`.
    """

    kind: str
    backend: Backend
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """What happened to a pool.

    `added`, `configured`, `removed`, `panic`, `calm`, or `policy failed` (a policy of the operator's own). By
    a source: it is `stale` (fails), `fresh` again; backends are `held`, or no more (`followed`).
    """

    kind: str
    pool: Pool
    detail: str = ""


class Subscribers:
    """The functions that are called with events; `revision` counts changes of what is saved."""

    __slots__ = ("_of_backends", "_of_pools", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self._of_backends: list[Callable[[Event], None]] = []
        self._of_pools: list[Callable[[PoolEvent], None]] = []

    def add(self, tell: Callable[[Event], None], pools: Callable[[PoolEvent], None] | None = None) -> None:
        self._of_backends.append(tell)
        if pools is not None:
            self._of_pools.append(pools)

    def tell(self, kind: str, backend: Backend, detail: str = "") -> None:
        """An event of a backend. What it is about is true already when this is called."""
        if kind in WISHES:
            self.revision += 1
            backend.revision = self.revision
        event = Event(kind, backend, detail)
        for tell in self._of_backends:
            tell(event)

    def tell_of_pool(self, kind: str, pool: Pool, detail: str = "") -> None:
        event = PoolEvent(kind, pool, detail)
        for tell in self._of_pools:
            tell(event)

    def tell_of_panic(self, pool: Pool, begins: bool) -> None:
        """A pool begins or ends to panic."""
        if begins:
            self.tell_of_pool("panic", pool, PANIC)
        else:
            self.tell_of_pool("calm", pool, CALM)
