"""Which wishes may be deleted: those that have had no effect for long. Pure.

A wish is not deleted when its backend is as configured again, because it is a change for those who have heard
of the former one. Later it is only a key that is listed each time. Whether it has an effect depends on the
configuration, which each balancer has of its own: only where all have the same can one of them tell.
"""

from collections.abc import Collection, Generator, Mapping
from datetime import datetime, timedelta

from lb.cluster.shared_wishes import Wish, same, taken_back
from lb.settings.balancer_settings import PoolConfig

OLD = timedelta(days=30)


def sweeping(
    wishes: Mapping[str, Wish],
    configured: Mapping[str, PoolConfig],
    digests: Collection[str],
    now: datetime,
) -> Generator[None, None, list[str]]:
    """The keys that may be deleted; one is looked at with each step.

    `digests` are those of the configurations of all members, "" for one that is not known.
    """
    keys = list[str]()
    if "" in digests or len({*digests}) != 1:
        return keys
    for key, wish in wishes.items():
        yield
        if _is_old(wish, now) and same(wish, taken_back(key, wish, configured, {})):
            keys.append(key)
    return keys


def _is_old(wish: Wish, now: datetime) -> bool:
    """One that does not say when it was made may be of today."""
    try:
        return now - datetime.fromisoformat(wish.at) > OLD
    except (ValueError, TypeError):  # no time, or one without its zone
        return False
