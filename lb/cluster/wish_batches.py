"""Wishes that are put together: those of one transaction, or of several where they are too many. Pure.

A transaction is done whole or not at all. Several of them are not, so a balancer may apply the first and
never see the second. In between nobody must be without backends: what comes is put before what goes.
"""

from collections.abc import Iterator, Mapping, Sequence

from lb.cluster.shared_wishes import BackendWish, PoolWish, Stamp, Wish, encoded

MOST_BYTES = 512 * 1024
"""Of the values of one transaction. etcd takes 1.5 MiB, and values are a third longer in JSON."""


def batches(wishes: Mapping[str, Wish], stamp: Stamp, most: int) -> Iterator[dict[str, bytes]]:
    """The values to put with each transaction, by key; at most so many, and one at least."""
    batch, size = dict[str, bytes](), 0
    for key in sorted(wishes, key=lambda key: _turn(wishes[key])):
        value = encoded(wishes[key], stamp)
        if batch and (len(batch) == most or size + len(value) > MOST_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value)
    if batch:
        yield batch


def parts(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """These keys, at most so many at a time."""
    return (keys[at : at + most] for at in range(0, len(keys), most))


def _turn(wish: Wish) -> int:
    """Settings come first, and backends that leave come last."""
    if isinstance(wish, PoolWish):
        return 0
    return 2 if isinstance(wish, BackendWish) and wish.admin_state == "removed" else 1
