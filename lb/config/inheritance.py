"""What a program takes over of the one that it replaces, before it takes the first request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from lb.config.state_file import Changes
from lb.core.announced import Notice
from lb.net.handed_listeners import HandedListeners
from lb.settings.backend_spec import BackendSpec


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A backend as its source says it; what an operator has said of it is in the changes."""

    pool: str
    source: str
    said: BackendSpec
    notice: Notice = Notice.HERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """`changes` stand for those of the state file, which may be older.

    `found` are backends of sources, `own` local overrides (`lb.core.cluster_view`). `cookie_key` is the
    random key of sticky cookies; `sockets` are the listening sockets of the traffic.
    """

    sockets: HandedListeners = field(default_factory=HandedListeners)
    changes: Changes = field(default_factory=dict)
    cookie_key: bytes | None = None
    found: tuple[Found, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
