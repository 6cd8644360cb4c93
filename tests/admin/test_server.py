"""The service stops in time, and starts again after a crash."""

import logging
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
import trio
import trio.testing

import admin.server
import admin.transport.hypercorn_connection
from admin.application import create_app
from admin.page import home
from admin.server import GRACE_SECONDS, LAST_CHANCE_SECONDS, supervised
from lb.control import Control
from lb.program import Admin
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import GET, Add, Hold, Serve, ask_once
from tests.kit.held import holding

HELD_SECONDS = 0.01


async def test_stop_ends_idle_connections(serve: Serve) -> None:
    async with serve() as service:
        stream = await service.connect()
        await ask_once(stream)
        service.stop.set()
        with trio.fail_after(GRACE_SECONDS / 2):
            assert await stream.receive_some() == b""
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


async def test_where_another_program_takes_over_a_call_on_its_way_is_answered(
    control: Control, serve: Serve
) -> None:
    """The connection was accepted here, so the other program cannot answer on it."""
    async with serve() as service:
        fresh, used = await service.connect(), await service.connect()
        await ask_once(used)
        await trio.testing.wait_all_tasks_blocked(0.01)
        control.handed_over.set()
        service.stop.set()  # the last request of the traffic has ended
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await service.connect()
        for stream in (fresh, used):
            await stream.send_all(GET.replace("\n", "\r\n").encode() + b"\r\n")
            answer = b"".join([data async for data in stream])
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer.lower()
            await stream.aclose()


async def test_where_another_program_takes_over_a_call_that_waits_has_as_long_as_the_traffic(
    control: Control, serve: Serve, add: Add, hold: Hold
) -> None:
    backend = add("web1")
    request = hold(backend)
    async with serve() as service:
        stream = await service.connect()
        await stream.send_all(b"POST /backends/web1/drain?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while backend.drain is None:
            await trio.lowlevel.checkpoint()
        control.handed_over.set()
        await trio.sleep(LAST_CHANCE_SECONDS + GRACE_SECONDS + 0.5)
        control.registry.pools["default"].release(backend, request)
        answer = b"".join([data async for data in stream])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"outcome":"completed"' in answer
        await stream.aclose()


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


async def test_the_app_is_made_while_the_traffic_goes_on(serve: Serve) -> None:
    home._template.cache_clear()
    with holding("admin.server") as held:
        async with serve() as service:
            assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert held.task
    assert held.longest < HELD_SECONDS


async def test_an_app_that_cannot_be_made_is_a_crash_like_any_other(
    control: Control, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller, with all its traffic, starts without it."""
    crashes = iter([RuntimeError("boom"), RuntimeError("boom")])

    def crash_first(control: Control, token: str | None) -> Any:
        for crash in crashes:
            raise crash
        return create_app(control, token)

    monkeypatch.setattr(admin.server, "create_app", crash_first)
    monkeypatch.setattr(admin.server, "FIRST_PAUSE", 0.01)
    with caplog.at_level(logging.ERROR):
        async with serve() as service:
            assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert control.metrics.admin_restarts == 2
    assert "boom" in caplog.text


async def test_an_upgrade_makes_the_app_before_it_begins(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a bug in it ends the new program, and the one that runs goes on."""
    control.config = msgspec.structs.replace(control.config, admin=AdminConfig(listen="127.0.0.1:0"))
    stop = trio.Event()
    ends, service = Admin(None, ()), Admin(None, ())
    with monkeypatch.context() as patch:
        patch.setattr(admin.server, "create_app", Mock(side_effect=RuntimeError("boom")))
        with pytest.raises(RuntimeError, match="boom"):
            await ends.prepare_all(control)
    for listener in ends._listeners or ():
        await listener.aclose()
    await service.prepare_all(control)
    monkeypatch.setattr(admin.server, "create_app", Mock(side_effect=RuntimeError("made twice")))
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve, control, stop)
        stop.set()
    assert control.metrics.admin_restarts == 0


async def test_a_connection_that_crashes_harms_no_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(_event: object) -> None:
        raise RuntimeError("boom")

    async with serve() as service:
        with monkeypatch.context() as patch:
            patch.setattr(admin.transport.hypercorn_connection, "stay_with_http1", crash)
            assert await service.says(f"{GET}\n") == b""
        assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert service.control.metrics.admin_restarts == 0
    assert "a connection to the admin service crashed" in caplog.text
