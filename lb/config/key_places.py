"""Where each key of the file belongs, for a key that stands in the wrong table.

Most such keys have the right name: `[[backends]]` without its pool, or `connect` outside of `[timeouts]`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from lb.settings.balancer_settings import DEFAULT_POOL, Config

POOL = "{pool}"
"""Stands in the paths of tables for the name of a pool."""
INDEX = re.compile(r"\[\d+\]$")
POOL_PATH = re.compile(r"""pools\.("(?:[^"\\]|\\.)*"|[^.\[]+)""")
"""The path of a pool, and its name, in quotes where it has a dot."""
AGAIN = re.compile(r"^it (?:belongs|is) ")
"""What is left out of a place that is named behind another one."""
MOST_PLACES = 3
"""A key that belongs to more tables, such as `name`, says nothing about the one that is meant."""


def belongs(key: str, table: str, pool: str = "") -> str:
    """The end of a sentence about a key that is not known in this table but elsewhere; otherwise empty.

    `table` is the path of the table, empty for the top of the file. `pool` is the name of the pool that is
    meant, as it stands in paths, where the table is that of none.
    """
    if table and key in _top():
        header = f"[[{INDEX.sub('', table)}]]" if INDEX.search(table) else f"[{table}]"
        return f"; `{key}` stands below {header} here; keys of the whole file come before the first [table]"
    places = _places().get(key, ())
    if not 0 < len(places) <= MOST_PLACES:
        return ""
    first, *others = (each.format(pool=pool or _pool(table)) for each in places)
    return " or ".join((f"; {first}", *(AGAIN.sub("", each) for each in others)))


def is_list_of_tables(key: str) -> bool:
    """Whether each value of a key of this name begins with two brackets."""
    return any(place.startswith("it is [[") for place in _places().get(key, ()))


def told(path: str, table: str, pool: str = "") -> str:
    """A key of ours for a message about this table: `url` below [[pools.web.backends]]. Both are paths.

    `pool` as for `belongs`.
    """
    above, _, key = path.rpartition(".")
    pool = pool or _pool(table)
    place = _by_path()[path].format(pool=pool)
    if place.startswith("it is "):
        return place.removeprefix("it is ")
    is_here = above.format(pool=pool) == INDEX.sub("", table)
    return f"`{key}`{'' if is_here else place.removeprefix('it belongs')}"


def _pool(table: str) -> str:
    """The name of the pool that a table belongs to."""
    found = POOL_PATH.match(table)
    return found[1] if found else DEFAULT_POOL


@cache
def _by_path() -> Mapping[str, str]:
    """For the path of each key where it belongs."""
    return dict(_walk(Config, ""))


@cache
def _top() -> frozenset[str]:
    """The keys of the whole file, without its tables."""
    return frozenset(key for key, hint in get_type_hints(Config).items() if _inner(hint)[0] is None)


@cache
def _places() -> Mapping[str, tuple[str, ...]]:
    """For the name of each key where it belongs."""
    found: dict[str, list[str]] = {}
    for path, place in _walk(Config, ""):
        found.setdefault(path.rpartition(".")[2], []).append(place)
    return {key: tuple(places) for key, places in found.items()}


def _walk(struct: type[msgspec.Struct], above: str, header: str = "") -> Iterator[tuple[str, str]]:
    """The path of each key, and its place; `above` is that of the struct, which begins with `header`."""
    for key, hint in get_type_hints(struct).items():
        path = f"{above}.{key}".lstrip(".")
        inner, is_list = _inner(hint)
        own = f"[[{path}]]" if is_list else f"[{path}]"
        below = f"it belongs below {header}" if above else "it belongs before the first [table]"
        yield path, below if inner is None else f"it is {own}"
        if inner is not None and get_origin(_plain(hint)) is dict:
            path = f"{path}.{POOL}"
            own = f"[{path}]"
        if inner is not None:
            yield from _walk(inner, path, own)


def _inner(hint: object) -> tuple[type[msgspec.Struct] | None, bool]:
    """The struct that the values of this type are, or hold, and whether they are a list of it."""
    plain = _plain(hint)
    held = [each for each in get_args(plain) if each is not Ellipsis]
    kind = held[-1] if held else plain
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, get_origin(plain) is tuple
    return None, False


def _plain(hint: object) -> Any:  # noqa: ANN401 - a type, or what stands for one
    """The type without its `| None`."""
    arguments = get_args(hint)
    return next(each for each in arguments if each is not NoneType) if NoneType in arguments else hint
