"""The keeper's side of what workers share: caps go to the ledger, and each backend and pool has a row.

The registry of the keeper calls this as a worker's calls `lb.core.lent_places`: whenever a cap is worked out
anew, the ledger hears of it, and tells the workers before they are told the state that it belongs to.

A row of the board belongs to a name. It is given to another name only when every worker has forgotten the
first one, for until then one may still write there.
"""

from collections import deque
from collections.abc import Callable, Iterable

from lb.core.backend import Backend
from lb.core.lender import Lender, SharedPool
from lb.core.lending import Ledger, Thing
from lb.core.registry import Event, PoolEvent, Registry

Forgotten = Callable[[], bool]


class Rows:
    """The rows from `first` up to `end`, by name. `used` is one more than the last that was ever given."""

    def __init__(self, first: int, end: int) -> None:
        self.used = first
        self._end = end
        self._rows: dict[Thing, int] = {}
        self._leaving: deque[tuple[Thing, int, Forgotten]] = deque()
        self._free: list[int] = []

    def take(self, name: Thing) -> int:
        """The row of this name: the same as before if it is not forgotten yet; 0 where none is left."""
        while self._leaving and self._leaving[0][2]():
            self._let_go(*self._leaving.popleft()[:2])
        if name in self._rows:
            self._leaving = deque(each for each in self._leaving if each[0] != name)
        elif self._free:
            self._rows[name] = self._free.pop()
        elif self.used < self._end:
            self._rows[name] = self.used
            self.used += 1
        return self._rows.get(name, 0)

    def leave(self, name: Thing, is_forgotten: Forgotten) -> None:
        """The row will be free once this says so."""
        if name in self._rows:
            self._leaving.append((name, self._rows[name], is_forgotten))

    def _let_go(self, name: Thing, row: int) -> None:
        del self._rows[name]
        self._free.append(row)


class LentOut:
    """What the keeper's registry asks instead of a worker's (`lb.core.lender.Lender`); it lends out.

    `forgotten` is called when something has left, and what it returns says whether all workers know that.
    """

    def __init__(
        self, registry: Registry, ledger: Ledger, rows: Rows, forgotten: Callable[[], Forgotten]
    ) -> None:
        self._ledger = ledger
        self._rows = rows
        self._forgotten = forgotten
        for pool in registry.pools.values():
            pool.row = rows.take(("pool", pool.name))
        for backend in registry.backends.values():
            backend.row = rows.take(("backend", backend.id))
        share_all(registry, self)
        registry.subscribe(self._on_event, self._on_pool_event)

    def _on_event(self, event: Event) -> None:
        thing = ("backend", event.backend.id)
        if event.kind == "added":
            event.backend.row = self._rows.take(thing)
        elif event.kind == "removed":
            self._ledger.cap(thing, None)
            self._rows.leave(thing, self._forgotten())

    def _on_pool_event(self, event: PoolEvent) -> None:
        thing = ("pool", event.pool.name)
        if event.kind == "added":
            event.pool.row = self._rows.take(thing)
        elif event.kind == "removed":
            self._ledger.cap(thing, None)
            self._rows.leave(thing, self._forgotten())

    def backend_cap(self, backend: Backend, cap: int | None) -> int | None:
        """The cap in all has become this."""
        self._ledger.cap(("backend", backend.spec.id), cap)
        return cap

    def pool_cap(self, pool: SharedPool, cap: int | None) -> int | None:
        """The cap in all has become this."""
        self._ledger.cap(("pool", pool.name), cap)
        return cap

    def moved(self, pool: SharedPool, backend: Backend) -> None:
        """Nothing runs in the keeper."""

    def waits(self, pool: SharedPool) -> None:
        """Nothing waits in the keeper."""

    def missed(self, pool: SharedPool, backends: Iterable[Backend]) -> None:
        """No request is served in the keeper."""

    def look(self, backend: Backend) -> bool:
        """No policy of the keeper chooses."""
        return False

    def on_their_way(self, pool: SharedPool) -> int:
        """All places are there for the keeper's registry, which uses none."""
        return 0


def share_all(registry: Registry, lender: Lender) -> None:
    """Let this lender say how many places are here, of all pools that there are and will be."""
    for pool in registry.pools.values():
        pool.share(lender)

    def share(event: PoolEvent) -> None:
        if event.kind == "added":
            event.pool.share(lender)

    registry.subscribe(lambda _event: None, share)
