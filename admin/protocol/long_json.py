"""JSON of any length, encoded in slices.

The items of the long lists are made and encoded one by one. The value around them is encoded at once, with a
mark in place of the items of each list; the marks are random, so no other text is taken for one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from secrets import token_hex

import msgspec

from lb.slices import listed

Lists = Mapping[str, Iterable[object]]
"""The items of long lists by the path of the list: `items`, or `backends.added`."""


async def in_parts(body: msgspec.Struct, lists: Lists, *, is_indented: bool = False) -> list[bytes]:
    """The JSON of the body, in parts to be joined; where one of these lists stands it has these items."""
    mark, found, around = token_hex(16), list[list[bytes]](), _values(body)
    for path, items in lists.items():
        names = path.split(".")
        encoded = (_encoded(item, is_indented) for item in items)
        found.append(await listed(_separated(encoded, len(names) + 1, is_indented)))
        _put(around, names, [f"{mark}{len(found) - 1}"] if found[-1] else [])
    first, *others = re.split(b'"%b([0-9]+)"' % mark.encode(), _encoded(around, is_indented))
    parts = [first]
    for number, behind in zip(others[::2], others[1::2], strict=True):
        parts += found[int(number)]
        parts.append(behind)
    return parts


def _values(table: object) -> dict[str, object]:
    """The values of a struct, or of what was made of it already."""
    if isinstance(table, msgspec.Struct):
        values = ((name, getattr(table, name)) for name in table.__struct_fields__)
        return {name: value for name, value in values if value is not msgspec.UNSET}
    assert isinstance(table, dict)
    return table


def _put(table: dict[str, object], names: list[str], value: object) -> None:
    name, *below = names
    if below:
        inner = table[name] = _values(table[name])
        _put(inner, below, value)
    else:
        table[name] = value


def _separated(items: Iterable[bytes], depth: int, is_indented: bool) -> Iterator[bytes]:
    """The items with the commas between them, each line indented as far as it is deep."""
    line = b"\n" + b"  " * depth
    comma, between = b"," + line if is_indented else b",", b""
    for item in items:
        yield between + (item.replace(b"\n", line) if is_indented else item)
        between = comma


def _encoded(value: object, is_indented: bool) -> bytes:
    data = msgspec.json.encode(value)
    return msgspec.json.format(data, indent=2) if is_indented else data
