"""A drain by itself: its end is told once to all that wait for it."""

from lb.core.drain import Drain, Outcome, Then


def test_it_tells_each_waiter_once() -> None:
    told: list[str] = []
    drain = Drain(10.0, 2, 40.0, Then.KEEP)
    drain.when_ended(lambda: told.append("one"))
    drain.when_ended(lambda: told.append("two"))
    assert told == []
    drain.end(Outcome.COMPLETED, 12.5)
    assert told == ["one", "two"]
    assert (drain.outcome, drain.ended) == (Outcome.COMPLETED, 12.5)


def test_a_wait_for_a_drain_that_has_ended_is_over_at_once() -> None:
    told: list[Outcome | None] = []
    drain = Drain(10.0, 0, 40.0, Then.KEEP)
    drain.end(Outcome.CANCELLED, 10.0)
    drain.when_ended(lambda: told.append(drain.outcome))
    assert told == [Outcome.CANCELLED]


def test_a_function_that_is_told_may_wait_again() -> None:
    told: list[str] = []
    drain = Drain(10.0, 1, 40.0, Then.REMOVE)
    drain.when_ended(lambda: drain.when_ended(lambda: told.append("inner")))
    drain.end(Outcome.TIMEOUT, 40.0)
    assert told == ["inner"]


def test_its_duration_grows_until_it_has_ended() -> None:
    drain = Drain(10.0, 1, 40.0, Then.KEEP)
    assert (drain.duration(10.0), drain.duration(15.0)) == (0.0, 5.0)
    drain.end(Outcome.COMPLETED, 17.0)
    assert drain.duration(99.0) == 7.0
