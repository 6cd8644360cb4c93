"""Lists of backends in JSON: our own, and the one that Prometheus reads (`file_sd`, `http_sd`).

Ours is a list of backends as the configuration has them, and each may say its `notice`:

    [{"url": "http://10.0.0.1:8000", "weight": 2}, {"url": "http://10.0.0.2:8000", "notice": "leaving"}]

That of Prometheus is a list of groups; their labels but those with two underscores become labels, and
`__scheme__` says how its targets are spoken to:

    [{"targets": ["10.0.0.1:8000", "10.0.0.2:8000"], "labels": {"zone": "a"}}]

Both may be mixed. An entry that is of no use is skipped. A list of which nothing is of use is no empty list:
somebody has changed its shape, so it is refused.
"""

from codecs import BOM_UTF8
from collections.abc import Generator
from typing import Literal

import msgspec

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.collected import UNREADABLE, Collected
from lb.settings.backend_spec import default_id, parse_url

SHOWN = 100


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One backend of our list."""

    url: str
    id: str = ""
    weight: int | None = None
    backup: bool | None = None
    max_in_flight: int | None = None
    max_connections: int | None = None
    labels: dict[str, str] = {}
    notice: Literal["here", "not_ready", "leaving"] = "here"


class Group(msgspec.Struct, frozen=True):
    """Some backends of Prometheus' list."""

    targets: list[str]
    labels: dict[str, str] = {}


class _Shape(msgspec.Struct, frozen=True):
    targets: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_list = msgspec.json.Decoder(list[msgspec.Raw])
_shape = msgspec.json.Decoder(_Shape)
_entry = msgspec.json.Decoder(Entry)
_group = msgspec.json.Decoder(Group)


def reading(data: bytes, next_look: float | None = None) -> Generator[None, None, Announced]:
    """Read a list, in slices. ValueError says why it is none; nothing of it holds then."""
    try:
        entries = _list.decode(data.removeprefix(BOM_UTF8))
    except UNREADABLE as exc:
        raise ValueError(f"it is no list in JSON: {exc}") from exc
    collected = Collected()
    for at, raw in enumerate(entries):
        yield from _read(raw, f"entry {at}", collected)
        yield
    if collected.why_empty:
        raise ValueError(collected.why_empty)
    return collected.set(next_look)


def _read(raw: msgspec.Raw, called: str, collected: Collected) -> Generator[None, None, None]:
    try:
        if _shape.decode(raw).targets is msgspec.UNSET:
            _add(_entry.decode(raw), called, collected)
        else:
            yield from _add_group(_group.decode(raw), called, collected)
    except (*UNREADABLE, ValueError) as exc:
        collected.skip(f"{called}: {exc}")


def _add(entry: Entry, called: str, collected: Collected) -> None:
    said = Announcement(
        id=entry.id or default_id(*parse_url(entry.url)),
        url=entry.url,
        weight=entry.weight,
        backup=entry.backup,
        max_in_flight=entry.max_in_flight,
        max_connections=entry.max_connections,
        labels=entry.labels,
        notice=Notice(entry.notice),
    )
    collected.add(said, called)


def _add_group(group: Group, called: str, collected: Collected) -> Generator[None, None, None]:
    scheme = group.labels.get("__scheme__", "http")
    labels = {name: value for name, value in group.labels.items() if not name.startswith("__")}
    for target in group.targets:
        url, name = f"{scheme}://{target}", f"{called}: {target[:SHOWN]}"
        try:
            collected.add(Announcement(id=default_id(*parse_url(url)), url=url, labels=labels), name)
        except ValueError as exc:
            collected.skip(f"{name}: {exc}")
        yield
