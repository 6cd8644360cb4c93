"""Which exchanges the recorder keeps, for how long, and that it stays small."""

import sys
from itertools import product
from math import inf

import pytest
import trio

import lb
from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.errors import Reason
from lb.observe.access_log import record, safe
from lb.observe.log_lines import LONGEST_KEPT
from lb.observe.recorder import KINDS, Recorder, has_failed, has_failed_attempt
from tests.core.scene import spec


def exchange(
    number: int, status: int = 200, reason: Reason | None = None, target: bytes = b"/"
) -> ExchangeRecord:
    made = ExchangeRecord(b"%d" % number, "front", "192.0.2.1:5000", 1.0)
    made.method, made.target, made.status, made.reason, made.ended = b"GET", target, status, reason, 1.5
    return made


def ids(recorder: Recorder, only_failed: bool = False) -> list[int]:
    return [int(each.id) for each in recorder.newest() if has_failed(each) or not only_failed]


def test_it_says_since_when_it_has_all() -> None:
    recorder = Recorder(records=2)
    for number in range(2):
        assert recorder.whole_since == -inf
        recorder.finished(exchange(number))
    assert recorder.whole_since == 1.0


def test_the_newest_records_come_first_and_the_oldest_are_dropped() -> None:
    recorder = Recorder(records=3)
    for number in range(5):
        recorder.finished(exchange(number))
    assert ids(recorder) == [4, 3, 2]
    assert recorder.find(b"2") is not None
    assert recorder.find(b"1") is None


def test_successes_do_not_push_out_failures() -> None:
    recorder = Recorder(records=3, failed=2)
    recorder.finished(exchange(0, 502, Reason.CONNECTION_REFUSED))
    for number in range(1, 5):
        recorder.finished(exchange(number))
    assert (ids(recorder), ids(recorder, only_failed=True)) == ([4, 3, 2, 0], [0])
    assert recorder.find(b"0") is not None


def test_failures_that_are_kept_for_several_reasons_come_once() -> None:
    recorder = Recorder(records=2, failed=3)
    for number in range(3):
        recorder.finished(exchange(number, 502, Reason.CONNECTION_REFUSED))
    recorder.finished(exchange(3, 400, Reason.HTTP_REQUEST_ERROR))
    recorder.finished(exchange(4))
    assert ids(recorder) == [4, 3, 2, 1]


def test_many_failures_of_one_kind_do_not_hide_another_kind() -> None:
    recorder = Recorder(records=3, failed=2)
    recorder.finished(exchange(0, 502, Reason.CONNECTION_REFUSED))
    for number in range(1, 100):
        recorder.finished(exchange(number, 503, Reason.DESTINATION_UNAVAILABLE))
    storm, cause = recorder.kinds()
    assert (storm.count, storm.newest.id, storm.first_ended) == (99, b"99", 1.5)
    assert (cause.count, cause.newest.id) == (1, b"0")
    assert recorder.find(b"0") is cause.newest
    assert recorder.find(b"50") is None


def test_kinds_are_bounded_and_the_one_with_the_oldest_failure_is_dropped() -> None:
    recorder = Recorder()
    for status in range(500, 500 + KINDS):
        recorder.finished(exchange(status, status))
    recorder.finished(exchange(500, 500))
    recorder.finished(exchange(1, 200, Reason.HTTP_RESPONSE_INCOMPLETE))
    kinds = [*recorder.kinds()]
    assert len(kinds) == KINDS
    assert [int(kind.newest.id) for kind in kinds[:3]] == [1, 500, 500 + KINDS - 1]
    assert 501 not in [kind.newest.status for kind in kinds]


@pytest.mark.parametrize(
    ("status", "reason", "failed"),
    [
        (200, None, False),
        (404, None, False),
        (500, None, True),
        (200, Reason.HTTP_RESPONSE_INCOMPLETE, True),
        (499, Reason.CLIENT_DISCONNECTED, True),
    ],
)
def test_what_counts_as_failed(status: int, reason: Reason | None, failed: bool) -> None:
    recorder, told = Recorder(), list[ExchangeRecord]()
    recorder.when_failed(told.append)
    one = exchange(1, status, reason)
    recorder.finished(one)
    assert has_failed(one) is failed
    assert told == [each for each in recorder.newest() if has_failed(each)] == [one] * failed


