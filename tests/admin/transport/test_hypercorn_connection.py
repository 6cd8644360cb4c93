"""Hypercorn is bound to HTTP/1.1, and its answers arrive whole."""

import pytest
import trio
from hypercorn.events import Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from admin.transport.bounded_stream import BoundedStream
from admin.transport.hypercorn_connection import Connection, settings
from tests.admin.kit import GET, Serve


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


async def test_a_connection_whose_client_has_left_is_never_idle_again() -> None:
    """An answer may be completed after that, and hypercorn would start its idle task then."""

    async def app(*_: object) -> None:
        pytest.fail("there is no request")

    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    await theirs.aclose()
    stream = BoundedStream(ours, lambda: None)
    connection = Connection(app, settings(), WorkerContext(None), ConnectionState({}), stream)  # type: ignore[arg-type]
    with trio.fail_after(1):
        await connection.run()
    await connection.protocol_send(Updated(idle=True))
