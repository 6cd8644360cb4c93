"""Where a configuration comes from, so that it can be read again: a file, and the flags that win over it.

What was said on the command line is kept as the tables that it stands for, so a file that has changed meets
the same flags as at the start. A `Source` holds nothing that it has read.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lb.config.loader import build, overlay, read_file
from lb.settings.balancer_settings import Config

Tables = Mapping[str, Any]
Key = tuple[str, ...]
"""A key by its steps: ("timeouts", "connect")."""
Origin = Literal["file", "flag"]
"""Who names a key; those that nobody names have their default."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file, None where there is none, and the tables of the flags."""

    file: Path | None
    flags: Tables

    def __str__(self) -> str:
        if self.file is None:
            return "flags"
        return f"{self.file} with flags" if self.flags else str(self.file)

    def read(self) -> Config:
        """The configuration as it is now; ConfigError with every mistake in it. It blocks."""
        return self.read_with_origins()[0]

    def read_with_origins(self) -> tuple[Config, Mapping[Key, Origin]]:
        """The same, and which of its keys the file and the flags name."""
        tables = self.tables()
        config = self.build(tables)
        if any(":" in pool.policy for pool in config.pools.values()):
            _look_here_first()
        return config, self.origins(tables)

    def build(self, tables: Tables) -> Config:
        """The configuration of these tables under our flags; ConfigError with every mistake in them."""
        return build(overlay(tables, self.flags), str(self))

    def tables(self) -> Tables:
        """What the file says now; without a file and without backends it is the demo."""
        if self.file is not None:
            return read_file(self.file)
        return {} if _has_backends(self.flags) else {"demo": True}

    def origins(self, tables: Tables) -> Mapping[Key, Origin]:
        """Which keys the flags name, and which the file that has these tables; a list is one value."""
        from_file: dict[Key, Origin] = {} if self.file is None else dict.fromkeys(keys(tables), "file")
        return from_file | dict.fromkeys(keys(self.flags), "flag")


def keys(tables: Tables, above: Key = ()) -> Iterator[Key]:
    """The key of each value; a table within a table only makes them longer."""
    for name, value in tables.items():
        if isinstance(value, Mapping) and value:
            yield from keys(value, (*above, name))
        else:
            yield (*above, name)


def _has_backends(tables: Tables) -> bool:
    pools = tables.get("pools")
    return isinstance(pools, dict) and any(isinstance(p, dict) and "backends" in p for p in pools.values())


def _look_here_first() -> None:
    """A policy of one's own is looked for in the folder that we were started in."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
