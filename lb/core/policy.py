"""The policies by name: which of the available backends takes the next request.

    round_robin     exact shares, in turn                              lb.core.rotation
    least_requests  the fewest in flight                               lb.core.loads
    two_choices     the less busy of two by chance                     lb.core.loads
    ewma            the shortest expected wait                         lb.core.loads
    random          by chance                                          lb.core.loads
    hash            the same key to the same backend                   lb.core.hashing
    module:Class    one of your own                                    lb.core.custom

A pool that is sticky asks the client's cookie first (`lb.core.sticky`).
"""

from collections.abc import Callable

from lb.core.asking import Asking, Learns, Policy
from lb.core.custom import make_own
from lb.core.hashing import HashPolicy
from lb.core.loads import Ewma, LeastRequests, Random, TwoChoices
from lb.core.rotation import RoundRobin
from lb.core.settings import PoolSettings
from lb.core.sticky import Sticky

__all__ = ["POLICIES", "Asking", "Learns", "Policy", "make"]

Number = Callable[[], float]

POLICIES: dict[str, Callable[[PoolSettings, Number, Number], Policy]] = {
    "round_robin": lambda _settings, _now, _chance: RoundRobin(),
    "least_requests": lambda _settings, _now, _chance: LeastRequests(),
    "two_choices": lambda _settings, _now, chance: TwoChoices(chance),
    "ewma": lambda _settings, now, _chance: Ewma(now),
    "hash": lambda settings, _now, _chance: HashPolicy(settings.hash),
    "random": lambda _settings, _now, chance: Random(chance),
}
"""Each is made from the settings, the clock, and chance."""


def make(
    settings: PoolSettings,
    *,
    now: Number,
    chance: Number,
    key: bytes,
    tell: Callable[[Exception], None],
) -> Policy:
    """The policy of a pool; ValueError, in a sentence, where there is no such policy.

    `chance` gives a number from 0 up to 1, `key` signs cookies, and `tell` hears of every failure of a policy
    of one's own.
    """
    if ":" in settings.policy:
        policy: Policy = make_own(settings.policy, tell)
    else:
        policy = POLICIES[settings.policy](settings, now, chance)
    return policy if settings.sticky is None else Sticky(settings.sticky, key, policy)
