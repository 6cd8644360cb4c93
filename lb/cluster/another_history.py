"""What would be lost if another etcd were followed, that was wiped, restored, or is another cluster. Pure.

Wishes are deleted only once they have no effect. So one that has an effect here and is missing there was lost
with the data of that etcd, as was the newest word on one that is older there. Whether it is to hold on nobody
but a person can say. Where nothing would be lost there is nothing to ask.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple

from lb.cluster.shared_wishes import Wish, decode, same, taken_back
from lb.etcd.etcd_messages import KeyValue
from lb.settings.balancer_settings import PoolConfig


class Held(NamedTuple):
    """Why a wish is held that is applied here, and the revision of its key in the other etcd, or 0."""

    why: str
    revision: int


def losing(
    wishes: Mapping[str, Wish], there: Mapping[str, KeyValue], configured: Mapping[str, PoolConfig]
) -> Generator[None, None, dict[str, Held]]:
    """The wishes, which are applied here, that would be undone or become older ones; one with each step.

    `there` are the keys of the other etcd. One that was put there later than the wish here is the newer word,
    and one that cannot be read changes nothing.
    """
    held = dict[str, Held]()
    for key, wish in wishes.items():
        yield
        kv = there.get(key)
        if kv is None:
            if not same(wish, taken_back(key, wish, configured, {})):
                held[key] = Held("it is not there", 0)
            continue
        try:
            other = decode(key, kv.value)
        except ValueError:
            continue
        if not same(wish, other) and other.at <= wish.at:
            held[key] = Held("another one is there, which is no newer", kv.mod_revision)
    return held
