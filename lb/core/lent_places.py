"""A worker's side of the lending (`lb.core.lending`): what it was lent, gives back, and asks for.

A place that the keeper wants back is given back as soon as no request here takes it. While requests wait here
for it they may go on taking it for `HOLD_SECONDS`; then it is given back at the end of the request that has
it. So where all want more than there is, a place moves every HOLD_SECONDS at most, and the time in which it
is on its way is a small part of that.

More places are asked for while requests wait in the queue of a pool: of the pool, where its own cap is in the
way, and of the backends that are full. Of many such backends LOOKS are asked for at a time, others after
LOOK_AGAIN_SECONDS. Two things are asked for before anybody waits, because nobody would: a place on a backend
on trial, and one on a backend to which a cookie ties a client.

A place that was asked for, came, and went unused is not asked for again before LOOK_AGAIN_SECONDS or a few
times that: what waits here cannot use it for another reason, and two workers would pass it to and fro without
end. The times differ, for where a request needs two places, of a pool and of a backend, two workers may have
one each: in step they would exchange them for ever.

Nothing is said for each request. `settle` is called once after whatever has happened in a turn of the loop.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Protocol

from lb.core.backend import Backend
from lb.core.health.ejection import Standing
from lb.core.lender import SharedPool
from lb.core.lending import Haste, Lend, Thing, Uses
from lb.core.pool import Pool
from lb.core.registry_events import Event

HOLD_SECONDS = 0.01
"""So long requests that wait here may go on taking a place that others wait for too."""
LONGER_SECONDS = 0.1
"""So long a place stays, used or not, while those that asked for it have no request that waits."""
LOOKS = 32
"""So many backends are asked for at a time."""
LOOK_AGAIN_SECONDS = 0.02
OUT_OF_STEP = 5
"""So many different times there are; each `Lend` has the next one."""


class Cells(Protocol):
    """Where a worker shows numbers. One is shown with each request, so this is a plain assignment."""

    def __setitem__(self, row: int, number: int, /) -> None: ...


class Lot:
    """What this worker has of one thing: `told` by the keeper, `places` that it takes.

    It `holds` no more than it has last said. `until` is when it stops to take places that it was told to give
    back, `not_before` when it may ask again.
    """

    __slots__ = (
        *(
            "asked",
            "cap",
            "haste",
            "holds",
            "not_before",
            "number",
            "places",
            "said",
            "told",
            "until",
            "waits",
        ),
    )

    def __init__(self) -> None:
        self.told = self.places = self.cap = self.number = 0
        self.holds = 0
        self.asked = 0
        self.waits = False
        self.haste = Haste.SOME_WAIT
        self.until = self.not_before = 0.0
        self.said = (0, 0, 0, False)

    @property
    def is_recalled(self) -> bool:
        """The keeper waits for places that are still held here."""
        return self.holds > self.told


class LentPlaces:
    """All that this worker was lent (`lb.core.lender.Lender`). `tell` sends the keeper a `Uses`.

    `soon` is called when `settle` has something to do. `mine` are this worker's cells of the board by their
    rows, which show how many run here, and `shown` says how many run in all workers. `on_fewer` is told
    before places of a backend are given back.
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        backends: Mapping[str, Backend],
        tell: Callable[[Uses], None],
        soon: Callable[[], None],
        mine: Cells,
        shown: Callable[[int], int],
    ) -> None:
        self._pools = pools
        self._backends = backends
        self._tell = tell
        self._soon = soon
        self._mine = mine
        self._shown = shown
        self.on_fewer: Callable[[Backend], None] = lambda _backend: None
        self._lots: dict[Thing, Lot] = {}
        self._recalled: dict[Thing, None] = {}
        self._unused_yet: dict[Thing, None] = {}
        self._unsaid: dict[Thing, None] = {}
        self._dirty: dict[str, None] = {}
        self._look_again: dict[str, float] = {}
        self._asked: dict[str, dict[Thing, None]] = {}
        self._missed: dict[str, dict[str, None]] = {}
        self._trials: dict[str, dict[str, Backend]] = {}
        self._turns: dict[str, int] = {}

    # -- what holds here -------------------------------------------------------------------------------

    def backend_cap(self, backend: Backend, cap: int | None) -> int | None:
        """How many requests may run on the backend here, where `cap` may in all."""
        here = self._cap_here(("backend", backend.spec.id), cap)
        trials = self._trials.setdefault(backend.pool, {})
        if here == 0 and backend.outcomes.standing is Standing.TRIAL:
            trials[backend.spec.id] = backend
        else:
            trials.pop(backend.spec.id, None)
        if not trials:
            del self._trials[backend.pool]
        return here

    def pool_cap(self, pool: SharedPool, cap: int | None) -> int | None:
        """How many requests may run in the pool here."""
        here = self._cap_here(("pool", pool.name), cap)
        if pool.row:
            self._mine[pool.row] = 0 if here is None else pool.in_flight
        return here

    def _cap_here(self, thing: Thing, cap: int | None) -> int | None:
        lot = self._lots.get(thing)
        if lot is not None:
            return lot.places
        return None if cap is None else 0

    def _in_use(self, thing: Thing) -> int:
        kind, name = thing
        if kind == "pool":
            pool = self._pools.get(name)
            return 0 if pool is None else pool.in_flight
        backend = self._backends.get(name)
        return 0 if backend is None else len(backend.running)

    def on_their_way(self, pool: SharedPool) -> int:
        """How many places that are not here nobody uses, as far as LOOKS full backends show."""
        there = self._pools[pool.name]
        if there.is_full:
            return self._unused(("pool", pool.name), pool.row)
        full = islice(there.full_here(), LOOKS)
        return sum([self._unused(("backend", each.spec.id), each.row) for each in full])

    def _unused(self, thing: Thing, row: int) -> int:
        lot = self._lots.get(thing)
        if lot is None:  # the keeper has not lent anything yet
            return 1
        return max(0, lot.cap - self._shown(row)) if row else 0

    # -- what happens ----------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """A backend that has left shows nothing any more, though requests may still run on it.

        After what happened to any other one, requests that wait may want a place there: it may be new, or may
        take requests again. Its places may have been told of before it was.
        """
        if event.kind == "removed" and event.backend.row:
            self._mine[event.backend.row] = 0
            event.backend.row = 0
        pool = self._pools.get(event.backend.pool)
        if pool is not None and pool.waiting:
            self.waits(pool)

    def moved(self, pool: SharedPool, backend: Backend) -> None:
        """One more request runs on the backend, or one less."""
        row = backend.row
        if row:
            self._mine[row] = len(backend.running)
        if pool.cap is not None and pool.row:
            self._mine[pool.row] = pool.in_flight
        if self._unused_yet:
            self._unused_yet.pop(("pool", pool.name), None)
            self._unused_yet.pop(("backend", backend.spec.id), None)
        if self._recalled:
            self._soon()
        if self._trials:
            self.missed(pool, self._trials.get(pool.name, {}).values())

    def waits(self, pool: SharedPool) -> None:
        """A request waits in the queue of the pool, or waits no more."""
        if pool.name not in self._dirty:
            self._dirty[pool.name] = None
            self._soon()

    def missed(self, pool: SharedPool, backends: Iterable[Backend]) -> None:
        """A request would have gone to one of these, had there been a place for it here."""
        for backend in backends:
            lot = self._lots.get(("backend", backend.spec.id))
            if lot is not None and lot.told < lot.cap and not lot.asked:
                self._missed.setdefault(pool.name, {})[backend.spec.id] = None
                self.waits(pool)

    def hear(self, lend: Lend, now: float) -> None:
        """The keeper has lent, or wants back. `settle` follows."""
        if lend.places is None:
            self._forget(lend.thing)
            return
        lot = self._lots.get(lend.thing)
        if lot is None:
            lot = self._lots[lend.thing] = Lot()
            lot.holds = lot.places = self._in_use(lend.thing)
            self._apply(lend.thing)
        until = now + (0.0, HOLD_SECONDS, LONGER_SECONDS)[Haste.AT_ONCE - lend.haste]
        lot.until = min(lot.until, until) if lot.is_recalled else until
        lot.number, lot.told, lot.cap, lot.haste = lend.number, lend.places, lend.cap, lend.haste
        self._unsaid[lend.thing] = None
        self._settle_lot(lend.thing, lot, now)
        pool = self._pools.get(self._pool_of(lend.thing))
        if pool is not None and (lot.asked or pool.waiting):
            self._dirty[pool.name] = None
        self._soon()

    def _pool_of(self, thing: Thing) -> str:
        kind, name = thing
        backend = self._backends.get(name) if kind == "backend" else None
        return name if backend is None else backend.pool

    def _forget(self, thing: Thing) -> None:
        self._recalled.pop(thing, None)
        self._unsaid.pop(thing, None)
        self._unused_yet.pop(thing, None)
        if self._lots.pop(thing, None) is not None:
            self._apply(thing)

    def look(self, backend: Backend) -> bool:
        """Work out how many requests other workers have on the backend; whether that has changed."""
        row = backend.row
        if not row:
            return False
        others = self._shown(row) - len(backend.running)
        if others < 0:  # what runs here is not shown yet
            others = 0
        if others == backend.others:
            return False
        backend.others = others
        return True

    # -- giving back, and asking -----------------------------------------------------------------------

    def settle(self, now: float) -> float | None:
        """Give back what is free, and ask for what is lacking. When to do so again, or None."""
        for thing in [*self._recalled]:
            self._settle_lot(thing, self._lots[thing], now)
        for name, at in [*self._look_again.items()]:
            if at <= now:
                del self._look_again[name]
                self._turns[name] = self._turns.get(name, 0) + LOOKS
                self._dirty[name] = None
        dirty, self._dirty = self._dirty, {}
        for name in dirty:
            self._ask(name, now)
        unsaid, self._unsaid = self._unsaid, {}
        for thing in unsaid:
            self._say(thing, self._lots[thing])
        held = [lot.until for thing in self._recalled if (lot := self._lots[thing]).until > now]
        return min([*held, *self._look_again.values()], default=None)

    def _settle_lot(self, thing: Thing, lot: Lot, now: float) -> None:
        """Bring what is held, and what is taken, as near to what was told as what runs allows."""
        in_use, places, holds = self._in_use(thing), lot.places, lot.holds
        if lot.told >= lot.holds:
            lot.holds = lot.places = lot.told
        elif now >= lot.until:
            lot.holds, lot.places = min(lot.holds, max(lot.told, in_use)), lot.told
        elif lot.haste is Haste.SOME_WAIT:
            lot.holds = lot.places = min(lot.holds, max(lot.told, in_use))
        if lot.is_recalled:
            self._recalled[thing] = None
        else:
            self._recalled.pop(thing, None)
        if lot.holds > holds and lot.asked:
            self._unused_yet[thing] = None
        elif lot.holds < holds and thing in self._unused_yet:
            del self._unused_yet[thing]
            lot.not_before = now + LOOK_AGAIN_SECONDS * (1 + lot.number % OUT_OF_STEP)
        if lot.places != places:
            self._apply(thing)
        if lot.holds != holds:
            self._unsaid[thing] = None
            self._tell_fewer(thing)

    def _tell_fewer(self, thing: Thing) -> None:
        backend = self._backends.get(thing[1]) if thing[0] == "backend" else None
        if backend is not None:
            self.on_fewer(backend)

    def _apply(self, thing: Thing) -> None:
        """Let the pool take another number of places; requests that wait may get some."""
        kind, name = thing
        if kind == "pool":
            if (pool := self._pools.get(name)) is not None:
                pool.resize()
        elif (backend := self._backends.get(name)) is not None:
            self._pools[backend.pool].resize_backend(backend)

    def _say(self, thing: Thing, lot: Lot) -> None:
        said = lot.number, lot.holds, lot.asked, lot.waits
        if said != lot.said:
            lot.said = said
            self._tell(Uses(thing, *said))

    def _ask(self, name: str, now: float) -> None:
        """Work out how many places of what would let those go on that wait for this pool."""
        pool = self._pools.get(name)
        wishes = {} if pool is None else self._wishes(pool)
        early = [thing for thing in wishes if now < self._lots[thing].not_before]
        if len(wishes) < LOOKS and not early:
            self._look_again.pop(name, None)
        else:
            self._look_again.setdefault(name, now + LOOK_AGAIN_SECONDS)
        for thing in early:
            del wishes[thing]
        before = self._asked.pop(name, {})
        if wishes:
            self._asked[name] = dict.fromkeys(wishes)
        waits = pool is not None and pool.waiting > 0
        for thing in {**before, **wishes}:
            if (lot := self._lots.get(thing)) is not None:
                lot.asked = wishes.get(thing, 0)
                lot.waits = waits and lot.asked > 0
                self._unsaid[thing] = None

    def _wishes(self, pool: Pool) -> dict[Thing, int]:
        wishes: dict[Thing, int] = {}
        if pool.waiting:
            if pool.is_full:
                self._wish(wishes, ("pool", pool.name), pool.waiting)
            for backend in self._some_full(pool):
                self._wish(wishes, ("backend", backend.spec.id), pool.waiting)
        for name in self._missed.pop(pool.name, ()):
            self._wish(wishes, ("backend", name), 1)
        return wishes

    def _wish(self, wishes: dict[Thing, int], thing: Thing, more: int) -> None:
        if (lot := self._lots.get(thing)) is not None:
            wishes.setdefault(thing, min(lot.cap, self._in_use(thing) + more))

    def _some_full(self, pool: Pool) -> list[Backend]:
        """LOOKS of those that are full here: all, or from where the turn of this pool is."""
        start = self._turns.get(pool.name, 0)
        some = [*islice(pool.full_here(), start, start + LOOKS)]
        if len(some) < LOOKS and start:
            self._turns.pop(pool.name)
            some += islice(pool.full_here(), min(start, LOOKS - len(some)))
        return some
