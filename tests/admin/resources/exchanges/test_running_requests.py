"""/requests?running=1: what runs now, for whom it waits, and its end."""

from typing import Any

import pytest
import trio

from admin.resources.exchanges.running_requests import BATCH, ENDED_BY
from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import EPOCH, Add, Api, FakeRunning, Hold, MakeApi, is_problem


def ids(answer: Any) -> list[str]:
    return [each["id"] for each in answer.json["items"]]


async def test_one_that_runs_is_described(
    api: Api, runs: FakeRunning, autojump_clock: trio.testing.MockClock
) -> None:
    runs.begin("a", request_bytes=5, target=b"/a\r\nb")
    answer = await api("GET", "/requests?running=1")
    assert answer.status == 200
    assert answer.json == {
        "items": [
            {
                "id": "a",
                "listener": "127.0.0.1:8080",
                "client": "192.0.2.1:5000",
                "method": "GET",
                "target": "/a\\x0d\\x0ab",
                "pool": "default",
                "backend": "web1",
                "phase": "waiting for response",
                "waits_for": "web1 to begin its answer",
                "seconds": 10.0,
                "phase_seconds": 4.0,
                "started": "2027-01-15T07:59:50.000Z",
                "attempts": 1,
                "request_bytes": 5,
                "response_bytes": 0,
            }
        ],
        "total": 1,
    }
    assert EPOCH == 1_800_000_000.0  # which is 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("phase", "backend", "waits_for"),
    [
        ("queued", None, "a backend of pool default with a place left"),
        ("connecting", "web1", "web1 to accept the connection"),
        ("sending request", "web1", "the client to send the rest of its request, and web1 to read it"),
        ("sending response", "web1", "web1 to send the rest of its answer, and the client to read it"),
        ("tunnel", "web1", "the client or web1 to close the tunnel"),
        ("pausing", None, ""),
    ],
)
async def test_each_phase_waits_for_somebody(
    api: Api, runs: FakeRunning, phase: str, backend: str | None, waits_for: str
) -> None:
    runs.begin("a", backend, phase=phase)
    (shown,) = (await api("GET", "/requests?running=true")).json["items"]
    assert (shown["phase"], shown["backend"], shown["waits_for"]) == (phase, backend, waits_for)


async def test_the_longest_come_first_and_filters_choose(
    api: Api, control: Control, runs: FakeRunning
) -> None:
    now = control.registry.now()
    runs.begin("young", since=now - 1)
    runs.begin("old", since=now - 9)
    runs.begin("other", "web2", since=now - 5, pool="images")
    runs.begin("waiting", None, since=now - 3)
    assert ids(await api("GET", "/requests?running=1")) == ["old", "other", "waiting", "young"]
    assert ids(await api("GET", "/requests?running=1&backend=web1")) == ["old", "young"]
    assert ids(await api("GET", "/requests?running=1&pool=images")) == ["other"]
    assert ids(await api("GET", "/requests?running=1&id=young")) == ["young"]
    answer = await api("GET", "/requests?running=1&limit=1&pool=default")
    assert (ids(answer), answer.json["total"]) == (["old"], 3)
    assert ids(await api("GET", "/requests?running=1&failed=1&kinds=1&limit=1")) == ["old"]
    assert (await api("GET", "/requests?running=0")).json["items"] == []


async def test_a_hundred_are_listed_and_a_thousand_may_be(api: Api, runs: FakeRunning) -> None:
    for number in range(1100):
        runs.begin(str(number))
    for query, count in (("", 100), ("&limit=1000", 1000)):
        answer = await api("GET", f"/requests?running=1{query}")
        assert (len(answer.json["items"]), answer.json["total"]) == (count, 1100)
    assert (await api("GET", "/requests?running=1&limit=1001")).status == 422


