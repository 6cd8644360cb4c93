"""All policies by their names, and what holds for every one of them."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.policies.base import Policy
from lb.core.policies.catalogue import POLICIES, make, own_policy
from lb.core.policies.custom import Guarded
from lb.core.policies.round_robin import RoundRobin
from lb.core.policies.sticky import Sticky
from lb.settings.pool_settings import POLICIES as NAMES
from lb.settings.pool_settings import PoolSettings
from lb.settings.pool_settings import Sticky as StickySettings
from tests.core.scene import Clock, Request, backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=6)


def policy(chance: float = 0.5, **settings: Any) -> Policy:
    return make(
        PoolSettings(**settings), now=Clock(), chance=lambda: chance, key=b"k" * 32, tell=lambda _error: None
    )


def test_there_is_one_for_every_name_that_may_be_set() -> None:
    assert set(POLICIES) == set(NAMES)


def test_round_robin_is_the_default() -> None:
    assert isinstance(policy(), RoundRobin)


@pytest.mark.parametrize("name", NAMES)
@given(weights=WEIGHTS, chance=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 1 << 32))
def test_every_policy_chooses_one_of_the_candidates(
    name: str, weights: list[int], chance: float, seed: int
) -> None:
    members, chosen_by, random = backends(*weights), policy(chance, policy=name), Random(seed)
    for _ in range(20):
        candidates = random.sample(members, random.randint(1, len(members)))
        chosen = chosen_by.choose(candidates, Request())
        assert chosen in candidates
        chosen.running.add(Request())


def test_a_pool_that_is_sticky_asks_the_cookie_first() -> None:
    sticky = policy(sticky=StickySettings(), policy="random")
    assert isinstance(sticky, Sticky)
    a, b = backends(1, 1)
    client = Request()
    client.jar[b"lb"] = [sticky.cookie_for(a).partition(b";")[0].removeprefix(b"lb=")]
    assert sticky.choose([a, b], Request()) is b
    assert sticky.choose([a, b], client) is a


class Last:
    def choose(self, candidates: Any, request: Any) -> Any:
        return candidates[-1]


def test_one_of_your_own_is_guarded() -> None:
    own = policy(policy=f"{__name__}:Last")
    assert isinstance(own, Guarded)
    assert own.choose(backends(1, 1, 1), Request()).id == "c"


def test_one_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"module lb\.core has no class Nothing"):
        policy(policy="lb.core:Nothing")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_true_also_while_it_has_nobody(name: str) -> None:
    assert POLICIES[name](PoolSettings(), lambda: 0.0, lambda: 0.5)


@pytest.mark.parametrize("sticky", [None, StickySettings()])
def test_a_policy_of_the_operators_own_is_found_behind_cookies_too(sticky: StickySettings | None) -> None:
    own = policy(policy="tests.admin.kit:Clumsy", sticky=sticky)
    assert isinstance(own_policy(own), Guarded)
    assert own_policy(policy(policy="random", sticky=sticky)) is None
