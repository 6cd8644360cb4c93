"""/workers, and what else is shown where several processes carry the traffic."""

from typing import Any

import pytest

from admin.event_publisher import EventPublisher
from lb.control import Control
from lb.core.worker_view import Behind, WorkerEvent
from tests.admin.kit import Add, Api, FakeWorkers, is_problem
from tests.admin.resources.test_metrics import read

COUNTED = (
    "/workers",
    "/stats",
    "/metrics",
    "/backends",
    "/backends/web1",
    "/pools",
    "/pools/default",
    "/drain",
    "/",
)


async def test_where_one_process_does_all_there_are_none(api: Api) -> None:
    assert (await api("GET", "/workers")).json == {"items": []}
    assert (await api("GET", "/stats")).json["workers"] == []
    assert "lb_worker_" not in (await api("GET", "/metrics")).body.decode()


async def test_each_is_named_with_its_state_and_its_numbers(api: Api, crew: FakeWorkers) -> None:
    shown = (await api("GET", "/workers")).json["items"]
    assert [each["state"] for each in shown] == crew.states
    assert shown[1] == {
        "worker": 2,
        "pid": 4002,
        "state": "silent",
        "state_seconds": pytest.approx(4.0, abs=0.5),
        "restarts": 1,
        "connections": 20,
        "requests_total": 200,
        "requests_per_second": 12.5,
        "loop_lag_p99_seconds": 0.004,
        "memory_bytes": 41_000_000,
        "behind": [],
    }
    assert [each["worker"] for each in (await api("GET", "/stats")).json["workers"]] == [1, 2]


async def test_what_one_could_not_apply_is_said(api: Api, crew: FakeWorkers) -> None:
    crew.are_behind = [Behind(2, "settings", "access_log.file: /log cannot be opened")]
    shown = (await api("GET", "/workers")).json["items"]
    sentence = "worker 2 goes on with the settings that it had: access_log.file: /log cannot be opened"
    assert [each["behind"] for each in shown] == [[], [sentence]]


async def test_settings_of_a_pool_that_a_worker_refuses_are_no_success(
    api: Api, control: Control, crew: FakeWorkers
) -> None:
    crew.are_behind = [Behind(1, "settings of pool other", "no"), Behind(2, "settings", "no")]
    assert (await api("PATCH", "/pools/default", json={"queue": 7})).status == 200
    crew.are_behind.append(Behind(2, "settings of pool default", "no such policy"))
    answer = await api("PATCH", "/pools/default", json={"queue": 8})
    assert (answer.status, is_problem(answer)) == (500, True)
    assert (
        answer.json["detail"]
        == "worker 2 goes on with the settings of pool default that it had: no such policy"
    )
    act = control.audit.newest()[0]
    assert (act.status, act.why) == (500, answer.json["detail"])
    assert act.changes == {"pools.default.queue": (7, 8)}


async def test_the_metrics_of_workers(api: Api, crew: FakeWorkers) -> None:
    found = await read(api)
    numbers: dict[tuple[str, ...], Any] = {
        ("lb_worker_up", "1"): 1,
        ("lb_worker_up", "2"): 0,
        ("lb_worker_restarts_total", "2"): 1,
        ("lb_worker_connections", "2"): 20,
        ("lb_worker_requests_total", "1"): 100,
        ("lb_worker_resident_memory_bytes", "1"): 41_000_000,
        ("lb_worker_loop_lag_seconds_count", "2"): 1,
    }
    assert {name: found[name] for name in numbers} == numbers


@pytest.mark.parametrize("path", COUNTED)
async def test_who_shows_numbers_asks_for_them(api: Api, crew: FakeWorkers, add: Add, path: str) -> None:
    add("web1")
    await api("GET", path, headers={"Accept": "text/html"})
    assert crew.refreshed == 1


async def test_who_shows_none_does_not_ask(api: Api, crew: FakeWorkers, add: Add) -> None:
    add("web1")
    for path in ("/healthz", "/readyz", "/config", "/requests", "/info", "/audit"):
        await api("GET", path)
    await api("PATCH", "/backends/web1", form="weight=2")
    assert crew.refreshed == 0


async def test_what_becomes_of_a_worker_is_an_event(api: Api, crew: FakeWorkers, control: Control) -> None:
    EventPublisher(control)
    crew.tell[0](WorkerEvent("ended", 2, 4002, "killed by SIGKILL"))
    frame = control.feed.newest(frozenset({"worker"}), 1)[0]
    assert b'"kind":"ended","worker":2,"pid":4002,"detail":"killed by SIGKILL"' in frame.body
    page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
    assert "<b>worker 2</b><span>ended · killed by SIGKILL</span>" in page


async def test_the_page_has_a_panel_of_them(api: Api, crew: FakeWorkers) -> None:
    page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
    assert 'id="crew">' in page
    assert (
        "<b>worker 1</b><span>serving · 12.5 req/s · 10 connections · late p99 4.0 ms · 41 MB</span>" in page
    )
    assert "<b>worker 2</b><span>silent for 4 s · " in page
    assert "restarted 1\u00a0×</span>" in page  # noqa: RUF001


async def test_the_page_of_one_process_has_none(api: Api) -> None:
    page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
    assert 'id="crew" hidden>' in page
