"""The events of /events, from the structs that are sent."""

from inspect import cleandoc
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec

from admin.reference.topic import Entry, Topic, entry
from admin.resources.events import SENT, TYPES

PREFACE = f"""\
GET /events sends what happens, as server-sent events; ?types={TYPES[2]},{TYPES[3]} chooses, Last-Event-ID
replays what is kept. The types: {", ".join(TYPES)}. The program's log has a line for each change of state
too, with the reason; of a kind that more than a hundred backends have within a second it says how many more
they were.
"""


def events_topic() -> Topic:
    """Each struct that an event may carry: what it tells, its kinds, its fields."""
    return Topic(tuple(_entry(each) for each in SENT), PREFACE)


def _entry(struct: type[msgspec.Struct]) -> Entry:
    kinds = get_type_hints(struct).get("kind")
    alternatives = get_args(kinds) if get_origin(kinds) is Literal else ()
    return entry(
        struct.__name__,
        struct.__name__,
        cleandoc(struct.__doc__ or ""),
        f"kind: {', '.join(alternatives)}" if alternatives else "",
        f"fields: {', '.join(struct.__struct_fields__)}",
    )
