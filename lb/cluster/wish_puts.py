"""One call that puts or deletes wishes, by one transaction or several, and how far it came when one fails.

Each transaction is done only if the keys are still as they were when the call began, and at most once: where
its answer is lost the key is looked at.
"""

from collections.abc import Mapping, Sequence

from lb.cluster.shared_wishes import decode
from lb.core.cluster_view import Overtaken
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import EtcdFailed, NoAnswer
from lb.etcd.etcd_messages import Compare, Delete, Operation, Put, Transaction, TransactionAnswer
from lb.etcd.prefix_mirror import Mirror


class PutInPart(NoAnswer):
    """etcd has failed when some wishes of a call were put: `count`, the last of them at `revision`."""

    def __init__(self, why: EtcdFailed, count: int, revision: int) -> None:
        super().__init__(f"{why}{_before(count)}")
        self.count = count
        self.revision = revision


class WishPuts:
    """One call. `prefix` is that of the cluster; the mirror knows which etcd it is to be.

    `count` are the wishes that were put, the last of them at `revision`.
    """

    def __init__(self, etcd: Etcd, prefix: str, mirror: Mirror) -> None:
        self.count = 0
        self.revision = 0
        self._etcd = etcd
        self._prefix = prefix
        self._mirror = mirror

    def full(self, key: str) -> bytes:
        """The key as it is in etcd."""
        return f"{self._prefix}{key}".encode()

    async def put(self, values: Mapping[str, bytes], compares: Sequence[Compare]) -> None:
        """Put these values by one transaction. Overtaken, and nothing of it was put, if the compares fail.

        NoAnswer says whether it is known that nothing of it was put.
        """
        puts = [Operation(request_put=Put(key=self.full(key), value=value)) for key, value in values.items()]
        try:
            self.revision = await self._revision_of(puts, compares, values)
        except EtcdFailed as exc:
            if not self.count:
                raise
            raise PutInPart(exc, self.count, self.revision) from exc
        self.count += len(values)

    async def delete(self, keys: Sequence[str], compares: Sequence[Compare]) -> bool:
        """Delete these keys by one transaction; False if the compares fail."""
        deletes = [Operation(request_delete_range=Delete(key=self.full(key))) for key in keys]
        return (await self._transact(deletes, compares)).succeeded

    async def _revision_of(
        self, puts: Sequence[Operation], compares: Sequence[Compare], values: Mapping[str, bytes]
    ) -> int:
        try:
            answer = await self._transact(puts, compares)
        except NoAnswer as exc:
            if exc.is_undone or not (done := await self._was_put(*next(iter(values.items())))):
                raise
            return done
        if not answer.succeeded:
            raise Overtaken(
                f"another operator has changed this meanwhile{_before(self.count)}", self.count, self.revision
            )
        return answer.header.revision

    async def _transact(
        self, operations: Sequence[Operation], compares: Sequence[Compare]
    ) -> TransactionAnswer:
        known = self._mirror.revision  # the watch may have told of more when the answer is read
        answer = await self._etcd.transact(Transaction(compare=tuple(compares), success=tuple(operations)))
        self._mirror.recognise_since(answer.header, known)
        return answer

    async def _was_put(self, key: str, value: bytes) -> int:
        """The revision at which this change was made after all; 0 where that is not known."""
        try:
            kv = await self._etcd.get(self.full(key))
            if kv is None or decode(key, kv.value).op != decode(key, value).op:
                return 0
        except (EtcdFailed, ValueError):
            return 0
        return kv.mod_revision


def _before(count: int) -> str:
    return f"; {count} wishes were put before that" if count else ""
