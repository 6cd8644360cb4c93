"""hypercorn embedded, and its traps."""

import logging
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import admin.server
from admin.server import GRACE_SECONDS, SEND_SECONDS, address, bind, supervised
from lb.control import Control
from lb.settings.balancer_settings import AdminConfig, Config
from tests.admin.kit import Add, Hold, Serve

GET = "GET /healthz HTTP/1.1\nHost: localhost\n"


async def ask_once(stream: trio.SocketStream) -> None:
    """One request on a connection that stays open."""
    await stream.send_all(f"{GET}\n".replace("\n", "\r\n").encode())
    answer = b""
    while not answer.endswith(b"}"):
        answer += await stream.receive_some()


async def test_g152_connection_close_ends_in_eof_at_once(serve: Serve) -> None:
    async with serve() as service:
        with trio.fail_after(0.1):
            answer = await service.says(f"{GET}Connection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"healthy":true}')


async def test_g152_http_1_0_ends_in_eof_at_once(serve: Serve) -> None:
    async with serve() as service:
        with trio.fail_after(0.1):
            answer = await service.says("GET /healthz HTTP/1.0\n\n")
    assert b" 200" in answer.splitlines()[0]
    assert answer.endswith(b'{"healthy":true}')


async def test_a_kept_connection_answers_again(serve: Serve) -> None:
    async with serve() as service:
        answer = await service.says(f"{GET}\n{GET}Connection: close\n\n")
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "websocket"])
async def test_an_upgrade_is_not_taken(serve: Serve, upgrade: str) -> None:
    settings = f"Upgrade: {upgrade}\nHTTP2-Settings: AAMAAABkAAQAAP__\nSec-WebSocket-Version: 13\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    async with serve() as service:
        answer = await service.says(f"{GET}Connection: Upgrade, close\n{settings}{key}\n")
    assert answer.startswith(b"HTTP/1.1 403" if upgrade == "websocket" else b"HTTP/1.1 200")


async def test_the_preface_of_http_2_is_answered_in_http_1(serve: Serve) -> None:
    async with serve() as service:
        answer = await service.says("PRI * HTTP/2.0\n\nSM\n\n")
    assert answer.startswith(b"HTTP/1.1 4")


async def test_an_answer_arrives_although_the_body_is_too_large(serve: Serve) -> None:
    head = "POST /backends HTTP/1.1\nHost: localhost\nContent-Length: 4000000\n\n"
    async with serve() as service, await service.connect() as stream:
        with trio.fail_after(2):
            await stream.send_all(head.replace("\n", "\r\n").encode() + b" " * 1_000_000)
            answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_stop_ends_idle_connections(serve: Serve) -> None:
    async with serve() as service:
        stream = await service.connect()
        await ask_once(stream)
        service.stop.set()
        with trio.fail_after(GRACE_SECONDS / 2):
            assert await stream.receive_some() == b""
        await stream.aclose()


async def test_stop_is_not_held_by_a_client_that_stops_reading(serve: Serve) -> None:
    with trio.fail_after(GRACE_SECONDS + SEND_SECONDS + 2):
        async with serve() as service:
            for number in range(2000):
                service.control.metrics.admin_requests[f"/{'x' * 4000}{number}", "GET", 200] = 1
            stream = await service.connect()
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await stream.receive_some(1000)
    await stream.aclose()


