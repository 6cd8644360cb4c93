"""Checks 141 to 156: the operator's side under abuse, and the traffic beside it.

What concerns the API alone is tested in `tests/admin`, by tests with the same numbers (`-k g144`). Here is
what needs the traffic too, and a machine that makes up requests to every operation there is.

| check | what must hold |
|---|---|
| 141 | no body is an error of ours |
| 142 | 413, 408; the idle make room |
| 143 | 415 |
| 144 | a foreign page changes nothing |
| 145 | 421 by a foreign name |
| 146 | the token |
| 147 | where no backend may point |
| 148 | ids and labels |
| 149 | fifty at once on one id |
| 150 | a drain takes nothing new, and is undone |
| 151 | to remove is to drain first |
| 152 | EOF after `Connection: close` and HTTP/1.0 |
| 153 | a mistake of ours is a 500 |
| 154 | to read changes nothing |
| 155 | /metrics |
| 156 | an address in use |
"""

import os
from contextlib import AsyncExitStack
from functools import cache, partial
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin.server import supervised
from admin.transport.admission import most_connections
from lb.settings.backend_spec import BackendSpec
from tests.admin.kit import Answer, Api, Saves, make_control
from tests.kit import GET, OK, Backend, Scene, running

AGAIN = 40
ADMIN = {"listen": "127.0.0.1:0"}


# -- beside the traffic ------------------------------------------------------------------------------------


async def keep_asking(lb: Scene, times: int = AGAIN) -> None:
    """A client with a connection of its own, whose every request has to go well."""
    client = await lb.client()
    for _ in range(times):
        await client.says(GET)
        await client.hears(200)


async def test_g142_idle_connections_take_nothing_from_the_traffic() -> None:
    stop = trio.Event()
    async with running(admin=ADMIN) as lb, lb.backend.answering(OK):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(supervised, lb.balancer.control, None, stop=stop))
            host, _, port = bound.rpartition(":")
            async with AsyncExitStack() as idle:
                for _ in range(most_connections() + 10):
                    await idle.enter_async_context(await trio.open_tcp_stream(host, int(port)))
                await keep_asking(lb)
                async with await trio.open_tcp_stream(host, int(port)) as late:
                    await late.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert (await late.receive_some()).startswith(b"HTTP/1.1 200 ")
            stop.set()


async def test_g149_one_id_comes_and_goes_fifty_times_under_load_and_no_request_fails() -> None:
    statuses: set[int] = set()
    async with running(Backend, Backend) as lb:
        api = Api(lb.balancer.control)
        lb.registry.remove(lb["two"])
        body = {"id": "two", "url": lb.backends[1].url}
        wishes: list[tuple[str, str, Any]] = [
            ("POST", "/backends", body),
            ("POST", "/backends/two/drain", None),
            ("POST", "/backends/two/ready", None),
            ("PATCH", "/backends/two", {"weight": 3}),
            ("DELETE", "/backends/two", None),
        ]

        async def steer(number: int) -> None:
            for method, path, sent in wishes[number % 5 :] + wishes[: number % 5]:
                statuses.add((await api(method, path, json=sent)).status)

        async with lb.backends[0].answering(OK), lb.backends[1].answering(OK):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(steer, number)
                    nursery.start_soon(keep_asking, lb)
            last = await api("PUT", "/backends/two", json={**body, "weight": 8})
        assert last.status in (200, 201)
        assert lb["two"].spec.weight == 8
        assert statuses <= {200, 201, 202, 204, 404, 409}
        assert {exchange.status for exchange in lb.exchanges} == {200}


@pytest.mark.parametrize(
    ("method", "path", "is_gone"),
    [("POST", "/backends/one/drain", False), ("DELETE", "/backends/one", True)],
)
async def test_g150_g151_from_then_on_nothing_new_comes_and_what_runs_ends(
    method: str, path: str, is_gone: bool
) -> None:
    async with running(Backend, Backend) as lb:
        api = Api(lb.balancer.control)
        client = await lb.asks(GET)
        peer = await lb.backends[0].hears()
        assert (await api(method, path)).status == 202
        async with lb.backends[1].answering(OK) as heard:
            await keep_asking(lb)
        assert len(heard) == AGAIN
        assert (await api("GET", "/backends/one")).json["status"]["in_flight"] == 1
        await peer.says(OK)
        await client.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        assert ("one" in lb.registry.backends) is not is_gone
        if not is_gone:
            assert (lb["one"].state, lb["one"].connections) == ("drained", 0)


async def test_g153_the_traffic_does_not_notice_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin.views.backend_json.totals", lambda _shown: 1 / 0)
    async with running() as lb, lb.backend.answering(OK):
        api = Api(lb.balancer.control)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_asking, lb)
            for _ in range(10):
                assert (await api("GET", "/pools")).status == 500


