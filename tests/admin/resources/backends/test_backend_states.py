"""Drain, ready, maintenance and removal."""

import pytest
import trio

from lb.control import Control
from lb.core.drain import Outcome
from lb.settings.balancer_settings import Config, Timeouts
from tests.admin.kit import Add, Api, Hold, Saves

WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}


@pytest.mark.parametrize("query", ["?wait=30s", ""])
async def test_g150_drain_of_an_idle_backend_has_ended_at_once(api: Api, add: Add, query: str) -> None:
    add("web1")
    answer = await api("POST", f"/backends/web1/drain{query}")
    assert answer.status == 200
    status = answer.json["status"]
    assert (answer.json["admin_state"], status["state"]) == ("draining", "drained")
    assert status["drain"].pop("started").startswith("2027-01-15T08:00:0")
    assert status["drain"].pop("duration_seconds") < 0.1
    assert status["drain"] == {
        "started_with": 0,
        "remaining": 0,
        "aborted": 0,
        "outcome": "completed",
        "deadline_seconds": None,
        "then": "keep",
    }


async def test_g150_drain_runs_repeats_and_is_undone(api: Api, add: Add, hold: Hold) -> None:
    backend = add("web1")
    hold(backend)
    first = await api("POST", "/backends/web1/drain?timeout=60s")
    assert first.status == 202
    drain = first.json["status"]["drain"]
    assert (drain["started_with"], drain["remaining"], drain["outcome"]) == (1, 1, None)
    assert 59 < drain["deadline_seconds"] <= 60
    again = await api("POST", "/backends/web1/drain", form="timeout=5m")
    assert again.json["status"]["drain"]["started"] == drain["started"]
    assert 299 < again.json["status"]["drain"]["deadline_seconds"] <= 300
    kept = await api("POST", "/backends/web1/drain", json={"then": "maintenance"})
    assert kept.json["status"]["drain"]["then"] == "maintenance"
    assert kept.json["status"]["drain"]["deadline_seconds"] > 298
    ready = await api("POST", "/backends/web1/ready")
    assert (ready.json["admin_state"], ready.json["status"]["drain"]) == ("ready", None)
    assert backend.in_flight == 1


async def test_drain_waits_for_the_last_request(
    api: Api, add: Add, hold: Hold, autojump_clock: trio.testing.MockClock
) -> None:
    backend = add("web1")
    holder = hold(backend)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def finish() -> None:
            await trio.sleep(4.21)
            holder.end()

        answer = await api("POST", "/backends/web1/drain?wait=30s")
    assert answer.status == 200
    assert answer.json["status"]["drain"]["duration_seconds"] == 4.21
    assert answer.json["status"]["drain"]["started_with"] == 1


async def test_drain_waits_no_longer_than_asked(
    api: Api, add: Add, hold: Hold, autojump_clock: trio.testing.MockClock
) -> None:
    hold(add("web1"))
    started = trio.current_time()
    answer = await api("POST", "/backends/web1/drain?wait=1500ms")
    assert (answer.status, trio.current_time() - started) == (202, 1.5)


async def test_the_configured_timeout_is_the_default(
    api: Api, add: Add, hold: Hold, control: Control
) -> None:
    control.config = Config(timeouts=Timeouts(drain=7.0))
    hold(add("web1"))
    answer = await api("POST", "/backends/web1/drain")
    assert 6 < answer.json["status"]["drain"]["deadline_seconds"] <= 7


