"""Where the time of an exchange goes: each phase, and what of it nobody may call slow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.time_spent import TimeSpent, slowness, time_spent
from tests.core.scene import spec

WEB1 = Backend(spec("web1"), "default", "test", 0.0)


def exchange(**facts: Any) -> ExchangeRecord:
    """One that began at 100 and ended at 110."""
    made = ExchangeRecord(b"1", "front", "192.0.2.1:5000", 100.0)
    made.ended, made.status = 110.0, 200
    for name, fact in facts.items():
        setattr(made, name, fact)
    return made


def attempt(started: float, **facts: float) -> AttemptRecord:
    made = AttemptRecord(WEB1, NONE_PASSED_OVER, started)
    for name, fact in facts.items():
        setattr(made, name, fact)
    return made


WHOLE = {"connected": 104.0, "sent": 105.0, "first_byte": 107.0, "ended": 109.0}


def test_each_phase_follows_the_one_before() -> None:
    failed, last = attempt(101.75, ended=102.0), attempt(103.0, **WHOLE)
    one = exchange(attempts=[failed, last], gathered=0.5, queued=1.0, request_bytes=7, client_took=0.25)
    assert time_spent(one) == TimeSpent(
        gathering=0.75,
        queueing=1.0,
        trying=1.25,
        connecting=1.0,
        sending=1.0,
        waiting=2.0,
        answering=1.75,
        reading=1.25,
    )
    assert slowness(one) == 1.0 + 1.25 + 1.0 + 2.0 + 1.75


def test_a_slow_head_is_its_clients_doing() -> None:
    spent = time_spent(exchange(attempts=[attempt(103.0, **WHOLE)]))
    assert (spent.gathering, spent.trying) == (3.0, 0.0)


def test_a_queue_between_two_attempts_is_no_attempt() -> None:
    spent = time_spent(exchange(attempts=[attempt(100.5), attempt(103.0, **WHOLE)], queued=2.0))
    assert (spent.gathering, spent.queueing, spent.trying) == (0.0, 2.0, 1.0)


def test_a_request_without_a_body_is_not_sent_by_its_client() -> None:
    spent = time_spent(exchange(attempts=[attempt(103.0, **WHOLE)]))
    assert (spent.sending, spent.waiting) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("facts", "phase", "seconds"),
    [
        ({}, "connecting", 9.0),
        ({"ended": 103.0}, "connecting", 2.0),
        ({"connected": 102.0}, "waiting", 8.0),
        ({"connected": 102.0, "ended": 109.0}, "waiting", 7.0),
        ({"connected": 102.0, "first_byte": 103.0}, "answering", 7.0),
    ],
)
def test_the_last_phase_that_was_reached_lasts_until_the_end(
    facts: dict[str, float], phase: str, seconds: float
) -> None:
    assert getattr(time_spent(exchange(attempts=[attempt(101.0, **facts)])), phase) == seconds


def test_without_an_attempt_there_was_the_queue() -> None:
    spent = time_spent(exchange(queued=9.0, gathered=1.0))
    assert (spent.gathering, spent.queueing, sum(spent)) == (1.0, 9.0, 10.0)
    assert slowness(exchange(queued=9.0, gathered=1.0)) == 9.0


@pytest.mark.parametrize("facts", [{"is_stream": True}, {"status": 101}])
def test_what_is_to_last_is_not_slow_for_lasting(facts: dict[str, Any]) -> None:
    one = exchange(attempts=[attempt(100.0, connected=101.0, first_byte=103.0, ended=109.0)], **facts)
    assert slowness(one) == 3.0
    assert time_spent(one).answering == 6.0


seconds = st.floats(0, 10)


@given(st.lists(seconds, min_size=8, max_size=8))
def test_no_time_is_counted_twice(parts: list[float]) -> None:
    gathered, queued, tried, connect, send, wait, answer, read = parts
    first = attempt(100.0 + gathered + queued)
    began = first.started + tried
    last = attempt(began, connected=began + connect, sent=began + connect + send)
    last.first_byte = began + connect + send + wait
    last.ended = last.first_byte + answer
    one = exchange(attempts=[first, last], gathered=gathered, queued=queued, request_bytes=1)
    one.ended = last.ended + read
    assert time_spent(one) == pytest.approx(parts, abs=1e-9)
    assert sum(time_spent(one)) == pytest.approx(one.ended - 100.0)
