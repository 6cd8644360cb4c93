"""/metrics, read by the tools that will read it."""

import itertools
import subprocess
from math import inf
from time import thread_time
from typing import Any

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from admin.resources.metrics import Exposition
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Then
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.health.probe_verdict import Check
from lb.core.passed_over import NONE_PASSED_OVER
from lb.errors import Reason
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings, Probe, Retry, Sticky
from tests.admin.kit import Add, Api, Hold
from tests.core.scene import Request

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
    "lb_connections_evicted",
    "lb_connections_full",
    "lb_held_bytes",
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
    "lb_backend_effective_weight",
    "lb_backend_up",
    "lb_backend_health_checks",
    "lb_backend_down_seconds",
    "lb_backend_health_transitions",
    "lb_backend_ejections",
    "lb_backend_ejected",
    "lb_pool_backends",
    "lb_pool_panic",
    "lb_policy_failures",
    "lb_hedges",
    "lb_retries",
    "lb_retry_budget_exhausted",
    "lb_queue_length",
    "lb_queue_wait_seconds",
    "lb_drain_duration_seconds",
    "lb_admin_requests",
    "lb_admin_restarts",
    "lb_config_reloads",
    "lb_cluster_up",
    "lb_cluster_heard",
    "lb_cluster_members",
    "lb_cluster_configs",
    "lb_cluster_revision",
    "lb_cluster_newest",
    "lb_cluster_unfit",
    "lb_cluster_local_overrides",
    "lb_cluster_age_seconds",
    "lb_cluster_writes",
    "lb_cluster_resyncs",
    "lb_cluster_leases_lost",
    "lb_discovery_up",
    "lb_discovery_age_seconds",
    "lb_discovery_refreshes",
    "lb_discovery_backends",
    "lb_discovery_changes",
    "lb_discovery_held",
    "lb_discovery_apply_seconds",
    "lb_upgrades",
    "lb_acme_orders",
    "lb_acme_next_attempt_timestamp_seconds",
    "lb_acme_failures_in_a_row",
    "lb_config_last_reload_success_timestamp_seconds",
    "lb_event_readers",
    "lb_event_readers_dropped",
    "lb_log_lines_dropped",
    "lb_event_loop_lag_seconds",
}


def exchange(backend: Any, target: bytes = b"/", method: bytes = b"GET") -> ExchangeRecord:
    """One that was retried once, and then went well."""
    made = ExchangeRecord(b"1", "127.0.0.1:8080", "client", 0.0)
    made.pool, made.method, made.target, made.status, made.ended = "default", method, target, 200, 0.02
    made.request_bytes, made.response_bytes, made.queued = 3, 5, 0.004
    first, second = (AttemptRecord(backend, NONE_PASSED_OVER, at) for at in (0.0, 0.001))
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
    pool = control.registry.pools["default"]
    control.registry.configure(pool, PoolSettings(policy="tests.admin.kit:Clumsy", probe=Probe()))
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


@pytest.mark.needs("promtool")
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
        ("lb_backend_effective_weight", *web1): 1,
        ("lb_backend_up", *web1): 1,
        ("lb_backend_ejected", *web1): 0,
        ("lb_backend_ejections_total", "web1", "trial", "default"): 0,
        ("lb_pool_panic", "default"): 0,
        ("lb_hedges_total", "default"): 0,
        ("lb_retry_budget_exhausted_total", "default"): 0,
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
        ("lb_event_readers",): 0,
        ("lb_event_readers_dropped_total",): 0,
        ("lb_event_loop_lag_seconds_sum",): 0.001,
    }
    assert {key: pytest.approx(seen[key]) for key in expected} == expected


