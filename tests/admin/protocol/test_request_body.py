"""Bodies in JSON and in forms: what is read, what is refused, and how much."""

import msgspec
import pytest
import trio

from lb.control import Control
from tests.admin.kit import WEB1, Api, Serve, is_problem


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
