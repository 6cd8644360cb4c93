"""The state file: runtime changes that survive a restart.

It holds only the difference from the Config. So a backend that is added to lb.toml later gets requests, and
one that is taken out of it is gone, whatever was changed at runtime. Where both the state file and lb.toml
have changed the same backend, the state file wins.

A file that is not a state file, is torn, or was written by a newer version is never overwritten: loading it
is a ConfigError, and the program does not start.
"""

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import structlog

from lb.config import whole_file
from lb.config.decode import Reader, told, without_none
from lb.config.loader import overlay
from lb.core.backend import AdminState, Backend
from lb.core.drain import Outcome, Then
from lb.core.found_control import FoundControl, Word, word_of
from lb.core.pool import Pool
from lb.core.registry import Conflict, Registry
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig
from lb.settings.pool_settings import PoolSettings
from lb.slices import at_once
from lb.suggestions import plural

log = structlog.get_logger()
FORMAT = "trio-lb state"
VERSION = 1


class PoolChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How one pool differs from its Config. `admin_state` has the backends that are not ready, by id.

    `settings` is a merge patch (RFC 7396): the changed keys, with null where a value was unset. Backends that
    a source has found are none of the added ones: of them there is what an operator said (`found`), and which
    of them an operator has removed (`hidden`).
    """

    added: tuple[BackendSpec, ...] = ()
    changed: tuple[BackendSpec, ...] = ()
    removed: tuple[str, ...] = ()
    admin_state: dict[str, Literal["draining", "maintenance"]] = {}
    settings: dict[str, Any] = {}
    found: dict[str, Word] = {}
    hidden: tuple[str, ...] = ()


Changes = dict[str, PoolChanges]
"""The changes of each pool by its name; a pool without changes is missing."""


class StateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of the file, in JSON."""

    format: Literal["trio-lb state"] = "trio-lb state"
    version: Literal[1] = 1
    pools: Changes


def changes(configured: Mapping[str, PoolConfig], registry: Registry) -> Changes:
    """What differs between the configured pools (each spec `checked`) and the registry now.

    A backend that a drain is about to remove counts as removed, because after a restart it has no requests.
    """
    return at_once(comparing(configured, registry))


def comparing(configured: Mapping[str, PoolConfig], registry: Registry) -> Generator[None, None, Changes]:
    """`changes`, one backend with each step.

    Of a backend that changes between two steps the result has the earlier or the later state. Whoever has
    changed it saves again.
    """
    found: Changes = {}
    for name, pool in [*registry.pools.items()]:
        change = yield from _comparing_pool(configured.get(name, PoolConfig()), pool, registry.found)
        if change != PoolChanges():
            found[name] = change
    return found


def _comparing_pool(
    config: PoolConfig, pool: Pool, found: FoundControl
) -> Generator[None, None, PoolChanges]:
    missing, words = {}, {**found.words.get(pool.name, {})}
    hidden = dict.fromkeys(found.hidden.get(pool.name, ()))
    for spec in config.backends:
        missing[spec.id] = spec
        yield
    added, changed = list[BackendSpec](), list[BackendSpec]()
    wishes: dict[str, Literal["draining", "maintenance"]] = {}
    for backend in [*pool.backends]:
        yield
        if backend.removed:
            continue
        if backend.said is not None:
            if (word := word_of(backend)).is_said:
                words[backend.id] = word
            if _drained_to(backend) is Then.REMOVE:
                hidden[backend.id] = None
            continue
        if _drained_to(backend) is Then.REMOVE:
            continue
        configured = missing.pop(backend.id, None)
        if configured != backend.spec:
            (added if configured is None else changed).append(backend.spec)
        if (wish := _wish(backend)) is not None:
            wishes[backend.id] = wish
    return PoolChanges(
        added=tuple(added),
        changed=tuple(changed),
        removed=tuple(missing),
        admin_state=wishes,
        settings=patch_between(told(config.settings), told(pool.settings)),
        found=words,
        hidden=tuple(hidden),
    )


def _wish(backend: Backend) -> Literal["draining", "maintenance"] | None:
    """The admin state to restore, or None for a backend that is ready."""
    if backend.admin_state is AdminState.READY:
        return None
    if backend.admin_state is AdminState.MAINTENANCE or _drained_to(backend) is Then.MAINTENANCE:
        return "maintenance"
    return "draining"


def _drained_to(backend: Backend) -> Then | None:
    """What follows the drain of this backend; None without a drain, or where it was taken back."""
    drain = backend.drain
    return None if drain is None or drain.outcome is Outcome.CANCELLED else drain.then


def apply(changes: Changes, registry: Registry) -> list[str]:
    """Make these changes to a registry that was filled from the Config and has no traffic yet.

    A change that no longer fits the Config is skipped; the result has one sentence for each.
    """
    known = {name: change for name, change in changes.items() if name in registry.pools}
    overtaken = [f"there is no pool {name!r} any more" for name in changes if name not in known]
    for name, change in known.items():
        _remove(name, change, registry)
    for name, change in known.items():
        overtaken += _configure(name, change, registry)
        overtaken += _put(name, change, registry)
    for name, change in known.items():
        _set_wishes(name, change, registry)
        for backend_id, word in change.found.items():
            registry.found.remember(name, backend_id, word)
        for backend_id in change.hidden:
            registry.found.hide(name, backend_id)
    return overtaken


