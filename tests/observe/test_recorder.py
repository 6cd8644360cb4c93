"""Which exchanges the recorder keeps, for how long, and that it stays small."""

import sys

import pytest
import trio

import lb
from lb.core.exchange_record import ExchangeRecord
from lb.errors import Reason
from lb.observe.access_log import record, safe
from lb.observe.recorder import KINDS, LONGEST_KEPT, Recorder, has_failed


def exchange(
    number: int, status: int = 200, reason: Reason | None = None, target: bytes = b"/"
) -> ExchangeRecord:
    made = ExchangeRecord(b"%d" % number, "front", "192.0.2.1:5000", 1.0)
    made.method, made.target, made.status, made.reason, made.ended = b"GET", target, status, reason, 1.5
    return made


def ids(recorder: Recorder, only_failed: bool = False) -> list[int]:
    return [int(each.id) for each in recorder.newest(only_failed)]


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
    assert (ids(recorder), ids(recorder, only_failed=True)) == ([4, 3, 2], [0])
    assert recorder.find(b"0") is not None


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
    assert told == list(recorder.newest(only_failed=True)) == [one] * failed


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