@pytest.mark.parametrize("path", [b"/metrics", b"/backends", b"/healthz", b"/audit", b"/config"])
async def test_g154_the_port_of_the_traffic_knows_nothing_of_the_api(path: bytes) -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.hears(200)
        assert [request.target for request in heard] == [path.decode()]


# -- every operation ---------------------------------------------------------------------------------------

Call = tuple[str, str, Any]

WORDS = [
    *("web1", "web2", "default", "ready", "drained", "table", "toml", "remove", "ewma", "http://10.0.0.1"),
    *("true", "false", "1", "0", "-1", "30s", "1e999", "", "²", "\x00", "a\nb", "'\"<>", "9" * 400),
]
PLACES = ["web1", "web2", "web9", "default", "conflict", "a b", "a\nb", "'{}\"", "%", "é", "x" * 300]
NUMBERS = [0, 1, 2, -1, 0.5, 1e308, 10**400, True, None]

values = st.recursive(
    st.sampled_from([*WORDS, *NUMBERS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=5,
)
TYPES = ["application/json", "application/merge-patch+json", "application/x-www-form-urlencoded"]
STRANGE_TYPES = ["application/toml", "text/plain", ""]
STRANGE = [b"{", b"[" * 10_000, b"\xff", b"a=1&a=2", b"NaN", b'"x"', b"null", b"[]", b"via = 'x'", b"a = ["]
HEADERS = [
    *({"If-Match": '"1"'}, {"If-None-Match": "*"}, {"If-None-Match": "é"}),
    *({"Origin": "http://evil.test"}, {"Host": "evil.test"}, {"Authorization": "Bearer"}),
]


@cache
def document() -> Any:
    async def ask() -> Answer:
        return await Api(make_control(Saves()))("GET", "/openapi.json")

    return trio.run(ask).json


def operations() -> list[Call]:
    """All but the stream of events, which has no end."""
    return [
        (method.upper(), path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if path != "/events"
    ]


def properties(operation: Any) -> list[str]:
    """The names that a body may have, as far as the document says."""
    found: list[str] = []
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        schema = kind["schema"]
        if "$ref" in schema:
            schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        found += schema.get("properties", {})
    return [*dict.fromkeys(found)]


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, str, str, dict[str, str], bytes | None, list[str]]:
    """A request to some operation: its parameters and fields by name, with anything in them."""
    method, path, operation = draw(st.sampled_from(operations()))
    target, query = path, {}
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            target = target.replace(f"{{{parameter['name']}}}", quote(draw(st.sampled_from(PLACES)), safe=""))
        elif draw(st.booleans()):
            known = [str(word) for word in parameter["schema"].get("enum", [])]
            query[parameter["name"]] = draw(st.sampled_from(known or WORDS) | st.sampled_from(WORDS))
    headers = dict(draw(st.sampled_from([{}, {}, {}, *HEADERS])))
    headers["Content-Type"] = draw(st.sampled_from(TYPES) | st.sampled_from(STRANGE_TYPES))
    body = draw(bodies(properties(operation), headers["Content-Type"])) if method != "GET" else None
    full = f"{target}?{urlencode(query)}" if query else target
    return method, path, full, headers, body, [*operation["responses"]]


@st.composite
def bodies(draw: st.DrawFn, names: list[str], kind: str) -> bytes | None:
    if draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from([None, b"", *STRANGE]))
    fields = draw(st.dictionaries(st.sampled_from([*names, "nope"]), values, max_size=4))
    if kind == TYPES[2]:
        return urlencode(fields).encode()
    whole = draw(st.sampled_from([fields, [fields], {"items": [fields]}]))
    return msgspec.json.encode(whole) if "0" * 400 not in str(whole) else str(whole).encode()


@given(st.lists(asked(), min_size=1, max_size=8))
@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_g141_nothing_is_an_error_of_ours_or_a_status_that_openapi_does_not_have(
    calls: list[tuple[str, str, str, dict[str, str], bytes | None, list[str]]],
) -> None:
    """One after the other on one balancer, so that each meets what those before it have left."""

    async def play() -> None:
        control = make_control(Saves())
        api = Api(control)
        for id in ("web1", "web2"):
            control.registry.add(BackendSpec(id=id, url="http://10.0.0.1"), source="config")
        for method, path, target, headers, body, documented in calls:
            answer = await api(method, target, headers=headers, body=body)
            assert answer.status != 500, (method, target, body, answer.body)
            assert str(answer.status) in documented, (method, path, target, headers, body, answer.status)

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
