"""From `lb.toml` and flags to one `Config`: read TOML, lay tables over each other, check, fill in.

A Config is never half right. `build` returns a whole one or raises one ConfigError that lists every mistake
by its key. The rules of single values stand beside their types (`lb.settings.values`), those between
settings in `lb.config.contradictions`.
"""

import os
import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec

from lb.config.contradictions import contradictions, pool_names
from lb.config.decode import Reader
from lb.config.key_lines import KeyLines
from lb.config.spoken_keys import listed, told
from lb.config.toml_slips import slip
from lb.errors import ConfigError
from lb.settings.balancer_settings import DEFAULT_POOL, Config, PoolConfig, demo_backends

TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

MOST_CONTRADICTIONS = 100
"""So many are looked for. To suggest a name takes time, and they may come from the API."""


def load(path: str | os.PathLike[str]) -> Config:
    """The Config in a file; ConfigError if the file cannot be read or holds a mistake. It blocks."""
    text = read_text(path)
    return build(read_toml(text, os.fspath(path)), os.fspath(path), text)


def parse(text: str, source: str = "") -> Config:
    """The Config in a TOML text; `source` is put before the message of a ConfigError."""
    return build(read_toml(text, source or "TOML"), source, text)


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file, not yet checked. It blocks."""
    return read_toml(read_text(path), os.fspath(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a TOML file; ConfigError where there is none. It blocks."""
    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"{os.fspath(path)}: cannot be read: {exc.strerror}") from exc
    return decoded(data, os.fspath(path))


def decoded(data: bytes, source: str) -> str:
    """The text of TOML, which has to be UTF-8; Notepad puts a mark before it."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ConfigError(f"{source}: it is UTF-16, as `>` in PowerShell writes it; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{source}, line {line}: not UTF-8, as TOML must be; save it as UTF-8") from exc


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text, not yet checked; ConfigError with line and column of a syntax error."""
    try:
        return tomllib.loads(text)
    except ValueError as exc:  # TOMLDecodeError, or int() about a number of thousands of digits
        found = TOML_PLACE.fullmatch(str(exc))
        if found is None:
            raise ConfigError(f"{source}: {exc}") from exc
        line = None if found[2] is None else int(found[2])
        raise ConfigError(f"{source}, {slip(text, found[1], line, int(found[3] or 0))}") from exc


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the keys of `above` set: tables are merged, any other value (lists too) is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(there := merged.get(key), Mapping) and isinstance(value, Mapping):
            merged[key] = overlay(there, value)
        else:
            merged[key] = value
    return merged


def build(raw: Mapping[str, Any], source: str = "", text: str | None = None) -> Config:
    """The Config of these tables; one ConfigError with every mistake in them, `source` before the message.

    Where the tables come from a `text`, the message has the lines.

    Every request needs a pool: the first route that matches names it, otherwise it is `default`. So an empty
    pool `default` is added where the tables have none, except where a route takes everything (no host, path
    `/`). An empty pool answers 503 until a backend is added.
    """
    reader = Reader()
    config = cast("Config", reader.struct(Config, raw, ""))  # never None: no field of Config is required
    mistakes = [*reader.mistakes, *islice(contradictions(config), MOST_CONTRADICTIONS)]
    if mistakes:
        raise wrong(mistakes, source, None if text is None else KeyLines(text))
    return _completed(config)


def wrong(mistakes: Sequence[str], source: str, lines: KeyLines | None = None) -> ConfigError:
    """The error that lists these mistakes, with `source` before them, and the lines of their keys."""
    rows = told(mistakes, lines)
    return ConfigError(listed(rows, source), mistakes, rows)


def _completed(config: Config) -> Config:
    pools = {name: config.pools.get(name, PoolConfig()) for name in pool_names(config)}
    if config.demo:
        pools[DEFAULT_POOL] = msgspec.structs.replace(pools[DEFAULT_POOL], backends=demo_backends())
    return msgspec.structs.replace(config, pools=pools)
