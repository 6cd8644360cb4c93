"""What a request must look like, and what it gets when it does not."""

import logging
from typing import Any

import msgspec
import pytest
import trio

from admin.protocol.problems import KINDS
from lb.control import Control
from lb.core.backend import STATES
from lb.settings.balancer_settings import AdminConfig, Config
from tests.admin.kit import Add, Answer, Api, Hold, MakeApi, Serve

WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}
TOKEN = "s3cret-token"


def is_problem(answer: Answer) -> bool:
    report = answer.json
    kind = KINDS[report["type"].removeprefix("/problems/")]
    return bool(
        answer.headers["content-type"] == "application/problem+json"
        and report["status"] == answer.status == kind.status
        and answer.headers["x-request-id"] == report["request_id"]
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"weight": NaN, "url": "http://a"}',
        b'{"weight": 1e400, "url": "http://a"}',
        b'{"weight": 1' + b"0" * 400 + b', "url": "http://a"}',
        b'{"weight": 1' + b"0" * 5000 + b', "url": "http://a"}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"\xff\xfe",
        b'"\\ud800"',
        b"null",
        b"[]",
        b'"text"',
        b'{"url": 5}',
        b'{"url": null}',
        b'{"url": "http://a", "weight": true}',
        b'{"url": "http://a", "weight": 1.5}',
        b'{"url": "http://a", "weight": "2"}',
        b'{"url": "http://a", "weight": -1}',
        b'{"url": "http://a", "labels": {"a": 1}}',
        b'{"url": "http://a", "labels": ["a"]}',
        b'{"url": "http://a", "max_in_flight": 0}',
        b'{"url": "http://a", "max_connections": 0}',
        b'{"url": "http://a", "backup": 1}',
        b'{"url": "http://a", "admin_state": "drained"}',
        b'{"url": "http://a", "id": "a b"}',
        b'{"url": "http://a", "pool": "nope"}',
        b"{}",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
async def test_g141_no_body_is_an_error_of_ours(api: Api, control: Control, body: bytes) -> None:
    answer = await api("POST", "/backends", body=body, headers={"Content-Type": "application/json"})
    assert answer.status in (400, 422)
    assert is_problem(answer)
    assert control.registry.revision == 0


@pytest.mark.parametrize(
    "form", ["a=%ff", "&".join(f"a{n}=1" for n in range(300)), "url=a&url=b", "weight=x"]
)
async def test_g141_no_form_is_an_error_of_ours(api: Api, form: str) -> None:
    answer = await api("POST", "/backends", form=form)
    assert answer.status in (400, 422)
    assert is_problem(answer)


async def test_every_mistake_is_named_with_its_place(api: Api) -> None:
    answer = await api("POST", "/backends", json={"url": "ftp://x", "wieght": 2, "a/b~c": 1, "labels": 5})
    assert answer.json["errors"] == [
        {"pointer": "#/a~1b~0c", "detail": "unknown field", "hint": answer.json["errors"][0]["hint"]},
        {"pointer": "#/labels", "detail": "expected object, got int"},
        {
            "pointer": "#/url",
            "detail": "'ftp://x': expected http://host:port",
        },
        {"pointer": "#/wieght", "detail": "unknown field", "hint": "did you mean `weight`?"},
    ]


MANY = {f"wrng{n:04}": 1 for n in range(4000)}


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


@pytest.mark.parametrize("chunked", [False, True])
async def test_g142_a_large_body_is_413(serve: Serve, chunked: bool) -> None:
    body = "x" * 65 * 1024
    sized = f"Transfer-Encoding: chunked\n\n{len(body):x}\n{body}\n0\n\n" if chunked else ""
    rest = sized or f"Content-Length: {len(body)}\n\n{body}"
    async with serve() as service:
        head = "POST /backends HTTP/1.1\nHost: localhost\nContent-Type: application/json\nConnection: close\n"
        answer = await service.says(head + rest)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"/problems/too-large" in answer


