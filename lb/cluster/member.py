"""This balancer as the others see it: that it is there, and how far it has come.

    PREFIX members/NAME    who it is: put before the wishes are listed, so that whoever makes a wish later
                           and looks who is there either finds it, or it will list that wish
    PREFIX status/NAME     what it has applied, and how many requests of each drain are left
    PREFIX known/NAME      that there is such a balancer, until it ends in order or somebody forgets it

The first two hang on a lease. That they vanish says that etcd has not heard of it, not that it is dead:
etcd has let go of leases that were kept alive. Then they are put again, and the wishes are listed again:
nobody has waited for it meanwhile.
"""

from collections.abc import Callable
from contextlib import suppress

import msgspec

from lb.etcd.endpoint import Endpoint
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import EtcdFailed, LeaseLost
from lb.etcd.etcd_messages import (
    Delete,
    KeyValue,
    Operation,
    Put,
    Range,
    Transaction,
    is_as_of,
)
from lb.etcd.held_lease import HeldLease

MEMBERS = "members/"
STATUS = "status/"
KNOWN = "known/"
SCHEMA = 1
UNREADABLE = (ValueError, RecursionError)
"""What the decoding of a value raises, whatever others have put there."""


class About(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who a member is. `instance` is another one for each process that has ever had its name.

    `config` and `secrets` are digests of what it was configured with, for those who compare.
    """

    instance: str
    version: str = ""
    admin: str = ""
    config: str = ""
    secrets: str = ""
    schema: int = SCHEMA


class Status(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All wishes until `applied` are done; `left` has the requests of drains that run, by backend.

    `down` has some of the backends that its own probes see down, to be shown and never obeyed. `otherwise`
    has all backends of which it does not follow the wish: for a local override, or as it cannot do it.
    """

    instance: str
    applied: int = 0
    left: dict[str, int] = {}
    down: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()


class NameTaken(EtcdFailed):
    """Another balancer has this name. Or this one had it and was killed; then it is free after the TTL."""


class Member:
    """A member with this name under `prefix`, which ends with a slash; `about` says who it is.

    `beat` is for the follower of the wishes, and `applied` gives the revision until which these are applied.
    `now` is a clock that only goes forward.
    """

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        name: str,
        about: About,
        *,
        ttl: int,
        now: Callable[[], float],
        applied: Callable[[], int],
    ) -> None:
        self.name = name
        self.about = about
        self._etcd = etcd
        self._applied = applied
        self._lease = HeldLease(etcd, ttl, now)
        self._key = f"{prefix}{MEMBERS}{name}".encode()
        self._status_key = f"{prefix}{STATUS}{name}".encode()
        self._known_key = f"{prefix}{KNOWN}{name}".encode()
        self._status: Status | None = None
        self._since = self._appeared = 0
        self._is_there = False

    @property
    def is_heard(self) -> bool:
        """Whether the others cannot have lost it yet, by its own clock, and it knows what they wish.

        What was wished before it was there is not waited for, so it is not heard before that is applied.
        """
        return self._is_there and self._lease.is_good and self._applied() >= self._appeared

    @property
    def times_lost(self) -> int:
        """How often etcd has let go of its lease."""
        return self._lease.lost

    async def beat(self, endpoint: Endpoint) -> bool:
        """Be there, and stay there. Whether it was not there before. NameTaken where it cannot be."""
        if self._is_there:
            try:
                await self._lease.beat(endpoint)
                return False
            except LeaseLost:
                self._is_there = False
        await self._appear()
        return True

    async def leave(self) -> None:
        """Be gone at once, as a member that ends is: it sends no request any more."""
        was_there, self._is_there = self._is_there, False
        if was_there:
            await self._transact(Operation(request_delete_range=Delete(key=self._known_key)))
        await self._lease.give_up()

    async def becomes(self, about: About) -> None:
        """Be this from now on, of the same instance. LeaseLost where it is gone, which `beat` heals."""
        if about == self.about:
            return
        self.about = about
        if self._is_there and not await self._transact(self._put(self._key, about), self._put_known()):
            self._is_there = False
            raise LeaseLost(f"member {self.name}: etcd has let it go")

    async def says(self, status: Status) -> None:
        """Put the status where it is another one. LeaseLost where it is gone, which `beat` heals."""
        if status == self._status:
            return
        if not self._is_there or not await self._transact(self._put(self._status_key, status)):
            self._is_there = False
            raise LeaseLost(f"member {self.name}: etcd has let it go")
        self._status = status

    # -- appearing ---------------------------------------------------------------------------------------

    async def _appear(self) -> None:
        await self._lease.take()
        try:
            await self._put_itself(await self._etcd.get(self._key))
        except EtcdFailed:
            with suppress(EtcdFailed):  # what is of no use ends by itself too
                await self._lease.give_up()
            raise
        self._is_there = True

    async def _put_itself(self, there: KeyValue | None) -> None:
        """Put its key where nobody has the name, or it was itself that had it."""
        if there is not None and not self._is_ours(there):
            raise NameTaken(self._taken())
        operations = [self._put(self._key, self.about), self._put_known()]
        if self._status is not None:
            operations.append(self._put(self._status_key, self._status))
        self._since = 0 if there is None else there.mod_revision
        if not await self._transact(*operations):
            raise NameTaken(self._taken())
        self._appeared = self._since

    def _taken(self) -> str:
        return (
            f"the name {self.name!r} is held by another balancer, or by the process before this one until it"
            f" has not been heard for {self._lease.ttl} s; if this stays, set cluster.name"
        )

    async def _transact(self, *operations: Operation) -> bool:
        """Do this if its key is as it was last; whether it was."""
        looks = Operation(request_range=Range(key=self._key))
        answer = await self._etcd.transact(
            Transaction(compare=(is_as_of(self._key, self._since),), success=(*operations, looks))
        )
        if answer.succeeded and (found := answer.responses[-1].response_range) and found.kvs:
            self._since = found.kvs[0].mod_revision
        return answer.succeeded

    def _is_ours(self, there: KeyValue) -> bool:
        try:
            return msgspec.json.decode(there.value, type=About).instance == self.about.instance
        except UNREADABLE:
            return False

    def _put_known(self) -> Operation:
        """Without a lease: that etcd has not heard of it does not say that it sends no request."""
        return Operation(request_put=Put(key=self._known_key, value=msgspec.json.encode(self.about)))

    def _put(self, key: bytes, value: msgspec.Struct) -> Operation:
        return Operation(request_put=Put(key=key, value=msgspec.json.encode(value), lease=self._lease.id))


async def forget(etcd: Etcd, prefix: str, name: str) -> bool:
    """Nobody has to wait for a balancer of this name any more. False where it is a member, or not known.

    Whoever says so knows that it sends no request.
    """
    known, member = (f"{prefix}{kind}{name}".encode() for kind in (KNOWN, MEMBERS))
    there = await etcd.get(known)
    if there is None:
        return False
    transaction = Transaction(
        compare=(is_as_of(known, there.mod_revision), is_as_of(member, 0)),
        success=(Operation(request_delete_range=Delete(key=known)),),
    )
    return (await etcd.transact(transaction)).succeeded
