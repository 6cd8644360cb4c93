"""The rules that single values of a pool obey beside those of `lb.settings.values`, in the same form."""

import re

import msgspec

from lb.settings.meant_values import said
from lb.settings.values import TOKEN

HASH_KEY = re.compile(rf"address|certificate|path|(field|cookie):{TOKEN.pattern}")
HASH_KEYS = {
    **dict.fromkeys(("ip", "client_ip", "source", "src", "remote_addr", "client"), "address"),
    **dict.fromkeys(("uri", "url"), "path"),
    **dict.fromkeys(("header", "hdr"), "field"),
}
"""How others call them."""
STATUS_CLASS = re.compile(r"([1-9])(?:xx|\*)", re.IGNORECASE)
STATUS_RANGE = re.compile(r"([1-9][0-9][0-9])(?:-([1-9][0-9][0-9]))?")
TARGET = re.compile(r"/[!-~]*")
AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
MOST_RANGES = 50
FIELD_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?|")
LONGEST_SHOWN = 60


def statuses(value: object) -> tuple[str, ...]:
    """Status codes and ranges of them, as text: `["200", "300-399", 404]`; a single one needs no list."""
    given = value if isinstance(value, list | tuple) else [value]
    items = [str(item)[:LONGEST_SHOWN] for item in msgspec.convert(given, tuple[int | str, ...])]
    if len(items) > MOST_RANGES:
        raise ValueError(f"more than {MOST_RANGES} statuses")
    for item in items:
        match = STATUS_RANGE.fullmatch(item)
        if match is None or (match[2] and match[2] < match[1]):
            kind = STATUS_CLASS.fullmatch(item)
            meant = said(f"{kind[1]}00-{kind[1]}99" if kind else None)
            raise ValueError(f"{item!r} is not a status such as 503, or a range such as 500-599{meant}")
    return tuple(items)


def hash_key(value: object) -> str:
    key = msgspec.convert(value, str)
    if not HASH_KEY.fullmatch(key):
        raise ValueError(
            f"{key!r} is not address, certificate, path, field:NAME or cookie:NAME{_meant_key(key)}"
        )
    return key


def _meant_key(key: str) -> str:
    kind, colon, name = key.partition(":")
    ours = HASH_KEYS.get(kind.lower())
    return said(f"{ours}{colon}{name}" if ours and HASH_KEY.fullmatch(f"{ours}{colon}{name}") else None)


def load(value: object) -> float:
    factor = msgspec.convert(value, float)
    if factor and not 1 < factor <= 100:
        raise ValueError(f"{value!r} is not 0 (no bound) or between 1 and 100")
    return factor


def target(value: object) -> str:
    text = msgspec.convert(value, str)
    if not TARGET.fullmatch(text):
        raise ValueError(f"{text!r} is not a path such as /healthz{said(_meant_target(text))}")
    return text


def _meant_target(text: str) -> str | None:
    """The path of a whole URL, or with the slash before it."""
    path = re.sub(r"^https?://[^/]*", "", text) if "://" in text else f"/{text}"
    return path if TARGET.fullmatch(path) and path != "/" else None


def authority(value: object) -> str:
    text = msgspec.convert(value, str)
    if not AUTHORITY.fullmatch(text):
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is not a host, perhaps with a port, as Host may have it")
    return text


def text(value: object) -> str:
    text = msgspec.convert(value, str)
    if not text.strip("*"):
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is found in any body")
    return text


def fields(value: object) -> dict[str, str]:
    fields = msgspec.convert(value, dict[str, str])
    for name, text in fields.items():
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(text):
            raise ValueError(f"{name!r} = {text!r} is not a field that can be sent")
        if name.lower() in ("host", "connection", "content-length", "transfer-encoding"):
            raise ValueError(f"{name!r} is not yours to set; `host` has a key of its own")
    return fields


def port(value: object) -> int:
    port = msgspec.convert(value, int)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port between 1 and 65535")
    return port
