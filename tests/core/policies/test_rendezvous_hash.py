"""The policy `hash`: which keys keep their backend, which move, and what the bound does."""

from collections import Counter
from math import ceil, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.rendezvous_hash import HashPolicy
from lb.settings.pool_settings import Hash
from tests.core.scene import Request, backends

WEIGHTS = st.lists(st.integers(1, 30), min_size=2, max_size=7)
KEYS = [f"192.0.2.{number}" for number in range(300)]


def unbounded(key: str = "address") -> HashPolicy:
    return HashPolicy(Hash(key=key, load=0))


def homes(candidates: list[Backend]) -> dict[str, str]:
    """Which backend each key goes to, by a policy that has never seen these backends before."""
    policy = unbounded()
    return {key: policy.choose(candidates, Request(address=key)).id for key in KEYS}


@given(weights=WEIGHTS, data=st.data())
def test_one_that_goes_moves_its_own_keys_and_one_that_comes_takes_only_its_own(
    weights: list[int], data: st.DataObject
) -> None:
    members = backends(*weights)
    gone = data.draw(st.sampled_from(members))
    before, after = homes(members), homes([each for each in members if each is not gone])
    assert all((before[key] == gone.id) is (before[key] != after[key]) for key in KEYS)


@given(weights=WEIGHTS, data=st.data(), weight=st.integers(1, 30))
def test_another_weight_moves_keys_to_or_from_that_backend_only(
    weights: list[int], data: st.DataObject, weight: int
) -> None:
    at = data.draw(st.integers(0, len(weights) - 1))
    changed = [weight if each == at else old for each, old in enumerate(weights)]
    before, after = homes(backends(*weights)), homes(backends(*changed))
    home = backends(*weights)[at].id
    moved = [key for key in KEYS if before[key] != after[key]]
    assert all((after if weight > weights[at] else before)[key] == home for key in moved)


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_of_the_backends_does_not_matter(weights: list[int], chance: Random) -> None:
    one, other = backends(*weights), backends(*weights)
    chance.shuffle(other)
    assert homes(one) == homes(other)


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (1, 2, 3, 4), (10, 1), (1, 100, 1000)])
def test_keys_are_shared_by_weight(weights: tuple[int, ...]) -> None:
    candidates, policy, count = backends(*weights), unbounded(), 20_000
    won = Counter(policy.choose(candidates, Request(address=f"client {n}")).id for n in range(count))
    for backend in candidates:
        part = backend.spec.weight / sum(weights)
        assert abs(won[backend.id] - count * part) < 4 * sqrt(count * part * (1 - part)) + 1


def test_every_other_backend_inherits_alike() -> None:
    """The second in the race is as fair as the first: no neighbour is overrun when one goes."""
    candidates, policy, count = backends(*[1] * 5), unbounded(), 20_000
    second: Counter[str] = Counter()
    for number in range(count):
        request = Request(address=f"client {number}")
        first = policy.choose(candidates, request)
        if first.id == "a":
            second[policy.choose(candidates[1:], request).id] += 1
    assert all(abs(n - second.total() / 4) < 4 * sqrt(second.total() * 3 / 16) for n in second.values())


def test_the_same_for_every_process_and_version() -> None:
    assert "".join(homes(backends(1, 2, 3)).values())[:24] == "bcbcccbcabccaccabcbbcccc"


@pytest.mark.parametrize(
    ("key", "request_", "same"),
    [
        ("address", Request(address="a"), Request(address="a")),
        ("path", Request("/x?1"), Request("/x?2", address="b")),
        ("field:X-User", Request(x_user=b"7"), Request(address="b", x_user=b"7")),
        ("field:X-User", Request(address="a"), Request(address="a", x_user=b"")),
        ("cookie:Who", Request(address="a"), Request(address="a")),
    ],
)
def test_what_the_same_key_is(key: str, request_: Request, same: Request) -> None:
    for each in (request_, same):
        each.target = each.name.encode()
    candidates = backends(*[1] * 26)
    policy = unbounded(key)
    assert policy.choose(candidates, request_) is policy.choose(candidates, same)


@pytest.mark.parametrize(
    ("key", "what"), [("path", "target"), ("field:X-User", "field"), ("cookie:Who", "cookie")]
)
def test_another_key_may_go_elsewhere(key: str, what: str) -> None:
    candidates, policy, seen = backends(1, 1, 1), unbounded(key), set()
    for number in range(30):
        request = Request()
        if what == "target":
            request.target = b"/%d" % number
        elif what == "field":
            request.fields[b"x-user"] = b"%d" % number
        else:
            request.jar[b"Who"] = [b"%d" % number]
        seen.add(policy.choose(candidates, request).id)
    assert seen == {"a", "b", "c"}


# -- the bound -----------------------------------------------------------------------------------------


def occupy(candidates: list[Backend], counts: list[int]) -> None:
    for backend, count in zip(candidates, counts, strict=True):
        backend.running = {Request() for _ in range(count)}


@given(
    loads=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6),
    load=st.sampled_from((1.0000001, 1.25, 2.0, 100.0)),
    key=st.sampled_from(KEYS),
)
def test_the_first_in_the_race_that_has_room(loads: list[tuple[int, int]], load: float, key: str) -> None:
    candidates = backends(*(weight for weight, _ in loads))
    occupy(candidates, [count for _, count in loads])
    weights, in_flight = sum(w for w, _ in loads), sum(count for _, count in loads)
    remaining = list(candidates)
    while True:
        first = unbounded().choose(remaining, Request(address=key))
        if first.in_flight < ceil(load * (in_flight + 1) * first.spec.weight / weights):
            break
        remaining.remove(first)
    chosen = HashPolicy(Hash(load=load)).choose(candidates, Request(address=key))
    assert chosen is first


def test_one_key_alone_cannot_overrun_its_backend() -> None:
    candidates, policy = backends(1, 1, 1, 1), HashPolicy(Hash(load=1.25))
    for _ in range(400):
        backend = policy.choose(candidates, Request())
        backend.running.add(Request())
    assert max(backend.in_flight for backend in candidates) <= ceil(1.25 * 100)


def test_without_a_bound_it_can() -> None:
    candidates, policy = backends(1, 1, 1, 1), unbounded()
    for _ in range(400):
        policy.choose(candidates, Request()).running.add(Request())
    assert max(backend.in_flight for backend in candidates) == 400


def test_a_share_that_grows_moves_no_key() -> None:
    candidates = backends(1, 1, 1)
    before = homes(candidates)
    candidates[0].share = 10
    assert homes(candidates) == before
