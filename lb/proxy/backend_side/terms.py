"""How long a connection to a backend may be kept, and for what: its address, its age, the backend's word."""

from math import inf

from lb.http1.keep_alive import KeepAlive
from lb.net.addresses import Address

EARLIER_SECONDS = 1.0
"""A connection is idle for this much less than the backend says: its clock began when it sent its answer."""


class Terms:
    """What `Connections` knows of one connection; it ends at `expires`, or after `requests_left`.

    `url` and `address` are where it was connected to. `place` is that of the backend's idle connections to
    which it belongs; None before it has been looked whether it does. `idle` is how many seconds it may be
    idle by what the backend said. `has_new_session`: its TLS session is to be remembered. `is_private`: it
    began with a PROXY header, so it is one client's.
    """

    __slots__ = (
        "address",
        "expires",
        "has_new_session",
        "idle",
        "is_private",
        "place",
        "requests_left",
        "url",
    )

    def __init__(
        self,
        url: str = "",
        address: Address | None = None,
        expires: float = inf,
        requests_left: float = inf,
    ) -> None:
        self.url = url
        self.address = address
        self.expires = expires
        self.requests_left = requests_left
        self.idle = inf
        self.has_new_session = self.is_private = False
        self.place: object = None

    def hear(self, offer: KeepAlive) -> None:
        """A response came with Keep-Alive; the request that it answers is still one of `requests_left`."""
        if offer.timeout is not None:
            self.idle = offer.timeout - EARLIER_SECONDS
        if offer.most is not None:
            self.requests_left = min(self.requests_left, offer.most + 1)