async def test_g142_a_body_that_dawdles_is_408(
    api: Api, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    headers = {"Host": "localhost", "Content-Length": "10", "Content-Type": "application/json"}
    async with api.client.request("/backends", method="POST", headers=headers) as connection:
        await connection.send(b"{")
        started = trio.current_time()
        data = await connection.receive()
        response = await connection.as_response()
    assert (response.status_code, trio.current_time() - started) == (408, 10)
    assert b"/problems/timeout" in data


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml", ""])
async def test_g143_other_types_are_415(api: Api, control: Control, kind: str) -> None:
    answer = await api("POST", "/backends", body=msgspec.json.encode(WEB1), headers={"Content-Type": kind})
    assert answer.status == 415
    assert is_problem(answer)
    assert control.registry.revision == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/backends"),
        ("DELETE", "/backends/web1"),
        ("POST", "/backends/web1/check"),
        ("PATCH", "/pools/default"),
    ],
)
async def test_g144_a_foreign_page_changes_nothing(
    api: Api, add: Add, control: Control, headers: dict[str, str], method: str, path: str
) -> None:
    add("web1")
    before = control.registry.revision
    answer = await api(method, path, form="url=http://10.0.0.9", headers=headers)
    assert answer.status == 403
    assert is_problem(answer)
    assert control.registry.revision == before


async def test_g144_our_own_page_may(api: Api) -> None:
    own = {"Origin": "http://127.0.0.1:9000", "Sec-Fetch-Site": "same-origin"}
    assert (await api("POST", "/backends", json=WEB1, headers=own)).status == 201
    assert (await api("GET", "/backends", headers={"Sec-Fetch-Site": "cross-site"})).status == 200


@pytest.mark.parametrize("host", ["evil.test:9000", "evil.test", "10.0.0.1:9000", "localhost.evil.test"])
async def test_g145_a_foreign_name_is_refused(api: Api, host: str) -> None:
    for method, path in [("GET", "/backends"), ("POST", "/backends"), ("GET", "/metrics"), ("GET", "/")]:
        answer = await api(method, path, headers={"Host": host})
        assert answer.status == 421
        assert is_problem(answer)
    assert (await api("GET", "/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "LOCALHOST:1", "[::1]:9000", "127.8.9.1", "lb.internal:9000"]
)
async def test_g145_our_names_are_not(make_api: MakeApi, host: str) -> None:
    api = make_api(AdminConfig(allowed_hosts=("LB.internal",)))
    assert (await api("GET", "/backends", headers={"Host": host})).status == 200


async def test_g145_the_address_that_was_connected_to_is_ours(serve: Serve, control: Control) -> None:
    control.config = Config(admin=AdminConfig(listen="127.0.0.3:0"))
    async with serve() as service:
        answer = await service.says("GET /info HTTP/1.1\nHost: 127.0.0.3:9\nConnection: close\n\n")
        assert answer.startswith(b"HTTP/1.1 200")
        for host in ("evil.test", "[::1", "127.0.0.3.evil.test"):
            answer = await service.says(f"GET /info HTTP/1.1\nHost: {host}\nConnection: close\n\n")
            assert answer.startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer ü"]
)
async def test_g146_without_the_token_nothing_but_the_probes(make_api: MakeApi, given: str | None) -> None:
    api = make_api(AdminConfig(), TOKEN)
    headers = {} if given is None else {"Authorization": given}
    for method, path in [("GET", "/"), ("GET", "/nope"), ("POST", "/backends"), ("GET", "/metrics")]:
        answer = await api(method, path, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="lb"')
        assert is_problem(answer)
    assert (await api("GET", "/healthz", headers=headers)).status == 200
    assert (await api("GET", "/readyz", headers=headers)).status == 503


async def test_g146_with_the_token_everything(make_api: MakeApi, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(AdminConfig(), TOKEN)
    with caplog.at_level(logging.DEBUG):
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {TOKEN}"}
            assert (await api("GET", "/backends", headers=headers)).status == 200
    assert TOKEN not in caplog.text


async def test_metrics_are_open_by_option(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(metrics_open=True), TOKEN)
    assert (await api("GET", "/metrics")).status == 200
    assert (await api("GET", "/backends")).status == 401


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://0.0.0.0:8080",
        "http://127.0.0.1:9000",
        "http://10.1.1.1:8088",
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]:80",
        "http://[fd00:ec2::254]:80",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://127.1:8080",
        "http://10.0.0.1:0",
        "http://10.0.0.1:70000",
        "http://a\r\nb",
        "unix:/run/x",
        "http://user@10.0.0.1",
        "http://10.0.0.1/path",
        "https://10.0.0.1",
    ],
)
async def test_g147_no_backend_is_ourselves_or_no_address(make_api: MakeApi, url: str) -> None:
    admin = AdminConfig(listen="127.0.0.1:9000")
    api = make_api(admin, listening=["127.0.0.1:8080", "[::]:8081", "http://10.1.1.1:8088", "unix:/run/lb"])
    for method, path, body in [("POST", "/backends", {"url": url}), ("PUT", "/backends", [{"url": url}])]:
        answer = await api(method, path, json=body)
        assert answer.status == 422
        assert answer.pointers == ["#/url" if method == "POST" else "#/0/url"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8088", "http://10.1.1.1:8080", "http://10.0.0.1", "http://web1"]
)
async def test_g147_but_others_may(make_api: MakeApi, url: str) -> None:
    api = make_api(AdminConfig(), listening=["127.0.0.1:8080", "10.1.1.1:8088"])
    assert (await api("POST", "/backends", json={"url": url})).status == 201


