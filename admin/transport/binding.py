"""The listeners of the admin service: on TCP, on a Unix socket, or on an inherited descriptor."""

from collections.abc import Sequence
from pathlib import Path

import trio

from lb import socket_file
from lb.net.bind_advice import advice
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, parse_address

UNIX = "unix:"
PRIVATE = 0o600


async def bind(listen: str, inherited: Sequence[int] = ()) -> list[trio.SocketListener]:
    """Listeners on HOST:PORT, fd://N or unix:PATH, which the caller closes with `close`.

    `inherited` are the descriptors of sockets of another program at this address, which are taken. OSError,
    whose text is one line, where the address cannot be bound.
    """
    if inherited:
        return [trio.SocketListener(trio.socket.socket(fileno=number)) for number in inherited]
    where = parse_address(listen)
    try:
        match where:
            case TcpAddress(host, port):
                listeners = await trio.open_tcp_listeners(port, host=host or None)
                return _same_port(listeners) if port == 0 else listeners
            case FdAddress(fd):
                return [trio.SocketListener(trio.socket.socket(fileno=fd))]
            case UnixAddress() as address_of_file:
                return [await _bind_unix(address_of_file)]
    except OSError as exc:
        more = advice(exc.errno, where.port) if isinstance(where, TcpAddress) else ""
        why = (exc.strerror or str(exc)).lower()
        raise OSError(exc.errno, f"admin cannot listen on {listen}: {why}{more}") from exc


def close(listener: trio.SocketListener, listen: str) -> None:
    """Close what `bind` made for this address, and remove the file of a Unix socket, unless inherited."""
    where = address(listener)
    listener.socket.close()
    if listen.startswith(UNIX):
        _remove_socket(where.removeprefix(UNIX))


def address(listener: trio.SocketListener) -> str:
    """Where it listens, in the form in which it is configured."""
    name = listener.socket.getsockname()
    if not isinstance(name, tuple):
        return f"{UNIX}{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _same_port(listeners: list[trio.SocketListener]) -> list[trio.SocketListener]:
    """The first listener only: each address of a name got another free port, and we report one."""
    for listener in listeners[1:]:
        listener.socket.close()
    return listeners[:1]


async def _bind_unix(where: UnixAddress) -> trio.SocketListener:
    """A listener, by default for the owner alone. A socket file left over from a crash is replaced."""
    if not await _is_answered(where.path):
        _remove_socket(where.path)
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    is_bound = False
    try:
        await sock.bind(where.path)
        is_bound = True
        socket_file.set_access(where, PRIVATE)
        sock.listen()
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
        if is_bound:
            _remove_socket(where.path)
        raise


async def _is_answered(path: str) -> bool:
    try:
        stream = await trio.open_unix_socket(path)
    except OSError:
        return False
    await stream.aclose()
    return True


def _remove_socket(path: str) -> None:
    if Path(path).is_socket():
        Path(path).unlink()
