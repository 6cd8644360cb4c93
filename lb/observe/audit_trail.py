"""The audit trail: who changed what. Each act of an operator is logged, and the last ones are kept.

The handlers of the API do not report their changes. The audit remembers every backend and pool as it was,
hears of each change from the registry, and adds the difference to the current act. The current act is a
context variable, so it follows a request's task through its awaits. Changes without a current act, such as
the end of a drain, are not in the trail.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain, islice
from math import inf
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from lb.config.decode import told
from lb.config.diff import differing, flat, spoken
from lb.core.backend import AdminState

if TYPE_CHECKING:
    from lb.config.config_source import Key
    from lb.core.backend import Backend
    from lb.core.registry import Event, PoolEvent, Registry
    from lb.settings.backend_spec import BackendSpec
    from lb.settings.pool_settings import PoolSettings

KEPT = 500
REFUSALS_KEPT = 100
REFUSAL_SECONDS = 1.0
MOST_CHANGES = 100
"""In one entry. A change of 2,000 backends would otherwise be a megabyte here and in the log."""
LONGEST_TEXT = 500
HIDDEN = "(hidden)"
SECRETS = ".probe.fields."

log = structlog.get_logger("audit")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act as it is kept and logged.

    `at` is the time when it began. `changes` has the old and the new value of each key that differs, null
    where there was or is none; `untold` counts the changes beyond MOST_CHANGES. `status` is that of the
    response, null where the client had left or there was no request. `why` says why the act was refused, or
    which mistake kept it from changing anything. `and_more` counts the refusals of the same name since its
    last entry; they have no entries of their own.
    """

    at: float
    who: str
    source: str
    operation: str
    target: str = ""
    changes: dict[str, tuple[Any, Any]] = {}
    untold: int = 0
    request_id: str = ""
    status: int | None = None
    why: str = ""
    and_more: int = 0


class Seen(NamedTuple):
    """The state of a backend after its last event."""

    spec: "BackendSpec"
    pool: str
    admin_state: str
    then: str | None

    def state(self) -> "dict[Key, Any]":
        rest = {"pool": self.pool, "admin_state": self.admin_state, "then": self.then}
        return {
            ("backends", self.spec.id, name): value for name, value in {**told(self.spec), **rest}.items()
        }


class Changed(NamedTuple):
    """A backend before and after an act, None where it was or is not there; so many `keys` differ."""

    before: Seen | None
    after: Seen | None
    keys: int


Difference = tuple["Key", Any, Any]
"""A key, its value before and its value after."""


@dataclass(slots=True, kw_only=True)
class Act:
    """An act that is going on: the operator's name, the source, the operation, and the changes so far.

    An act may change ten thousand backends, one after the other. So their keys are counted as they change,
    and put into words only where they are told.
    """

    who: str
    source: str
    operation: str
    target: str = ""
    request_id: str = ""
    began: float | None = None
    before: "dict[Key, Any]" = field(default_factory=dict)
    after: "dict[Key, Any]" = field(default_factory=dict)
    backends: dict[str, Changed] = field(default_factory=dict)
    more: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _of_backends: int = 0

    def changed(self, before: "dict[Key, Any]", after: "dict[Key, Any]") -> None:
        """Add changes. Of several changes to a key, the first old and the last new value count."""
        for key in dict.fromkeys((*before, *after)):
            self.before.setdefault(key, before.get(key))
            self.after[key] = after.get(key)

    def changed_backend(self, name: str, before: Seen | None, after: Seen | None) -> None:
        """The same for all keys of a backend; None where it is not there."""
        there = self.backends.get(name)
        first, counted = (before, 0) if there is None else (there.before, there.keys)
        count = _count(first, after)
        self.backends[name] = Changed(first, after, count)
        self._of_backends += count - counted

    @property
    def count(self) -> int:
        """How many keys have another value than before the act."""
        return self._of_backends + sum(1 for _ in differing(self.before, self.after)) + len(self.more)

    def changes(self, most: int) -> dict[str, tuple[Any, Any]]:
        """The first of them with both values."""
        backends = chain.from_iterable(
            _of_backend(each.before, each.after) for each in self.backends.values()
        )
        pairs = (
            (spoken(key), old, new) for key, old, new in chain(differing(self.before, self.after), backends)
        )
        more = ((key, old, new) for key, (old, new) in self.more.items())
        return {key: _hidden(key, old, new) for key, old, new in islice(chain(pairs, more), most)}


def _of_backend(before: Seen | None, after: Seen | None) -> list[Difference]:
    """The keys of a backend that differ."""
    if before == after:
        return []
    return [*differing(before.state() if before else {}, after.state() if after else {})]


def _count(before: Seen | None, after: Seen | None) -> int:
    """How many keys of a backend differ. It is asked at each event, so nothing is put into words for it."""
    if before is None or after is None:
        there = before or after
        return 0 if there is None else sum(value is not None for value in _values(there))
    if before.spec is after.spec:
        return sum(map(ne, before[1:], after[1:]))
    return sum(map(ne, _values(before), _values(after)))


def _values(seen: Seen) -> list[object]:
    """The values of its keys in a fixed order; what is unset or empty is None."""
    spec = seen.spec
    values = (getattr(spec, name) for name in spec.__struct_fields__)
    return [*(None if value == {} else value for value in values), *seen[1:]]


_acting: ContextVar[Act | None] = ContextVar("acting", default=None)


def ignored(_entry: Entry) -> None:
    """What becomes of entries where there is no audit file."""