def test_of_several_requests_with_one_id_the_newest_is_found() -> None:
    recorder = Recorder()
    for status in (200, 204):
        recorder.finished(exchange(7, status))
    found = recorder.find(b"7")
    assert found is not None
    assert found.status == 204


def test_long_texts_are_cut_beyond_what_is_shown() -> None:
    recorder, target = Recorder(), b"/" + b"x" * 8000
    one, other = (exchange(number, 503, Reason.DESTINATION_UNAVAILABLE, target) for number in (1, 2))
    one.detail = other.detail = "no backend is available: " + "web1 (draining), " * 500
    recorder.finished(one)
    assert sys.getsizeof(one.target) + sys.getsizeof(one.detail) < 3 * LONGEST_KEPT
    assert safe(one.target) == safe(target)
    assert record(one, float).detail == record(other, float).detail


def tried(number: int, *reasons: Reason | None, reason: Reason | None = None) -> ExchangeRecord:
    """One with an attempt on web0, web1, ... for each of these reasons."""
    made = exchange(number, 502 if reason else 200, reason)
    made.ended = number + 1.5
    for at, why in enumerate(reasons):
        attempt = AttemptRecord(Backend(spec(f"web{at}"), "default", "", 0.0), NONE_PASSED_OVER, 1.0)
        attempt.reason = why
        made.attempts.append(attempt)
    return made


REFUSED = Reason.CONNECTION_REFUSED


def test_an_attempt_that_failed_is_kept_though_its_exchange_was_answered() -> None:
    recorder = Recorder(records=2)
    recorder.finished(tried(0, REFUSED, None))
    recorder.finished(tried(1, REFUSED, reason=REFUSED))
    for number in range(2, 5):
        recorder.finished(tried(number, None))
    assert ids(recorder) == [4, 3, 1, 0]
    assert ids(recorder, only_failed=True) == [1]


def test_one_that_was_tried_twice_without_a_failure_is_kept_no_longer() -> None:
    recorder, beaten = Recorder(records=1), tried(0, REFUSED, None)
    beaten.attempts[0].is_beaten = True
    recorder.finished(beaten)
    recorder.finished(tried(1, None, None))
    recorder.finished(tried(2, None))
    assert ids(recorder) == [2]


@pytest.mark.parametrize(
    ("backend", "reasons", "has_failed"),
    [
        (None, [REFUSED, None], True),
        ("web0", [REFUSED, None], True),
        ("web1", [REFUSED, None], False),
        ("web1", [REFUSED, Reason.CLIENT_DISCONNECTED], False),
        (None, [None, None], False),
        ("web1", [REFUSED, Reason.HTTP_RESPONSE_TIMEOUT], True),
    ],
)
def test_which_attempt_has_failed(backend: str | None, reasons: list[Reason], has_failed: bool) -> None:
    assert has_failed_attempt(tried(1, *reasons), backend) is has_failed


def test_it_says_since_when_it_has_all_of_those_that_are_asked_for() -> None:
    recorder = Recorder(records=3, failed=2)
    seen = []
    for number, made in enumerate(
        [tried(0, REFUSED, None), *(tried(at, REFUSED, reason=REFUSED) for at in (1, 2, 3)), exchange(4)]
    ):
        made.ended = float(number)
        recorder.finished(made)
        seen.append([recorder.remembered_since(*each) for each in product((False, True), repeat=2)])
    whole, attempts, failed, failed_attempts = zip(*seen, strict=True)
    assert whole == (-inf, -inf, 0.0, 1.0, 2.0)
    assert attempts == failed == failed_attempts == (-inf, -inf, -inf, 1.0, 1.0)


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_recorder_is_off_without_admin(enabled: bool) -> None:
    config = lb.build({"listen": ["127.0.0.1:0"], "admin": {"enabled": enabled}})
    async with lb.open_balancer(config) as balancer:
        host, _, port = balancer.control.listening[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503")
        await trio.testing.wait_all_tasks_blocked()
        assert [each.target for each in balancer.control.recorder.newest()] == [b"/x"] * enabled
