"""The parameters that several operations share, and the readers of their values."""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from math import inf
from typing import TypeVar

from admin.protocol.mistakes import hint_for
from admin.protocol.operation import Parameter
from lb.core.backend_state import STATES
from lb.core.drain import Then
from lb.settings.values import parse_duration

E = TypeVar("E", bound=StrEnum)

MAX_WAIT = 600.0
"""The longest that one request may wait; a client may send it again."""

MAX_DRAIN = 7 * 86400.0

NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


class Until(StrEnum):
    """What a request may wait for."""

    DRAINED = "drained"


class Format(StrEnum):
    """The format of an answer."""

    JSON = "json"
    TABLE = "table"


def seconds(most: float = inf) -> Callable[[object], float]:
    """A reader of durations such as "30s", "500ms", 2.5 or "2.5"."""

    def read(value: object) -> float:
        number = isinstance(value, str) and NUMBER.fullmatch(value)
        duration = parse_duration(float(value) if number and isinstance(value, str) else value)
        if duration > most:
            raise ValueError(f"{value!r} is more than {most:g} s")
        return duration

    return read


def word(known: Sequence[str]) -> Callable[[object], str]:
    """A reader of one of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"expected one of {', '.join(known)}; {hint_for(str(value), [*known])}")
        return value

    return read


def one_of(words: type[E]) -> Callable[[object], E]:
    """A reader of one of these words, as the member that it stands for."""
    read = word([*words])
    return lambda value: words(read(value))


def boolean(value: object) -> bool:
    """`true` or `false`; also 1 or 0, which people type."""
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"expected true or false, got {value!r}")
    return words[value]


def count(value: object) -> int:
    """A number from 0 to a million, as a query or JSON has it."""
    is_text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8
    number = int(value) if is_text or type(value) is int else -1  # type: ignore[call-overload]
    if not 0 <= number <= 1_000_000:
        raise ValueError(f"expected a number from 0 to 1000000, got {value!r}")
    return int(number)


def limit(default: object, most: int) -> Parameter[int]:
    """The parameter `limit` of a list: a number from 1 to `most`; the handler applies the default."""

    def read(value: object) -> int:
        if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) <= 4):
            raise ValueError(f"expected a number from 1 to {most}, got {value!r}")
        if not 1 <= int(value) <= most:
            raise ValueError(f"{value} is not between 1 and {most}")
        return int(value)

    schema = {"type": "integer", "minimum": 1, "maximum": most}
    return Parameter("limit", f"at most so many ({default})", read, schema)


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _words(words: Iterable[str]) -> dict[str, object]:
    return {"type": "string", "enum": [str(word) for word in words]}


DURATION: dict[str, object] = {
    "type": ["string", "number"],
    "pattern": r"^[0-9]+(\.[0-9]+)?( ?(ms|s|m|h))?$",
    "minimum": 0,
    "examples": ["30s", "500ms", "2m", "1.5"],
}
FLAG: dict[str, object] = {"enum": [True, False, "true", "false", "1", "0"]}
WORD: dict[str, object] = {"type": "string"}

POOL = Parameter("pool", "only this pool", text, WORD)
STATE = Parameter("state", "only backends in this state", word(STATES), _words(STATES))
FORMAT = Parameter("format", "`table` for aligned text", one_of(Format), _words(Format))
UNTIL = Parameter("wait", "answer when this holds, or at the timeout", one_of(Until), _words(Until))
WAIT_TIMEOUT = Parameter("timeout", "how long to wait (30s)", seconds(MAX_WAIT), DURATION)
WAIT = Parameter("wait", "answer when it has drained, or after this time", seconds(MAX_WAIT), DURATION)
TIMEOUT = Parameter("timeout", "after this time, cut what still runs", seconds(MAX_DRAIN), DURATION)
DRAIN_TIMEOUT = Parameter("drain_timeout", TIMEOUT.description, seconds(MAX_DRAIN), DURATION)
THEN = Parameter("then", "what becomes of it when it has drained", one_of(Then), _words(Then))
FORCE = Parameter("force", "remove it now, cut what runs", boolean, FLAG)
DRY_RUN = Parameter("dry_run", "say what would be, and change nothing", boolean, FLAG)
LOCAL = Parameter("local", "in a cluster: change this balancer alone, until that is withdrawn", boolean, FLAG)
KEEP_AVAILABLE = Parameter(
    "keep_available",
    "409 instead, where fewer than so many of its pool would be available then",
    count,
    {"type": ["integer", "string"], "minimum": 0, "maximum": 1_000_000, "pattern": "^[0-9]{1,7}$"},
)
TARGET = Parameter("pool", "the pool to replace (default)", text, WORD)
