"""The difference between two Configs, as data and as one line of words.

Settings are compared by their keys: `timeouts.connect`, `pools.web.retry.attempts`. A list counts as one
value. Backends are compared by id, so their order does not matter.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import msgspec

from lb.config.config_source import Key
from lb.config.decode import join


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key with its values before and after; null means unset."""

    key: str
    before: Any
    after: Any


class BackendChange(msgspec.Struct, frozen=True, kw_only=True):
    """One backend: the pool that it is in (or leaves), and which of its keys change."""

    id: str
    pool: str
    changes: tuple[Change, ...] = ()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A key that keeps the value set at runtime although the file has another; `why` says it in words."""

    key: str
    why: str


class PoolNames(msgspec.Struct, frozen=True, kw_only=True):
    """Pools by name. `emptied` are no longer in the file; each is removed with its last backend."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()


class Backends(msgspec.Struct, frozen=True, kw_only=True):
    """Backends. Removed ones drain first. A move to another pool is a change of the key `pool`."""

    added: tuple[BackendChange, ...] = ()
    changed: tuple[BackendChange, ...] = ()
    removed: tuple[BackendChange, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload changes, or would change; `summary` says it on one line.

    `settings` are the changed keys of everything but backends. `needs_restart` are keys that keep their old
    value until the next start. `unchecked` are keys whose value names code or a secret file, which is loaded
    only for a real reload.
    """

    changed: bool
    summary: str
    pools: PoolNames
    backends: Backends
    settings: tuple[Change, ...]
    kept: tuple[Kept, ...]
    needs_restart: tuple[Change, ...]
    unchecked: tuple[str, ...] = ()


def parts(difference: Difference) -> list[msgspec.Struct]:
    """Those of its parts that may be thousands.

    To drop the difference, and then have these `freed`, holds the loop briefly.
    """
    backends = difference.backends
    return [*backends.added, *backends.changed, *backends.removed, *difference.kept]


def spoken(key: Key) -> str:
    """The key as text, as the file would write it."""
    return reduce(join, key, "")


def flat(value: msgspec.Struct, above: Key = ()) -> dict[Key, Any]:
    """Every key of the struct and of the structs within it, with its value as plain data."""
    return dict(_flat(msgspec.to_builtins(value), above))


def _flat(value: object, above: Key) -> Iterator[tuple[Key, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, (*above, name))
    else:
        yield above, value


def changed(before: msgspec.Struct, after: msgspec.Struct) -> tuple[Change, ...]:
    """The keys in which two structs of one type differ. Fields that are equal are not taken apart."""
    names = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)]
    parts = [{name: msgspec.to_builtins(getattr(each, name)) for name in names} for each in (before, after)]
    return compared(*[dict(_flat(part, ())) for part in parts])


def compared(before: Mapping[Key, Any], after: Mapping[Key, Any]) -> tuple[Change, ...]:
    """The keys whose values differ. A missing key counts as unset, and so does an empty table."""
    return tuple(Change(key=spoken(key), before=old, after=new) for key, old, new in differing(before, after))


def differing(before: Mapping[Key, Any], after: Mapping[Key, Any]) -> Iterator[tuple[Key, Any, Any]]:
    """`compared`, with keys that nobody may want to read."""
    for key in dict.fromkeys((*before, *after)):
        old, new = _value(before, key), _value(after, key)
        if old != new:
            yield key, old, new


def _value(values: Mapping[Key, Any], key: Key) -> object:
    value = values.get(key)
    return None if value == {} else value


def summary(pools: PoolNames, backends: Backends, settings: int, kept: int, needs_restart: int) -> str:
    """The summary of a Difference: how many of each kind, on one line."""
    counts = {
        "pools added": len(pools.added),
        "pools emptied": len(pools.emptied),
        "backends added": len(backends.added),
        "backends changed": len(backends.changed),
        "backends removed": len(backends.removed),
        "settings changed": settings,
    }
    parts = [f"{what}: {count}" for what, count in counts.items() if count] or ["nothing changed"]
    if kept:
        parts.append(f"kept as changed at runtime: {kept}")
    if needs_restart:
        parts.append(f"needs a restart: {needs_restart}")
    return ", ".join(parts)
