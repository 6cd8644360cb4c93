"""From `lb.toml` and flags to one `Config`: read TOML, lay tables over each other, check, fill in.

A Config is never half right. `build` returns a whole one or raises one ConfigError that lists every mistake
by its key. The rules of single values stand beside their types (`lb.settings.values`); here are the rules
between settings, such as a route to a pool that does not exist.
"""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec

from lb.config.decode import Reader, join
from lb.errors import ConfigError
from lb.settings.backend_spec import ID
from lb.settings.balancer_settings import DEFAULT_POOL, Config, PoolConfig, demo_backends
from lb.suggestions import did_you_mean

TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

MOST_CONTRADICTIONS = 100
"""So many are looked for. To suggest a name takes time, and they may come from the API."""


def load(path: str | os.PathLike[str]) -> Config:
    """The Config in a file; ConfigError if the file cannot be read or holds a mistake. It blocks."""
    return build(read_file(path), os.fspath(path))


def parse(text: str, source: str = "") -> Config:
    """The Config in a TOML text; `source` is put before the message of a ConfigError."""
    return build(read_toml(text, source or "TOML"), source)


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file, not yet checked. It blocks."""
    name = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{name}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{name}, line {line}: not UTF-8, as TOML must be") from exc
    return read_toml(text, name)


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text, not yet checked; ConfigError with line and column of a syntax error."""
    try:
        return tomllib.loads(text)
    except ValueError as exc:  # TOMLDecodeError, or int() about a number of thousands of digits
        found = TOML_PLACE.fullmatch(str(exc))
        if found is None:
            raise ConfigError(f"{source}: {exc}") from exc
        line = found[2] or text.count("\n") + 1
        column = found[3] or len(text) - text.rfind("\n")
        raise ConfigError(f"{source}, line {line}, column {column}: {found[1]}") from exc


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the keys of `above` set: tables are merged, any other value (lists too) is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(there := merged.get(key), Mapping) and isinstance(value, Mapping):
            merged[key] = overlay(there, value)
        else:
            merged[key] = value
    return merged


def build(raw: Mapping[str, Any], source: str = "") -> Config:
    """The Config of these tables; one ConfigError with every mistake in them, `source` before the message.

    Every request needs a pool: the first route that matches names it, otherwise it is `default`. So an empty
    pool `default` is added where the tables have none, except where a route takes everything (no host, path
    `/`). An empty pool answers 503 until a backend is added.
    """
    if isinstance(text := raw.get("access_log"), str):  # the format alone, which is all that most set
        raw = {**raw, "access_log": {"format": text}}
    reader = Reader()
    config = cast("Config", reader.struct(Config, raw, ""))  # never None: no field of Config is required
    mistakes = [*reader.mistakes, *islice(_contradictions(config), MOST_CONTRADICTIONS)]
    if mistakes:
        raise wrong(mistakes, source)
    return _completed(config)


def wrong(mistakes: Sequence[str], source: str) -> ConfigError:
    """The error that lists these mistakes, with `source` before them."""
    return ConfigError(_list(mistakes, source), mistakes)


def _list(mistakes: Sequence[str], source: str) -> str:
    if len(mistakes) == 1:
        return f"{source}: {mistakes[0]}" if source else mistakes[0]
    lines = [f"{source or 'settings'}: {len(mistakes)} mistakes", *mistakes]
    return "\n  ".join(lines)


def _contradictions(config: Config) -> Iterator[str]:
    """Mistakes between settings that are each right. An item that is None is in the Reader's mistakes."""
    if not config.listen:
        yield "listen: expected one address or more"
    times = Counter(config.listen)
    for address in sorted(each for each in times if times[each] > 1 and not each.endswith(":0")):
        yield f"listen: {address} stands there twice"
    for name in config.pools:
        if not ID.fullmatch(name):
            yield f"{join('pools', name)}: a pool's name may hold letters, digits and . _ ~ - only"
    if config.demo and DEFAULT_POOL in config.pools and config.pools[DEFAULT_POOL].backends:
        yield f"demo: the demo brings its own backends, and pools.{DEFAULT_POOL} has some already"
    names = dict.fromkeys(_pool_names(config))
    for index, route in enumerate(config.routes):
        if route is not None and route.pool not in names:
            yield f"routes[{index}].pool: there is no pool {route.pool!r}{did_you_mean(route.pool, names)}"
        if route is not None and {*";\\"} & {*route.path} and config.path_policy != "exact":
            yield f'routes[{index}].path: `;` and `\\` need path_policy = "exact", as servers differ on them'
    yield from _duplicates(config)


def _duplicates(config: Config) -> Iterator[str]:
    places: dict[str, str] = {}
    for name, pool in config.pools.items():
        for index, backend in enumerate(pool.backends if pool else ()):
            if backend is None:
                continue
            place = f"{join('pools', name)}.backends[{index}]"
            if (first := places.setdefault(backend.id, place)) != place:
                yield f"{place}.id: {backend.id!r} is the id of {first} too"


def _pool_names(config: Config) -> list[str]:
    """The pools as given, and `default` unless no request can reach it."""
    is_default_needed = config.demo or not any(route and route.takes_everything for route in config.routes)
    names = list(config.pools)
    return names if DEFAULT_POOL in names or not is_default_needed else [*names, DEFAULT_POOL]


def _completed(config: Config) -> Config:
    pools = {name: config.pools.get(name, PoolConfig()) for name in _pool_names(config)}
    if config.demo:
        pools[DEFAULT_POOL] = msgspec.structs.replace(pools[DEFAULT_POOL], backends=demo_backends())
    return msgspec.structs.replace(config, pools=pools)
