"""Keys and values as a TOML file would have them."""

import json
import re
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(key: tuple[str, ...]) -> str:
    return ".".join(step if BARE.fullmatch(step) else toml(step) for step in key)


def toml(value: Any) -> str:  # noqa: ANN401 - plain data
    """The value in TOML: numbers, booleans and texts are those of JSON, except for one character.

    None is nothing that TOML can write; it is left out of tables.
    """
    if isinstance(value, dict):
        inner = (f"{toml_key((name,))} = {toml(each)}" for name, each in value.items() if each is not None)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
