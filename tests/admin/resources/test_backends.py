"""/backends, as an operator uses it."""

import errno
from typing import Any

import pytest
import trio

from lb.control import Control
from lb.core.backend import AdminState
from lb.core.drain import Outcome
from lb.settings.balancer_settings import Config, Timeouts
from tests.admin.kit import Add, Api, Hold, Saves

WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}


async def test_add_by_form_as_people_type_it(api: Api) -> None:
    answer = await api("POST", "/backends", form="url=http://127.0.0.1:9104&weight=2&labels.zone=a")
    assert answer.status == 201
    assert answer.headers["location"] == "/backends/127.0.0.1-9104"
    assert answer.headers["etag"] == '"1"'
    assert answer.json == {
        "id": "127.0.0.1-9104",
        "url": "http://127.0.0.1:9104",
        "pool": "default",
        "weight": 2,
        "max_in_flight": None,
        "max_connections": None,
        "backup": False,
        "admin_state": "ready",
        "labels": {"zone": "a"},
        "source": "api",
        "revision": 1,
        "status": {
            "state": "ready",
            "why_not": None,
            "health": {
                "verdict": "unknown",
                "since": None,
                "why": "the pool has no probe",
                "last": None,
                "passes": 0,
                "fails": 0,
                "recent": [],
            },
            "outcomes": {"standing": "admitted", "since": None, "why": "", "until": None, "ejections": 0},
            "share": 2.0,
            "in_flight": 0,
            "connections": 0,
            "idle_connections": 0,
            "requests_total": 0,
            "failures_total": 0,
            "since": answer.json["status"]["since"],
            "drain": None,
        },
        "persisted": True,
    }
    assert answer.json["status"]["since"].startswith("2027-01-15T08:00:00.")


async def test_the_same_again_is_no_conflict_but_something_else_is(api: Api) -> None:
    assert (await api("POST", "/backends", json=WEB1)).status == 201
    again = await api("POST", "/backends", json=WEB1)
    assert (again.status, again.json["revision"]) == (200, 1)
    other = await api("POST", "/backends", json={**WEB1, "weight": 2})
    assert (other.status, other.json["type"]) == (409, "/problems/conflict")
    assert "location" not in again.headers


async def test_adding_again_takes_back_a_drain(api: Api, add: Add, hold: Hold) -> None:
    hold(backend := add("web1"))
    await api("POST", "/backends/web1/drain")
    assert (await api("POST", "/backends", json=WEB1)).json["admin_state"] == "ready"
    assert backend.drain is None


async def test_json_sent_as_a_form_is_read_as_json(api: Api) -> None:
    answer = await api("POST", "/backends", form=' {"url": "http://10.0.0.1", "max_in_flight": 5}')
    assert (answer.status, answer.json["max_in_flight"], answer.json["id"]) == (201, 5, "10.0.0.1-80")


async def test_a_backend_can_be_added_in_maintenance(api: Api, control: Control) -> None:
    await api("POST", "/backends", json={**WEB1, "admin_state": "maintenance"})
    assert control.registry.backend("web1").admin_state is AdminState.MAINTENANCE


async def test_list_filters_and_sums(api: Api, add: Add, hold: Hold, control: Control) -> None:
    control.registry.add_pool("other")
    hold(add("web1"))
    add("web2", "other")
    await api("POST", "/backends/web1/drain")
    everything = (await api("GET", "/backends")).json
    assert [item["id"] for item in everything["items"]] == ["web1", "web2"]
    assert everything["totals"] == {"backends": 2, "available": 1, "in_flight": 1}
    for query, ids in {"pool=other": ["web2"], "state=draining": ["web1"], "state=drained": []}.items():
        items = (await api("GET", f"/backends?{query}")).json["items"]
        assert [item["id"] for item in items] == ids, query


async def test_a_table_for_terminals(api: Api, add: Add) -> None:
    add("web1", weight=10)
    add("a-longer-name")
    answer = await api("GET", "/backends?format=table")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode().splitlines() == [
        "ID             POOL     URL                 STATE  WEIGHT  IN_FLIGHT  REQUESTS  FAILURES  WHY",
        "web1           default  http://10.0.0.1:80  ready      10          0         0         0",
        "a-longer-name  default  http://10.0.0.1:80  ready       1          0         0         0",
    ]
    assert b"web1 " in (await api("GET", "/backends/web1?format=table")).body


async def test_curl_gets_lines_and_others_do_not(api: Api, add: Add) -> None:
    add("web1")
    assert (await api("GET", "/backends", headers={"User-Agent": "curl/8.1"})).body.count(b"\n") > 10
    assert b"\n" not in (await api("GET", "/backends", headers={"User-Agent": "httpx"})).body


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


async def test_a_client_that_leaves_at_once_still_has_its_change_saved(
    api: Api, add: Add, saves: Saves
) -> None:
    backend = add("web1")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api, "POST", "/backends/web1/maintenance")
            while backend.admin_state is AdminState.READY:
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert saves.count == 1


