"""Who changed what: the line of the log, and GET /audit."""

from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from msgspec.structs import replace

from lb.control import Control
from lb.observe.audit_trail import KEPT, LONGEST_TEXT, MOST_CHANGES, Act, Seen
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Add, Api, Hold, MakeApi

Line = Any


async def newest(api: Api, **headers: str) -> Any:
    return (await api("GET", "/audit?limit=1", headers=headers)).json["items"][0]


async def test_an_act_is_a_line_with_old_and_new(api: Api, add: Add) -> None:
    add("web1", weight=2)
    with structlog.testing.capture_logs() as logged:
        answer = await api("PATCH", "/backends/web1", json={"weight": 5, "labels": {"rack": "a"}})
    [line] = [line for line in logged if line["event"] == "audit"]
    assert line == {
        "event": "audit",
        "log_level": "info",
        "who": "anonymous",
        "source": line["source"],
        "operation": "PATCH /backends/{id}",
        "target": "web1",
        "changes": {"backends.web1.weight": (2, 5), "backends.web1.labels": (None, {"rack": "a"})},
        "request_id": line["request_id"],
        "status": 200,
    }
    kept = await newest(api)
    assert answer.status == kept["status"] == 200
    assert kept["changes"]["backends.web1.weight"] == [2, 5]
    assert kept["at"].startswith("2027-")


@pytest.mark.parametrize(
    ("method", "path", "body", "changes"),
    [
        ("POST", "/backends/web1/maintenance", None, {"backends.web1.admin_state": ["ready", "maintenance"]}),
        (
            "POST",
            "/backends/web1/drain?then=remove",
            None,
            {"backends.web1.admin_state": ["ready", "draining"], "backends.web1.then": [None, "remove"]},
        ),
        ("POST", "/drain", None, {"balancer": ["ready", "draining"]}),
        (
            "PATCH",
            "/pools/default",
            {"policy": "ewma", "probe": {"fields": {"X-Token": "s3cret"}}},
            {
                "pools.default.policy": ["round_robin", "ewma"],
                "pools.default.probe.fields.X-Token": [None, "(hidden)"],
            },
        ),
    ],
)
async def test_what_changes_is_found(
    api: Api, add: Add, hold: Hold, method: str, path: str, body: object, changes: dict[str, Any]
) -> None:
    hold(add("web1"))
    assert (await api(method, path, json=body)).status < 300
    found = (await newest(api))["changes"]
    assert {key: found.get(key) for key in changes} == changes
    assert "s3cret" not in str(found)


async def test_what_comes_and_goes(api: Api) -> None:
    await api("POST", "/backends", form="url=http://10.0.0.1&id=web1")
    assert (await newest(api))["changes"]["backends.web1.url"] == [None, "http://10.0.0.1"]
    await api("DELETE", "/backends/web1?force=true")
    assert (await newest(api))["changes"]["backends.web1.url"] == ["http://10.0.0.1", None]


async def test_what_changes_nothing_is_no_act_but_the_same_wish_again_is(api: Api, add: Add) -> None:
    add("web1")
    await api("PATCH", "/backends/web1", json={"weight": -1})
    await api("POST", "/backends/nope/drain")
    await api("POST", "/config/validate", body=b"via='x'", headers={"Content-Type": "application/toml"})
    await api("GET", "/backends")
    await api("DELETE", "/backends/web1?dry_run=true")
    assert (await api("GET", "/audit")).json["items"] == []
    await api("POST", "/backends/web1/ready")
    assert (await newest(api))["changes"] == {}


async def test_a_change_that_could_not_be_saved_is_told_with_its_status(
    api: Api, add: Add, saves: Any
) -> None:
    add("web1")
    saves.error = OSError(28, "full")
    await api("PATCH", "/backends/web1", json={"weight": 3})
    assert (await newest(api))["status"] == 500


async def test_two_at_once_are_told_apart_and_who_leaves_is_told(
    api: Api, add: Add, hold: Hold, autojump_clock: trio.testing.MockClock
) -> None:
    hold(add("web1"))
    add("web2")
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api, "POST", "/backends/web1/drain?wait=30s")
            await trio.sleep(0.5)
            await api("PATCH", "/backends/web2", json={"weight": 7})
    items = (await api("GET", "/audit")).json["items"]
    assert {each["target"]: (each["status"], [*each["changes"]]) for each in items} == {
        "web2": (200, ["backends.web2.weight"]),
        "web1": (None, ["backends.web1.admin_state", "backends.web1.then"]),
    }


async def test_who_is_refused_is_told_once_a_second(
    make_api: MakeApi, autojump_clock: trio.testing.MockClock
) -> None:
    api = make_api(AdminConfig(), "t0ken")
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            await api("GET", "/secret\n-path", headers={"Authorization": "Bearer gu3ss"})
        await trio.sleep(1)
        await api("POST", "/backends")
    lines = [line for line in logged if line["event"] == "audit"]
    assert [(line["operation"], line["status"], line.get("and_more")) for line in lines] == [
        ("no such path", 401, None),
        ("POST /backends", 401, 4),
    ]
    assert lines[0]["log_level"] == "warning"
    assert "gu3ss" not in str(logged)
    items = (await api("GET", "/audit", headers={"Authorization": "Bearer t0ken"})).json["items"]
    assert [each["why"] for each in items] == ["A token is needed", "A token is needed"]


