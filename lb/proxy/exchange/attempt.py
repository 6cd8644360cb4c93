"""One attempt of an exchange: its place on a backend, its record, and the connection that it was lent."""

from collections.abc import Sequence
from typing import Protocol

import trio

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord
from lb.core.policies.base import Asking
from lb.proxy.sides import BackendSide


class Owner(Asking, Protocol):
    """The exchange, as its attempts use it: what a policy may know of the request, and how to cut it."""

    def cut(self) -> None: ...


class Attempt:
    """Holds a place on a backend, or in the pool's queue.

    `backend` and `record` exist once the pool has counted the attempt on a backend; `connection` is set while
    one is lent. Only `Exchange` sets these three. `racing` is the cancel scope of an attempt in a race, set
    by `lb.proxy.exchange.hedge`. While it is set, a cut ends this attempt and not the exchange.
    """

    __slots__ = ("_owner", "backend", "connection", "racing", "record")

    backend: Backend
    record: AttemptRecord

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.connection: BackendSide | None = None
        self.racing: trio.CancelScope | None = None

    def cut(self) -> None:
        """End soon: a drain or an operator ends what runs on the backend (`lb.core.backend.Running`).

        May be called from any task. It only cancels a scope; the place is given back later.
        """
        if self.racing is not None:
            self.racing.cancel()
        else:
            self._owner.cut()

    # -- what a policy sees of the request ---------------------------------------------------------------

    @property
    def address(self) -> str:
        return self._owner.address

    @property
    def subject(self) -> str | None:
        return self._owner.subject

    @property
    def target(self) -> bytes:
        return self._owner.target

    def field(self, name: bytes) -> bytes | None:
        return self._owner.field(name)

    def cookie(self, name: bytes) -> bytes | None:
        return self._owner.cookie(name)

    def cookies(self, name: bytes) -> Sequence[bytes]:
        return self._owner.cookies(name)
