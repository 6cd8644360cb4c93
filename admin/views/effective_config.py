"""The configuration in effect, key by key: each value, and its origin.

The origin is `runtime` where the API has changed a pool or a backend, so that the file has another value.
Secrets are hidden. There may be thousands of backends and routes, so all is made piece by piece.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import msgspec

from admin.security.redaction import HIDDEN, hidden_value
from lb.config.config_source import Key
from lb.config.decode import told
from lb.config.diff import flat, spoken
from lb.config.toml_text import toml, toml_key
from lb.control import Control
from lb.core.pool import Pool
from lb.settings.admin_defaults import TOKEN_VARIABLE
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig

Origin = Literal["default", "file", "flag", "environment", "runtime"]
BACKENDS = "backends"


class Row(NamedTuple):
    """One key. `configured` is the configured value of a key that was changed at runtime, None otherwise."""

    key: Key
    value: Any
    origin: Origin
    configured: Any = None


def rows(control: Control) -> Iterator[Row]:
    """Every key with its value now. A backend is one value under its id, None if it was removed.

    Where something changes between two rows, those that follow show it.
    """
    yield from _general(control)
    yield from _token(control)
    yield from _pools(control)


def _general(control: Control) -> Iterator[Row]:
    for key, value in flat(msgspec.structs.replace(control.config, pools={})).items():
        if key != ("pools",):
            yield Row(key, value, _origin(control, key))


def _token(control: Control) -> Iterator[Row]:
    if control.config.admin.token_file is None and TOKEN_VARIABLE in os.environ:
        yield Row(("admin", "token"), HIDDEN, "environment")


def _pools(control: Control) -> Iterator[Row]:
    for name, pool in [*control.registry.pools.items()]:
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
    configured_by, said = _origin(control, path), set[str]()
    for spec in configured.backends:
        said.add(spec.id)
        there = control.registry.backends.get(spec.id)
        now = there.spec if there is not None and there.pool == pool.name else None
        if now == spec:
            yield Row((*path, spec.id), _plain(now), configured_by)
        else:
            yield Row((*path, spec.id), _plain(now), "runtime", _plain(spec))
    for backend in [*pool.backends]:
        if backend.id not in said:
            yield Row((*path, backend.id), _plain(backend.spec), "runtime")


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


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """A file with all of it, line by line; keys that are unset or hidden are comments.

    Each table of a list has its line, and a comment has each origin.
    """
    for key, there in groupby(rows, lambda row: _list_of(row.key)):
        if key is not None:
            yield from _listed(key, (row for row in there if row.value is not None))
            continue
        for row in there:
            if _is_list_of_tables(row.value):
                yield from _listed(row.key, (row._replace(value=each) for each in row.value))
            else:
                yield _line(row)


def _list_of(key: Key) -> Key | None:
    """The key of the list of backends that this one is in."""
    return key[:3] if key[0] == "pools" and key[2:3] == (BACKENDS,) else None


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], dict)


def _listed(key: Key, rows: Iterable[Row]) -> Iterator[str]:
    yield f"{toml_key(key)} = ["
    for row in rows:
        yield f"  {toml(row.value)},  # {row.origin}"
    yield "]"


def _line(row: Row) -> str:
    if row.value is None:
        return f"# {toml_key(row.key)} is unset  # {row.origin}"
    hidden = "# " if row.value == HIDDEN else ""
    return f"{hidden}{toml_key(row.key)} = {toml(row.value)}  # {row.origin}"
