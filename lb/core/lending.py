"""Hard caps over several workers: the keeper lends each of them some of the places, and moves them on demand.

A cap is on a *thing*: a backend or a pool. A worker uses no more places than it was lent, and the keeper
lends a place again only when the worker has given it back, or has died. So for every order of messages the
places in use are within the cap, and nobody is asked while a worker has a place.

What is told are whole numbers and never changes: `Lend` how many places a worker has from now on, `Uses` the
most that it will use until it is lent others, and how many it could use. Every `Lend` is answered by a
`Uses`, which repeats its number, so that what was said before it is not taken for the answer.

Who is to have how many (`Capped.plan`) follows from what they want:

- Those that want share the cap evenly, but none gets more than it wants. What cannot be divided goes around:
  the first in turn gets it, and stands at the end then.
- While somebody is to have more than is free, nobody keeps what it does not use: nobody waits for the end of
  a request while another worker has a free place.
- What is left otherwise stays where it is, first where it is in use. What nobody has is lent evenly, so that
  most requests ask nobody.
- A place that is used is given back when its request ends, one that is not used at once.

What is lost is bounded. A place that moves is used by nobody for one trip of a message each way. Where all
want more than there is, it moves once in `lent_places.HOLD_SECONDS` and the time of one request at most.

After a cap was lowered nobody takes a place until as many are in use as it allows, as in one process. So all
places are taken back first, and then lent again.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from itertools import count

import msgspec

Thing = tuple[str, str]
"""What has a cap: "backend" or "pool", and its name."""
UNKNOWN = 1 << 40
"""So many places a worker may use that had no cap until now, for all that the keeper knows."""


class Haste(IntEnum):
    """How soon a worker gives back what it has too much: the less, the longer it may look for a use of it."""

    NO_REQUEST_WAITS = 0
    SOME_WAIT = 1
    AT_ONCE = 2


class Lend(msgspec.Struct, frozen=True, array_like=True, tag="lend"):
    """A worker has so many `places` of a thing from now on, `cap` in all; None: there is no cap any more.

    What it has too much is wanted back with this `haste`.
    """

    thing: Thing
    number: int
    places: int | None
    cap: int = 0
    haste: Haste = Haste.SOME_WAIT


class Uses(msgspec.Struct, frozen=True, array_like=True, tag="uses"):
    """A worker uses no more than so many places, as of the `Lend` of this number.

    `wants` is how many it could use now, or 0 where it asks for none. `waits`: a request waits for one.
    """

    thing: Thing
    number: int
    places: int
    wants: int
    waits: bool


class Account:
    """One worker's part of one thing: what it was told, and the most that it may still use.

    `kept` is what it has said to keep for now of what it was told to give back, since requests run there.
    """

    __slots__ = ("haste", "held", "kept", "number", "told", "waits", "wants")

    def __init__(self, held: int) -> None:
        self.told = 0
        self.held = held
        self.kept = 0
        self.number = 0
        self.wants = 0
        self.waits = False
        self.haste = Haste.NO_REQUEST_WAITS


class Capped:
    """The places of one thing: at most `cap` are held by all workers together.

    Of what cannot be divided evenly the `first` worker gets the first place, and so on.
    """

    def __init__(self, cap: int, first: int) -> None:
        self.cap = cap
        self.accounts: dict[int, Account] = {}
        self._first = first
        self._turns: dict[int, None] = {}

    @property
    def _free(self) -> int:
        return self.cap - sum([account.held for account in self.accounts.values()])

    def wants(self, worker: int, places: int, waits: bool) -> None:
        """The worker could use so many; it is the last in turn if it wanted none."""
        account = self.accounts[worker]
        account.wants, account.waits = places, waits
        if not places:
            self._turns.pop(worker, None)
        elif worker not in self._turns:
            self._turns[worker] = None

    def leave(self, worker: int) -> None:
        """The worker is no more."""
        self.accounts.pop(worker, None)
        self._turns.pop(worker, None)

    @property
    def is_over(self) -> bool:
        """The cap was lowered, and more than it allows may be in use."""
        return self._free < 0

    @property
    def haste(self) -> Haste:
        """How soon places are needed that are to be given back."""
        if self.is_over:
            return Haste.AT_ONCE
        waits = any(self.accounts[worker].waits for worker in self._turns)
        return Haste.SOME_WAIT if waits else Haste.NO_REQUEST_WAITS

    def plan(self, workers: int) -> dict[int, int]:
        """How many places each worker is to have, of so many workers as there are at best."""
        if self.is_over:
            return dict.fromkeys(self.accounts, 0)
        wishes = {worker: self.accounts[worker].wants for worker in self._turns}
        parts = {**dict.fromkeys(self.accounts, 0), **evenly(self.cap, wishes)}
        if self._misses(parts):
            return parts
        self._leave(parts, {worker: each.kept for worker, each in self.accounts.items()})
        self._leave(parts, {worker: each.told for worker, each in self.accounts.items()})
        self._fill_up(parts, workers)
        return parts

    def _misses(self, parts: Mapping[int, int]) -> bool:
        """Whether somebody is to have more than is free, so that nobody may keep what it does not use."""
        more = sum([max(0, parts[worker] - self.accounts[worker].held) for worker in self._turns])
        return more > self._free

    def _leave(self, parts: dict[int, int], had: Mapping[int, int]) -> None:
        """Divide what is left among those that have more than their part, as much as they have."""
        spare = {worker: max(0, places - parts[worker]) for worker, places in had.items()}
        for worker, places in evenly(self.cap - sum(parts.values()), spare).items():
            parts[worker] += places

    def _fill_up(self, parts: dict[int, int], workers: int) -> None:
        """Divide what is left among those that have less than an even part of the cap."""
        left = self.cap - sum(parts.values())
        even, rest = divmod(self.cap, workers)
        for worker in parts if left else ():
            is_first = (worker + self._first) % workers < rest
            more = min(left, max(0, even + is_first - parts[worker]))
            parts[worker] += more
            left -= more

    def give(self, worker: int, places: int, haste: Haste) -> bool:
        """Bring the worker as near to so many places as those allow that are free.

        Whether it has to be told so.
        """
        account = self.accounts[worker]
        more = max(0, min(places - account.held, self._free))
        now = min(places, account.held + more)
        if now == account.told and (account.held == now or haste <= account.haste):
            return False
        if now > account.told and worker in self._turns:
            del self._turns[worker]
            self._turns[worker] = None
        account.told = now
        account.held += more
        return True

    def in_turn(self) -> list[int]:
        """All workers: first those that want, by when they were last served."""
        return [*self._turns, *(worker for worker in self.accounts if worker not in self._turns)]


class Ledger:
    """All places that were lent, for the `workers` that there are at best. `tell` sends a worker a `Lend`."""

    def __init__(self, workers: int, tell: Callable[[int, Lend], None]) -> None:
        self.things: dict[Thing, Capped] = {}
        self._workers = workers
        self._present: dict[int, None] = {}
        self._tell = tell
        self._numbers = count(1)
        self._firsts = count()

    # -- who there is, and what is capped --------------------------------------------------------------

    def join(self, worker: int) -> None:
        """A worker begins to serve, and uses nothing yet of what has a cap."""
        self._present[worker] = None
        for thing, capped in self.things.items():
            capped.accounts[worker] = Account(held=0)
            self._lend(thing, capped, worker, capped.haste)
            self._move(thing, capped)

    def leave(self, worker: int) -> None:
        """A worker has ended, and its places are free."""
        self._present.pop(worker, None)
        for thing, capped in self.things.items():
            capped.leave(worker)
            self._move(thing, capped)

    def cap(self, thing: Thing, cap: int | None) -> None:
        """The thing has this cap from now on, in all; None: none."""
        capped = self.things.get(thing)
        if cap is None:
            if capped is not None:
                self._let_go(thing)
        elif capped is None:
            self._begin(thing, cap)
        elif capped.cap != cap:
            capped.cap = cap
            self._move(thing, capped, is_other=True)

    def _begin(self, thing: Thing, cap: int) -> None:
        """Nothing is lent before all workers have said how much they use without a cap."""
        capped = self.things[thing] = Capped(cap, next(self._firsts))
        for worker in self._present:
            capped.accounts[worker] = Account(UNKNOWN)
            self._lend(thing, capped, worker, capped.haste)

    def _let_go(self, thing: Thing) -> None:
        del self.things[thing]
        for worker in self._present:
            self._tell(worker, Lend(thing, next(self._numbers), None))

    # -- moving ----------------------------------------------------------------------------------------

    def heard(self, worker: int, uses: Uses) -> None:
        """A worker has said what it uses, and how much it could use."""
        capped = self.things.get(uses.thing)
        if capped is None or worker not in capped.accounts:
            return
        account = capped.accounts[worker]
        if uses.number == account.number:
            account.held = max(account.told, uses.places)
            account.kept = account.held if account.held > account.told else 0
        capped.wants(worker, uses.wants, uses.waits)
        self._move(uses.thing, capped)

    def _move(self, thing: Thing, capped: Capped, *, is_other: bool = False) -> None:
        """Take back what others are to have, and lend what is free. `is_other`: all hear of the cap."""
        parts, haste = capped.plan(self._workers), capped.haste
        for worker in capped.in_turn():
            if capped.give(worker, parts[worker], haste) or is_other:
                self._lend(thing, capped, worker, haste)

    def _lend(self, thing: Thing, capped: Capped, worker: int, haste: Haste) -> None:
        account = capped.accounts[worker]
        account.number, account.haste, account.kept = next(self._numbers), haste, 0
        self._tell(worker, Lend(thing, account.number, account.told, capped.cap, haste))


def evenly(total: int, wishes: Mapping[int, int]) -> dict[int, int]:
    """Divide so many places: all get the same, but nobody more than it wishes.

    What cannot be divided goes to the first.
    """
    left, count, level = total, len(wishes), 0
    for wish in sorted(wishes.values()):
        level = left // count
        if wish > level:
            break
        left -= wish
        count -= 1
        level = wish
    rest = left - level * count if count else 0
    parts = {}
    for each, wish in wishes.items():
        parts[each] = min(wish, level)
        if wish > level and rest > 0:
            parts[each] += 1
            rest -= 1
    return parts