async def test_get_waits_until_drained(
    api: Api, add: Add, hold: Hold, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    backend = add("web1")
    holder = hold(backend)
    at_once = await api("GET", "/backends/web1?wait=drained")
    assert at_once.json["status"]["state"] == "ready"
    control.registry.drain(backend, 300)
    started = trio.current_time()
    await api("GET", "/backends/web1?wait=drained")
    assert trio.current_time() - started == 30
    answer = await api("GET", "/backends/web1?wait=drained&timeout=2.5")
    assert (answer.json["status"]["state"], trio.current_time() - started) == ("draining", 32.5)
    holder.end()
    assert (await api("GET", "/backends/web1?wait=drained")).json["status"]["state"] == "drained"


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


async def test_put_creates_and_replaces(api: Api, add: Add) -> None:
    created = await api("PUT", "/backends/web1", json={"url": "http://10.0.0.1", "weight": 3})
    assert (created.status, created.headers["location"]) == (201, "/backends/web1")
    replaced = await api("PUT", "/backends/web1", json={"url": "http://10.0.0.2"})
    assert (replaced.status, replaced.json["weight"], replaced.json["url"]) == (200, 1, "http://10.0.0.2")
    wrong = await api("PUT", "/backends/web1", json=WEB1 | {"id": "web2"})
    assert (wrong.status, wrong.pointers) == (422, ["#/id"])


async def test_what_get_gives_put_takes(api: Api, add: Add) -> None:
    add("web1", weight=4, labels={"zone": "a"}, backup=True, max_connections=9)
    seen = (await api("GET", "/backends/web1")).json
    assert (await api("PUT", "/backends/web1", json=seen)).json == seen | {"persisted": True}
    everything = (await api("GET", "/backends")).json
    assert (await api("PUT", "/backends", json=everything)).json == everything | {"persisted": True}


async def test_patch_changes_what_it_names(api: Api, add: Add) -> None:
    add("web1", weight=4, max_in_flight=9, max_connections=7, labels={"zone": "a", "rack": "1"})
    merge = {"Content-Type": "application/merge-patch+json"}
    patch = {"weight": None, "labels": {"rack": None, "row": ""}, "admin_state": "draining"}
    answer = (await api("PATCH", "/backends/web1", json=patch, headers=merge)).json
    assert (answer["weight"], answer["max_in_flight"], answer["admin_state"]) == (1, 9, "draining")
    assert answer["labels"] == {"zone": "a", "row": ""}
    typed = "weight=7&max_in_flight=&max_connections=5&backup=true&labels.row="
    form = (await api("PATCH", "/backends/web1", form=typed)).json
    assert (form["weight"], form["max_in_flight"], form["labels"]) == (7, None, {"zone": "a"})
    assert (form["max_connections"], form["backup"]) == (5, True)
    form = (await api("PATCH", "/backends/web1", form="max_connections=&backup=")).json
    assert (form["max_connections"], form["backup"]) == (None, False)
    assert (await api("PATCH", "/backends/web1", form="pool=nope")).pointers == ["#/pool"]


async def test_a_backend_keeps_its_id_and_its_pool(api: Api, add: Add, control: Control) -> None:
    control.registry.add_pool("other")
    add("web1")
    assert (await api("PATCH", "/backends/web1", json={"id": "web2"})).status == 409
    assert (await api("PATCH", "/backends/web1", json={"pool": "other"})).status == 409
    assert (await api("PATCH", "/backends/web1", json={"pool": "default"})).status == 200


async def test_put_on_the_collection_replaces_a_pool_at_once(
    api: Api, add: Add, hold: Hold, control: Control
) -> None:
    control.registry.add_pool("other")
    add("elsewhere", "other")
    add("web1")
    hold(add("web2"))
    wanted = [WEB1, {"id": "web3", "url": "http://10.0.0.3", "admin_state": "maintenance"}]
    answer = await api("PUT", "/backends?drain_timeout=30s", json=wanted)
    assert answer.status == 202
    states = {item["id"]: item["status"]["state"] for item in answer.json["items"]}
    assert states == {"web1": "ready", "web2": "draining", "web3": "maintenance"}
    assert (await api("PUT", "/backends?pool=other", json=[])).status == 200
    assert "elsewhere" not in control.registry.backends


async def test_put_on_the_collection_is_all_or_nothing(api: Api, add: Add, control: Control) -> None:
    control.registry.add_pool("other")
    add("web9", "other")
    add("web1")
    before = control.registry.revision
    bodies = [
        ([WEB1, {"id": "b", "url": "ftp://x"}, 5], 422, ["#/1/url", "#/2"]),
        ({"items": [WEB1, WEB1]}, 422, ["#/items/1/id"]),
        ({"items": [{**WEB1, "pool": "other"}]}, 422, ["#/items/0/pool"]),
        ({"itmes": []}, 422, ["#/itmes", "#/items"]),
        ("x", 422, ["#"]),
        ([{"id": "web9", "url": "http://10.0.0.1"}], 409, None),
    ]
    for body, status, pointers in bodies:
        answer = await api("PUT", "/backends", json=body)
        assert answer.status == status, body
        assert pointers is None or answer.pointers == pointers
    assert control.registry.revision == before


async def test_an_empty_body_never_empties_a_pool(api: Api, add: Add, control: Control) -> None:
    add("web1")
    assert (await api("PUT", "/backends")).status == 422
    assert "web1" in control.registry.backends


async def test_conditions(api: Api, add: Add, control: Control) -> None:
    add("web1")
    revision = control.registry.backend("web1").revision
    stale, fresh = {"If-Match": '"999"'}, {"If-Match": f'"999", "{revision}"'}
    for method, path in [("PATCH", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/ready"), ("PUT", "")]:
        answer = await api(method, f"/backends/web1{path}", headers=stale, json=None if path else WEB1)
        assert (answer.status, method) == (412, method)
    assert (await api("PATCH", "/backends/web1", form="weight=2", headers=fresh)).status == 200
    assert (await api("PATCH", "/backends/web1", form="weight=2", headers=fresh)).status == 412
    assert (await api("PATCH", "/backends/web1", form="weight=3", headers={"If-Match": "*"})).status == 200
    create = {"If-None-Match": "*"}
    assert (await api("PUT", "/backends/web1", json=WEB1, headers=create)).status == 412
    assert (await api("POST", "/backends", json=WEB1, headers=create)).status == 412
    assert (await api("PUT", "/backends/web2", json={"url": "http://a"}, headers=stale)).status == 412
    assert (await api("PUT", "/backends/web2", json={"url": "http://a"}, headers=create)).status == 201
    assert (await api("PUT", "/backends", json=[], headers=stale)).status == 412


async def test_what_is_known_is_not_sent_again(api: Api, add: Add) -> None:
    add("web1")
    for path in ("/backends", "/backends/web1"):
        tag = (await api("GET", path)).headers["etag"]
        answer = await api("GET", path, headers={"If-None-Match": f"W/{tag}"})
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    await api("PATCH", "/backends/web1", form="weight=2")
    assert (await api("GET", "/backends", headers={"If-None-Match": tag})).status == 200


@pytest.mark.parametrize("has_file", [True, False])
async def test_every_change_says_whether_it_was_written_down(
    api: Api, add: Add, saves: Saves, has_file: bool
) -> None:
    add("web1")
    saves.has_file = has_file
    changes = [
        ("POST", "/backends", {"id": "web2", "url": "http://10.0.0.2"}),
        ("PUT", "/backends/web2", {"url": "http://10.0.0.3"}),
        ("PATCH", "/backends/web2", {"weight": 2}),
        ("POST", "/backends/web2/maintenance", None),
        ("POST", "/backends/web2/ready", None),
        ("POST", "/backends/web2/drain", None),
        ("PUT", "/backends", [WEB1]),
    ]
    for method, path, body in changes:
        answer = await api(method, path, json=body)
        assert (answer.status // 100, answer.json["persisted"]) == (2, has_file), path
    await api("DELETE", "/backends/web1?force=1")
    assert saves.count == len(changes) + 1


async def test_a_change_that_cannot_be_written_down_holds_in_memory(
    api: Api, saves: Saves, control: Control
) -> None:
    saves.error = OSError(errno.ENOSPC, "No space left on device", "state.json")
    answer = await api("POST", "/backends", json=WEB1)
    assert (answer.status, answer.json["type"]) == (500, "/problems/not-persisted")
    assert "holds in memory" in answer.json["detail"]
    assert "No space left" in answer.json["detail"]
    assert "web1" in control.registry.backends
    saves.error = None
    assert (await api("POST", "/backends", json=WEB1)).json["persisted"] is True


async def test_a_save_that_hangs_is_given_up(
    api: Api, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    control.save = trio.sleep_forever
    answer = await api("POST", "/backends", json=WEB1)
    assert (answer.status, "took too long" in answer.json["detail"]) == (500, True)


async def test_g149_fifty_at_once_on_one_id(api: Api, control: Control) -> None:
    wishes: list[tuple[str, str, Any]] = [
        ("POST", "/backends", WEB1),
        ("DELETE", "/backends/web1", None),
        ("POST", "/backends/web1/drain?then=keep", None),
        ("POST", "/backends/web1/ready", None),
        ("PATCH", "/backends/web1", {"weight": 3}),
    ]
    statuses = set()

    async def ask(method: str, path: str, body: Any) -> None:
        statuses.add((await api(method, path, json=body)).status)

    async with trio.open_nursery() as nursery:
        for wish in wishes * 10:
            nursery.start_soon(ask, *wish)
    assert statuses <= {200, 201, 202, 204, 404, 409}
    assert 201 in statuses
    await api("PUT", "/backends/web1", json={**WEB1, "weight": 8})
    assert control.registry.backend("web1").spec.weight == 8
    assert len(control.registry.pools["default"].backends) == 1


async def test_failures_of_clients_are_not_held_against_a_backend(api: Api, add: Add) -> None:
    from lb.errors import Reason

    backend = add("web1")
    backend.codes[200] = 5
    backend.failures[Reason.CONNECTION_REFUSED] = 2
    backend.failures[Reason.CLIENT_DISCONNECTED] = 1
    status = (await api("GET", "/backends/web1")).json["status"]
    assert (status["requests_total"], status["failures_total"]) == (8, 2)