class Audit:
    """The acts of one balancer. `wall` turns a time of the registry's clock into seconds since 1970."""

    def __init__(self, registry: "Registry", wall: Callable[[float], float]) -> None:
        self._now, self._wall = registry.now, wall
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._refusals: deque[Entry] = deque(maxlen=REFUSALS_KEPT)
        self.dropped_until = -inf
        """When the newest entry began that was dropped, in seconds since 1970; -inf where none was."""
        self._quiet_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()
        self._pools = {name: pool.settings for name, pool in registry.pools.items()}
        self._backends = {name: _seen(backend) for name, backend in registry.backends.items()}
        self.also: Callable[[Entry], None] = ignored
        """Called with each entry as it is made: the audit file, where there is one."""
        registry.subscribe(self._on_backend, self._on_pool)

    @contextmanager
    def act(self, act: Act | None) -> Iterator[None]:
        """Changes within the block belong to this act; None: to no act."""
        if act is not None:
            act.began = self._now()
        token = _acting.set(act)
        try:
            yield
        finally:
            _acting.reset(token)

    @property
    def actor(self) -> str | None:
        """The name of who is acting now; None where what happens is no act."""
        act = _acting.get()
        return None if act is None else act.who

    def changed(self, key: str, before: object, after: object) -> None:
        """Add a change of something outside the registry to the current act, if there is one."""
        if (act := _acting.get()) is not None:
            first, _ = act.more.get(key, (before, after))
            act.more[key] = first, after

    def touched(self) -> tuple[set[str], set[str]]:
        """The backends and the pools that the current act has changed so far."""
        act = _acting.get()
        if act is None:
            return set(), set()
        return {*act.backends}, {str(key[1]) for key in act.before if key[:1] == ("pools",)}

    def failed(self, status: int, why: str) -> None:
        """Note the current act although it failed and changed nothing."""
        if (act := _acting.get()) is not None:
            self.note(act, status, why)

    def note(self, act: Act, status: int | None = None, why: str = "") -> None:
        """Log an act that is over, and keep it."""
        entry = self._entry(act, status, why)
        self._keep(self._entries, entry)
        log.info("audit", **_logged(entry))
        self.also(entry)

    def refused(self, act: Act, status: int, why: str) -> None:
        """Log and keep a refused act: at most one of each name within REFUSAL_SECONDS."""
        if self._now() < self._quiet_until.get(act.who, -inf):
            self._unsaid[act.who] += 1
            return
        entry = self._entry(act, status, why=why, and_more=self._unsaid.pop(act.who, 0))
        self._quiet_until[act.who] = self._now() + REFUSAL_SECONDS
        self._keep(self._refusals, entry)
        log.warning("audit", **_logged(entry))
        self.also(entry)

    def _keep(self, entries: deque[Entry], entry: Entry) -> None:
        if len(entries) == entries.maxlen:
            self.dropped_until = max(self.dropped_until, entries[0].at)
        entries.append(entry)

    def newest(self) -> list[Entry]:
        """Acts and refusals, the newest first."""
        both = (*reversed(self._entries), *reversed(self._refusals))
        return sorted(both, key=lambda entry: entry.at, reverse=True)

    def _entry(self, act: Act, status: int | None, why: str = "", and_more: int = 0) -> Entry:
        changes = act.changes(MOST_CHANGES)
        told = {key: (_short(old), _short(new)) for key, (old, new) in changes.items()}
        return Entry(
            at=self._wall(self._now() if act.began is None else act.began),
            who=act.who,
            source=act.source,
            operation=act.operation,
            target=act.target,
            changes=told,
            untold=act.count - len(told),
            request_id=act.request_id,
            status=status,
            why=why[:LONGEST_TEXT],
            and_more=and_more,
        )

    def _on_backend(self, event: "Event") -> None:
        backend = event.backend
        before = self._backends.pop(backend.id, None)
        if not backend.removed:
            self._backends[backend.id] = _seen(backend)
        if (act := _acting.get()) is not None:
            act.changed_backend(backend.id, before, self._backends.get(backend.id))

    def _on_pool(self, event: "PoolEvent") -> None:
        name = event.pool.name
        before = self._pools.pop(name, None)
        if event.kind != "removed":
            self._pools[name] = event.pool.settings
        if (act := _acting.get()) is not None and before is not self._pools.get(name):
            act.changed(*(_settings(name, each) for each in (before, self._pools.get(name))))


def _seen(backend: "Backend") -> Seen:
    """The state of a backend. `then` is kept only while a drain goes on."""
    drain, wish = backend.drain, backend.admin_state
    is_over = wish is not AdminState.DRAINING or drain is None or drain.outcome is not None
    then = None if is_over or drain is None else drain.then.value
    return Seen(backend.spec, backend.pool, wish.value, then)


def _settings(name: str, settings: "PoolSettings | None") -> "dict[Key, Any]":
    return {} if settings is None else flat(settings, ("pools", name))


def _hidden(key: str, before: object, after: object) -> tuple[object, object]:
    """Hide the values of probe fields, which may be passwords; the trail shows only that they changed."""
    if SECRETS not in key:
        return before, after
    return before and HIDDEN, after and HIDDEN


def _short(value: object) -> object:
    """Cut a long value; a label may be as long as a request body, and a list have thousands of routes."""
    part = value[:LONGEST_TEXT] if isinstance(value, list | tuple) else value
    text = part if isinstance(part, str) else str(part)
    return value if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def _logged(entry: Entry) -> dict[str, object]:
    """The entry without empty values, and without `at` because the log line has a time."""
    values = msgspec.structs.asdict(entry)
    return {name: value for name, value in values.items() if name != "at" and (value or name == "status")}
