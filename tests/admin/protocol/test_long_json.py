"""Long JSON, encoded in parts: the very bytes of the whole, indented or not."""

import msgspec
import pytest

from admin.protocol.long_json import in_parts


class Inner(msgspec.Struct):
    added: list[object]
    changed: list[object]


class Outer(msgspec.Struct):
    name: str
    inner: Inner
    items: list[object]
    left: int | msgspec.UnsetType = msgspec.UNSET


ITEM: object = {"id": "a", "labels": {"rack": "x"}, "none": []}


@pytest.mark.parametrize("is_indented", [False, True])
@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 2), (3, 2, 0)])
async def test_the_parts_are_the_whole(is_indented: bool, counts: tuple[int, int, int]) -> None:
    added, changed, items = ([ITEM] * count for count in counts)
    whole = msgspec.json.encode(Outer('"\0items"', Inner(added, changed), items))
    if is_indented:
        whole = msgspec.json.format(whole, indent=2)
    body = Outer('"\0items"', Inner([], []), [])
    lists = {"items": iter(items), "inner.added": iter(added), "inner.changed": iter(changed)}
    assert b"".join(await in_parts(body, lists, is_indented=is_indented)) == whole


async def test_a_body_without_long_lists_is_one_part() -> None:
    assert await in_parts(Inner([], [1]), {}) == [b'{"added":[],"changed":[1]}']
