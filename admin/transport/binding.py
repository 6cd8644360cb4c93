"""The listeners of the admin service: on TCP, on a Unix socket, or on an inherited descriptor."""

from pathlib import Path

import trio

from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, parse_address

UNIX = "unix:"


async def bind(listen: str) -> list[trio.SocketListener]:
    """Listeners on HOST:PORT, fd://N or unix:PATH, which the caller closes with `close`.

    OSError, whose text is one line, where the address cannot be bound.
    """
    try:
        match parse_address(listen):
            case TcpAddress(host, port):
                listeners = await trio.open_tcp_listeners(port, host=host or None)
                return _same_port(listeners) if port == 0 else listeners
            case FdAddress(fd):
                return [trio.SocketListener(trio.socket.socket(fileno=fd))]
            case UnixAddress(path):
                return [await _bind_unix(path)]
    except OSError as exc:
        raise OSError(exc.errno, f"admin cannot listen on {listen}: {exc.strerror}") from exc


def close(listener: trio.SocketListener) -> None:
    """Close the listener, and remove the file of a Unix socket."""
    where = address(listener)
    listener.socket.close()
    if where.startswith(UNIX):
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


async def _bind_unix(path: str) -> trio.SocketListener:
    """A listener that only the owner may connect to. A socket file left over from a crash is replaced."""
    if not await _is_answered(path):
        _remove_socket(path)
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await sock.bind(path)
        _make_private(path)
        sock.listen()
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
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


def _make_private(path: str) -> None:
    Path(path).chmod(0o600)
