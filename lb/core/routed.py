"""What becomes of a request that an operator makes up: which route takes it, and to which pool."""

from typing import NamedTuple


class Routed(NamedTuple):
    """The way of one made-up request.

    `status` is that of the answer which the balancer gives itself, for the reason `why`; None where a backend
    answers. `location` is where it is sent instead, and the rest is then about the request that comes there.
    `host` and `path` are what routes are compared with. `number` is that of the route that takes it, from 1
    on; None where none does, or it is refused. `behind` are the numbers of those that would take it if the
    routes before them were not there. `pool` is "" where it comes to none.
    """

    status: int | None = None
    why: str = ""
    location: str = ""
    host: str = ""
    path: str = ""
    number: int | None = None
    behind: tuple[int, ...] = ()
    pool: str = ""
    note: str = ""


class Asked(NamedTuple):
    """A request as it is made up."""

    method: bytes
    host: bytes
    target: bytes
    is_secured: bool
