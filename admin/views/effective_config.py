"""The configuration in effect, key by key: each value, and its origin.

The origin is `runtime` where the API has changed a pool or a backend, so that the file has another value.
Secrets are hidden.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from admin.security.redaction import HIDDEN, hidden_value
from lb.config.decode import told
from lb.config.diff import flat, spoken
from lb.config.source import Key
from lb.control import Control
from lb.core.pool import Pool
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import TOKEN_VARIABLE, PoolConfig

Origin = Literal["default", "file", "flag", "environment", "runtime"]
BACKENDS = "backends"
BARE = re.compile(r"[A-Za-z0-9_-]+")


class Row(NamedTuple):
    """One key. `configured` is the configured value of a key that was changed at runtime, None otherwise."""

    key: Key
    value: Any
    origin: Origin
    configured: Any = None


def rows(control: Control) -> list[Row]:
    """Every key with its value now. A backend is one value under its id, None if it was removed."""
    return [*_general(control), *_token(control), *_pools(control)]


def _general(control: Control) -> Iterator[Row]:
    for key, value in flat(msgspec.structs.replace(control.config, pools={})).items():
        if key != ("pools",):
            yield Row(key, value, _origin(control, key))


def _token(control: Control) -> Iterator[Row]:
    if control.config.admin.token_file is None and TOKEN_VARIABLE in os.environ:
        yield Row(("admin", "token"), HIDDEN, "environment")


def _pools(control: Control) -> Iterator[Row]:
    for name, pool in control.registry.pools.items():
        configured = control.config.pools.get(name, PoolConfig())
        yield from _settings(control, pool, configured)
        yield from _backends(control, pool, configured)


def _settings(control: Control, pool: Pool, configured: PoolConfig) -> Iterator[Row]:
    path = ("pools", pool.name)
    said, now = flat(configured.settings, path), flat(pool.settings, path)
    for key in dict.fromkeys((*now, *said)):
        before, value = (hidden_value(spoken(key), each.get(key)) for each in (said, now))
        if said.get(key) != now.get(key):
            yield Row(key, value, "runtime", before)
        elif key in now:
            yield Row(key, value, _origin(control, key))


def _backends(control: Control, pool: Pool, configured: PoolConfig) -> Iterator[Row]:
    path = ("pools", pool.name, BACKENDS)
    said = {spec.id: spec for spec in configured.backends}
    now = {backend.id: backend.spec for backend in pool.backends}
    for name in dict.fromkeys((*said, *now)):
        before, value = (_plain(each.get(name)) for each in (said, now))
        is_changed = before != value
        origin: Origin = "runtime" if is_changed else _origin(control, path)
        yield Row((*path, name), value, origin, before if is_changed else None)


def _plain(spec: BackendSpec | None) -> object:
    return None if spec is None else told(spec)


def _origin(control: Control, key: Key) -> Origin:
    """The origin of the key, or of a table around it: `--set 'pools={...}'` sets all keys below `pools`."""
    origins = control.reload.origins if control.reload is not None else {}
    for end in range(len(key), 0, -1):
        if (found := origins.get(key[:end])) is not None:
            return found
    return "default"


# -- as a file -------------------------------------------------------------------------------------------


def as_toml(rows: Sequence[Row]) -> str:
    """A file with all of it; keys that are unset or hidden are comments, and a comment has each origin."""
    lines = [_line(row) for row in rows if BACKENDS not in row.key]
    pools = dict.fromkeys(row.key[:3] for row in rows if BACKENDS in row.key)
    for key in pools:
        there = [row for row in rows if row.key[:3] == key and row.value is not None]
        lines += [f"{_toml_key(key)} = [", *(f"  {_toml(row.value)},  # {row.origin}" for row in there), "]"]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    if row.value is None:
        return f"# {_toml_key(row.key)} is unset  # {row.origin}"
    hidden = "# " if row.value == HIDDEN else ""
    return f"{hidden}{_toml_key(row.key)} = {_toml(row.value)}  # {row.origin}"


def _toml_key(key: Key) -> str:
    return ".".join(step if BARE.fullmatch(step) else _toml(step) for step in key)


def _toml(value: Any) -> str:  # noqa: ANN401 - plain data
    """The value in TOML: numbers, booleans and texts are those of JSON, except for one character."""
    if isinstance(value, dict):
        inner = (f"{_toml_key((name,))} = {_toml(each)}" for name, each in value.items() if each is not None)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
