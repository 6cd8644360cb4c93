"""Parameters and fields: each mistake is named with its place."""

from typing import Any

import pytest

from admin.protocol.call import MOST_PARAMETERS
from lb.core.backend_state import STATES
from tests.admin.kit import Add, Api

MANY = {f"wrng{n:04}": 1 for n in range(4000)}


async def test_every_mistake_is_named_with_its_place(api: Api) -> None:
    answer = await api("POST", "/backends", json={"url": "ftp://x", "wieght": 2, "a/b~c": 1, "labels": 5})
    assert answer.json["errors"] == [
        {"pointer": "#/a~1b~0c", "detail": "unknown field", "hint": answer.json["errors"][0]["hint"]},
        {"pointer": "#/labels", "detail": "expected object, got int"},
        {
            "pointer": "#/url",
            "detail": "'ftp://x': expected http://host:port, https://host:port or unix:/path",
        },
        {"pointer": "#/wieght", "detail": "unknown field", "hint": "did you mean `weight`?"},
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "unknown"),
    [
        ("POST", "/backends", {"url": "http://a", **MANY}, 4000),
        ("POST", "/backends/web1/drain", MANY, 4000),
        ("PUT", "/backends", {"items": [], **MANY}, 4000),
        ("PUT", "/backends", [{"url": "http://a", f"w{n}": 1} for n in range(1500)], 1500),
        ("PATCH", "/pools/default", MANY, 4000),
        ("PATCH", "/pools/default", {"probe": MANY, "retry": {"x": 1}}, 4001),
    ],
    ids=str,
)
async def test_of_thousands_of_mistakes_a_hundred_are_listed_and_twenty_explained(
    api: Api, method: str, path: str, body: Any, unknown: int, add: Add
) -> None:
    add("web1")
    errors = (await api(method, path, json=body)).json["errors"]
    assert len(errors) == 101
    assert sum("hint" in error for error in errors) == 20
    assert errors[-1] == {"pointer": "#", "detail": f"there are {unknown - 100} more mistakes"}


async def test_hundreds_of_parameters_are_not_all_explained(api: Api) -> None:
    query = "&".join(f"a{n}=1" for n in range(300))
    errors = (await api("GET", f"/backends?{query}")).json["errors"]
    assert (len(errors), sum("hint" in error for error in errors)) == (101, 20)


async def test_a_query_of_more_parameters_is_not_read(api: Api) -> None:
    for count, told in ((MOST_PARAMETERS, 101), (MOST_PARAMETERS + 1, 1)):
        answer = await api("GET", "/backends?" + "&".join(f"a{n}" for n in range(count)))
        assert (answer.status, len(answer.json["errors"])) == (422, told)
    assert answer.json["errors"] == [{"detail": f"the query has more than {MOST_PARAMETERS} parameters"}]


async def test_unknown_parameters_are_named(api: Api, add: Add) -> None:
    add("web1")
    answer = await api("POST", "/backends/web1/drain?tiemout=5&wait=1&wait=2")
    assert answer.json["errors"] == [
        {"parameter": "tiemout", "detail": "unknown parameter", "hint": "did you mean `timeout`?"},
        {"parameter": "wait", "detail": "given more than once"},
    ]
    posted = await api("POST", "/backends/web1/drain", form="tiemout=5")
    assert (posted.status, posted.pointers) == (422, ["#/tiemout"])
    assert (await api("POST", "/backends/web1/ready", form="x=1")).status == 422
    assert (await api("GET", "/healthz?x=1")).status == 422


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("drain?timeout=-1s", "timeout"),
        ("drain?timeout=NaN", "timeout"),
        ("drain?timeout=inf", "timeout"),
        ("drain?timeout=1e3", "timeout"),
        ("drain?timeout=", "timeout"),
        ("drain?timeout=8d", "timeout"),
        ("drain?timeout=200h", "timeout"),
        ("drain?timeout=" + "9" * 400, "timeout"),
        ("drain?wait=11m", "wait"),
        ("drain?then=explode", "then"),
    ],
)
async def test_a_parameter_that_cannot_be_read_changes_nothing(
    api: Api, add: Add, path: str, parameter: str
) -> None:
    backend = add("web1")
    answer = await api("POST", f"/backends/web1/{path}")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]
    assert backend.admin_state.value == "ready"


@pytest.mark.parametrize("timeout", [b"1" + b"0" * 400, b"true", b"null", b"[]", b'"x"'])
async def test_a_duration_in_json_is_judged_too(api: Api, add: Add, timeout: bytes) -> None:
    add("web1")
    json = {"Content-Type": "application/json"}
    body = b'{"timeout": ' + timeout + b"}"
    assert (await api("POST", "/backends/web1/drain", body=body, headers=json)).status == 422
    assert (await api("POST", "/backends/web1/drain", json={"timeout": 0.5})).status == 200


async def test_filters_are_judged(api: Api) -> None:
    for state in STATES:
        assert (await api("GET", f"/backends?state={state}")).status == 200
    for query in ("pool=nope", "state=up", "format=xml"):
        assert (await api("GET", f"/backends?{query}")).status == 422
    assert (await api("PUT", "/backends?pool=nope", json=[])).status == 422
    assert (await api("DELETE", "/backends/web1?force=maybe")).status == 422


async def test_what_nobody_will_read_is_judged_too(api: Api, add: Add) -> None:
    add("web1")
    assert (await api("GET", "/backends/web1?timeout=-1")).status == 422  # only `wait` would look at it
    answer = await api("POST", "/backends/web1/drain?wait=0", json={"wait": "soon"})
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, "wait")
    assert (await api("POST", "/backends/web1/drain?wait=0", json={"wait": "1s"})).status == 200


async def test_an_empty_id_is_that_of_the_path(api: Api) -> None:
    wish = {"id": "", "url": "http://10.0.0.1"}
    assert (await api("PUT", "/backends/web1", json=wish)).json["id"] == "web1"
    assert (await api("PUT", "/backends/web1", json={**wish, "id": "web2"})).status == 422


async def test_g148_an_id_that_would_break_out_is_rejected(api: Api) -> None:
    for wanted in ('a"b', "a\nb", "a{b}", "a/b", "", "x" * 129):
        answer = await api("POST", "/backends", json={"url": "http://10.0.0.1", "id": wanted})
        assert answer.status == (422 if wanted else 201)