async def test_g147_the_port_that_admin_really_got_is_refused(serve: Serve) -> None:
    async with serve() as service:
        form = f"url=http://localhost:{service.port}"
        head = f"POST /backends HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: {len(form)}\n"
        answer = await service.says(f"{head}Content-Type: application/x-www-form-urlencoded\n\n{form}")
    assert b"is this balancer itself" in answer


async def test_g148_an_id_that_would_break_out_is_rejected(api: Api) -> None:
    for id in ('a"b', "a\nb", "a{b}", "a/b", "", "x" * 129):
        answer = await api("POST", "/backends", json={"url": "http://10.0.0.1", "id": id})
        assert answer.status == (422 if id else 201)


async def test_g153_a_mistake_of_ours_is_a_500_and_a_line_in_the_log(
    api: Api, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    control.registry.pools["default"].backends = None  # type: ignore[assignment]
    answer = await api("GET", "/pools")
    assert answer.status == 500
    assert is_problem(answer)
    assert b"NoneType" not in answer.body
    assert answer.json["request_id"] in caplog.text
    assert "TypeError" in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_g154_reading_never_changes(
    api: Api, add: Add, hold: Hold, control: Control, method: str
) -> None:
    hold(add("web1"))
    before = control.registry.revision
    override = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    for path in ("/backends", "/backends/web1", "/backends/web1/drain", "/pools", "/metrics", "/readyz", "/"):
        answer = await api(method, path, headers=override)
        assert answer.status in (200, 405, 503)
    assert control.registry.revision == before


async def test_head_is_get_without_the_body(serve: Serve) -> None:
    async with serve() as service:
        answers = [
            await service.says(f"{method} /info HTTP/1.1\nHost: localhost\nConnection: close\n\n")
            for method in ("HEAD", "GET")
        ]
    head, get = (answer.partition(b"\r\n\r\n") for answer in answers)
    assert (head[2], get[2][:1]) == (b"", b"{")
    assert b"application/json" in head[0]


async def test_204_has_no_body_and_says_nothing_of_one(serve: Serve, add: Add) -> None:
    add("web1")
    async with serve() as service:
        answer = await service.says("DELETE /backends/web1 HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 204")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length:" not in answer.lower()
    assert b"content-type:" not in answer.lower()


async def test_404_and_405_are_problems(api: Api) -> None:
    for path in ("/nope", "/backends/nope", "/pools/nope", "/problems/nope", "/backends/a/b"):
        answer = await api("GET", path)
        assert answer.status == 404, path
        assert is_problem(answer)
    answer = await api("DELETE", "/backends")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST, PUT")
    assert is_problem(answer)


async def test_a_slash_at_the_end_is_forgiven(api: Api) -> None:
    assert (await api("GET", "/backends/")).status == 200


async def test_everything_says_who_answers_and_is_not_kept(api: Api) -> None:
    for path in ("/backends", "/nope", "/metrics"):
        headers = (await api("GET", path)).headers
        assert "lb-version" in headers
        assert headers["cache-control"] == "no-store"


async def test_what_admin_answers_is_counted_by_route(api: Api, add: Add, control: Control) -> None:
    add("web1")
    await api("GET", "/backends/web1")
    await api("GET", "/backends/web2")
    await api("BREW", "/whatever")
    assert control.metrics.admin_requests == {
        ("/backends/<id>", "GET", 200): 1,
        ("/backends/<id>", "GET", 404): 1,
        ("none", "OTHER", 404): 1,
    }