async def test_stop_cuts_a_request_that_waits(serve: Serve, add: Add, hold: Hold) -> None:
    backend = add("web1")
    hold(backend)
    with trio.fail_after(GRACE_SECONDS + 1):
        async with serve() as service:
            stream = await service.connect()
            await stream.send_all(b"POST /backends/web1/drain?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while backend.drain is None:
                await trio.lowlevel.checkpoint()
    assert backend.drain.outcome is None
    await stream.aclose()


async def test_g156_an_address_in_use_is_one_clear_line(control: Control, serve: Serve) -> None:
    async with serve() as service:
        taken = f"127.0.0.1:{service.port}"
        control.config = Config(admin=AdminConfig(listen=taken))
        with pytest.raises(OSError, match=f"admin cannot listen on {taken}: Address already in use"):
            await supervised(control, None, stop=trio.Event())
    assert control.metrics.admin_restarts == 0


async def test_a_crash_is_counted_and_followed_by_a_start_on_the_same_port(
    control: Control, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve_admin, crashes = admin.server.serve_admin, iter([RuntimeError("boom"), RuntimeError("boom")])

    async def crash_first(*args: Any, **kwargs: Any) -> None:
        for crash in crashes:
            raise crash
        await serve_admin(*args, **kwargs)

    monkeypatch.setattr(admin.server, "serve_admin", crash_first)
    monkeypatch.setattr(admin.server, "FIRST_PAUSE", 0.01)
    with caplog.at_level(logging.ERROR):
        async with serve() as service:
            assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert control.metrics.admin_restarts == 2
    assert [record.getMessage()[-8:] for record in caplog.records] == ["n 0.01 s", "n 0.02 s"]


async def test_the_pause_between_crashes_doubles_up_to_its_limit_and_begins_anew(
    control: Control, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    stop, starts = trio.Event(), []

    async def crash(*_args: Any, **_kwargs: Any) -> None:
        starts.append(trio.current_time())
        if len(starts) == 9:
            await trio.sleep(admin.server.STEADY_SECONDS + 1)
        if len(starts) == 11:
            stop.set()
        raise RuntimeError("boom")

    monkeypatch.setattr(admin.server, "serve_admin", crash)
    await supervised(control, None, stop=stop)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pauses[8:] == [admin.server.STEADY_SECONDS + 1 + 0.5, 1]


async def test_a_connection_that_crashes_harms_no_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(_event: object) -> None:
        raise RuntimeError("boom")

    async with serve() as service:
        with monkeypatch.context() as patch:
            patch.setattr(admin.server, "stay_with_http1", crash)
            assert await service.says(f"{GET}\n") == b""
        assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert service.control.metrics.admin_restarts == 0
    assert "a connection to the admin service crashed" in caplog.text


async def test_beyond_the_limit_connections_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.server, "MAX_CONNECTIONS", 1)
    async with serve() as service, await service.connect() as first:
        await ask_once(first)
        async with await service.connect() as second:
            assert await second.receive_some() == b""


async def test_when_the_house_is_full_the_silent_make_room(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.server, "MAX_CONNECTIONS", 2)
    async with serve() as service, await service.connect() as silent, await service.connect() as spoken:
        await ask_once(spoken)
        await trio.testing.wait_all_tasks_blocked()
        async with await service.connect() as third:
            await ask_once(third)
            assert await silent.receive_some() == b""
            await ask_once(spoken)


async def test_a_unix_socket_is_private_and_leaves_no_file(control: Control, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    control.config = Config(admin=AdminConfig(listen=f"unix:{path}"))
    for _ in range(2):
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(supervised, control, None, stop=stop))
            assert bound == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o600
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(f"{GET}Connection: close\n\n".replace("\n", "\r\n").encode())
                assert b"200" in await stream.receive_some()
            stop.set()
        assert not path.exists()
    left_over = trio.socket.socket(trio.socket.AF_UNIX)
    await left_over.bind(str(path))
    left_over.close()
    for listener in await bind(f"unix:{path}"):
        assert address(listener) == f"unix:{path}"
        await listener.aclose()


async def test_an_inherited_socket_is_served(control: Control) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    control.config = Config(admin=AdminConfig(listen=f"fd://{listener.socket.fileno()}"))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(supervised, control, None, stop=stop))
        assert bound == address(listener)
        stop.set()
    listener.socket.detach()


async def test_ipv6_is_reported_in_brackets() -> None:
    (listener,) = await bind("[::1]:0")
    assert address(listener).startswith("[::1]:")
    await listener.aclose()
