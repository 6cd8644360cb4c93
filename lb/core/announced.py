"""What a source of backends has said: a whole set of them, as it was at one moment.

A source is a name server, a file, a registry of services. It never says less than all, and what it fails
to say is no set: so an error can never be taken for an empty answer. What follows from a set is decided in
`lb.core.reconcile`.
"""

from enum import StrEnum

import msgspec


class Notice(StrEnum):
    """What discovery says of a backend. It is a fact of its own, beside the operator's wish."""

    HERE = "here"
    NOT_READY = "not_ready"
    LEAVING = "leaving"
    MISSING = "missing"


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """One backend of a set. `id` is the source's own name for it, so that it outlives a change of address.

    None stands for what the source does not say; defaults are for the pool to give. `notice` is never
    MISSING, which follows from not being in a set.
    """

    id: str
    url: str
    weight: int | None = None
    backup: bool | None = None
    max_in_flight: int | None = None
    max_connections: int | None = None
    labels: dict[str, str] = {}
    notice: Notice = Notice.HERE


class Announced(msgspec.Struct, frozen=True):
    """A whole set, in the source's order.

    `skipped` has a sentence for each entry that was of no use. `next_look` is in how many seconds the source
    asks again, None if it is told of changes.
    """

    backends: tuple[Announcement, ...]
    skipped: tuple[str, ...] = ()
    next_look: float | None = None
