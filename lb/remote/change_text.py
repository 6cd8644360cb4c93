"""A key that changes, in words: its values as a file would have them."""

from collections.abc import Mapping
from typing import Any

from lb.config.toml_text import toml


def changed(change: Mapping[str, Any]) -> str:
    return f"{change['key']}: {as_written(change['before'])} -> {as_written(change['after'])}"


def as_written(value: object) -> str:
    return "unset" if value is None else toml(value)
