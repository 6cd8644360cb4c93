"""What follows from what a source said: which backends enter, change, are missed, leave, or are held.

The rules, in one place for all sources:

- *Missing is not gone.* A backend that a good set does not name is MISSING, and still used. It leaves when it
  has been missing for `grace` while the source was well all the time; each failure begins that time anew. One
  that probes or requests have found bad leaves at once, for nobody misses it.
- What a source says itself is believed at once: one that is LEAVING drains, one that is NOT_READY rests. If
  all of a pool are leaving, those that there are serve on.
- *keep.* No more leave or rest than leave the share `keep` of those that were available before. Newcomers
  count once they have been seen to work. The rest is *held*: used as before, and told. An operator may accept
  it.
- Who comes and goes three times in a minute waits before the next entry.
- The configuration comes before the API, that before sources, and these in their order. Who names a backend
  that another has is *shadowed*, and takes it over when the other does not name it any more.
- What an operator removed is *hidden* for as long as it is named.

A `Following` is what is remembered of one source. Planning changes nothing, and takes one backend a step;
`applying` makes the plan true, one backend a step, the newcomers first. Between two steps an operator may
change something, so each step looks again at what it is about.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from lb.core.announced import Announcement, Notice
from lb.core.backend import Backend
from lb.core.following import Following, is_available, is_bad, is_proven, spec_of
from lb.core.registry import Registry
from lb.settings.backend_spec import BackendSpec

FLAPS = 3
FLAP_SECONDS = 60.0
FLAP_WAIT_SECONDS = 30.0
"""After FLAPS entries within FLAP_SECONDS the next one waits for so long."""
LAST_ONES = "all of the pool are leaving"
TOO_FEW = "too few would be left"
NOBODY = "the source names nobody"


@dataclass(slots=True)
class Plan:
    """What is to be done. `due` is when there may be more, though nobody says anything new."""

    enter: list[tuple[BackendSpec, Notice]] = field(default_factory=list)
    change: list[tuple[Backend, BackendSpec]] = field(default_factory=list)
    notice: list[tuple[Backend, Notice]] = field(default_factory=list)
    leave: list[Backend] = field(default_factory=list)
    missing: dict[str, float] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    shadowed: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    specs: dict[str, tuple[Announcement, BackendSpec]] = field(default_factory=dict)
    unnamed: dict[str, float] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    base: int = 0
    due: float | None = None

    @property
    def changes(self) -> int:
        """How many backends it does something about."""
        return len(self.enter) + len(self.change) + len(self.notice) + len(self.leave)

    def is_due(self, at: float) -> None:
        self.due = at if self.due is None else min(self.due, at)


class _Planner:
    """Makes one plan. `others` are the followings of the pool's other sources, `above` those before this."""

    def __init__(
        self,
        following: Following,
        registry: Registry,
        others: Sequence[Following],
        above: Sequence[Following],
        now: float,
    ) -> None:
        self._following = following
        self._registry = registry
        self._pool = registry.pools[following.pool]
        self._names = {each.name: each for each in others}
        self._above = {each.name for each in above}
        self._now = now
        self._well_since = now if following.good_since is None else following.good_since
        self._hidden = registry.found.hidden.get(following.pool, {})
        self._named: dict[str, Notice] = {}
        self._all_leave = False
        self.plan = Plan()

    def planning(self) -> Generator[None, None, Plan]:
        announced = self._following.announced
        assert announced is not None
        self.plan.skipped = [*announced.skipped]
        self._all_leave = bool(announced.backends) and all(
            each.notice is Notice.LEAVING for each in announced.backends
        )
        for said in announced.backends:
            self._look_at(said)
            yield
        yield from self._look_at_ours()
        for name in [*self._hidden]:
            self._look_at_hidden(name)
            yield
        return self.plan

    def _look_at_hidden(self, name: str) -> None:
        """What an operator removed is forgotten when the source has not named it for as long as any other."""
        following = self._following
        if name in self._named or not (name in following.hidden or name in following.unnamed):
            return
        since = following.unnamed.get(name, self._now)
        self.plan.unnamed[name] = since
        until = max(since, self._well_since) + following.settings.grace
        if until <= self._now:
            self.plan.shown.append(name)
        else:
            self.plan.is_due(until)

    # -- what is named ---------------------------------------------------------------------------------

    def _look_at(self, said: Announcement) -> None:
        plan = self.plan
        try:
            spec = self._spec(said)
        except ValueError as exc:
            plan.skipped.append(f"{said.id}: {exc}")
            return
        if spec.id in self._named:
            plan.skipped.append(f"{spec.id}: it is named twice")
            return
        self._named[spec.id] = said.notice
        there = self._registry.backends.get(spec.id)
        if spec.id in self._hidden and there is None:
            plan.hidden.append(spec.id)
        elif there is None:
            self._newcomer(spec, said.notice)
        elif (owner := self._owner(there)) is not None:
            plan.shadowed[spec.id] = owner
        elif there.said != spec or there.source != self._following.name:
            plan.change.append((there, spec))
            if there.source != self._following.name:
                self._take_over(there, said.notice)

    def _spec(self, said: Announcement) -> BackendSpec:
        """The backend that is announced. To check one takes long, and most are as they were."""
        known = self._following.specs.get(said.id)
        spec = known[1] if known is not None and known[0] == said else self._made(said)
        self.plan.specs[said.id] = said, spec
        return spec

    def _made(self, said: Announcement) -> BackendSpec:
        return spec_of(said, self._following.settings.defaults)

    def _take_over(self, there: Backend, notice: Notice) -> None:
        """It was another source's: what this one says of it holds from now on."""
        if notice is Notice.LEAVING:
            self.plan.is_due(self._now + self._following.settings.settle)
        else:
            self._say(there, notice)

    def _owner(self, there: Backend) -> str | None:
        """Who has it, where that is not this source and goes before it."""
        if there.said is None or there.pool != self._following.pool:
            return there.source if there.pool == self._following.pool else f"pool {there.pool}"
        if there.source == self._following.name:
            return None
        owner = self._names.get(there.source)
        if owner is None or there.source not in self._above or there.id in owner.missing:
            return None
        return there.source

    def _newcomer(self, spec: BackendSpec, notice: Notice) -> None:
        if notice is Notice.LEAVING and not (self._all_leave and not self._pool.backends):
            return
        entries = [at for at in self._following.entries.get(spec.id, ()) if self._now - at < FLAP_SECONDS]
        if len(entries) >= FLAPS and (until := entries[-1] + FLAP_WAIT_SECONDS) > self._now:
            self.plan.waiting[spec.id] = until
            self.plan.is_due(until)
            return
        self.plan.enter.append((spec, Notice.HERE if notice is Notice.LEAVING else notice))

    # -- what is there ---------------------------------------------------------------------------------

    def _look_at_ours(self) -> Generator[None, None, None]:
        """Of each backend of this source: what is said of it now. Then, how many of them may leave."""
        leaving, resting, staying, before = list[Backend](), list[Backend](), list[Backend](), 0
        for backend in [*self._pool.backends]:
            yield
            if backend.removed or backend.source != self._following.name or backend.said is None:
                continue
            before += is_available(backend)
            said = self._named.get(backend.id, Notice.MISSING)
            if said is Notice.LEAVING:
                leaving.append(backend)
            elif said is Notice.NOT_READY:
                resting.append(backend)
            elif said is Notice.HERE:
                self._say(backend, said)
                staying.append(backend)
            elif self._has_gone(backend):
                leaving.append(backend)
            else:
                self._say(backend, said)
                staying.append(backend)
        yield from self._let_go(leaving, resting, staying, before)

    def _has_gone(self, backend: Backend) -> bool:
        """It is not named, and nobody waits for it any more; or note since when it is missed."""
        if backend.notice is Notice.LEAVING:
            return True
        following = self._following
        since = following.missing.get(backend.id, self._now)
        self.plan.missing[backend.id] = since
        gone_at = max(since, self._well_since) + following.settings.grace
        if gone_at <= self._now or is_bad(backend) or backend.id in following.accepted:
            return True
        self.plan.is_due(gone_at)
        return False

    def _say(self, backend: Backend, notice: Notice) -> None:
        if backend.notice is not notice:
            self.plan.notice.append((backend, notice))

    def _let_go(
        self, leaving: list[Backend], resting: list[Backend], staying: list[Backend], before: int
    ) -> Generator[None, None, None]:
        """Let those leave and rest that may; hold the others, those that went last."""
        plan, following = self.plan, self._following
        is_calm = not following.missing and not following.held
        plan.base = before if is_calm else following.base
        going, since = yield from self._in_order(leaving)
        room = -ceil(following.settings.keep * plan.base)
        for backend in staying:
            yield
            is_old = following.entered.get(backend.id, -1.0) < since
            room += is_available(backend) and (is_old or is_proven(backend))
        for backend in (*going, *resting):
            yield
            room += is_available(backend)
        # An answer without anybody is mostly a fault of who gave it: nobody leaves for it who is of use.
        is_nothing = not self._named and following.settings.keep > 0
        has_others = bool(plan.enter) or (yield from self._has_others({*going}))
        for backend in going:
            yield
            is_said = self._named.get(backend.id) is Notice.LEAVING
            if is_said and not has_others and not self._is_free_to_go(backend):
                self._hold(backend, LAST_ONES)
            elif is_said or (room > 0 and not is_nothing) or self._is_free_to_go(backend):
                room -= is_available(backend)
                self._leave(backend)
            else:
                self._hold(backend, NOBODY if is_nothing else TOO_FEW)
        for backend in resting:
            yield
            if room > 0 or self._is_free_to_go(backend):
                room -= is_available(backend)
                self._say(backend, Notice.NOT_READY)
            else:
                self._hold(backend, TOO_FEW)

    def _in_order(self, leaving: list[Backend]) -> Generator[None, None, tuple[list[Backend], float]]:
        """Those first of which the source itself says that they leave, then the longest missing.

        And since when that one is missed. Most are missed since the same moment, so moments are sorted.
        """
        said, missed = list[Backend](), dict[float, list[Backend]]()
        for backend in leaving:
            yield
            since = self.plan.missing.get(backend.id)
            (said if since is None else missed.setdefault(since, [])).append(backend)
        moments = sorted(missed)
        for moment in moments:
            said += missed[moment]
        return said, moments[0] if moments else self._now

    def _has_others(self, going: set[Backend]) -> Generator[None, None, bool]:
        for backend in [*self._pool.backends]:
            yield
            if backend not in going and is_available(backend):
                return True
        return False

    def _is_free_to_go(self, backend: Backend) -> bool:
        return not is_available(backend) or backend.id in self._following.accepted

    def _leave(self, backend: Backend) -> None:
        drain = backend.drain
        if backend.notice is Notice.LEAVING and drain is not None and drain.outcome is None and drain.leaves:
            return  # it does already
        self.plan.leave.append(backend)

    def _hold(self, backend: Backend, why: str) -> None:
        """Use it as before."""
        self.plan.held[backend.id] = why
        self.plan.is_due(self._now + self._following.settings.settle)
        if backend.id not in self.plan.missing:
            self._say(backend, Notice.HERE)
        elif backend.notice is not Notice.MISSING:
            self.plan.notice.append((backend, Notice.MISSING))


