"""Where connections are until they are open: a bounded number, of which old ones make room for others.

A connection that is not open costs a descriptor and a place, and its client has said little or nothing. So
at the bound the oldest is closed, once it had a moment in which an honest client would have gone on.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from lb.core.secured import Secured
from lb.net.listener import Listener
from lb.net.wire import Wire
from lb.proxy.incoming import Incoming, Peer

OLD_SECONDS = 1.0
"""Where there are too many, one that has lasted so long is closed for another."""


class Acceptor(Protocol):
    """Who has accepted the connections (`lb.proxy.acceptor`)."""

    def opened(self, wire: Wire, incoming: Incoming, secured: Secured | None, received: bytes = b"") -> None:
        """The connection is open, and the wire the acceptor's; this has come on it."""
        ...

    def refused(self, listener: Listener, accepted: Peer) -> None:
        """The connection has ended before it was open."""
        ...


class Opening(Protocol):
    """A connection that is being opened. `began` is when it was accepted, on Trio's clock."""

    began: float

    def make_room(self) -> None:
        """End, and leave the anteroom: another one needs the room."""
        ...


class Anteroom:
    """The openings of one kind, in the order in which they came. `most` is asked each time."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._all: dict[Opening, None] = {}
        self._has_left = trio.lowlevel.ParkingLot()

    def __contains__(self, opening: object) -> bool:
        return opening in self._all

    def all(self) -> list[Opening]:
        """Every opening at this moment, the oldest first."""
        return list(self._all)

    def enter(self, opening: Opening) -> None:
        self._all[opening] = None

    def leave(self, opening: Opening) -> None:
        del self._all[opening]
        self._has_left.unpark_all()

    async def wait_for_room(self) -> int:
        """Wait until another may enter: there are fewer, or the oldest was closed for it. How many may."""
        while (free := self._most() - len(self._all)) <= 0:
            oldest = next(iter(self._all))
            old_at = oldest.began + OLD_SECONDS
            if trio.current_time() >= old_at:
                oldest.make_room()
            else:
                with trio.move_on_at(old_at):
                    await self._has_left.park()
        return free
