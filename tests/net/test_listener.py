"""Listeners that have their address, and refuse clients until they are to listen."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lb.net.listener import Listener, open_listeners
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress


@asynccontextmanager
async def refusing(where: TcpAddress | UnixAddress) -> AsyncIterator[Listener]:
    [listener] = await open_listeners(where, refusing=True)
    try:
        yield listener
    finally:
        listener.close()


async def test_clients_are_refused_until_it_listens() -> None:
    async with refusing(TcpAddress("127.0.0.1", 0)) as listener:
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", listener.port)) == errno.ECONNREFUSED
        listener.listen()
        socket.create_connection(("127.0.0.1", listener.port)).close()


async def test_clients_of_a_unix_socket_are_refused_until_it_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "lb.sock")
    async with refusing(UnixAddress(path)) as listener:
        with socket.socket(socket.AF_UNIX) as client:
            assert client.connect_ex(path) == errno.ECONNREFUSED
            listener.listen()
            client.connect(path)


async def test_an_address_in_use_is_told_though_it_is_to_refuse() -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            await open_listeners(TcpAddress("127.0.0.1", port), refusing=True)


async def test_an_address_that_another_program_has_taken_meanwhile_is_told() -> None:
    async with refusing(TcpAddress("127.0.0.1", 0)) as listener:
        where = ("127.0.0.1", listener.port)
        with socket.create_server(where):
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{listener.port}: address already"):
                listener.listen()


async def test_a_file_that_another_program_has_taken_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    async with refusing(UnixAddress(str(path))) as listener:
        [theirs] = await open_listeners(UnixAddress(str(path)))
        with pytest.raises(
            OSError, match=f"cannot listen on unix:{path}: another program has taken its file"
        ):
            listener.listen()
        listener.close()
        assert path.exists()
        theirs.close()


async def test_a_socket_that_listens_already_goes_on() -> None:
    inherited = socket.create_server(("127.0.0.1", 0))
    [listener] = await open_listeners(FdAddress(inherited.detach()), refusing=True)
    assert not listener.refuses
    with socket.create_connection(("127.0.0.1", listener.port)):
        listener.listen()
        listener.sock.accept()[0].close()
    listener.close()
