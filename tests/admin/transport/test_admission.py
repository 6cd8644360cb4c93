"""How many connections the admin service takes, and which one gives way."""

import pytest
import trio
import trio.testing

import admin.transport.admission
from tests.admin.kit import Serve, ask_once


async def test_beyond_the_limit_connections_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.transport.admission, "MAX_CONNECTIONS", 1)
    async with serve() as service, await service.connect() as first:
        await ask_once(first)
        async with await service.connect() as second:
            assert await second.receive_some() == b""


async def test_without_a_free_place_the_oldest_silent_connection_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.transport.admission, "MAX_CONNECTIONS", 2)
    async with serve() as service, await service.connect() as silent, await service.connect() as spoken:
        await ask_once(spoken)
        await trio.testing.wait_all_tasks_blocked()
        async with await service.connect() as third:
            await ask_once(third)
            assert await silent.receive_some() == b""
            await ask_once(spoken)
