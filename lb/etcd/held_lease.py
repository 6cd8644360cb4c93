"""A lease that is kept alive: what hangs on it shows others that we are there.

etcd may revoke a lease that is kept alive (its leader was stopped, and wakes), so a lease that is lost says
nothing about us: another one is granted. Whether others can still see us is judged by our own clock, and on
the safe side: it counts from before the message was sent.
"""

from collections.abc import Callable

from lb.etcd.endpoint import Endpoint
from lb.etcd.etcd_client import Etcd, keep
from lb.etcd.etcd_failed import LeaseLost, Refused


class HeldLease:
    """A lease of `ttl` seconds. `id` is 0 while there is none; `now` is a clock that only goes forward."""

    def __init__(self, etcd: Etcd, ttl: int, now: Callable[[], float]) -> None:
        self.ttl = ttl
        self.id = 0
        self.lost = 0
        """How many were lost."""
        self._etcd = etcd
        self._now = now
        self._good_until = 0.0

    @property
    def is_good(self) -> bool:
        """Whether etcd cannot have let it go for want of a word from us."""
        return self.id != 0 and self._now() < self._good_until

    async def take(self) -> int:
        """Have a lease granted, and return its id. One that was held before is left to end by itself."""
        sent = self._now()
        answer = await self._etcd.grant(self.ttl)
        self.id, self._good_until = answer.ID, sent + answer.TTL
        return self.id

    async def beat(self, endpoint: Endpoint) -> None:
        """Keep it alive, at this endpoint. LeaseLost where etcd has let it go: then there is none."""
        sent = self._now()
        try:
            ttl = await keep(endpoint, self.id)
        except LeaseLost:
            self.id, self.lost = 0, self.lost + 1
            raise
        self._good_until = sent + ttl

    async def give_up(self) -> None:
        """What hangs on it is gone at once."""
        lease, self.id = self.id, 0
        if lease:
            try:
                await self._etcd.revoke(lease)
            except Refused:
                return  # it was gone already
