"""One try of an exchange on one backend: its place there, its record, and the connection that it was lent."""

from typing import Protocol

import trio

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord
from lb.core.policies.base import Asking
from lb.proxy.sides import BackendSide


class Owner(Asking, Protocol):
    """The exchange, as its attempts see it: what a policy may know of the request, and whom a cut ends."""

    def cut(self) -> None: ...


class Attempt:
    """Holds a place on a backend, or in the queue for one (`lb.core.pool.Holder`).

    `backend` and `record` are there once the pool has counted the attempt on a backend, `connection` while it
    is lent one; `lb.proxy.exchange.exchange` sets all three. While `racing` is set, the attempt is one of two
    that run side by side, and a cut ends it alone.
    """

    __slots__ = ("_owner", "backend", "connection", "racing", "record")

    backend: Backend
    record: AttemptRecord

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.connection: BackendSide | None = None
        self.racing: trio.CancelScope | None = None

    def cut(self) -> None:
        """A drain or an operator ends what runs on the backend (`lb.core.backend.Running`)."""
        if self.racing is not None:
            self.racing.cancel()
        else:
            self._owner.cut()

    # -- what a policy sees of the request ---------------------------------------------------------------

    @property
    def address(self) -> str:
        return self._owner.address

    @property
    def target(self) -> bytes:
        return self._owner.target

    def field(self, name: bytes) -> bytes | None:
        return self._owner.field(name)

    def cookie(self, name: bytes) -> bytes | None:
        return self._owner.cookie(name)
