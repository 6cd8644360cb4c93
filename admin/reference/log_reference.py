"""The fields of the access log in the format json, from the structs of its lines."""

from collections.abc import Iterator

import msgspec

from admin.protocol.attribute_docs import attribute_docs
from admin.reference.topic import Entry, Topic, table
from lb.observe.log_lines import LoggedAttempt, LoggedTls, Record

PREFACE = """\
One line for each exchange. Texts of clients are at most 512 visible ASCII characters; other bytes are
\\xNN.
"""
LINES: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("", Record),
    ("each_attempt[].", LoggedAttempt),
    ("tls.", LoggedTls),
)


def log_topic() -> Topic:
    """Every field, those within others too."""
    return Topic(tuple(_entries()), PREFACE)


def _entries() -> Iterator[Entry]:
    for prefix, struct in LINES:
        docs = attribute_docs(struct)
        names = [f"{prefix}{name}" for name in struct.__struct_fields__]
        width = max(map(len, names))
        for name, key in zip(names, struct.__struct_fields__, strict=True):
            yield Entry(name, table([(name.ljust(width), docs.get(key, ""))]))