async def test_what_probes_say_is_counted(api: Api, control: Control, add: Add) -> None:
    pool = control.registry.pools["default"]
    control.registry.configure(pool, PoolSettings(probe=Probe(fall=2), panic=0.6, slow_start=100.0))
    backend, key = add("web1"), ("web1", "default")
    add("web2")
    seen = await read(api)
    assert seen["lb_backend_health_checks_total", *key, "fail"] == 0
    control.registry.checked(backend, Check(True, "ok 200", 0.1, 0.0))
    for _ in range(3):
        control.registry.checked(backend, Check(False, "refused", 0.1, 0.0))
    seen = await read(api)
    assert seen["lb_backend_up", *key] == 0
    assert seen["lb_backend_up", "web2", "default"] == 1
    assert seen["lb_backend_state", *key, "down"] == 1
    assert seen["lb_backend_health_checks_total", *key, "pass"] == 1
    assert seen["lb_backend_health_checks_total", *key, "fail"] == 3
    assert seen["lb_backend_health_transitions_total", *key, "down"] == 1
    assert seen["lb_backend_health_transitions_total", *key, "up"] == 0
    assert 0 < seen["lb_backend_down_seconds_total", *key] <= control.registry.now()
    assert seen["lb_backend_down_seconds_total", "web2", "default"] == 0
    assert seen["lb_pool_panic", "default"] == 1
    for _ in range(2):
        control.registry.checked(backend, Check(True, "ok 200", 0.1, 0.0))
    seen = await read(api)
    assert (seen["lb_backend_up", *key], seen["lb_backend_state", *key, "warming"]) == (1, 1)
    assert seen["lb_backend_effective_weight", *key] == 0.1
    control.registry.configure(pool, PoolSettings())
    assert ("lb_backend_health_checks_total", *key, "pass") not in await read(api)


async def test_what_exchanges_show_is_counted(api: Api, control: Control, add: Add) -> None:
    pool = control.registry.pools["default"]
    control.registry.configure(pool, PoolSettings(retry=Retry(budget=0.0, floor=0)))
    backend = add("web1")
    add("web2")
    now = control.registry.now()
    for _ in range(3):
        pool.failed(backend, "refused", 0.1, now)
    pool.budget.spend(now)
    pool.hedged += 2
    seen = await read(api)
    assert seen["lb_backend_ejected", "web1", "default"] == 1
    assert seen["lb_backend_ejections_total", "web1", "consecutive", "default"] == 1
    assert seen["lb_backend_state", "web1", "default", "ejected"] == 1
    assert seen["lb_backend_up", "web1", "default"] == 1  # that is what probes say
    assert seen["lb_retry_budget_exhausted_total", "default"] == 1
    assert seen["lb_hedges_total", "default"] == 2


@pytest.mark.parametrize("sticky", [None, Sticky()])
async def test_failures_of_somebodys_own_policy_are_counted(
    api: Api, control: Control, sticky: Sticky | None
) -> None:
    pool = control.registry.pools["default"]
    assert ("lb_policy_failures_total", "default") not in await read(api)
    control.registry.configure(pool, PoolSettings(policy="tests.admin.kit:Clumsy", sticky=sticky))
    assert (await read(api))["lb_policy_failures_total", "default"] == 0
    pool.policy.choose([Backend(BackendSpec(url="http://a"), "default", "test", 0.0)], Request())
    assert (await read(api))["lb_policy_failures_total", "default"] == 1


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


@pytest.mark.alone
async def test_g155_many_backends_are_read_in_turns(control: Control, add: Add) -> None:
    """Nobody else waits for long, and what changes in the meantime does no harm."""
    for number in range(500):
        control.metrics.finished(exchange(add(f"web{number}")))
    exposition = Exposition(control)
    longest: list[float] = []
    for _ in range(3):
        held = Held()
        trio.lowlevel.add_instrument(held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_more, control)
            parts, _ = await exposition.render("")
            body = b"".join(parts)
            nursery.cancel_scope.cancel()
        trio.lowlevel.remove_instrument(held)
        longest.append(held.longest)
    assert body.count(b"\nlb_backend_response_start_seconds_count{") == 500
    assert min(longest) < 0.005


class Held(trio.abc.Instrument):
    """The most CPU time that one step of a task took; other processes do not count."""

    longest = 0.0
    _since = inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._since = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, thread_time() - self._since)


async def count_more(control: Control) -> None:
    """New codes, new reasons, new pools: at each turn some dictionary grows."""
    for number in itertools.count():
        backend = control.registry.backends[f"web{number % 500}"]
        made = exchange(backend)
        made.status, made.pool = 200 + number % 300, f"pool{number}"
        control.metrics.finished(made)
        await trio.lowlevel.checkpoint()
