"""The rules that single values obey, in the file, on the command line and in the API alike.

Each takes what somebody wrote and returns the value in our unit, or raises a ValueError that says what was
expected. As the second half of an `Annotated` they are found by `lb.config.decode`.
"""

import re
from typing import Annotated

import msgspec

LONGEST_SECONDS = 1e9
MANY = 1_000_000_000
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", re.ASCII)
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?) ?(B|kB|KB|MB|GB|KiB|MiB|GiB)", re.ASCII)
SIZE_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


def parse_duration(value: object) -> float:
    """Seconds from "500ms", "30s", "5m", "1h" or a number of seconds, 0 to 1e9; ValueError otherwise."""
    seconds: object = value
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        seconds = float(match[1]) * DURATION_UNITS[match[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f'expected a duration such as "500ms", "30s" or seconds, got {value!r}')
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"{value!r} is not between 0 s and {LONGEST_SECONDS:.0e} s")
    return float(seconds)


def parse_size(value: object) -> int:
    """Bytes from "64KiB", "1MiB", "10MB" or a number of bytes, 0 or more; ValueError otherwise."""
    size: object = value
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        size = int(float(match[1]) * SIZE_UNITS[match[2]])
    if isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(f'expected a size such as "64KiB", "10MB" or bytes, got {value!r}')
    if size < 0:
        raise ValueError(f"{value!r} is less than nothing")
    return size


def positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError(f"{value!r} is not more than 0 s")
    return seconds


def positive_size(value: object) -> int:
    if (size := parse_size(value)) == 0:
        raise ValueError(f"{value!r} is not 1 byte or more")
    return size


def positive(value: object) -> int:
    if (count := not_negative(value)) < 1:
        raise ValueError(f"{count} is not 1 or more")
    return count


def not_negative(value: object) -> int:
    count = msgspec.convert(value, int)
    if count > MANY:
        raise ValueError(f"that is more than {MANY}")
    if count < 0:
        raise ValueError(f"{count} is not 0 or more")
    return count


def token(value: object) -> str:
    text = msgspec.convert(value, str)
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a token (letters, digits and !#$%&'*+-.^_`|~)")
    return text


def share(value: object) -> float:
    """A part of a whole, 0 to 1."""
    part = msgspec.convert(value, float)
    if not 0 <= part <= 1:
        raise ValueError(f"{value!r} is not between 0 and 1")
    return part


Seconds = Annotated[float, positive_duration]
Patience = Annotated[float, parse_duration]
"""Seconds, of which there may be none."""
Size = Annotated[int, positive_size]
Count = Annotated[int, positive]
Number = Annotated[int, not_negative]
Share = Annotated[float, share]
Token = Annotated[str, token]