def planning(
    following: Following, registry: Registry, sources: Sequence[Following], now: float
) -> Generator[None, None, Plan]:
    """What follows from the last set of this source, which is well; one backend is looked at with each step.

    `sources` are all of the pool, in their order.
    """
    at = next(index for index, each in enumerate(sources) if each is following)
    above = sources[:at]
    return (yield from _Planner(following, registry, (*above, *sources[at + 1 :]), above, now).planning())


def applying(
    plan: Plan, following: Following, registry: Registry, now: Callable[[], float]
) -> Iterator[None]:
    """Make the plan true, one backend with each step."""
    pool, found, source = registry.pools[following.pool], registry.found, following.name
    following.missing, following.base = plan.missing, plan.base
    following.held, following.shadowed = plan.held, plan.shadowed
    following.hidden, following.skipped = tuple(plan.hidden), tuple(plan.skipped)
    following.waiting, following.unnamed, following.specs = plan.waiting, plan.unnamed, plan.specs
    following.accepted.intersection_update(plan.held)
    for name in plan.shown:
        found.show(pool.name, name)
        following.unnamed.pop(name, None)
    for spec, notice in plan.enter:
        if spec.id not in registry.backends and spec.id not in found.hidden.get(pool.name, {}):
            found.enter(spec, pool, source, notice)
            _note_entry(following, spec.id, now())
        yield
    for backend, spec in plan.change:
        if not backend.removed and backend.said is not None:
            found.say(backend, spec, source)
        yield
    for backend, notice in plan.notice:
        if not backend.removed and backend.said is not None:
            found.notice(backend, notice)
        yield
    for backend in plan.leave:
        if not backend.removed and backend.said is not None:
            found.leave(backend, following.drain_timeout)
            following.entered.pop(backend.id, None)
            following.missing.pop(backend.id, None)  # it is gone
        yield


def _note_entry(following: Following, backend_id: str, now: float) -> None:
    following.entered[backend_id] = now
    lately = [at for at in following.entries.get(backend_id, ()) if now - at < FLAP_SECONDS]
    following.entries[backend_id] = [*lately, now][-FLAPS:]
    if len(following.entries) > 2 * len(following.entered) + FLAPS:
        following.entries = {
            name: times for name, times in following.entries.items() if now - times[-1] < FLAP_SECONDS
        }


def leaving_all(following: Following, registry: Registry) -> Iterator[None]:
    """The source is not configured any more: what it has found leaves, one with each step."""
    pool = registry.pools.get(following.pool)
    for backend in [] if pool is None else [*pool.backends]:
        if not backend.removed and backend.said is not None and backend.source == following.name:
            registry.found.leave(backend, following.drain_timeout)
        yield
