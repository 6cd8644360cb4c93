"""The requests of a while ago on other backends."""

from collections.abc import Iterator
from random import Random

import pytest

from lb.core.policies.catalogue import POLICIES
from lb.core.simulation.forecast import LOOKS, MOST, Arrival, Forecast, simulation
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings, Probe, Sticky
from tests.core.scene import spec


def played(
    arrivals: list[Arrival], *backends: BackendSpec, patience: float = 30.0, **settings: object
) -> Forecast:
    steps = simulation(arrivals, backends, PoolSettings(**settings), patience, Random(0).random)  # type: ignore[arg-type]
    found: list[Forecast] = []

    def keep() -> Iterator[None]:
        found.append((yield from steps))

    for _ in keep():
        pass
    return found[0]


def every(seconds: float, count: int, lasting: float = 0.1) -> list[Arrival]:
    return [Arrival(number * seconds, lasting, f"10.0.0.{number % 50}") for number in range(count)]


def test_shares_follow_the_weights() -> None:
    forecast = played(every(1.0, 90), spec("a", 2), spec("b", 1))
    assert forecast.requests == {"a": 60, "b": 30}
    assert forecast.peak == {"a": 1, "b": 1}
    assert (forecast.played, forecast.queued, forecast.refused) == (90, 0, 0)


def test_peaks_are_how_many_run_at_once() -> None:
    forecast = played(every(0.125, 100, lasting=1.0), spec("a"), spec("b"))
    assert forecast.peak == {"a": 4, "b": 4}


def test_a_request_that_finds_all_full_waits_in_turn() -> None:
    forecast = played(every(0.0, 3, lasting=2.0), spec("a", cap=1), queue=8)
    assert (forecast.requests["a"], forecast.queued, forecast.refused) == (3, 2, 0)
    assert forecast.longest_wait == 4.0


def test_a_request_that_waits_too_long_or_finds_the_queue_full_is_refused() -> None:
    forecast = played(every(0.0, 5, lasting=2.0), spec("a", cap=1), queue=3, patience=3.0)
    assert (forecast.requests["a"], forecast.queued, forecast.refused) == (2, 3, 3)
    assert forecast.longest_wait == 3.0


@pytest.mark.parametrize("backends", [(), (spec("a", 0),)])
def test_without_a_backend_all_are_refused(backends: tuple[BackendSpec, ...]) -> None:
    forecast = played(every(1.0, 7), *backends)
    assert (forecast.refused, forecast.requests.total()) == (7, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_chance_is_the_same_forecast(policy: str) -> None:
    arrivals = every(0.05, 400, lasting=0.3)
    one, other = (played(arrivals, spec("a"), spec("b"), spec("c"), policy=policy) for _ in range(2))
    assert one == other
    assert one.requests.total() == 400
    assert min(one.requests.values()) > 0


def test_the_order_in_which_they_are_given_does_not_matter_and_the_last_ones_are_played() -> None:
    arrivals = every(1.0, MOST + 50)
    assert played(arrivals[::-1], spec("a")) == played(arrivals, spec("a"))
    assert played(arrivals, spec("a")).played == MOST


def test_the_more_backends_there_are_the_fewer_requests_are_replayed() -> None:
    many = [spec(f"b{number}") for number in range(2000)]
    assert played(every(1.0, MOST), *many).played == LOOKS // 2000


def test_probes_and_cookies_are_left_out() -> None:
    forecast = played(every(1.0, 4), spec("a"), probe=Probe(), sticky=Sticky(), slow_start=60.0)
    assert forecast.requests["a"] == 4


def test_done_and_given_up_at_one_instant() -> None:
    """The place that comes free goes to a request that still waits."""
    arrivals = [Arrival(0.0, 3.0), Arrival(0.0, 1.0)]
    forecast = played(arrivals, spec("a", cap=1), patience=3.0, queue=1)
    assert (forecast.requests["a"], forecast.refused) == (2, 0)
