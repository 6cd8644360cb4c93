"""etcd behind several endpoints: what is asked of one that fails is asked of the next.

All calls go to the same endpoint while it answers. After all have failed there is a pause, ever longer and
never of the same length for two balancers.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
import trio

from lb.etcd.back_off import BackOff
from lb.etcd.endpoint import TRANSACTION, Endpoint
from lb.etcd.etcd_failed import LeaseLost, NoAnswer
from lb.etcd.etcd_messages import (
    MOST_OPERATIONS,
    Grant,
    Header,
    KeptAnswer,
    KeyValue,
    LeaseAnswer,
    LeaseId,
    Nothing,
    Range,
    RangeAnswer,
    Transaction,
    TransactionAnswer,
    end_of,
)
from lb.etcd.login import Login
from lb.http_client.server_url import Server

Answer = TypeVar("Answer", bound=msgspec.Struct)
Result = TypeVar("Result")
RANGE = "/v3/kv/range"
GRANT = "/v3/lease/grant"
KEEP = "/v3/lease/keepalive"
REVOKE = "/v3/lease/revoke"
PAGE = 500
"""Keys of a page: a hundred kilobytes or so, which are decoded within milliseconds."""


class Etcd:
    """Calls have `seconds` at each endpoint. `patience` is for how long all are tried again and again.

    It is counted from when the last of them fell silent: where that is long ago each is tried once.
    A call raises NoAnswer after that, and Refused where etcd has said no. `chance` gives a number from 0
    until 1.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        login: Login,
        chance: Callable[[], float],
        seconds: float = 1.0,
        patience: float = 5.0,
    ) -> None:
        self.endpoints = [Endpoint(server, login, seconds) for server in servers]
        self.patience = patience
        self._chance = chance
        self._turn = 0

    def close(self) -> None:
        """Close the connections that are kept."""
        for endpoint in self.endpoints:
            endpoint.close()

    @property
    def current(self) -> Endpoint:
        """The endpoint that is asked next."""
        return self.endpoints[self._turn]

    def leave(self, endpoint: Endpoint) -> None:
        """This one has failed: ask the next one, unless others have moved on already."""
        if endpoint is self.current:
            self._turn = (self._turn + 1) % len(self.endpoints)

    def _patient_until(self) -> float:
        """Until when all endpoints are tried again and again by a call that begins now."""
        silent = [each.silent_since for each in self.endpoints]
        since = [at for at in silent if at is not None]
        return self.patience + (trio.current_time() if len(since) < len(silent) else max(since))

    # -- keys --------------------------------------------------------------------------------------------

    async def get(self, key: bytes) -> KeyValue | None:
        """The key as it is now, or None where there is none."""
        answer = await self.call(RANGE, Range(key=key), RangeAnswer)
        return answer.kvs[0] if answer.kvs else None

    async def listing(self, prefix: bytes, revision: int = 0) -> tuple[Header, list[KeyValue]]:
        """All keys with the prefix as they were at one revision, the newest for 0, from one endpoint."""
        return await self.at_each(lambda endpoint: listing(endpoint, prefix, revision))

    async def transact(self, transaction: Transaction) -> TransactionAnswer:
        """Do it, and once only. NoAnswer that is not `is_undone`: it is not known whether it was done."""
        if (
            max(len(transaction.compare), len(transaction.success), len(transaction.failure))
            > MOST_OPERATIONS
        ):
            raise ValueError(f"a transaction has at most {MOST_OPERATIONS} operations")
        return await self.at_each(
            lambda endpoint: endpoint.call(TRANSACTION, transaction, TransactionAnswer), is_harmless=False
        )

    # -- leases ------------------------------------------------------------------------------------------

    async def grant(self, ttl: int) -> LeaseAnswer:
        """A lease of so many seconds, or of more where etcd wants that."""
        return await self.call(GRANT, Grant(ttl), LeaseAnswer)

    async def revoke(self, lease: int) -> None:
        """Delete all that hangs on the lease. One that is gone already is Refused."""
        await self.call(REVOKE, LeaseId(lease), Nothing)

    # -- calls -------------------------------------------------------------------------------------------

    async def call(self, path: str, request: msgspec.Struct, kind: type[Answer]) -> Answer:
        """Ask what may be asked twice."""
        return await self.at_each(lambda endpoint: endpoint.call(path, request, kind))

    async def at_each(
        self, ask: Callable[[Endpoint], Awaitable[Result]], *, is_harmless: bool = True
    ) -> Result:
        """The first result that one of the endpoints gives.

        What is not harmless is tried elsewhere only if it is known that it was not done.
        """
        until, back_off, failures = self._patient_until(), BackOff(self._chance), 0
        while True:
            endpoint = self.current
            try:
                return await ask(endpoint)
            except NoAnswer as exc:
                self.leave(endpoint)
                failures += 1
                is_over = trio.current_time() >= until and failures >= len(self.endpoints)
                if is_over or not (is_harmless or exc.is_undone):
                    raise
            if failures % len(self.endpoints) == 0:
                await trio.sleep(back_off.pause())


async def listing(endpoint: Endpoint, prefix: bytes, revision: int = 0) -> tuple[Header, list[KeyValue]]:
    """All keys with the prefix at one revision, in pages, in the order of their names.

    It is never what one endpoint has by itself (`serializable`), which may be older than what is known.
    """
    end, key, keys = end_of(prefix), prefix, list[KeyValue]()
    header: Header | None = None
    while True:
        request = Range(key=key or b"\0", range_end=end, limit=PAGE, revision=revision)
        answer = await endpoint.call(RANGE, request, RangeAnswer)
        keys += answer.kvs
        if header is None:
            header = answer.header
            revision = revision or header.revision
        if not answer.more or not answer.kvs:
            return header, keys
        key = answer.kvs[-1].key + b"\0"


async def state_of(endpoint: Endpoint, prefix: bytes) -> tuple[Header, int, int]:
    """How many keys with the prefix there are, and the revision at which the newest was put."""
    request = Range(
        key=prefix or b"\0",
        range_end=end_of(prefix),
        limit=1,
        keys_only=True,
        sort_order="DESCEND",
        sort_target="MOD",
    )
    answer = await endpoint.call(RANGE, request, RangeAnswer)
    return answer.header, answer.count, answer.kvs[0].mod_revision if answer.kvs else 0


async def keep(endpoint: Endpoint, lease: int) -> int:
    """Keep a lease alive. Returns for how many seconds from when this was sent; LeaseLost if it is gone."""
    ttl = (await endpoint.call(KEEP, LeaseId(lease), KeptAnswer)).result.TTL
    if not ttl:
        raise LeaseLost(f"{endpoint}: the lease is gone")
    return ttl


async def look(endpoint: Endpoint, prefix: bytes) -> None:
    """A sign of life: of this endpoint, and of most of its cluster, without which it cannot answer this."""
    await endpoint.call(RANGE, Range(key=prefix or b"\0", count_only=True), RangeAnswer)
