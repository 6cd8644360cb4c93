"""The policy `hash`: which keys keep their backend, which move, and what the bound does."""

from collections import Counter
from itertools import accumulate
from math import ceil, prod, sqrt
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.circles import points_of
from lb.core.policies.consistent_hash import SPARSE, HashPolicy, key_of
from lb.settings.pool_settings import Hash
from tests.core.policies.follow import STEPS, Twins
from tests.core.scene import Request, backends, spec

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
    """Over many names of the same weights; a light one beside heavy ones may have a ninth less."""
    won, count = Counter[int](), 20_000
    for number in range(200):
        candidates, policy = named(*(f"{at}-{number}" for at in range(len(weights)))), unbounded()
        for backend, weight in zip(candidates, weights, strict=True):
            backend.respec(spec(backend.id, weight))
        for key in range(count // 200):
            won[candidates.index(policy.choose(candidates, Request(address=f"client {key}")))] += 1
    for at, weight in enumerate(weights):
        part = weight / sum(weights)
        assert part * count * 8 / 9 < won[at] + 4 * sqrt(count * part)
        assert won[at] < part * count * 1.02 + 4 * sqrt(count * part)


def named(*names: str) -> list[Backend]:
    return [Backend(spec(name), "default", "test", 0.0) for name in names]


def shares(names: list[str]) -> list[float]:
    """The part of all keys that each of these backends has, by integration; 1 is as much as on average.

    For each distance: the chance that the key is so near on this circle, and nothing nearer on the others.
    """
    points, fine = [points_of(name.encode()) for name in names], 100 * len(names)
    found = [0.0] * len(names)
    stretches = []
    for circle in zip(*points, strict=True):
        order = sorted(circle)
        stretches.append([(point - order[order.index(point) - 1]) % 1.0 for point in circle])
    middles = [(at + 0.5) / fine for at in range(min(fine, 300))]
    nobody = [[sum([max(0.0, s - at) for s in each]) for at in middles] for each in stretches]
    for number, each in enumerate(stretches):
        rest = nobody[:number] + nobody[number + 1 :]
        sums = [*accumulate(map(prod, zip(*rest, strict=True)), initial=0.0)]
        for at, stretch in enumerate(each):
            found[at] += sums[min(round(stretch * fine), len(middles))] / 100
    return found


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_no_backend_has_much_more_than_its_share(count: int) -> None:
    """The table of the module, within a step of the integration."""
    table = {2: (1.04, 0.05), 3: (1.06, 0.07), 10: (1.10, 0.08), 100: (1.14, 0.09)}
    sets = [
        shares([f"backend-{number}-{at}" for at in range(count)]) for number in range(max(1, 100 // count))
    ]
    most, deviation = table[count]
    assert mean(max(each) for each in sets) == pytest.approx(most, abs=0.02)
    assert sqrt(mean((share - 1) ** 2 for each in sets for share in each)) == pytest.approx(
        deviation, abs=0.03
    )


def test_every_other_backend_inherits_alike() -> None:
    """The second in the race is as fair as the first: no neighbour is overrun when one goes."""
    candidates, policy, count = backends(*[1] * 5), unbounded(), 20_000
    second: Counter[str] = Counter()
    for number in range(count):
        request = Request(address=f"client {number}")
        first = policy.choose(candidates, request)
        if first.id == "a":
            second[policy.choose(candidates[1:], request).id] += 1
    assert all(second[name] == pytest.approx(second.total() / 4, rel=0.3) for name in "bcde")


def test_the_same_for_every_process_and_version() -> None:
    assert "".join(homes(backends(1, 2, 3)).values())[:24] == "ccbbcbcaacccccbaaccccaac"


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


def test_one_that_warms_up_passes_on_what_is_too_much_for_it() -> None:
    a, _ = candidates = backends(1, 1)
    a.share, policy = 10, HashPolicy(Hash(load=1.25))
    for number in range(220):
        policy.choose(candidates, Request(address=f"client {number}")).running.add(Request())
    assert a.in_flight <= ceil(1.25 * 220 / 11)


# -- among those that it follows -----------------------------------------------------------------------


@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=8), steps=STEPS, load=st.sampled_from((0, 1.25))
)
def test_one_that_follows_finds_the_first_in_the_race_and_never_one_without_room(
    weights: list[int], steps: list[tuple[int, int]], load: float
) -> None:
    fast, slow = HashPolicy(Hash(load=load)), HashPolicy(Hash(load=load))
    twins = Twins(weights, fast)
    for at, what in steps:
        one, other = (each[at % len(weights)] for each in (twins.fast, twins.slow))
        if twins.change(at, what):
            continue
        if what > 30 and one.running and other in twins.candidates:
            other.running.remove(one.running.pop())
            fast.counted(one)
            continue
        request = Request(address=f"client {what}")
        chosen, right = fast.pick(request), slow.choose(twins.candidates, request)
        room = (
            load
            * (1 + sum(each.in_flight for each in twins.candidates))
            / sum(each.share for each in twins.candidates)
        )
        full = [each for each in twins.candidates if load and each.in_flight >= room * each.share]
        same = twins.slow[twins.fast.index(chosen)]
        assert same in twins.candidates
        assert same is right if len(full) < 2 else same not in full
        chosen.running.add(request)
        same.running.add(request)
        fast.counted(chosen)


@given(data=st.data())
def test_another_weight_counts_when_it_comes_again(data: st.DataObject) -> None:
    members, policy = backends(1, 2, 3, 4), unbounded()
    policy.follow(members)
    for _ in range(data.draw(st.integers(1, 5))):
        changed = data.draw(st.sampled_from(members))
        policy.leave(changed)
        changed.respec(spec(changed.id, data.draw(st.integers(1, 9))))
        policy.enter(changed)
    assert {key: policy.pick(Request(address=key)).id for key in KEYS} == homes(members)


def test_points_of_those_that_left_are_dropped_when_they_are_many() -> None:
    members, policy = named(*(f"b{at}" for at in range(200))), unbounded()
    members[1].respec(spec("b1", 9))
    policy.follow(members)
    for each in members[1:]:
        policy.leave(each)
        assert len(policy._weights) <= SPARSE * (len(policy._shares) + 1)
    policy.follow(members[:3])
    assert {*policy._weights} <= {*members}
    assert policy.pick(Request()) in members[:3]


@pytest.mark.parametrize("count", [1, 60])
def test_those_that_were_removed_are_forgotten_at_once(count: int) -> None:
    members, policy = named(*(f"b{at}" for at in range(100))), unbounded()
    policy.follow(members)
    for each in members[:count]:
        each.removed = True
    policy.follow(members[count:])
    assert [*policy._weights] == members[count:]
    policy.leave(members[-1])
    policy.forget(members[-1])
    assert [*policy._weights] == members[count:-1]
    assert policy.pick(Request()) in members[count:-1]


def test_what_has_no_room_by_a_rounding_error_alone_is_chosen_all_the_same() -> None:
    (only,) = members = backends(1)
    policy = HashPolicy(Hash(load=1.25))
    policy.follow(members)
    only.running = {Request() for _ in range(5)}  # of which nobody has told
    assert policy.pick(Request()) is only


def test_a_client_without_a_certificate_goes_by_its_address() -> None:
    asks, key = Request(), key_of("certificate")
    assert key(asks) == asks.address.encode()
    asks.subject = "subject:CN=a"
    assert key(asks) == b"subject:CN=a"
