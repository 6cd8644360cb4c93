"""Five minutes of one backend."""

from lb.core.measures.rates import HISTORY, QUIET, Rates
from lb.core.measures.track import Track


def test_the_newest_steps_are_kept() -> None:
    track = Track()
    for step in range(HISTORY + 5):
        track.take(Rates(10, 2.0, share_5xx=0.25, share_failed=0.5, p99_seconds=0.125), step)
    assert [*track.in_flight] == [*range(5, HISTORY + 5)]
    assert {*track.requests} == {2.0}
    assert {*track.failing} == {0.75}
    assert track.latencies == [0.125] * HISTORY


def test_of_a_quiet_step_the_latency_is_not_known() -> None:
    track = Track()
    track.take(QUIET, 0)
    assert (track.latencies, [*track.requests]) == ([None], [0.0])
