"""/stats: the numbers of a dashboard."""

from typing import Any

import msgspec
import pytest

from admin.views.stats_json import described, expected_shares
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Then
from lb.core.measures.rates import HISTORY, STEP
from lb.errors import Reason
from lb.observe.counters import Flow
from lb.slices import at_once
from tests.admin.kit import Add, Api, Hold


def second(control: Control, at: int) -> None:
    control.sampler.sample(float(at))


def attempts(backend: Backend, count: int, code: int = 200, seconds: float = 0.02) -> None:
    backend.codes[code] += count
    for _ in range(count):
        backend.response_start.observe(seconds)


async def stats(api: Api) -> Any:
    answer = await api("GET", "/stats")
    assert answer.status == 200
    return answer.json


async def test_before_the_first_sample_everything_is_there_and_quiet(api: Api, add: Add) -> None:
    add("web1")
    shown = await stats(api)
    assert shown["at"].startswith("2027-01-15T08:00:00.")
    assert (shown["window_seconds"], shown["draining"], shown["stopping"]) == (10, False, False)
    rates = {
        "ended": 0,
        "requests_per_second": 0.0,
        "share_4xx": 0.0,
        "share_5xx": 0.0,
        "share_failed": 0.0,
        "p50_seconds": None,
        "p90_seconds": None,
        "p99_seconds": None,
    }
    minute = {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, "failed": 0}
    history = {
        "step_seconds": STEP,
        "requests_per_second": [],
        "share_5xx": [],
        "p50_seconds": [],
        "p99_seconds": [],
        "in_flight": [],
        "available": [],
        "backends": [],
    }
    quiet = {"rates": rates, "minute": minute, "in_flight": 0, "cap": None}
    assert shown["totals"] == {
        **quiet,
        "queued": 0,
        "available": 1,
        "backends": 1,
        "connections": 0,
        "history": history,
    }
    assert shown["pools"] == [
        {
            **quiet,
            "name": "default",
            "policy": "round_robin",
            "queued": 0,
            "available": 1,
            "backends": 1,
            "panicking": False,
            "held": 0,
            "failing": [],
            "history": history,
        }
    ]
    assert shown["backends"] == [
        {
            **quiet,
            "id": "web1",
            "pool": "default",
            "url": "http://10.0.0.1:80",
            "state": "ready",
            "state_seconds": 0.0,
            "checks": "",
            "labels": {},
            "source": "config",
            "missing_seconds": None,
            "why": "",
            "weight": 1,
            "available": True,
            "share": None,
            "expected_share": 1.0,
            "connections": 0,
            "idle_connections": 0,
            "drain": None,
        }
    ]
    assert shown["workers"] == []


async def test_rates_of_the_whole_its_pools_and_its_backends(api: Api, control: Control, add: Add) -> None:
    light, heavy = add("light", weight=1), add("heavy", weight=3, max_in_flight=5)
    second(control, 0)
    attempts(light, 10)
    attempts(heavy, 25)
    attempts(heavy, 5, 500)
    heavy.failures[Reason.CONNECTION_REFUSED] += 10
    flow = control.metrics.flows["127.0.0.1:8080", "default"] = Flow()
    flow.answers["GET", 200], flow.answers["GET", 500], flow.answers["POST", 404] = 35, 5, 10
    for _ in range(50):
        flow.durations.observe(0.012)
    second(control, 2)
    shown = await stats(api)
    for part in (shown["totals"], shown["pools"][0]):
        assert part["rates"]["requests_per_second"] == 25.0
        assert (part["rates"]["share_4xx"], part["rates"]["share_5xx"]) == (0.2, 0.1)
        assert 0.01 < part["rates"]["p50_seconds"] < part["rates"]["p99_seconds"] <= 0.015
    one, three = shown["backends"]
    assert (one["share"], one["expected_share"]) == (0.2, 0.25)
    assert (three["share"], three["expected_share"]) == (0.8, 0.75)
    assert three["minute"] == {"2xx": 25, "3xx": 0, "4xx": 0, "5xx": 5, "failed": 10}
    assert (three["rates"]["share_5xx"], three["rates"]["share_failed"]) == (0.125, 0.25)
    assert (three["cap"], shown["totals"]["cap"]) == (5, None)  # the other one has none


async def test_history_has_a_value_a_step_for_five_minutes(api: Api, control: Control, add: Add) -> None:
    add("web1")
    for at in range(HISTORY * STEP + 100):
        second(control, at)
    history = (await stats(api))["totals"]["history"]
    assert {len(values) for name, values in history.items() if name != "step_seconds"} == {HISTORY}
    assert history["p50_seconds"][-1] is None
    assert history["available"][-1] == 1
    told = await described(control)
    assert b"history" not in msgspec.json.encode(told)
    assert [each.id for each in told.backends] == ["web1"]


async def test_what_a_backend_is_doing_now(api: Api, control: Control, add: Add, hold: Hold) -> None:
    full, leaving, out = add("full", max_in_flight=1), add("leaving"), add("out")
    hold(full)
    hold(leaving)
    control.registry.maintenance(out)
    control.registry.drain(leaving, 60.0, Then.KEEP)
    shown = {row["id"]: row for row in (await stats(api))["backends"]}
    assert (shown["full"]["in_flight"], shown["full"]["cap"], shown["full"]["available"]) == (1, 1, False)
    assert (shown["full"]["why"], shown["full"]["expected_share"]) == ("full 1/1", 1.0)
    assert shown["leaving"]["state"] == "draining"
    drain = shown["leaving"]["drain"]
    assert (drain["remaining"], drain["started_with"]) == (1, 1)
    assert 59 < drain["deadline_seconds"] <= 60
    assert (shown["out"]["state"], shown["out"]["expected_share"]) == ("maintenance", 0.0)
    control.registry.drain(leaving, 0.0)
    control.registry.expire(control.registry.now())
    cut = {row["id"]: row for row in (await stats(api))["backends"]}["leaving"]["drain"]
    assert cut == {"remaining": 1, "started_with": 1, "deadline_seconds": None}


async def test_backups_are_expected_to_serve_only_when_nobody_else_does(add: Add, control: Control) -> None:
    main, backup = add("main"), add("backup", backup=True)
    assert at_once(expected_shares([main, backup])) == {main: 1.0}
    control.registry.maintenance(main)
    assert at_once(expected_shares([main, backup])) == {backup: 1.0}
    control.registry.maintenance(backup)
    assert at_once(expected_shares([main, backup])) == {}


@pytest.mark.parametrize("path", ["/stats?pool=x", "/stats?history=1"])
async def test_there_are_no_parameters(api: Api, path: str) -> None:
    assert (await api("GET", path)).status == 422
