"""Which counters one exchange changes."""

from typing import Any

import pytest

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.errors import Reason
from lb.observe.counters import Metrics
from lb.settings.backend_spec import BackendSpec


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def backend() -> Backend:
    return Backend(BackendSpec(id="web1", url="http://10.0.0.1"), "default", "config", 0.0)


def exchange(**facts: Any) -> ExchangeRecord:
    made = ExchangeRecord(b"1", "front", "client", 10.0)
    made.pool, made.method, made.status, made.ended = "default", b"GET", 200, 10.02
    for name, fact in facts.items():
        setattr(made, name, fact)
    return made


def attempt(backend: Backend, **facts: Any) -> AttemptRecord:
    made = AttemptRecord(backend, NONE_PASSED_OVER, 10.0)
    for name, fact in facts.items():
        setattr(made, name, fact)
    return made


def count(histogram: Any) -> int:
    return sum(histogram.counts)


def test_a_successful_exchange(metrics: Metrics, backend: Backend) -> None:
    made = attempt(backend, connected=10.002, first_byte=10.01, ended=10.02)
    metrics.finished(exchange(attempts=[made], request_bytes=3, response_bytes=5))
    flow = metrics.flows["front", "default"]
    assert flow.answers == {("GET", 200): 1}
    assert (flow.request_bytes, flow.response_bytes) == (3, 5)
    assert flow.durations.total == pytest.approx(0.02)
    assert backend.codes == {200: 1}
    assert backend.response_start.total == pytest.approx(0.01)
    assert metrics.connect_durations["default"].total == pytest.approx(0.002)
    assert not metrics.failures
    assert not metrics.retries
    assert not metrics.queue_waits
    assert not backend.failures


def test_a_reused_connection_has_no_connect_duration(metrics: Metrics, backend: Backend) -> None:
    metrics.finished(exchange(attempts=[attempt(backend, reused=True, connected=10.0, first_byte=10.1)]))
    assert not metrics.connect_durations
    assert count(backend.response_start) == 1


def test_a_retried_exchange(metrics: Metrics, backend: Backend) -> None:
    other = Backend(BackendSpec(id="web2", url="http://10.0.0.2"), "default", "config", 0.0)
    refused = attempt(backend, reason=Reason.CONNECTION_REFUSED)
    metrics.finished(exchange(attempts=[refused, attempt(other, first_byte=10.01)]))
    assert metrics.retries == {("default", Reason.CONNECTION_REFUSED): 1}
    assert (backend.codes, backend.failures) == ({}, {Reason.CONNECTION_REFUSED: 1})
    assert (other.codes, other.failures) == ({200: 1}, {})
    assert count(backend.response_start) == 0


def test_a_failed_exchange(metrics: Metrics, backend: Backend) -> None:
    facts = {"status": 502, "reason": Reason.CONNECTION_REFUSED}
    metrics.finished(exchange(attempts=[attempt(backend, reason=Reason.CONNECTION_REFUSED)], **facts))
    assert metrics.failures == {("default", Reason.CONNECTION_REFUSED): 1}
    assert metrics.flows["front", "default"].answers == {("GET", 502): 1}
    assert not metrics.retries
    assert not backend.codes


@pytest.mark.parametrize("status", [0, 499])
def test_a_client_that_left_is_499(metrics: Metrics, backend: Backend, status: int) -> None:
    metrics.finished(exchange(status=status, attempts=[attempt(backend)]))
    assert metrics.flows["front", "default"].answers == {("GET", 499): 1}
    assert backend.codes == {499: 1}


@pytest.mark.parametrize(
    ("method", "label"),
    [(b"GET", "GET"), (b"PATCH", "PATCH"), (b"get", "OTHER"), (b"BREW", "OTHER"), (b"", "OTHER")],
)
def test_methods_are_bounded(metrics: Metrics, method: bytes, label: str) -> None:
    metrics.finished(exchange(method=method))
    assert metrics.flows["front", "default"].answers == {(label, 200): 1}


def test_a_wait_in_the_queue_is_counted_only_if_there_was_one(metrics: Metrics) -> None:
    metrics.finished(exchange(queued=0.0))
    assert not metrics.queue_waits
    metrics.finished(exchange(queued=0.25))
    assert (count(metrics.queue_waits["default"]), metrics.queue_waits["default"].total) == (1, 0.25)


def test_an_exchange_without_a_pool_or_an_end(metrics: Metrics) -> None:
    metrics.finished(exchange(pool="", ended=None, status=400, reason=Reason.HTTP_REQUEST_ERROR))
    assert metrics.flows["front", ""].answers == {("GET", 400): 1}
    assert count(metrics.flows["front", ""].durations) == 0
    assert metrics.failures == {("", Reason.HTTP_REQUEST_ERROR): 1}


def test_the_counts_of_a_listener_are_made_once(metrics: Metrics) -> None:
    metrics.listener("front").accepted += 1
    metrics.listener("front").rejected["limit"] += 1
    assert (metrics.listener("front").accepted, metrics.listener("front").rejected) == (1, {"limit": 1})
    assert list(metrics.listeners) == ["front"]


def test_lag_of_the_event_loop(metrics: Metrics) -> None:
    metrics.loop_lag(0.5)
    assert (count(metrics.loop_lags), metrics.loop_lags.total) == (1, 0.5)
