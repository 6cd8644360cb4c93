"""Where the admin service listens."""

import os
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from admin.server import supervised
from admin.transport.binding import address, bind, close
from lb.control import Control
from lb.settings.balancer_settings import AdminConfig, Config
from tests.admin.kit import GET, Serve


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


async def test_g156_an_address_in_use_is_one_clear_line(control: Control, serve: Serve) -> None:
    async with serve() as service:
        taken = f"127.0.0.1:{service.port}"
        control.config = Config(admin=AdminConfig(listen=taken))
        with pytest.raises(
            OSError, match=f"admin cannot listen on {taken}: address already in use"
        ) as caught:
            await supervised(control, None, stop=trio.Event())
    assert f" by pid {os.getpid()} (" in str(caught.value)
    assert control.metrics.admin_restarts == 0


async def test_the_sockets_of_the_program_before_are_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as before:
        number = before.dup().detach()
        [listener] = await bind("127.0.0.1:0", [number])
        assert listener.socket.fileno() == number
        listener.socket.close()


async def test_the_file_of_the_program_before_is_taken_with_the_socket(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/admin.sock"
    [before] = await bind(listen)
    [after] = await bind(f"{listen}?mode=0600", [before.socket.dup().detach()])
    before.socket.close()
    assert address(after) == listen
    close(after, listen)
    assert not (tmp_path / "admin.sock").exists()
