import pytest

from lb.core.body_pace import DOUBLED_AT, Pace


def test_the_first_piece_has_the_idle_limit() -> None:
    assert Pace(idle=30, rate=240).patience() == 30


def test_a_drip_that_is_never_silent_for_long_runs_out_of_patience() -> None:
    pace, waited = Pace(idle=30, rate=240), 0.0
    while pace.patience() >= 10:
        pace.came(1, after=10)
        waited += 10
    assert waited == 30
    assert pace.patience() < 0.02


def test_bytes_buy_time_at_the_rate_but_never_more_than_the_idle_limit() -> None:
    pace = Pace(idle=30, rate=240)
    pace.came(2400, after=20)
    assert pace.patience() == pytest.approx(20, abs=0.02)
    pace.came(1_000_000, after=1)
    assert pace.patience() == 30


def test_without_a_rate_only_silence_counts() -> None:
    pace = Pace(idle=30, rate=0)
    pace.came(1, after=29)
    pace.came(1, after=29)
    assert pace.patience() == 30


def longest_wait(size: int) -> float:
    """Seconds that may be waited for a body of this size in all, found by trying."""
    low, high = 0.0, 1e9
    while high - low > 1:
        middle = (low + high) / 2
        pace = Pace(idle=30, rate=240)
        pace.came(size, after=middle)
        low, high = (middle, high) if pace.patience() > 0 else (low, middle)
    return low


def test_f5_12_a_longer_body_has_to_be_faster() -> None:
    rates = [size / longest_wait(size) for size in (100_000, DOUBLED_AT, 10 * DOUBLED_AT, 1000 * DOUBLED_AT)]
    assert rates == sorted(rates)
    assert 200 < rates[0] < 260
    assert longest_wait(1_000_000_000) < 9 * 3600
