"""Where a Config comes from, so that it can be read again: a file, and the flags that win over it.

Flags are kept as the tables that they stand for. A reload lays the same flags over the changed file. A
`ConfigSource` keeps nothing of what it has read.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lb.config.key_lines import KeyLines
from lb.config.loader import build, overlay, read_file, read_text, wrong
from lb.config.spoken_keys import sentence
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config

Tables = Mapping[str, Any]
Key = tuple[str, ...]
"""The path of a key: ("timeouts", "connect")."""
Origin = Literal["file", "flag"]
"""Where a key is set. A key that is set in neither has its default."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The file, None without one, and the tables of the flags."""

    file: Path | None
    flags: Tables

    def __str__(self) -> str:
        if self.file is None:
            return "flags"
        return f"{self.file} with flags" if self.flags else str(self.file)

    def read(self) -> Config:
        """The Config as file and flags have it now; ConfigError with every mistake. It blocks."""
        return self.read_with_origins()[0]

    def read_with_origins(self) -> tuple[Config, Mapping[Key, Origin]]:
        """The Config, and for each key that is set whether the file or a flag sets it. It blocks."""
        tables = self.tables()
        try:
            config = self.build(tables)
        except ConfigError as exc:
            raise self.located(exc) from None
        if any(":" in pool.policy for pool in config.pools.values()):
            _import_from_here()
        origins = self.origins(tables)
        _free_backends(tables)
        return config, origins

    def located(self, error: ConfigError) -> ConfigError:
        """The error with the file and the lines of its keys, as the file is now. It blocks.

        The error as it is where no key of it has a line: a flag sets it, or it is about no key.
        """
        mistakes = error.mistakes or (str(error),)
        lines = self._lines()
        if lines is None or all(sentence(each, lines)[0] is None for each in mistakes):
            return error
        return wrong(mistakes, str(self), lines)

    def _lines(self) -> KeyLines | None:
        """The lines of all keys that no flag sets; None without a file that can be read."""
        if self.file is None:
            return None
        try:
            return KeyLines(read_text(self.file), besides=set(keys(self.flags)))
        except ConfigError:
            return None

    def build(self, tables: Tables) -> Config:
        """The Config of these tables with the flags laid over them; ConfigError with every mistake."""
        return build(overlay(tables, self.flags), str(self))

    def tables(self) -> Tables:
        """The tables of the file as it is now; without a file and without a backend, those of the demo."""
        if self.file is not None:
            return read_file(self.file)
        return {} if _has_backends(self.flags) else {"demo": True}

    def origins(self, tables: Tables) -> Mapping[Key, Origin]:
        """Where each key is set, given the tables of the file. A list counts as one value."""
        from_file: dict[Key, Origin] = {} if self.file is None else dict.fromkeys(keys(tables), "file")
        return from_file | dict.fromkeys(keys(self.flags), "flag")


def keys(tables: Tables, above: Key = ()) -> Iterator[Key]:
    """The key of each value in the tables, down to values that are no table."""
    for name, value in tables.items():
        if isinstance(value, Mapping) and value:
            yield from keys(value, (*above, name))
        else:
            yield (*above, name)


def _free_backends(tables: Tables) -> None:
    """Let go of the backends one by one: a thread that frees all at once does not let go of the lock."""
    for pool in tables.get("pools", {}).values():
        backends = pool.get("backends")
        while isinstance(backends, list) and backends:
            backends.pop()


def _has_backends(tables: Tables) -> bool:
    pools = tables.get("pools")
    return isinstance(pools, dict) and any(isinstance(p, dict) and "backends" in p for p in pools.values())


def _import_from_here() -> None:
    """Let `package.module:Class` policies be imported from the working directory."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
