"""What a worker is yet to be told: names of what has changed, each once, in an order that serves requests.

Only names are kept, and what holds of each is looked up when it is sent. So a hundred changes of one backend
are one message, and the memory is bounded by the number of backends, however slow the worker is.

What may take requests is told before what may not any more: a name that is marked again keeps its place,
unless it leaves; then it moves to the end, behind those that come in its stead. Pools that are there come
before all else, since a backend, or a route, is of no use without its pool. Hosts come last: a worker knows
those of its backends.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["pool", "backend", "failing", "host", "settings", "certificates", "draining"]


class Name(NamedTuple):
    """What has changed: a pool, a backend or a host of this name, or what all the balancer has.

    "failing": attempts on the backend of this name fail now.
    """

    kind: Kind
    name: str = ""


class Outbox:
    """The marks of one worker. `marked` counts them, and `taken` is up to which of them all were taken."""

    def __init__(self) -> None:
        self._pools: dict[Name, None] = {}
        self._others: dict[Name, None] = {}
        self._hosts: dict[Name, None] = {}
        self.marked = 0
        self.taken = 0

    def mark(self, name: Name, *, leaves: bool = False) -> None:
        """Something has changed there; `leaves`: it takes no requests any more."""
        if leaves or name.kind == "pool":
            self._pools.pop(name, None)
            self._others.pop(name, None)
        self._place(name, leaves)[name] = None
        self.marked += 1

    def _place(self, name: Name, leaves: bool) -> dict[Name, None]:
        if name.kind == "host":
            return self._hosts
        return self._pools if name.kind == "pool" and not leaves else self._others

    def take(self, most: int) -> Sequence[Name]:
        """The first of them, which wait no more."""
        names: list[Name] = []
        while self and len(names) < most:
            waiting = self._pools or self._others or self._hosts
            name = next(iter(waiting))
            del waiting[name]
            names.append(name)
        if not self:
            self.taken = self.marked
        return names

    def __bool__(self) -> bool:
        return bool(self._pools or self._others or self._hosts)