async def test_timeout_zero_cuts_at_once(api: Api, add: Add, hold: Hold, control: Control) -> None:
    backend = add("web1")
    holder = hold(backend)
    answer = await api("POST", "/backends/web1/drain?timeout=0")
    assert answer.json["status"]["drain"]["deadline_seconds"] == 0
    control.registry.expire(trio.current_time())
    assert holder.was_cut
    holder.end()
    after = (await api("GET", "/backends/web1")).json["status"]["drain"]
    assert (after["outcome"], after["aborted"], after["deadline_seconds"]) == ("timeout", 1, None)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/backends/web1/drain?wait=30s"), ("DELETE", "/backends/web1?wait=30s")]
)
async def test_a_wait_whose_drain_is_taken_back_is_a_conflict(
    api: Api, add: Add, hold: Hold, control: Control, method: str, path: str
) -> None:
    backend = add("web1")
    hold(backend)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def undo() -> None:
            while backend.drain is None:
                await trio.lowlevel.checkpoint()
            control.registry.ready(backend)

        answer = await api(method, path)
    assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
    assert answer.json["detail"] == "the drain was taken back: 'web1' is ready"
    assert control.registry.backends == {"web1": backend}


async def test_a_drain_survives_the_curl_that_asked_for_it(
    api: Api, add: Add, hold: Hold, saves: Saves, control: Control
) -> None:
    backend = add("web1")
    holder = hold(backend)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api, "POST", "/backends/web1/drain?wait=60s")
            while backend.drain is None or saves.count == 0:
                await trio.lowlevel.checkpoint()
            scope.cancel()
    drain = control.registry.drain(backend, None)
    assert drain.outcome is None
    holder.end()
    assert drain.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("how", ["then=remove&wait=10s", "then=remove"])
async def test_drain_then_remove(api: Api, add: Add, control: Control, how: str) -> None:
    add("web1")
    assert (await api("POST", f"/backends/web1/drain?{how}")).status == 200
    assert control.registry.backends == {}
    assert (await api("GET", "/backends/web1")).status == 404


async def test_g151_delete_drains_first(
    api: Api, add: Add, hold: Hold, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    holder = hold(add("web1"))
    answer = await api("DELETE", "/backends/web1?drain_timeout=30s")
    assert (answer.status, answer.json["status"]["drain"]["deadline_seconds"]) == (202, 30.0)
    assert not holder.was_cut
    assert (await api("DELETE", "/backends/web1?wait=1s")).status == 202
    holder.end()
    assert control.registry.backends == {}
    assert (await api("DELETE", "/backends/web1")).status == 404


async def test_delete_waits_and_answers_204(
    api: Api, add: Add, hold: Hold, saves: Saves, autojump_clock: trio.testing.MockClock
) -> None:
    holder = hold(add("web1"))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def finish() -> None:
            await trio.sleep(3)
            holder.end()

        answer = await api("DELETE", "/backends/web1?wait=30s")
    assert (answer.status, answer.body) == (204, b"")
    assert saves.count == 2  # that it drains, and that it is gone


async def test_delete_by_force_cuts(api: Api, add: Add, hold: Hold, control: Control) -> None:
    holder = hold(add("web1"))
    assert (await api("DELETE", "/backends/web1?force=true")).status == 204
    assert holder.was_cut
    assert control.registry.backends == {}


async def test_maintenance_cuts_and_ready_undoes(api: Api, add: Add, hold: Hold) -> None:
    holder = hold(add("web1"))
    answer = await api("POST", "/backends/web1/maintenance")
    assert (answer.json["admin_state"], answer.json["status"]["state"]) == ("maintenance", "maintenance")
    assert holder.was_cut
    assert (await api("POST", "/backends/web1/ready")).json["admin_state"] == "ready"


async def test_to_take_out_the_last_one_is_allowed_with_a_warning(api: Api, add: Add) -> None:
    add("web1")
    add("web2")
    assert "lb-warning" not in (await api("POST", "/backends/web1/drain")).headers
    answer = await api("DELETE", "/backends/web2")
    assert (answer.status, "no backend" in answer.headers["lb-warning"]) == (204, True)


async def test_of_one_that_is_not_there_the_one_that_was_meant_is_told(api: Api, add: Add) -> None:
    add("web1")
    answer = await api("DELETE", "/backends/wbe1")
    assert answer.status == 404
    assert answer.json["detail"] == "there is no backend 'wbe1', did you mean `web1`?"
