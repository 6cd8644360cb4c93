"""/metrics, read by the tools that will read it."""

import subprocess
from time import perf_counter
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from admin.metrics import Exposition
from lb.control import Control
from lb.core.decision import Attempt, Exchange
from lb.core.drain import Then
from lb.errors import Reason
from tests.admin.kit import Add, Api, Hold

FAMILIES = {
    "lb_build_info",
    "lb_requests",
    "lb_request_duration_seconds",
    "lb_requests_in_flight",
    "lb_request_failures",
    "lb_request_body_bytes",
    "lb_response_body_bytes",
    "lb_connections",
    "lb_connections_open",
    "lb_connections_rejected",
    "lb_backend_requests",
    "lb_backend_attempt_failures",
    "lb_backend_response_start_seconds",
    "lb_backend_connect_duration_seconds",
    "lb_backend_requests_in_flight",
    "lb_backend_connections",
    "lb_backend_connections_opened",
    "lb_backend_connections_reused",
    "lb_backend_state",
    "lb_backend_weight",
    "lb_pool_backends",
    "lb_retries",
    "lb_queue_length",
    "lb_queue_wait_seconds",
    "lb_drain_duration_seconds",
    "lb_admin_requests",
    "lb_admin_restarts",
    "lb_event_loop_lag_seconds",
}


def exchange(backend: Any, target: bytes = b"/", method: bytes = b"GET") -> Exchange:
    """One that was retried once, and then went well."""
    made = Exchange(b"1", "127.0.0.1:8080", "client", 0.0)
    made.pool, made.method, made.target, made.status, made.ended = "default", method, target, 200, 0.02
    made.request_bytes, made.response_bytes, made.queued = 3, 5, 0.004
    first, second = Attempt(backend, (), 0.0), Attempt(backend, (), 0.001)
    first.reason = Reason.CONNECTION_REFUSED
    second.connected, second.first_byte = 0.002, 0.01
    made.attempts = [first, second]
    return made


def fill(control: Control, add: Add, hold: Hold) -> None:
    """Something in every family."""
    backend = add("web1")
    hold(backend)
    backend.connections, backend.idle_connections = 3, 2
    backend.connections_opened = backend.connections_reused = 4
    control.metrics.finished(exchange(backend))
    listener = control.metrics.listener("127.0.0.1:8080")
    listener.accepted, listener.open, listener.in_flight = 3, 2, 1
    listener.rejected["limit"] += 1
    control.metrics.failures["default", Reason.DNS_ERROR] += 1
    control.metrics.loop_lag(0.001)
    control.metrics.admin_requests["/", "GET", 200] += 1
    control.registry.drain(add("web2"), 10, Then.KEEP)