async def test_it_is_bounded_and_says_since_when_it_has_all(
    api: Api, add: Add, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    add("web1")
    for _ in range(KEPT):
        await api("POST", "/backends/web1/ready")
        await trio.sleep(1)
    shown = (await api("GET", "/audit")).json
    assert shown["remembered_since"] == "2027-01-15T08:00:00.000Z", "the start"
    assert shown["file"] is None
    for _ in range(5):
        await api("POST", "/backends/web1/ready")
    assert (await api("GET", "/audit")).json["remembered_since"].startswith("2027-01-15T08:00:04.")
    assert len(control.audit.newest()) == KEPT
    assert len((await api("GET", "/audit")).json["items"]) == 50
    assert (await api("GET", "/audit?limit=0")).status == 422


async def test_the_end_of_a_drain_is_nobodys_act(api: Api, add: Add, hold: Hold) -> None:
    backend = add("web1")
    for then in ("keep", "maintenance"):
        holder = hold(backend)
        await api("POST", f"/backends/web1/drain?then={then}")
        assert (await newest(api))["changes"]["backends.web1.then"] == [None, then]
        holder.end()
        await api("PATCH", "/backends/web1", json={"weight": backend.spec.weight + 1})
        assert [*(await newest(api))["changes"]] == ["backends.web1.weight"]
        await api("POST", "/backends/web1/ready")
        assert [*(await newest(api))["changes"]] == ["backends.web1.admin_state"]


async def test_the_end_of_the_balancer_is_told(api: Api, control: Control) -> None:
    control.stop = lambda: None
    await api("POST", "/drain?exit=true")
    assert (await newest(api))["changes"] == {"balancer": ["ready", "stopping"]}
    await api("POST", "/drain?exit=true")
    assert (await newest(api))["changes"] == {"balancer": ["draining", "stopping"]}


async def test_an_act_is_of_the_time_when_it_began(
    api: Api, add: Add, hold: Hold, autojump_clock: trio.testing.MockClock
) -> None:
    hold(add("web1"))
    add("web2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api, "POST", "/backends/web1/drain?wait=30s")
        await trio.sleep(10)
        await api("POST", "/backends/web2/ready")
    later, sooner = (await api("GET", "/audit")).json["items"]
    assert (later["target"], sooner["target"]) == ("web2", "web1")
    assert (later["at"][-11:-5], sooner["at"][-11:-5]) == (":00:10", ":00:00")


async def test_one_entry_is_bounded_too(api: Api, add: Add) -> None:
    many = [{"id": f"web{number}", "url": f"http://10.0.0.{number}"} for number in range(100)]
    await api("PUT", "/backends", json=many)
    entry = await newest(api)
    assert len(entry["changes"]) == MOST_CHANGES
    assert entry["untold"] > 0
    await api("PATCH", "/backends/web1", json={"labels": {"long": "x" * 50_000}})
    entry = await newest(api)
    [(_, after)] = entry["changes"].values()
    assert (len(after), entry["untold"]) == (LONGEST_TEXT + 3, 0)
    headers = {"Origin": "http://" + "x" * 50_000}
    await api("POST", "/backends/web1/ready", headers=headers)
    assert len((await newest(api))["why"]) == LONGEST_TEXT


async def test_of_a_long_list_no_more_is_written_out_than_is_kept(api: Api, control: Control) -> None:
    written: list[object] = []

    class Item:
        def __repr__(self) -> str:
            written.append(self)
            return "item"

    act = Act(who="me", source="here", operation="SIGHUP")
    with control.audit.act(act):
        control.audit.changed("routes", [], [Item() for _ in range(20_000)])
    control.audit.note(act)
    [(before, after)] = (await newest(api))["changes"].values()
    assert (before, after[:12], len(after)) == ([], "[item, item,", LONGEST_TEXT + 3)
    assert len(written) <= LONGEST_TEXT


SPEC = BackendSpec(id="web1", url="http://10.0.0.1:80")
SEEN = Seen(SPEC, "default", "ready", None)
STATES = (
    None,
    SEEN,
    SEEN._replace(admin_state="draining", then="remove"),
    SEEN._replace(pool="other", spec=replace(SPEC, labels={"rack": "a"})),
    SEEN._replace(spec=replace(SPEC, weight=0, max_in_flight=2, backup=True)),
)


@pytest.mark.parametrize("states", [*permutations(STATES, 3)])
def test_as_many_changes_are_counted_as_are_told(states: Sequence[Seen | None]) -> None:
    act = Act(who="me", source="here", operation="SIGHUP")
    for before, after in pairwise((*states, states[1], states[0])):
        act.changed_backend("web1", before, after)
        assert act.count == len(act.changes(MOST_CHANGES))
    assert act.count == 0


async def test_a_mistake_of_ours_is_no_client_that_left(api: Api, add: Add, saves: Any) -> None:
    add("web1")
    saves.error = RuntimeError("bug")
    assert (await api("PATCH", "/backends/web1", json={"weight": 3})).status == 500
    assert (await newest(api))["status"] == 500


async def test_what_a_page_of_another_site_wanted_is_told(api: Api, add: Add) -> None:
    add("web1")
    await api("POST", "/backends/web1/drain", headers={"Origin": "http://evil.test"})
    refused = await newest(api)
    assert (refused["operation"], refused["status"]) == ("POST /backends/{id}/drain", 403)
    assert refused["why"] == "Origin 'http://evil.test' is not this server"
