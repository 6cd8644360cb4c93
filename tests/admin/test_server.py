"""The service stops in time, and starts again after a crash."""

import logging
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

import admin.server
import admin.transport.hypercorn_connection
from admin.server import GRACE_SECONDS, supervised
from lb.control import Control
from tests.admin.kit import GET, Add, Hold, Serve, ask_once


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
            patch.setattr(admin.transport.hypercorn_connection, "stay_with_http1", crash)
            assert await service.says(f"{GET}\n") == b""
        assert b"200" in await service.says(f"{GET}Connection: close\n\n")
    assert service.control.metrics.admin_restarts == 0
    assert "a connection to the admin service crashed" in caplog.text
