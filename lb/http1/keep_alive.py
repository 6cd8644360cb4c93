"""The field Keep-Alive, with which a server says how long it keeps a connection (RFC 2068 section 19.7.1)."""

import re
from collections.abc import Iterable
from typing import NamedTuple

PARAMETER = re.compile(
    rb'(?:\A|,)[ \t]*(timeout|max)[ \t]*=[ \t]*"?([0-9]{1,9})"?[ \t]*(?=,|\Z)', re.IGNORECASE
)
LONGEST = 256
"""Bytes of the values that are read; those in use have 20."""


class KeepAlive(NamedTuple):
    """For how many seconds a connection may be idle, and how many more requests it takes; None: unsaid."""

    timeout: int | None
    most: int | None


def keep_alive_in(values: Iterable[bytes]) -> KeepAlive | None:
    """What the values of a response's fields say; None where they say nothing that can be read."""
    said = b",".join(values)
    if len(said) > LONGEST:
        return None
    found = dict((name.lower(), int(number)) for name, number in PARAMETER.findall(said))
    return KeepAlive(found.get(b"timeout"), found.get(b"max")) if found else None
