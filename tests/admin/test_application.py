"""What holds for every operation: errors, HEAD, fields, counters."""

import pytest

from lb.control import Control
from tests.admin.kit import Add, Api, Hold, Serve, is_problem


@pytest.mark.pure
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


@pytest.mark.parametrize(
    "host", ["a" * 64, "a..b", "xn--a", "[::1", "a b", "127.0.0.1:" + "9" * 5000, "\xff"]
)
async def test_a_host_that_is_none_is_misdirected_and_no_bug(
    serve: Serve, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as service:
        answer = await service.says(f"GET /info HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400", b"HTTP/1.1 200"))
    assert "Traceback" not in caplog.text


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
