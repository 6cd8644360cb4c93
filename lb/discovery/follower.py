"""One source that is followed: it is asked, and what it says is applied.

    follower ─┬─ asking      runs the source; after a failure again, each pause longer than the one before
              └─ applying    plans and applies what was said, at most once in `settle` seconds

What follows from a set is decided in `lb.core.reconcile`. Here is when: at once for the first change, then no
more often than `settle` allows, and again when a grace ends. While the source fails nothing is applied but
the last set that it gave before, for that was good.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from time import perf_counter

import structlog
import trio

from lb.core.announced import Announced
from lb.core.discovery_view import SourceStanding
from lb.core.following import Following
from lb.core.measures.histogram import Histogram
from lb.core.reconcile import Plan, applying, planning
from lb.core.registry import Registry
from lb.discovery.backend_source import Source, SourceFailed
from lb.settings.discover_settings import Discover
from lb.slices import freed, made, sliced, to_the_end

FIRST_PAUSE = 0.5
FILES_PAUSE = 1.0
"""The longest pause after a failure, of files; of others `most`."""
JITTER = 0.2
APPLY_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

log = structlog.get_logger()


class Follower:
    """One source of one pool; `run` is its whole life.

    `siblings` gives the followings of the pool's sources in their order, this one's among them.
    `one_at_a_time` belongs to who applies a set. `on_change` is called after something was applied. `spoken`
    is set when the first set has been applied.
    """

    def __init__(
        self,
        following: Following,
        registry: Registry,
        make: Callable[[Discover, str], Source],
        one_at_a_time: trio.Lock,
        siblings: Callable[[], Sequence[Following]],
        on_change: Callable[["Follower"], None],
        chance: Callable[[], float],
    ) -> None:
        self.following = following
        self.scope = trio.CancelScope()
        self.spoken = trio.Event()
        self._registry = registry
        self._make = make
        self._one_at_a_time = one_at_a_time
        self._siblings = siblings
        self._on_change = on_change
        self._chance = chance
        self._source: Source | None = None
        self._asking: trio.CancelScope | None = None
        self._asked = trio.Event()
        self._asked_at = -inf
        self._work = trio.Event()
        self._has_news = False
        self._due: float | None = None
        self._applied_at = -inf
        self._pause = FIRST_PAUSE
        self._good_at: float | None = None
        self._next_at: float | None = None
        self._error = ""
        self._held = 0
        self.results = Counter[str]()
        self.changes = Counter[str]()
        self.applications = Histogram(APPLY_SECONDS)

    async def run(self) -> None:
        """Ask and apply until `scope` is cancelled."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_asking)
                nursery.start_soon(self._keep_applying)

    # -- asking ----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask the source now, also where it is in a pause."""
        self._asked_at = self._registry.now()
        self._asked.set()
        if self._asking is not None:
            self._asking.cancel()

    def accept(self) -> list[str] | None:
        """Follow the source in what is held: the ids of those that leave. None: it is another one now.

        One that has met another etcd than it knew goes on with that one, and what it says then is judged.
        """
        accept = getattr(self._source, "accept", None)
        if accept is not None and accept():
            self.ask()
            return None
        self.look()
        return self.following.accept()

    def ask_soon(self) -> None:
        """One of its backends has failed: ask now, unless that was done lately."""
        look_again = getattr(self._source, "look_again", None)
        if look_again is not None:
            look_again()
        elif self._registry.now() - self._asked_at >= self.following.settings.settle:
            self.ask()

    async def _keep_asking(self) -> None:
        while True:
            self._asked = trio.Event()
            with trio.CancelScope() as self._asking:
                try:
                    if self._source is None:  # what it knows outlives a failure
                        self._source = self._make(self.following.settings, self.following.pool)
                    await self._source.run(self._tell)
                    self._failed("the source has ended")
                except Exception as exc:
                    self._failed(self._in_words(exc))
            self._asking = None
            if not self._asked.is_set():
                await self._rest()

    async def _rest(self) -> None:
        """A pause, which `ask` ends."""
        seconds = self._pause * (1 + JITTER * (2 * self._chance() - 1))
        self._pause = min(2 * self._pause, self._longest_pause)
        self._next_at = self._registry.now() + seconds
        with trio.move_on_after(seconds):
            await self._asked.wait()

    @property
    def _longest_pause(self) -> float:
        settings = self.following.settings
        return FILES_PAUSE if settings.kind == "files" else settings.most

    def _in_words(self, error: BaseException) -> str:
        """What a failure says; a bug of the source is logged with its traceback."""
        while isinstance(error, BaseExceptionGroup):
            found = error.subgroup(SourceFailed)
            error = (found or error).exceptions[0]
        if isinstance(error, SourceFailed):
            return str(error)
        log.error("bug in a source", exc_info=error, **self._names)
        return f"bug: {error!r}"

    @property
    def _names(self) -> dict[str, str]:
        return {"pool": self.following.pool, "source": self.following.name}

    def _failed(self, why: str) -> None:
        self.results["failure"] += 1
        was_well = self.following.good_since is not None
        self._error, self._due = why, None
        self.following.failed()
        if was_well or self.results["failure"] == 1:
            self._happened("stale", f"{self.following.name}: {why}")

    def _tell(self, announced: Announced) -> None:
        """The source has given a good set. One that is as the last one was needs no look at all backends."""
        following, now = self.following, self._registry.now()
        before, was_well = following.announced, following.good_since is not None
        following.told(announced, now)
        self.results["success"] += 1
        self._good_at, self._pause = now, FIRST_PAUSE
        self._next_at = None if announced.next_look is None else now + announced.next_look
        if not was_well:
            if self._error:
                self._happened("fresh", f"{following.name}: it answers again")
            self._error = ""
        if not was_well or before is None or _entries(announced) != _entries(before):
            self._has_news = True
            self.look()

    def _happened(self, kind: str, detail: str) -> None:
        pool = self._registry.pools.get(self.following.pool)
        if pool is not None:
            self._registry.members.subscribers.tell_of_pool(kind, pool, detail)

    # -- applying --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Plan soon: something has changed that this source may have to follow."""
        self._work.set()

    async def _keep_applying(self) -> None:
        while True:
            with trio.move_on_at(inf if self._due is None else self._due):
                await self._work.wait()
            await trio.sleep_until(self._applied_at + self.following.settings.settle)
            self._work = trio.Event()
            self._due = None
            async with self._one_at_a_time:
                is_told = self._has_news or self.following.good_since is not None
                if is_told and self.following.pool in self._registry.pools:
                    self._has_news = False
                    await self._apply()

    async def _apply(self) -> None:
        """Plan and apply. The time is that of the beginning; in the pauses of both others run."""
        following, registry = self.following, self._registry
        began = perf_counter()
        plan = await sliced(planning(following, registry, self._siblings(), registry.now()))
        self._due = plan.due
        await to_the_end(made(applying(plan, following, registry, registry.now)))
        if plan.changes:
            self._applied_at = registry.now()
            self.applications.observe(perf_counter() - began)
            self._note(plan)
            self._on_change(self)
        self._note_held(plan)
        self.spoken.set()
        # Backends that have left are known here alone by now.
        await freed(plan.enter, plan.change, plan.notice, plan.leave)

    def _note(self, plan: Plan) -> None:
        counts = {
            "entered": len(plan.enter),
            "changed": len(plan.change),
            "noticed": len(plan.notice),
            "left": len(plan.leave),
        }
        done = {kind: count for kind, count in counts.items() if count}
        self.changes.update(done)
        log.info("source followed", **self._names, **done, skipped=len(plan.skipped))

    def _note_held(self, plan: Plan) -> None:
        """Tell when backends begin to be held, and when that has ended."""
        held, before = len(plan.held), self._held
        self._held = held
        name = self.following.name
        if held and not before:
            why = next(iter(plan.held.values()))
            self._happened("held", f"{name}: {held} backends stay, though it does not want them: {why}")
        elif before and not held:
            self._happened("followed", f"{name}: nothing is held any more")

    # -- for operators ---------------------------------------------------------------------------------

    def standing(self) -> SourceStanding:
        """How it is with this source now."""
        following = self.following
        pool = self._registry.pools.get(following.pool)
        return SourceStanding(
            pool=following.pool,
            name=following.name,
            kind=following.settings.kind,
            where=following.settings.where,
            good_at=self._good_at,
            well_since=following.good_since,
            next_at=self._next_at,
            error=self._error,
            here=0 if pool is None else sum(each.source == following.name for each in pool.backends),
            missing=following.missing,
            held=following.held,
            shadowed=following.shadowed,
            waiting=following.waiting,
            hidden=following.hidden,
            skipped=following.skipped,
            results=self.results,
            changes=self.changes,
            applications=self.applications,
        )


def _entries(announced: Announced) -> tuple[object, object]:
    """What there is to be followed in a set. When its source asks again varies, and is for people."""
    return announced.backends, announced.skipped
