"""What the service says of itself: health, pools, the cheat sheet, the description for machines."""

import re
from typing import Any

import pytest

from admin.application import create_app, operations
from admin.protocol.problems import KINDS
from lb.control import Control
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Add, Api, Hold, MakeApi


async def test_healthz_and_readyz(api: Api, add: Add, hold: Hold, control: Control) -> None:
    assert (await api("GET", "/healthz")).json == {"healthy": True}
    add("web1", max_in_flight=1)
    assert (await api("GET", "/readyz")).json == {"ready": True, "reasons": []}
    hold(control.registry.backend("web1"))
    assert (await api("GET", "/readyz")).status == 200  # full is load, not absence
    add("web0", weight=0)
    await api("POST", "/backends/web1/drain")
    control.registry.add_pool("empty")
    control.stopping = True
    control.listening.clear()
    answer = await api("GET", "/readyz")
    assert (answer.status, answer.json["ready"]) == (503, False)
    assert answer.json["reasons"] == [
        "stopping",
        "not listening",
        "pool default has no available backend",  # and nothing about the empty one, which nobody filled
    ]
    assert (await api("GET", "/healthz")).status == 200


async def test_info(api: Api, control: Control) -> None:
    info = (await api("GET", "/info")).json
    assert info["name"] == "trio-lb"
    assert info["started"] == "2027-01-15T08:00:00.000Z"
    assert (info["listening"], info["stopping"], info["revision"]) == (["127.0.0.1:8080"], False, 0)
    assert 0 <= info["uptime_seconds"] < 60


async def test_the_cheat_sheet_names_everything(api: Api, control: Control) -> None:
    page = (await api("GET", "/")).body.decode()
    for operation in operations(control):
        assert re.search(rf"^{operation.method} +{re.escape(operation.path)} ", page, re.MULTILINE)
    assert "curl -X DELETE 127.0.0.1:9000/backends/web4\n" in page
    assert max(map(len, page.splitlines())) <= 120


@pytest.mark.parametrize("slug", KINDS)
async def test_every_problem_is_explained(api: Api, slug: str) -> None:
    answer = await api("GET", f"/problems/{slug}")
    assert answer.body.decode().startswith(f"{KINDS[slug].status} {KINDS[slug].title}\n")


async def test_who_has_no_token_is_told_how_to_send_one_and_may_read_why(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(), "t0ken")
    answer = await api("GET", "/backends")
    assert (answer.status, answer.json["title"]) == (401, "A token is needed")
    assert answer.json["detail"] == "send it as `Authorization: Bearer TOKEN`"
    assert (await api("GET", answer.json["type"])).status == 200
    assert (await api("GET", "/problems/nope")).status == 404


async def test_openapi_describes_every_route_and_its_answers(api: Api, control: Control) -> None:
    document = (await api("GET", "/openapi.json")).json
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in create_app(control, None).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    for reference in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert reference in document["components"]["schemas"]


async def test_openapi_describes_forms_with_dots_and_empty_values(api: Api) -> None:
    paths = (await api("GET", "/openapi.json")).json["paths"]
    forms = [
        paths[path][method]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        for path, method in (("/backends", "post"), ("/pools/{name}", "patch"))
    ]
    backend, pool = forms
    assert backend["required"] == ["url"]
    assert backend["properties"]["max_in_flight"]["anyOf"] == [
        {"type": "integer", "minimum": 1},
        {"enum": [""]},
    ]
    assert list(backend["patternProperties"]) == [r"^labels\."]
    assert pool["properties"]["probe"] == {"enum": [""]}
    assert {"probe.path", "probe.status", "ejection.consecutive"} <= pool["properties"].keys()
    assert list(pool["patternProperties"]) == [r"^probe\.fields\."]
    assert not backend["additionalProperties"]
    assert not pool["additionalProperties"]


async def test_openapi_has_the_statuses_that_are_really_answered(api: Api, add: Add, hold: Hold) -> None:
    document = (await api("GET", "/openapi.json")).json["paths"]
    hold(add("web1"))
    asked: list[tuple[str, str, str, Any]] = [
        ("POST", "/backends", "/backends", {"id": "web2", "url": "http://10.0.0.2"}),
        ("POST", "/backends", "/backends", {"id": "web2", "url": "http://10.0.0.3"}),
        ("POST", "/backends", "/backends", {"url": 1}),
        ("POST", "/backends/{id}/drain", "/backends/web1/drain", None),
        ("POST", "/backends/{id}/ready", "/backends/nope/ready", None),
        ("DELETE", "/backends/{id}", "/backends/web1", None),
        ("DELETE", "/backends/{id}", "/backends/web2", None),
        ("GET", "/readyz", "/readyz", None),
        ("GET", "/pools/{name}", "/pools/nope", None),
        ("POST", "/backends/{id}/check", "/backends/web1/check", None),
        ("PATCH", "/pools/{name}", "/pools/default", {"probe": {}}),
        ("PATCH", "/pools/{name}", "/pools/default", {"prob": {}}),
        ("POST", "/backends/{id}/check", "/backends/web1/check", None),
    ]
    for method, path, target, body in asked:
        answer = await api(method, target, json=body)
        assert str(answer.status) in document[path][method.lower()]["responses"], (target, answer.status)
