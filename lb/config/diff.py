"""What differs between two configurations, in words for people and as data for machines.

Settings are compared by their keys: `timeouts.connect`, `pools.web.retry.attempts`. A list is one value, and
a backend is known by its id wherever it stands in its list.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import msgspec

from lb.config.decode import join
from lb.config.source import Key


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key with its values before and after; null is unset."""

    key: str
    before: Any
    after: Any


class BackendChange(msgspec.Struct, frozen=True, kw_only=True):
    """One backend: the pool that it is in, or leaves, and what changes of it."""

    id: str
    pool: str
    changes: tuple[Change, ...] = ()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What was changed at runtime and stays so, although the file says something else; in words."""

    key: str
    why: str


class PoolNames(msgspec.Struct, frozen=True, kw_only=True):
    """Pools by name. Emptied are those that the file has no more: they end with their last backend."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()


class Backends(msgspec.Struct, frozen=True, kw_only=True):
    """Those that are removed drain first; one that moves to another pool is a change of its key `pool`."""

    added: tuple[BackendChange, ...] = ()
    changed: tuple[BackendChange, ...] = ()
    removed: tuple[BackendChange, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload makes different, or would; `summary` says it in a line.

    `settings` holds every other key that changes, `needs_restart` those that stay as they are until then.
    `unchecked` are keys whose value names code or a secret that only a file may have us load.
    """

    changed: bool
    summary: str
    pools: PoolNames
    backends: Backends
    settings: tuple[Change, ...]
    kept: tuple[Kept, ...]
    needs_restart: tuple[Change, ...]
    unchecked: tuple[str, ...] = ()


def spoken(key: Key) -> str:
    """The key as the file would write it."""
    return reduce(join, key, "")


def flat(value: msgspec.Struct, above: Key = ()) -> dict[Key, Any]:
    """Every key below, with its value as plain data."""
    return dict(_flat(msgspec.to_builtins(value), above))


def _flat(value: object, above: Key) -> Iterator[tuple[Key, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, (*above, name))
    else:
        yield above, value


def compared(before: Mapping[Key, Any], after: Mapping[Key, Any]) -> tuple[Change, ...]:
    """The keys whose values differ; what is missing is unset, and so is an empty table."""
    pairs = ((key, _said(before, key), _said(after, key)) for key in dict.fromkeys((*before, *after)))
    return tuple(Change(key=spoken(key), before=old, after=new) for key, old, new in pairs if old != new)


def _said(values: Mapping[Key, Any], key: Key) -> object:
    value = values.get(key)
    return None if value == {} else value


def summary(pools: PoolNames, backends: Backends, settings: int, kept: int, needs_restart: int) -> str:
    """How many of each, in words."""
    counts = {
        "pools added": len(pools.added),
        "pools emptied": len(pools.emptied),
        "backends added": len(backends.added),
        "backends changed": len(backends.changed),
        "backends removed": len(backends.removed),
        "settings changed": settings,
    }
    said = [f"{what}: {count}" for what, count in counts.items() if count] or ["nothing changed"]
    if kept:
        said.append(f"kept as changed at runtime: {kept}")
    if needs_restart:
        said.append(f"needs a restart: {needs_restart}")
    return ", ".join(said)
