"""Who of a pool may be chosen, kept up to date as backends change, so that no request works it out.

Each backend has one place: it is shut, or *free* (the policy chooses among these), or full, or in *reserve*,
as backups are while any other is open. A backend tells that it has changed, and gets its place anew before
the next choice; that costs the same however many there are. In a small pool where many have changed, all are
placed at once. In a large one that takes too long for one request: some are placed with each `catch_up`, and
until all are, a choice is made among those that have a place. One that still waits for its place is never
taken before it has got it (`is_late`, `place`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

from lb.core.backend import Backend
from lb.core.passed_over import NAMED, NONE_PASSED_OVER, TRIED, PassedOver, Reason
from lb.core.policies.base import Asking, Counts, Follows, Forgets, Policy
from lb.core.policies.round_robin import hand_over

MANY = 8
"""Where more than one in so many has changed, all are placed anew."""
ANEW = 500
"""Above so many that takes too long to be done at once."""
SOME = 250
"""So many are placed at once then."""

Pick = Callable[[Asking], Backend]


class Roster:
    """The places of the backends of one pool, each by its id.

    `pick` chooses for a request that nothing narrows. It is None where there is more to ask: then `choose`
    and `passed_over` are for one request. `out` is what is passed over for every request, `is_stale`: it must
    `catch_up` first. `open` has those that are free, full or in reserve, `checking` those of the shut ones
    whose first probe has not ended.
    """

    __slots__ = (
        "_changed",
        "_follower",
        "_follows",
        "_forgets",
        "_has_only_backups",
        "_inner",
        "_is_anew",
        "_is_choosy",
        "_left",
        "_policy",
        "_sequence",
        "checking",
        "counter",
        "draining",
        "free",
        "full",
        "is_stale",
        "open",
        "out",
        "pick",
        "reserve",
        "shut",
    )

    def __init__(self, policy: Policy) -> None:
        self._changed: dict[str, Backend] = {}
        self._left = 0
        self._follower: Follows | None = None
        self.counter: Counts | None = None
        self.out = NONE_PASSED_OVER
        self._clear()
        self._use(policy, policy, is_choosy=False)

    def respec(self, policy: Policy, inner: Policy, is_choosy: bool) -> None:
        """Choose by this policy, whose part `inner` may follow the backends.

        `is_choosy`: the pool has to look at each request itself, so there is no `pick`.
        """
        if policy is not self._policy or inner is not self._inner or is_choosy is not self._is_choosy:
            self._use(policy, inner, is_choosy)

    def _use(self, policy: Policy, inner: Policy, is_choosy: bool) -> None:
        self.begin_anew()
        self._policy, self._inner, self._is_choosy = policy, inner, is_choosy
        self._follows = inner if isinstance(inner, Follows) else None
        self._forgets = inner if isinstance(inner, Forgets) else None

    def begin_anew(self) -> None:
        """All get their places anew before the next choice, those first that could be chosen."""
        self._changed = {**self.free, **self.open, **self._changed}
        self.forget()
        self._is_anew = self.is_stale = True

    def _clear(self) -> None:
        self._has_only_backups = False
        self._sequence: list[Backend] | None = None
        self.open: dict[str, Backend] = {}
        self.free: dict[str, Backend] = {}
        self.full: dict[str, Reason] = {}
        self.reserve: dict[str, Backend] = {}
        self.shut: dict[str, Reason] = {}
        self.draining: dict[str, Backend] = {}
        self.checking: dict[str, Backend] = {}
        self.pick: Pick | None = None

    # -- what changes ----------------------------------------------------------------------------------

    def changed(self, backend: Backend) -> None:
        """What holds of the backend, or its share, is another now."""
        self._changed[backend.id] = backend
        self.is_stale = True

    def all_changed(self, backends: Iterable[Backend]) -> None:
        """`changed` for all of the pool's backends, in a step that is short for each."""
        self._changed = {each.spec.id: each for each in backends}
        self.is_stale = True

    def enter(self, backend: Backend) -> None:
        """The backend is in the pool now."""
        backend.roster = self
        self.changed(backend)

    def leave(self, backend: Backend) -> None:
        """It is in the pool no more."""
        backend.roster = None
        self._changed.pop(backend.id, None)
        self._leave_place(backend)
        if self._forgets is not None:
            self._forgets.forget(backend)
        backend.turn = 0
        self._left += 1
        self.is_stale = True

    def catch_up(self, backends: Collection[Backend]) -> None:
        """Place those that have changed, in a large pool SOME of them; `backends` are all that there are."""
        if len(backends) > ANEW:
            self._place_some(backends)
        else:
            self._place_changed(backends)
        self.out = PassedOver(tuple(self.shut.values())) if self.shut else NONE_PASSED_OVER
        self.is_stale = bool(self._changed)
        self._refresh()

    def _place_changed(self, backends: Collection[Backend]) -> None:
        for backend in self._changed.values():
            backend.heed_trust()
        changed, self._changed = self._changed, {}
        count = len(backends)
        if self._is_anew or MANY * len(changed) > count or MANY * self._left > count:
            self._place_all(backends)
            return
        for backend in changed.values():
            self._leave_place(backend)
            self._place(backend)
        if self._is_misplaced(self._worth_following()):
            self._place_all(backends)

    def _place_some(self, backends: Collection[Backend]) -> None:
        if self._is_anew:
            self._begin_to_place(backends)
        for backend in [*islice(self._changed.values(), SOME)]:
            self.place(backend)
        if not self._changed and self._is_misplaced(self._follows):
            self._begin_to_place(backends)

    def _begin_to_place(self, backends: Collection[Backend]) -> None:
        """Nobody has a place from now on; those that may be chosen get theirs before the others.

        What those that have left were owed is divided only when the pool is small again.
        """
        had_only_backups, free, reserve, open_ = self._has_only_backups, self.free, self.reserve, self.open
        if not self._is_anew:
            self.forget()
        self._is_anew = False
        self._look_for_backups(backends)
        first = free if self._has_only_backups is had_only_backups else reserve
        self._changed = {**first, **open_, **self._changed, **{each.spec.id: each for each in backends}}
        self._follow(self._follows)

    def is_late(self, backend: Backend) -> bool:
        """It has changed, and its place is still that of before."""
        return backend.id in self._changed

    def place(self, backend: Backend) -> bool:
        """Give this one its place now; whether it is free. `out` names it after the next `catch_up`."""
        backend.heed_trust()
        self._changed.pop(backend.id, None)
        self._leave_place(backend)
        self._place(backend)
        self._sequence = None
        return backend.id in self.free

    def place_late(self, names: Iterable[str]) -> None:
        """Give their places to those of these ids that are late."""
        for name in names:
            if (backend := self._changed.get(name)) is not None:
                self.place(backend)

    def _is_misplaced(self, follower: Follows | None) -> bool:
        """The policy chooses among others now: backups or not, or too few to follow them."""
        count = len(self.free) + len(self.full)
        if self.reserve and (self._has_only_backups or not count):
            return True
        return follower is not self._follower

    def _worth_following(self) -> Follows | None:
        follows, count = self._follows, len(self.free) + len(self.full)
        return follows if follows is not None and count > follows.few else None

    def _place_all(self, backends: Collection[Backend]) -> None:
        self.forget()
        self._is_anew = False
        if self._left:
            hand_over(self._left, backends)
            self._left = 0
        self._look_for_backups(backends)
        for backend in backends:
            self._place(backend)
        self._follow(self._worth_following())

    def _look_for_backups(self, backends: Collection[Backend]) -> None:
        self._has_only_backups = all(backend.shut or backend.spec.backup for backend in backends)

    def _follow(self, follower: Follows | None) -> None:
        self._follower = follower
        if follower is not None:
            follower.follow(list(self.free.values()))
            self.counter = follower if isinstance(follower, Counts) else None

    def forget(self) -> None:
        """Nobody has a place any more, and the policy follows nobody."""
        if self._follower is not None:
            self._follower.follow(())
        self._follower = self.counter = None
        self._clear()

    def _place(self, backend: Backend) -> None:
        name = backend.spec.id
        if backend.shut is not None:
            self.shut[name] = backend.shut
            if backend.drains:
                self.draining[name] = backend
            elif backend.is_worth_waiting_for:
                self.checking[name] = backend
            return
        self.open[name] = backend
        if backend.spec.backup is not self._has_only_backups:
            self.reserve[name] = backend
        elif backend.is_full:
            self.full[name] = (name, backend.why_not() or "")
        else:
            self._free(backend)

    def _leave_place(self, backend: Backend) -> None:
        name = backend.spec.id
        if self.free.pop(name, None) is not None and self._follower is not None:
            self._follower.leave(backend)
        for places in (self.open, self.full, self.reserve, self.shut, self.draining, self.checking):
            places.pop(name, None)

    def moved(self, backend: Backend) -> None:
        """One more, or one less, runs on the backend. One that has changed besides gets its place later."""
        if backend.roster is not self or backend.id in self._changed:
            return
        name = backend.spec.id
        if name in self.free:
            if backend.is_full:
                self._fill(backend)
            elif self.counter is not None:
                self.counter.counted(backend)
        elif name in self.full and not backend.is_full:
            del self.full[name]
            self._free(backend)
            self._refresh()

    def _fill(self, backend: Backend) -> None:
        name = backend.spec.id
        del self.free[name]
        if self._follower is not None:
            self._follower.leave(backend)
        self.full[name] = (name, backend.why_not() or "")
        self._refresh()

    def _free(self, backend: Backend) -> None:
        self.free[backend.spec.id] = backend
        if self._follower is not None:
            self._follower.enter(backend)

    def _refresh(self) -> None:
        self._sequence = None
        if self._is_choosy or self.full or self.reserve or self._changed or not self.free:
            self.pick = None
        elif self._follower is not None:
            self.pick = self._follower.pick
        else:
            self.pick = self._choose_free

    def _in_sequence(self) -> list[Backend]:
        if self._sequence is None:
            self._sequence = list(self.free.values())
        return self._sequence

    # -- one request -----------------------------------------------------------------------------------

    def free_one(self, names: Iterable[str], tried: Collection[Backend]) -> Backend | None:
        """The first of these names that a request may have which has tried those."""
        found = (self.free.get(name) for name in names)
        return next((each for each in found if each is not None and each not in tried), None)

    def full_ones(self, names: Iterable[str]) -> list[Backend]:
        """Those of these names that nothing but their cap keeps from taking more."""
        found = (self.open.get(name) for name in names)
        return [each for each in found if each is not None and each.is_full]

    def worth_waiting_for(self, is_full: bool) -> Iterator[Backend]:
        """Those that only a cap, or a first probe, keeps from a request; `is_full`: the pool's own cap."""
        if is_full:
            return chain(self.open.values(), self.checking.values())
        full = (self.open[name] for name in self.full)
        return chain(full, self.checking.values(), (each for each in self.reserve.values() if each.is_full))

    def some_with_room(self, count: int) -> list[Backend]:
        """So many of those that may be chosen or that stand in reserve; fewer only where these are all."""
        reserve = (each for each in self.reserve.values() if not each.is_full)
        return [*islice(chain(self.free.values(), reserve), count)]

    def choose(self, request: Asking, tried: Collection[Backend]) -> Backend | None:
        """One that it has not tried, or None: of the free ones, else of the reserve."""
        if not tried:
            chosen = self._choose_free(request) if self.free else None
        elif self._follower is not None:
            chosen = self._choose_without(self._follower, request, tried)
        else:
            chosen = self._choose_of([each for each in self._in_sequence() if each not in tried], request)
        if chosen is not None or not self.reserve:
            return chosen
        left = [each for each in self.reserve.values() if not each.is_full and each not in tried]
        return self._choose_of(left, request)

    def _choose_free(self, request: Asking) -> Backend:
        if self._follower is not None:
            return self._follower.pick(request)
        return self._policy.choose(self._in_sequence(), request)

    def _choose_without(
        self, follower: Follows, request: Asking, tried: Collection[Backend]
    ) -> Backend | None:
        """Those that it has tried leave for the moment of the choice."""
        away = [each for each in dict.fromkeys(tried) if self.free.get(each.spec.id) is each]
        if len(away) == len(self.free):
            return None
        for each in away:
            follower.leave(each)
        chosen = follower.pick(request)
        for each in away:
            follower.enter(each)
        return chosen

    def _choose_of(self, candidates: Sequence[Backend], request: Asking) -> Backend | None:
        return self._policy.choose(candidates, request) if candidates else None

    def passed_over(self, chosen: Backend | None, tried: Collection[Backend], reason: str) -> PassedOver:
        """All that were left out: for every request, and for this one the first by name.

        `reason` is said of one that nothing keeps from taking it.
        """
        if not tried and chosen is not None and chosen.shut is None and not self.reserve:
            return self._full_ones() if self.full else self.out
        ids = {each.spec.id: None for each in tried}
        kept = chosen.spec.id if chosen is not None and chosen.shut is not None else ""
        names, count = self._others("" if chosen is None or kept else chosen.spec.id, ids)
        if not (count or ids or kept):
            return self.out
        named = [(name, TRIED if name in ids else self._why(name, reason)) for name in islice(names, NAMED)]
        return PassedOver(self.out.out, named, count - len(named), [*ids], kept)

    def _full_ones(self) -> PassedOver:
        named = [*islice(self.full.values(), NAMED)]
        return PassedOver(self.out.out, named, len(self.full) - len(named))

    def _others(self, chosen: str, tried: Collection[str]) -> tuple[Iterable[str], int]:
        """Those that are open and were no candidates beside the chosen one, and how many they are."""
        if chosen in self.free:
            away = [name for name in tried if name in self.free]
            return chain(self.full, self.reserve, away), len(self.full) + len(self.reserve) + len(away)
        if chosen in self.reserve:
            away = [name for name, each in self.reserve.items() if name in tried or each.is_full]
            return chain(self.full, self.free, away), len(self.full) + len(self.free) + len(away)
        return self.open, len(self.open)

    def _why(self, name: str, reason: str) -> str:
        return self.full[name][1] if name in self.full else self.open[name].why_not() or reason
