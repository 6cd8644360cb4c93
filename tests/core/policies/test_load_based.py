"""The policies that look at how busy the candidates are."""

from collections import Counter
from random import Random as Chance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.load_based import DECAY, Ewma, Random, TwoChoices
from tests.core.scene import Clock, Request, backends

LOADS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6)
ANY = Request()


def busy(*loads: tuple[int, int]) -> list[Backend]:
    """Backends of these weights with so many in flight."""
    candidates = backends(*(weight for weight, _ in loads))
    for backend, (_, count) in zip(candidates, loads, strict=True):
        occupy(backend, count)
    return candidates


def occupy(backend: Backend, count: int) -> None:
    backend.running = {Request() for _ in range(count)}


# -- random --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chance", "chosen"),
    [(0.0, "a"), (0.249, "a"), (0.25, "b"), (0.749, "b"), (0.75, "c"), (0.999, "c"), (1.0, "c")],
)
def test_random_is_in_proportion_to_the_shares(chance: float, chosen: str) -> None:
    """1.0 is never drawn, but a product may be rounded up to as much."""
    assert Random(lambda: chance).choose(backends(1, 2, 1), ANY).id == chosen


# -- two_choices ---------------------------------------------------------------------------------------


@given(loads=LOADS, seed=st.integers(0, 999))
def test_two_choices_never_takes_the_busiest_of_all(loads: list[tuple[int, int]], seed: int) -> None:
    candidates = busy(*loads)
    chosen = TwoChoices(Chance(seed).random).choose(candidates, ANY)
    others = [other for other in candidates if other is not chosen]
    assert not others or any(
        chosen.in_flight * each.share <= each.in_flight * chosen.share for each in others
    )


def test_two_choices_takes_the_less_busy_of_the_two() -> None:
    policy = TwoChoices(lambda: 0.0)  # the first, and the first of the others
    assert policy.choose(busy((1, 2), (1, 1), (1, 0)), ANY).id == "b"
    assert policy.choose(busy((1, 1), (1, 1), (1, 0)), ANY).id == "a"
    assert policy.choose(busy((3, 2), (1, 1)), ANY).id == "a"


def test_the_two_are_drawn_by_their_shares() -> None:
    candidates, policy = backends(6, 3, 1), TwoChoices(Chance(1).random)
    chosen = Counter(policy.choose(candidates, ANY).id for _ in range(10_000))
    assert {name: round(count / 1000) for name, count in chosen.items()} == {"a": 6, "b": 3, "c": 1}


# -- ewma ----------------------------------------------------------------------------------------------


class Race:
    """Two backends whose answers take as long as the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.policy = Ewma(self.clock, Chance(1).random)
        self.a, self.b = self.pair = backends(1, 1)

    def heard(self, a: float, b: float) -> None:
        self.policy.choose([self.a], ANY)
        self.policy.choose([self.b], ANY)
        self.policy.ended(self.a, a)
        self.policy.ended(self.b, b)

    def next(self) -> str:
        return self.policy.choose(self.pair, ANY).id


def test_the_quicker_one_is_chosen() -> None:
    race = Race()
    race.heard(0.020, 0.010)
    assert race.next() == "b"


def test_more_in_flight_take_longer() -> None:
    race = Race()
    race.heard(0.030, 0.010)
    occupy(race.b, 1)
    assert race.next() == "b"
    occupy(race.b, 3)
    assert race.next() == "a"


def test_twice_the_share_is_half_the_wait() -> None:
    race = Race()
    race.heard(0.015, 0.010)
    race.a.share *= 2
    assert race.next() == "a"


def test_a_slow_answer_counts_at_once_and_a_quick_one_with_time() -> None:
    race = Race()
    race.heard(0.020, 0.010)
    race.policy.ended(race.b, 1.0)
    assert race.next() == "a"
    race.policy.ended(race.b, 0.010)
    assert race.next() == "a"
    race.clock.now += 5 * DECAY
    race.heard(0.020, 0.010)
    assert race.next() == "b"


@given(slow=st.floats(0.1, 10), quick=st.floats(0.001, 0.01), step=st.floats(0.01, 2))
def test_after_the_time_constant_a_peak_has_faded_to_a_third(slow: float, quick: float, step: float) -> None:
    race = Race()
    race.heard(slow, slow)
    latency = race.policy._latencies[race.a]
    for _ in range(round(DECAY / step)):
        race.clock.now += step
        race.policy.ended(race.a, quick)
    expected = quick + (slow - quick) * 2.718281828 ** (-round(DECAY / step) * step / DECAY)
    assert latency.expected(race.clock.now) == pytest.approx(expected, rel=0.01)


def test_each_that_is_new_is_tried_at_once_and_not_flooded() -> None:
    race = Race()
    assert race.next() == "a"
    occupy(race.a, 1)
    assert race.next() == "b"
    race.policy.ended(race.a, 0.050)
    for count in range(2, 50):
        assert race.next() == "a"  # b has not answered yet
        occupy(race.a, count)


def test_before_any_answer_the_fewest_in_flight_are_chosen() -> None:
    race, chosen = Race(), Counter[str]()
    for _ in range(20):
        name = race.next()
        chosen[name] += 1
        occupy(race.a if name == "a" else race.b, chosen[name])
    assert chosen == {"a": 10, "b": 10}


def test_one_that_was_slow_is_tried_again_but_not_flooded() -> None:
    race = Race()
    race.heard(0.010, 5.0)
    occupy(race.b, 1)  # something long runs on it, and tells us nothing
    assert race.next() == "a"
    for _ in range(70):
        race.clock.now += 1
        race.policy.ended(race.a, 0.010)
    assert [race.next() for _ in range(10)] == ["b"] + ["a"] * 9


def test_after_a_quiet_night_the_first_ones_do_not_all_go_to_one() -> None:
    race = Race()
    race.heard(0.010, 0.010)
    race.clock.now += 36_000
    chosen = Counter[str]()
    for _ in range(100):
        name = race.next()
        chosen[name] += 1
        occupy(race.a if name == "a" else race.b, chosen[name])
    assert chosen == {"a": 50, "b": 50}


def test_an_attempt_that_outlives_its_backend_teaches_nothing() -> None:
    race = Race()
    (gone,) = backends(1)
    race.policy.ended(gone, 0.020)
    assert gone not in race.policy._latencies
