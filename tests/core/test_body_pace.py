from lb.core.body_pace import Pace


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
    assert pace.patience() == 20
    pace.came(1_000_000, after=1)
    assert pace.patience() == 30


def test_without_a_rate_only_silence_counts() -> None:
    pace = Pace(idle=30, rate=0)
    pace.came(1, after=29)
    pace.came(1, after=29)
    assert pace.patience() == 30
