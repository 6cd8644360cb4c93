"""The policies by name: which of the available backends takes the next request.

    round_robin     exact shares, in turn                              lb.core.policies.round_robin
    least_requests  the fewest in flight                               lb.core.policies.least_requests
    two_choices     the less busy of two by chance                     lb.core.policies.load_based
    ewma            the shortest expected wait                         lb.core.policies.load_based
    random          by chance                                          lb.core.policies.load_based
    hash            the same key to the same backend                   lb.core.policies.consistent_hash
    module:Class    a policy of the operator's own                     lb.core.policies.custom

A sticky pool looks at the client's cookie first (`lb.core.policies.sticky`).
"""

from collections.abc import Callable

from lb.core.policies.base import Asking, Learns, Policy
from lb.core.policies.consistent_hash import HashPolicy
from lb.core.policies.custom import Guarded, make_own
from lb.core.policies.least_requests import LeastRequests
from lb.core.policies.load_based import Ewma, Random, TwoChoices
from lb.core.policies.round_robin import RoundRobin
from lb.core.policies.sticky import Sticky
from lb.settings.pool_settings import PoolSettings

__all__ = ["POLICIES", "Asking", "Learns", "Policy", "make", "own_policy"]

Number = Callable[[], float]

POLICIES: dict[str, Callable[[PoolSettings, Number, Number], Policy]] = {
    "round_robin": lambda _settings, _now, _chance: RoundRobin(),
    "least_requests": lambda _settings, _now, _chance: LeastRequests(),
    "two_choices": lambda _settings, _now, chance: TwoChoices(chance),
    "ewma": lambda _settings, now, chance: Ewma(now, chance),
    "hash": lambda settings, _now, _chance: HashPolicy(settings.hash),
    "random": lambda _settings, _now, chance: Random(chance),
}
"""How to make each policy from the settings, the clock, and chance."""


def make(
    settings: PoolSettings,
    *,
    now: Number,
    chance: Number,
    key: bytes,
    tell: Callable[[Exception], None],
    wall: Number | None = None,
) -> Policy:
    """The policy of a pool; ValueError, in a sentence, where there is no such policy.

    `chance` gives a number from 0 up to 1, `key` seals cookies, which tell the time of
    `wall` (seconds since 1970; None: `now`), and `tell` is called with every exception of
    a policy of the operator's own.
    """
    if ":" in settings.policy:
        policy: Policy = make_own(settings.policy, tell)
    else:
        policy = POLICIES[settings.policy](settings, now, chance)
    return policy if settings.sticky is None else Sticky(settings.sticky, key, policy, wall or now)


def own_policy(policy: Policy) -> Guarded | None:
    """The policy of the operator's own, which may fail, if this is one."""
    inner = policy.inner if isinstance(policy, Sticky) else policy
    return inner if isinstance(inner, Guarded) else None