def _remove(name: str, change: PoolChanges, registry: Registry) -> None:
    for backend_id in change.removed:
        backend = registry.backends.get(backend_id)
        if backend is not None and backend.pool == name:
            registry.remove(backend)


def _configure(name: str, change: PoolChanges, registry: Registry) -> Iterator[str]:
    try:
        pool = registry.pool(name)
        registry.configure(pool, patched(told(pool.settings), change.settings))
    except (ValueError, ConfigError) as exc:
        yield f"the settings of pool {name!r} are of no use any more: {exc}"


def _put(name: str, change: PoolChanges, registry: Registry) -> Iterator[str]:
    for spec in change.added:
        try:
            there = registry.backends.get(spec.id)
            if there is None:
                registry.add(spec, name)
            else:
                registry.change(there, spec, name)
        except Conflict as exc:
            yield str(exc)
    for spec in change.changed:
        there = registry.backends.get(spec.id)
        if there is None or there.pool != name:
            yield f"backend {spec.id!r} is not in pool {name!r} any more"
        else:
            registry.change(there, spec)


def _set_wishes(name: str, change: PoolChanges, registry: Registry) -> None:
    for backend_id, wish in change.admin_state.items():
        backend = registry.backends.get(backend_id)
        if backend is None or backend.pool != name:
            continue
        if wish == "maintenance":
            registry.maintenance(backend)
        else:
            registry.drain(backend, None)


def save(path: str | os.PathLike[str], changes: Changes) -> None:
    """Replace the file; `lb.config.whole_file` says how, and what an OSError means."""
    data = msgspec.json.format(msgspec.json.encode(StateFile(pools=changes)), indent=2) + b"\n"
    whole_file.replace(path, data)


def try_out(path: str | os.PathLike[str]) -> str:
    """Whether the changes could be saved, before there are any: a warning, or "". It blocks.

    ConfigError where they could not be. What is in the file stays as it is.
    """
    try:
        is_whole = whole_file.can_be_replaced(path)
    except OSError as exc:
        raise ConfigError(f"state: {os.fspath(path)} cannot be written: {exc.strerror or exc}") from exc
    return "" if is_whole else "it is written in place, so a crash in the middle may tear it"


def sweep(path: str | os.PathLike[str]) -> int:
    """Remove what writers of the file have left that were killed; how many files. It blocks."""
    return whole_file.sweep(path)


def load(path: str | os.PathLike[str]) -> Changes | None:
    """The saved changes, or None if there is no file yet, or an empty one. It blocks and changes nothing.

    ConfigError if the file is torn, not a state file, of a newer version or invalid, or if its folder does
    not exist.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would block
            raise ConfigError(f"state: {os.fspath(path)} is not a regular file")
        data = Path(path).read_bytes()
    except FileNotFoundError as exc:
        if not Path(os.path.realpath(path)).parent.is_dir():
            raise ConfigError(f"state: {os.fspath(path)}: there is no such folder to keep it in") from exc
        return None
    except OSError as exc:
        raise ConfigError(f"state: {os.fspath(path)} cannot be read: {exc.strerror}") from exc
    if not (text := data.removeprefix(BOM_UTF8).strip()):
        return None  # `touch` has made it, for a bind mount perhaps
    try:
        return _changes_in(text)
    except ValueError as exc:
        raise ConfigError(f"state: {os.fspath(path)} {exc}; it was left as it is") from exc


def opened(path: str) -> Changes:
    """The saved changes, once it is sure that others can be saved; notes about that are logged. It blocks."""
    changes = load(path)
    if warning := try_out(path):
        log.warning("state file", path=path, note=warning)
    if count := sweep(path):
        note = f"{plural(count, 'temporary file')} of killed writers removed"
        log.info("state file", path=path, note=note)
    return changes or {}


def _changes_in(data: bytes) -> Changes:
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"is torn or not a state file: {exc}") from exc
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError("is not a state file of trio-lb")
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"was written by a newer trio-lb (version {version}; this one reads {VERSION})")
    return _checked(raw)


def patch_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7396) that turns `before` into `after`."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        there = before.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            if inner := patch_between(there, value):
                patch[key] = inner
        elif value != there:
            patch[key] = value
    return patch


def patched(table: Mapping[str, Any], patch: Mapping[str, Any]) -> PoolSettings:
    """The settings of the table with this patch; ValueError with every mistake where one breaks its rule."""
    reader = Reader()
    settings = reader.struct(PoolSettings, without_none(overlay(table, patch)), "settings")
    if reader.mistakes:
        raise ValueError("; ".join(reader.mistakes))
    return cast("PoolSettings", settings)


def _checked(raw: object) -> Changes:
    try:
        pools = msgspec.convert(raw, StateFile).pools
        for change in pools.values():
            for spec in (*change.added, *change.changed):
                spec.checked()
            patched({}, change.settings)
    except (msgspec.ValidationError, ValueError) as exc:
        raise ValueError(f"is invalid: {exc}") from exc
    return pools
