"""Where the time of an answered exchange went, in the words that an operator reads."""

from typing import Any

import pytest

from admin.views.time_words import LOOK, SPENT
from lb.core.exchange_record import ExchangeRecord
from lb.core.time_spent import TimeSpent
from tests.admin.views.test_explanation import House


def answered(house: House, total: float, usual: float | None = 0.02, **facts: Any) -> ExchangeRecord:
    """Answered by web1 after so many seconds, all of which passed until it began to answer."""
    made = house.exchange(("web1", None), status=200)
    made.ended, made.usual = 1000.0 + total, usual
    last = made.attempts[0]
    last.connected, last.sent, last.first_byte, last.ended = 1000.0, 1000.0, made.ended, made.ended
    for name, fact in facts.items():
        setattr(last if hasattr(last, name) else made, name, fact)
    return made


@pytest.fixture
def house() -> House:
    return House("web1", "web2")


def test_a_slow_backend_is_named_and_compared(house: House) -> None:
    assert house.explain(answered(house, 1.9)) == (
        "web1 answered 200 in 1.9 s. Of that, 1.9 s passed until web1 began to answer. That is 95 times the"
        " median of pool default, 20 ms. Look into the log of web1 of that time: what it was busy with."
    )


def test_the_longest_phase_comes_first_and_says_where_to_look(house: House) -> None:
    exchange = answered(house, 4.0, started=1003.0, connected=1003.1, sent=1003.1, queued=3.0)
    assert house.explain(exchange) == (
        "web1 answered 200 in 4.0 s. Of that, 3.0 s passed in the queue of pool default, 900 ms until web1"
        " began to answer. That is 200 times the median of pool default, 20 ms."
        " Look which backend was slow then; or raise max_in_flight, or add backends."
    )


def test_a_slow_client_is_no_slow_backend(house: House) -> None:
    exchange = answered(house, 30.0, first_byte=1000.02, ended=1000.02)
    exchange.ended = 1030.0
    assert house.explain(exchange) == (
        "web1 answered 200 in 30.0 s. Of that, 30.0 s passed until the client had taken the answer."
        " That is 1500 times the median of pool default, 20 ms, and its client's doing."
        " Look at the client and its network; no backend was slow."
    )


def test_what_is_as_usual_needs_no_look(house: House) -> None:
    assert house.explain(answered(house, 0.03)) == (
        "web1 answered 200 in 30 ms. Of that, 30 ms passed until web1 began to answer."
        " That is as usual: the median of pool default is 20 ms."
    )


def test_without_a_median_nothing_is_compared(house: House) -> None:
    assert house.explain(answered(house, 1.9, usual=None)) == (
        "web1 answered 200 in 1.9 s. Of that, 1.9 s passed until web1 began to answer."
    )


def test_a_quick_one_needs_no_words(house: House) -> None:
    assert house.explain(answered(house, 0.009)) == "web1 answered 200 in 9 ms."


@pytest.mark.parametrize("facts", [{"is_stream": True}, {"status": 101}])
def test_what_is_to_last_is_not_compared(house: House, facts: dict[str, Any]) -> None:
    text = house.explain(answered(house, 600.0, first_byte=1000.02, **facts))
    assert text.endswith(
        "Of that, 600.0 s passed until web1 had sent the rest of its answer. It was to last."
    )


def test_each_phase_has_its_words() -> None:
    assert [*SPENT] == [*LOOK] == [*TimeSpent._fields]