async def test_other_tasks_run_while_many_are_rendered(
    api: Api, runs: FakeRunning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended meanwhile is shown as it was: a list is of one moment."""
    for number in range(3 * BATCH):
        runs.begin(str(number))
    turns = []

    async def meanwhile() -> None:
        turns.append(len(runs.exchanges))
        runs.exchanges.clear()

    monkeypatch.setattr("admin.resources.exchanges.running_requests.trio.lowlevel.checkpoint", meanwhile)
    answer = await api("GET", f"/requests?running=1&limit={3 * BATCH}")
    assert (turns[0], len(answer.json["items"])) == (3 * BATCH, 3 * BATCH)
    assert len(turns) >= 3


async def test_a_table_for_terminals(
    api: Api, runs: FakeRunning, autojump_clock: trio.testing.MockClock
) -> None:
    runs.begin("a", target=b"/" + b"x" * 100)
    runs.begin("b", None, phase="queued", method=b"")
    lines = (await api("GET", "/requests?running=1&format=table")).body.decode().splitlines()
    assert lines[0].split() == [
        *("ID", "CLIENT", "METHOD", "TARGET", "POOL", "BACKEND", "PHASE", "SECONDS", "WAITS_FOR")
    ]
    assert lines[1].startswith("a   192.0.2.1:5000  GET     /xxx")
    assert "..." in lines[1]
    assert lines[1].endswith("10.0  web1 to begin its answer")
    assert "queued" in lines[2]


async def test_one_that_runs_is_found_by_its_id_before_a_record(
    api: Api, control: Control, runs: FakeRunning
) -> None:
    recorded = ExchangeRecord(b"a", "front", "192.0.2.1:5000", control.started)
    recorded.ended, recorded.status = control.started, 200
    control.recorder.finished(recorded)
    runs.begin("a")
    assert (await api("GET", "/requests/a")).json["phase"] == "waiting for response"
    runs.exchanges.clear()
    assert (await api("GET", "/requests/a")).json["status"] == 200
    assert (await api("GET", "/requests/b")).status == 404


async def test_one_is_ended_and_the_audit_knows(api: Api, control: Control, runs: FakeRunning) -> None:
    runs.begin("a")
    runs.begin("b")
    answer = await api("DELETE", "/requests/a")
    assert (answer.status, answer.json["id"], answer.json["phase"]) == (202, "a", "waiting for response")
    assert runs.ended == [(b"a", ENDED_BY)]
    (entry,) = control.audit.newest()
    assert (entry.operation, entry.target, entry.status) == ("DELETE /requests/{id}", "a", 202)
    assert ids(await api("GET", "/requests?running=1")) == ["b"]


@pytest.mark.parametrize("recorded", [False, True])
async def test_what_does_not_run_cannot_be_ended(
    api: Api, control: Control, runs: FakeRunning, recorded: bool
) -> None:
    if recorded:
        made = ExchangeRecord(b"a", "front", "192.0.2.1:5000", control.started)
        made.ended = control.started
        control.recorder.finished(made)
    answer = await api("DELETE", "/requests/a")
    assert answer.status == 404
    assert is_problem(answer)
    assert control.audit.newest() == []


async def test_one_that_ends_by_itself_meanwhile_is_gone(
    api: Api, runs: FakeRunning, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.begin("a")
    monkeypatch.setattr(runs, "end", lambda exchange_id, why: False)
    assert (await api("DELETE", "/requests/a")).status == 404


async def test_without_a_list_of_its_own_nothing_runs(make_api: MakeApi) -> None:
    api = make_api(AdminConfig())
    assert (await api("GET", "/requests?running=1")).json == {"items": [], "total": 0}
    assert (await api("DELETE", "/requests/a")).status == 404


async def test_a_drain_says_for_whom_it_waits(api: Api, add: Add, hold: Hold, runs: FakeRunning) -> None:
    backend = add("web1")
    hold(backend)
    for number in range(7):
        runs.begin(str(number), since=float(-number), method=b"POST", target=b"/upload")
    runs.begin("elsewhere", "web2")
    answer = await api("POST", "/backends/web1/drain?wait=10ms")
    waiting = answer.json["status"]["drain"]["waiting_for"]
    assert [each["id"] for each in waiting] == ["6", "5", "4", "3", "2"]
    assert {*waiting[0]} == {"id", "client", "method", "target", "phase", "seconds"}
    assert (waiting[0]["method"], waiting[0]["target"]) == ("POST", "/upload")
    assert (await api("GET", "/backends/web1")).json["status"]["drain"]["waiting_for"][0]["id"] == "6"
    (listed,) = (await api("GET", "/backends")).json["items"]
    assert "waiting_for" not in listed["status"]["drain"]


async def test_a_drain_that_has_ended_waits_for_nobody(api: Api, add: Add, runs: FakeRunning) -> None:
    add("web1")
    answer = await api("POST", "/backends/web1/drain?wait=1s")
    assert "waiting_for" not in answer.json["status"]["drain"]
