"""A client connection as far as it is known before HTTP: where it was accepted, and whose it is."""

from typing import NamedTuple

from lb.core.client_address import UNIX
from lb.core.exchange_record import Announced
from lb.net.listener import Listener

Peer = tuple[str, str]
"""An address, and the same with its port."""


class Incoming(NamedTuple):
    """`accepted` is who has connected, and `peer` for whom: the same, unless a PROXY header says more.

    `announced` is what else that header says; None where it says nothing, or there is none.
    """

    listener: Listener
    accepted: Peer
    peer: Peer
    announced: Announced | None = None

    @property
    def destination(self) -> str | None:
        """The IP address that the client had connected to, where a header says that."""
        if self.announced is None or self.announced.destination[0] == UNIX:
            return None
        return self.announced.destination[0]
