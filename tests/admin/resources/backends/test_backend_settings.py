"""Add and change backends, and replace the set of a pool."""

from typing import Any

import trio

from lb.control import Control
from lb.core.backend import AdminState
from tests.admin.kit import Add, Api, Hold

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
        "notice": None,
        "missing_seconds": None,
        "revision": 1,
        "status": {
            "state": "ready",
            "why_not": None,
            "why": "",
            "health": {
                "verdict": "unknown",
                "since": None,
                "why": "the pool has no probe",
                "last": None,
                "passes": 0,
                "fails": 0,
                "downs": 0,
                "down_seconds": 0.0,
                "recent": [],
            },
            "outcomes": {"standing": "admitted", "since": None, "why": "", "until": None, "ejections": 0},
            "share": 2.0,
            "in_flight": 0,
            "connections": 0,
            "idle_connections": 0,
            "requests_total": 0,
            "responses_5xx_total": 0,
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


async def test_all_mistakes_are_told_at_once(api: Api) -> None:
    body = {"url": "ftp://a", "weight": -1, "pool": "defualt", "id": "a b", "max_in_flight": 0, "wieght": 3}
    answer = await api("POST", "/backends", json=body)
    assert answer.status == 422
    told = {each["pointer"]: each.get("hint") or each["detail"] for each in answer.json["errors"]}
    assert told.keys() == {f"#/{name}" for name in body}
    assert told["#/pool"] == "did you mean `default`?"
    assert told["#/weight"] == "-1 is not between 0 and 1000000"


async def test_a_refused_address_is_told_with_the_other_mistakes(api: Api) -> None:
    body = {"url": "http://169.254.169.254", "weight": "many", "pool": "zzz"}
    answer = await api("POST", "/backends", json=body)
    assert [each["pointer"] for each in answer.json["errors"]] == ["#/pool", "#/url", "#/weight"]
    answer = await api("POST", "/backends", json={"weight": -1})
    assert [each["pointer"] for each in answer.json["errors"]] == ["#/url", "#/weight"]
