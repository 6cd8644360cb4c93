"""?dry_run=true says what would be; ?keep_available=N refuses what would leave too few."""

from typing import Any

import pytest
import trio
import trio.testing

from lb.control import Control
from tests.admin.kit import Add, Api, Hold, Saves

SET = {
    "items": [{"id": "web1", "url": "http://10.0.0.9", "weight": 3}, {"id": "web4", "url": "http://10.0.0.4"}]
}


def seen(control: Control) -> list[Any]:
    return [
        (each.id, each.spec, each.admin_state, each.in_flight, each.revision, each.drain)
        for each in control.registry.backends.values()
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/backends", {"url": "http://10.0.0.7"}, 201),
        ("POST", "/backends", {"id": "web1", "url": "http://10.0.0.7"}, 409),
        ("PUT", "/backends", SET, 200),
        ("PUT", "/backends/web1", {"url": "http://10.0.0.8", "admin_state": "maintenance"}, 200),
        ("PUT", "/backends/new", {"url": "http://10.0.0.8"}, 201),
        ("PATCH", "/backends/web1", {"weight": 9, "admin_state": "draining"}, 200),
        ("DELETE", "/backends/web1?wait=30s", None, 202),
        ("DELETE", "/backends/web2", None, 204),
        ("DELETE", "/backends/web1?force=true", None, 204),
        ("PATCH", "/pools/default", {"policy": "ewma", "probe": {}, "retry": {"budget": 0.5}}, 200),
    ],
)
async def test_a_dry_run_answers_what_would_be_and_changes_nothing(
    api: Api,
    add: Add,
    hold: Hold,
    control: Control,
    saves: Saves,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    holder = hold(add("web1"))
    add("web2")
    before, settings = seen(control), control.registry.pool("default").settings
    policy, budget = control.registry.pool("default").policy, control.registry.pool("default").budget
    left = budget.left(control.registry.now())
    answer = await api(method, f"{path}{'&' if '?' in path else '?'}dry_run=true", json=body)
    assert answer.status == status
    assert (answer.headers.get("lb-dry-run") == "true") is (status < 300)
    assert seen(control) == before
    assert control.registry.pool("default").settings is settings
    assert control.registry.pool("default").policy is policy
    assert budget.left(control.registry.now()) == left
    assert (saves.count, holder.was_cut, [*control.registry.pools]) == (0, False, ["default"])
    really = await api(method, path.replace("?wait=30s", ""), json=body)
    assert really.status == status
    if status in (200, 201):
        ignored = {"persisted", "status", "items"}
        assert {k: v for k, v in really.json.items() if k not in ignored} == {
            k: v for k, v in answer.json.items() if k not in ignored
        }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/backends/web1/drain?"),
        ("POST", "/backends/web1/maintenance?"),
        ("DELETE", "/backends/web1?"),
        ("DELETE", "/backends/web1?force=true&"),
    ],
)
async def test_so_many_are_kept_available(
    api: Api, add: Add, control: Control, method: str, path: str
) -> None:
    for name in ("web1", "web2", "web3"):
        add(name)
    await api("POST", "/backends/web3/maintenance")
    before = seen(control)
    answer = await api(method, f"{path}keep_available=2")
    assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
    assert answer.json["detail"] == "it would leave 1 backend of pool 'default' available, not 2"
    assert seen(control) == before
    assert (await api(method, f"{path}keep_available=1")).status < 300


async def test_of_a_set_that_is_replaced_those_count_that_would_be_available(api: Api, add: Add) -> None:
    add("web1")
    body = {"items": [{"url": "http://10.0.0.7", "weight": 0}, {"url": "http://10.0.0.8"}]}
    assert (await api("PUT", "/backends?keep_available=2", json=body)).status == 409
    assert (await api("PUT", "/backends?keep_available=1", json=body)).status == 200


async def test_of_two_who_ask_at_once_one_is_refused(api: Api, add: Add) -> None:
    add("web1")
    add("web2")
    statuses: list[int] = []

    async def drain(name: str) -> None:
        statuses.append((await api("POST", f"/backends/{name}/drain", json={"keep_available": 1})).status)

    async with trio.open_nursery() as nursery:
        for name in ("web1", "web2"):
            nursery.start_soon(drain, name)
    assert sorted(statuses) == [200, 409]


@pytest.mark.parametrize("value", ["-1", "two", "1.5", "99999999", "%C2%B2"])
async def test_it_is_a_number(api: Api, add: Add, value: str) -> None:
    add("web1")
    assert (await api("POST", f"/backends/web1/drain?keep_available={value}")).status == 422


async def test_a_dry_run_may_be_guarded_too(api: Api, add: Add, control: Control) -> None:
    add("web1")
    assert (await api("DELETE", "/backends/web1?dry_run=1&keep_available=1")).status == 409
    assert (await api("DELETE", "/backends/web1?dry_run=1&keep_available=0")).status == 204
    assert [*control.registry.backends] == ["web1"]
