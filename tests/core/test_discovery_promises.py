"""The promises of discovery, for any sequence of sets, failures, silence, flaps and operator's words.

1.  An error changes nothing: while a source fails no backend comes, goes, or is judged otherwise.
2.  keep: following sets never leaves fewer used backends than the share `keep` of what was used before.
3.  The operator's wish is the operator's: no set changes it, and who comes again has it again.
4.  Nobody leaves before it was missing for the grace of good time, unless it is bad, its source says so, or
    an operator has accepted that it leaves, perhaps while the source failed.
5.  The same set again is no event.
6.  What an operator removed is not there while its source names it.
7.  What is not of the source is left alone.
8.  Who is named as here, and not shadowed, hidden or waiting, is there.
"""

from collections.abc import Collection
from math import ceil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.following import is_available
from lb.settings.pool_settings import Probe
from tests.core.discovery_world import World
from tests.core.scene import spec

NAMES = "abcdef"
ENTRIES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("", "", "", "!", "?"))),
    unique_by=lambda entry: entry[0],
)
GRACE = 30.0


class Discovering(RuleBasedStateMachine):
    @initialize(keep=st.sampled_from((0.0, 0.5, 1.0)))
    def begin(self, keep: float) -> None:
        self.world = World(keep=keep, grace=GRACE, probe=Probe())
        self.keep = keep
        self.wishes: dict[str, AdminState] = {}
        self.removed: set[str] = set()
        self.words: tuple[str, ...] = ()
        self.missing_for: dict[str, float] = {}
        self.world.registry.add(spec("own"), source="config")

    def _state(self) -> dict[str, tuple[str, str, bool]]:
        return {
            each.id: (each.notice.value, each.admin_state.value, each.is_open)
            for each in self.world.pool.backends
        }

    def _say(self, words: tuple[str, ...]) -> None:
        world, source = self.world, self.world.source
        before = [each for each in world.pool.backends if each.said is not None and is_available(each)]
        base = len(before) if not source.missing and not source.held else source.base
        there, free = self._staying(), {word.rstrip("!") for word in words if "!" in word} | source.accepted
        world.say(*words)
        self.words = words
        self._check_leavers(there, free)
        if not any(each.id in free for each in there):  # else somebody wants them gone
            self._check_keep(len(before), base)

    def _staying(self) -> dict[Backend, bool]:
        """The backends of the source that do not leave, and whether they are bad."""
        ours = [each for each in self.world.pool.backends if each.said is not None]
        return {each: not is_available(each) for each in ours if each.notice is not Notice.LEAVING}

    def _check_leavers(self, before: dict[Backend, bool], free: Collection[str] = ()) -> None:
        """Of these that stayed before, who leaves now has a reason; these are free to leave."""
        now, well_since = self.world.clock.now, self.world.source.good_since
        for backend, was_bad in before.items():
            if backend.notice is Notice.LEAVING:
                since = max(self.missing_for.get(backend.id, now), now if well_since is None else well_since)
                has_waited = now - since >= GRACE - 1e-6
                assert was_bad or has_waited or backend.id in free, backend.id

    def _check_keep(self, used_before: int, base: int) -> None:
        used = sum(is_available(each) for each in self.world.pool.backends if each.said is not None)
        assert used >= min(used_before, ceil(self.keep * base)), (used, used_before, base)

    def _note_missing(self) -> None:
        named = {word.rstrip("!?") for word in self.words}
        now = self.world.clock.now
        there = {each.id for each in self.world.pool.backends if each.said is not None}
        self.missing_for = {name: self.missing_for.get(name, now) for name in there - named}

    @rule(entries=ENTRIES)
    def a_good_set(self, entries: list[tuple[str, str]]) -> None:
        self._say(tuple(f"{name}{sign}" for name, sign in entries))
        self._note_missing()

    @rule(kept=st.integers(0, 2), fails=st.booleans())
    def most_vanish(self, kept: int, fails: bool) -> None:
        """For longer than the grace, of which the source perhaps fails for the first half."""
        self._say(tuple(word for word in self.words if word in NAMES)[:kept])
        self._note_missing()
        if fails:
            self.time_passes(20.0)
            self.world.fail()
            self._say(self.words)
            self._note_missing()
        self.time_passes(20.0)

    @rule()
    def the_same_set(self) -> None:
        world = self.world
        if (
            world.source.good_since is None
            or world.source.missing
            or world.source.held
            or world.source.waiting
        ):
            return
        self._say(self.words)
        world.events.clear()
        before = self._state()
        world.clock.now -= 1
        plan = world.say(*self.words)
        assert plan.changes == 0, plan
        assert world.events == []
        assert self._state() == before
        self._note_missing()

    @rule(seconds=st.sampled_from((1.0, 29.0, 31.0, 100.0)))
    def an_error_and_silence(self, seconds: float) -> None:
        before = self._state()
        self.world.fail()
        self.world.follow()
        self.world.wait(seconds)
        assert self._state() == before

    @rule(seconds=st.sampled_from((0.5, 5.0, 29.0, 31.0, 100.0)))
    def some_time_passes(self, seconds: float) -> None:
        self.time_passes(seconds)

    def time_passes(self, seconds: float) -> None:
        world = self.world
        used = sum(is_available(each) for each in world.pool.backends if each.said is not None)
        base = used if not world.source.missing and not world.source.held else world.source.base
        there = self._staying()
        world.wait(seconds)
        self._check_leavers(there)
        self._check_keep(used, base)
        self._note_missing()

    @rule(name=st.sampled_from(NAMES), wish=st.sampled_from(("ready", "drain", "maintenance")))
    def an_operator(self, name: str, wish: str) -> None:
        backend = self.world.registry.backends.get(name)
        if backend is None:
            return
        if wish == "ready":
            self.world.registry.ready(backend)
        elif wish == "drain":
            self.world.registry.drain(backend, 60)
        else:
            self.world.registry.maintenance(backend)
        self.wishes[name] = backend.admin_state

    @rule(name=st.sampled_from(NAMES))
    def an_operator_removes(self, name: str) -> None:
        backend = self.world.registry.backends.get(name)
        if backend is not None:
            self.world.registry.remove(backend)
            self.wishes.pop(name, None)
            self.world.follow()

    @rule(name=st.sampled_from(NAMES), ok=st.booleans())
    def a_probe(self, name: str, ok: bool) -> None:
        if name in self.world.registry.backends:
            self.world.probed(name, ok=ok)

    @rule()
    def an_operator_accepts(self) -> None:
        there = self.world.registry.backends
        held = [there[name] for name in self.world.source.accept() if name in there]
        self.world.follow()
        if self.world.source.good_since is not None:
            assert all(each.removed or not each.is_open for each in held)

    @invariant()
    def wishes_hold(self) -> None:
        for name, wish in self.wishes.items():
            backend = self.world.registry.backends.get(name)
            assert backend is None or backend.admin_state is wish, name

    @invariant()
    def hidden_ones_are_not_there(self) -> None:
        hidden = self.world.registry.found.hidden.get("default", {})
        assert not [name for name in hidden if name in self.world.registry.backends]

    @invariant()
    def others_are_left_alone(self) -> None:
        own = self.world["own"]
        assert (own.source, own.notice, own.is_open) == ("config", Notice.HERE, True)

    @invariant()
    def who_is_named_is_there(self) -> None:
        source = self.world.source
        if source.good_since is None:
            return
        hidden = self.world.registry.found.hidden.get("default", {})
        for name in self.words:
            if name in NAMES and name not in source.waiting and name not in hidden:
                assert self.world[name].notice is Notice.HERE


TestDiscovering = Discovering.TestCase
TestDiscovering.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
