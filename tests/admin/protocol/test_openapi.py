"""/openapi.json describes what is really served."""

import re
from typing import Any

from admin.application import create_app
from admin.protocol.attribute_docs import attribute_docs
from lb.control import Control
from lb.observe.log_lines import LoggedTls
from lb.settings.pool_settings import Probe
from tests.admin.kit import Add, Api, Hold


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


async def test_openapi_says_what_each_setting_means(api: Api) -> None:
    schemas = (await api("GET", "/openapi.json")).json["components"]["schemas"]
    assert schemas["Probe"]["properties"]["timeout"]["description"] == attribute_docs(Probe)["timeout"]
    assert schemas["LoggedTls"]["properties"]["cipher"]["description"] == attribute_docs(LoggedTls)["cipher"]
