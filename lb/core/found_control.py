"""The backends that were found: how their source brings, changes and takes them, and what an operator said.

A source never writes an operator's wish. It has verbs of its own here, which set what it says of a backend
(`Backend.notice`, `Backend.said`), begin the drain of one that leaves, and take that back.

What an operator said outlives the backend. While it is there its own state has it; when it leaves, its `Word`
is kept here, and given back if it comes again. One that an operator removed is `hidden` for as long as its
source names it.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.drain_control import DrainControl
from lb.core.membership import Membership
from lb.core.pool import Pool
from lb.core.registry_events import Event
from lb.settings.backend_spec import BackendSpec

MOST_WORDS = 1000
"""Of backends that have left, in each pool; of more the oldest are forgotten."""
NEVER = ("id",)
"""What nobody can say otherwise of a backend."""
EVENTS = {Notice.HERE: "found", Notice.NOT_READY: "not_ready", Notice.MISSING: "missing"}


class Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator said of a backend that was found: a wish, and the settings that differ."""

    wish: Literal["ready", "draining", "maintenance"] = "ready"
    changed: dict[str, Any] = {}

    @property
    def is_said(self) -> bool:
        """An operator has said anything at all."""
        return self.wish != "ready" or bool(self.changed)


NOTHING = Word()


def word_of(backend: Backend) -> Word:
    """What an operator said of this backend."""
    said, spec = backend.said, backend.spec
    changed = {}
    if said is not None and said != spec:
        changed = {name: getattr(spec, name) for name in _differing(said, spec)}
    return Word(_wish(backend), changed)


def _wish(backend: Backend) -> Literal["ready", "draining", "maintenance"]:
    drain = backend.drain
    if backend.admin_state is AdminState.READY:
        return "ready"
    is_to_rest = (
        drain is not None and drain.outcome is not Outcome.CANCELLED and drain.then is Then.MAINTENANCE
    )
    return "maintenance" if backend.admin_state is AdminState.MAINTENANCE or is_to_rest else "draining"


def _differing(one: BackendSpec, other: BackendSpec) -> Iterator[str]:
    names = (name for name in one.__struct_fields__ if name not in NEVER)
    return (name for name in names if getattr(one, name) != getattr(other, name))


class FoundControl:
    """What sources do in one registry.

    `words` are of backends that are not there, by pool and id; `hidden` those that an operator removed while
    their source named them.
    """

    __slots__ = ("_drains", "_members", "hidden", "words")

    def __init__(self, members: Membership, drains: DrainControl) -> None:
        self._members = members
        self._drains = drains
        self.words: dict[str, dict[str, Word]] = {}
        self.hidden: dict[str, dict[str, None]] = {}
        members.subscribers.add(self._on_event)

    def _on_event(self, event: Event) -> None:
        backend = event.backend
        if event.kind == "added":
            self.show(backend.pool, backend.id)
        if event.kind != "removed" or backend.said is None:
            return
        drain = backend.drain
        if drain is None or not drain.leaves:
            self.hide(backend.pool, backend.id)
        elif (word := word_of(backend)).is_said:
            self.remember(backend.pool, backend.id, word)

    def remember(self, pool: str, backend_id: str, word: Word) -> None:
        """Give this word to the backend when it comes."""
        words = self.words.setdefault(pool, {})
        words.pop(backend_id, None)
        words[backend_id] = word
        while len(words) > MOST_WORDS:
            del words[next(iter(words))]

    def forget(self, pool: str, backend_id: str) -> None:
        """Nothing is said any more of a backend that is not there."""
        self.words.get(pool, {}).pop(backend_id, None)

    def hide(self, pool: str, backend_id: str) -> None:
        """An operator wants it away, whatever its source says."""
        self.hidden.setdefault(pool, {})[backend_id] = None

    def show(self, pool: str, backend_id: str) -> bool:
        """Its source does not name it any more, or the operator wants it back. False if it was not hidden."""
        if backend_id not in self.hidden.get(pool, {}):
            return False
        del self.hidden[pool][backend_id]
        return True

    def enter(self, said: BackendSpec, into: Pool, source: str, notice: Notice) -> Backend:
        """A backend that its source names; `said` is checked. It has what an operator said of it before."""
        word = self.words.get(into.name, {}).pop(said.id, NOTHING)
        backend = self._members.enter(altered(said, word), into, source)
        backend.said = said
        if notice is not Notice.HERE:
            self.notice(backend, notice)
        if word.wish == "maintenance":
            self._members.wish(backend, AdminState.MAINTENANCE)
        elif word.wish == "draining":
            self._drains.begin(backend, None, None)
        return backend

    def say(self, backend: Backend, said: BackendSpec, source: str) -> None:
        """Its source says this of it now; what an operator has changed stays."""
        before, backend.source = backend.said or said, source
        changed = word_of(backend).changed if backend.said is not None else {}
        backend.said = said
        spec = altered(said, Word(changed=changed)) if changed else said
        if spec != backend.spec:
            names = ", ".join(_differing(backend.spec, spec))
            backend.respec(spec)
            self._members.subscribers.tell("changed", backend, f"{names}, says {source}")
            self._members.reconsider(self._members.pools[backend.pool])
        elif before != said:
            self._members.subscribers.revision += 1

    def notice(self, backend: Backend, notice: Notice, detail: str = "") -> None:
        """Its source says this of it now, not LEAVING; a drain that the source began is taken back."""
        if backend.notice is notice:
            return
        if backend.notice is Notice.LEAVING:
            self._drains.stay(backend)
        was_used = backend.notice is not Notice.NOT_READY and backend.notice is not Notice.LEAVING
        backend.notice = notice
        if not was_used and notice is Notice.HERE:
            backend.begin_ramp(self._members.now())
        self._members.subscribers.tell(EVENTS[notice], backend, detail or f"says {backend.source}")
        self._members.reconsider(self._members.pools[backend.pool])

    def leave(self, backend: Backend, timeout: float) -> Drain:
        """Drain it for so long, and then take it out; what an operator has begun to drain goes on so."""
        return self._drains.leave(backend, timeout, leaves=True)

    def adopt(self, backend: Backend, source: str) -> None:
        """The backend is somebody else's from now on, of no source; it stays."""
        self._drains.stay(backend)
        backend.said, backend.source = None, source
        if backend.notice is not Notice.HERE:
            self.notice(backend, Notice.HERE, f"it is in the {source} now")


def altered(said: BackendSpec, word: Word) -> BackendSpec:
    """What the source said, with what the operator said; the source's alone where that is of no use."""
    if not word.changed:
        return said
    try:
        table = {**msgspec.to_builtins(said), **word.changed}
        return msgspec.convert(table, BackendSpec).checked()
    except (msgspec.ValidationError, ValueError):
        return said