def values(text: str) -> dict[tuple[str, ...], float]:
    """Sample name and label values (by label name) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


async def read(api: Api) -> dict[tuple[str, ...], float]:
    return values((await api("GET", "/metrics")).body.decode())


@pytest.mark.parametrize("is_filled", [False, True])
async def test_promtool_has_no_complaint(
    api: Api, control: Control, add: Add, hold: Hold, is_filled: bool
) -> None:
    if is_filled:
        fill(control, add, hold)
    text = (await api("GET", "/metrics")).body
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)  # noqa: ASYNC221
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


async def test_every_family_is_there_from_the_start(api: Api) -> None:
    text = (await api("GET", "/metrics")).body.decode()
    for family in FAMILIES:
        assert f"# HELP {family}" in text
    assert {
        line.split()[2].removesuffix("_total") for line in text.splitlines() if "# TYPE lb_" in line
    } == FAMILIES
    assert "process_resident_memory_bytes " in text
    assert "python_gc_collections_total{" in text
    assert "python_info{" in text


async def test_every_number_has_its_place(api: Api, control: Control, add: Add, hold: Hold) -> None:
    fill(control, add, hold)
    seen = await read(api)
    front, web1 = "127.0.0.1:8080", ("web1", "default")
    expected = {
        ("lb_requests_total", "200", front, "GET", "default"): 1,
        ("lb_request_duration_seconds_sum", front, "default"): 0.02,
        ("lb_request_duration_seconds_bucket", "0.01", front, "default"): 0,
        ("lb_request_duration_seconds_bucket", "0.025", front, "default"): 1,
        ("lb_request_duration_seconds_count", front, "default"): 1,
        ("lb_request_body_bytes_total", front, "default"): 3,
        ("lb_response_body_bytes_total", front, "default"): 5,
        ("lb_request_failures_total", "dns_error", "default"): 1,
        ("lb_connections_total", front): 3,
        ("lb_connections_open", front): 2,
        ("lb_requests_in_flight", front): 1,
        ("lb_connections_rejected_total", front, "limit"): 1,
        ("lb_backend_requests_total", "web1", "200", "default"): 1,
        ("lb_backend_attempt_failures_total", "web1", "connection_refused", "default"): 1,
        ("lb_backend_response_start_seconds_sum", *web1): 0.009,
        ("lb_backend_requests_in_flight", *web1): 1,
        ("lb_backend_weight", *web1): 1,
        ("lb_backend_state", *web1, "ready"): 1,
        ("lb_backend_state", *web1, "drained"): 0,
        ("lb_backend_state", "web2", "default", "drained"): 1,
        ("lb_backend_connections", *web1, "active"): 1,
        ("lb_backend_connections", *web1, "idle"): 2,
        ("lb_backend_connections_opened_total", *web1): 4,
        ("lb_backend_connections_reused_total", *web1): 4,
        ("lb_backend_connect_duration_seconds_sum", "default"): 0.001,
        ("lb_pool_backends", "default", "available"): 1,
        ("lb_pool_backends", "default", "total"): 2,
        ("lb_queue_length", "default"): 0,
        ("lb_queue_wait_seconds_sum", "default"): 0.004,
        ("lb_retries_total", "connection_refused", "default"): 1,
        ("lb_drain_duration_seconds_count", "completed", "default"): 1,
        ("lb_admin_requests_total", "200", "GET", "/"): 1,
        ("lb_admin_restarts_total",): 0,
        ("lb_event_loop_lag_seconds_sum",): 0.001,
    }
    assert {key: pytest.approx(seen[key]) for key in expected} == expected


async def test_openmetrics_for_whoever_accepts_it(api: Api, control: Control, add: Add, hold: Hold) -> None:
    fill(control, add, hold)
    answer = await api("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= FAMILIES
    plain = await api("GET", "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_the_series_of_a_removed_backend_are_gone(
    api: Api, control: Control, add: Add, hold: Hold
) -> None:
    fill(control, add, hold)
    assert any("web1" in key for key in await read(api))
    control.registry.remove(control.registry.backend("web1"))
    seen = await read(api)
    assert not any("web1" in key for key in seen)
    assert seen["lb_requests_total", "200", "127.0.0.1:8080", "GET", "default"] == 1


async def test_g148_label_values_are_escaped(api: Api, control: Control) -> None:
    hostile = 'a"b\\c\nd{}'
    control.metrics.listener(hostile).accepted = 1
    assert (await read(api))["lb_connections_total", hostile] == 1


async def test_g155_counters_only_grow_and_no_client_can_make_a_series(
    api: Api, control: Control, add: Add
) -> None:
    backend = add("web1")
    control.metrics.finished(exchange(backend))
    before = await read(api)
    for number in range(200):
        made = exchange(backend, f"/{number}".encode(), f"M{number}".encode())
        made.client, made.id = f"10.0.0.{number}", str(number).encode()
        control.metrics.finished(made)
        await api("GET", f"/backends/{number}", headers={"User-Agent": str(number)})
    after = await read(api)
    added = {key[0] for key in after.keys() - before.keys() if not key[0].startswith(("process", "python"))}
    assert added == {"lb_requests_total", "lb_admin_requests_total"}
    assert len([key for key in after if key[0] == "lb_requests_total"]) == 2
    shrunk = [
        key for key in before if key[0].endswith(("_total", "_count", "_bucket")) and after[key] < before[key]
    ]
    assert shrunk == []


async def test_g155_many_backends_are_read_in_time(control: Control, add: Add) -> None:
    for number in range(50):
        control.metrics.finished(exchange(add(f"web{number}")))
    exposition = Exposition(control)
    times = []
    for _ in range(5):
        started = perf_counter()
        exposition.render("")
        times.append(perf_counter() - started)
    assert min(times) < 0.05
