"""Listening sockets for the addresses in the configuration: TCP, Unix, or inherited descriptors."""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress

import trio

from lb import socket_file
from lb.net.addresses import Address, literal
from lb.net.bind_advice import advice
from lb.net.wire import no_delay
from lb.settings import listen_address
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress

BACKLOG = 4096
"""Connections that the kernel accepts on our behalf before we do: listen(2)."""
UNIX_MODE = 0o660
"""Of a socket file that names no mode: its owner and its group may connect."""
UNSENT_BYTES = 128 * 1024
"""TCP_NOTSENT_LOWAT: a socket stops being writable when the kernel holds this much that is not sent yet."""


class Listener:
    """A non-blocking socket for clients and its name, as `name_of` writes it. It listens, or it `refuses`.

    The caller of `open_listeners` owns the listener and closes it. `path` is the file of a Unix socket, which
    is removed on closing. `host` stands in for the Host field that an HTTP/1.0 request may lack.
    `is_handed_over`: another program listens on the same socket, and has the file too. `is_tls` and
    `takes_proxy_header`: what a client says before HTTP. `refuses`: the address is taken, and the kernel
    refuses clients until `listen`.
    """

    __slots__ = (
        "_file",
        "host",
        "is_handed_over",
        "is_tls",
        "name",
        "path",
        "refuses",
        "sock",
        "takes_proxy_header",
    )

    def __init__(self, sock: socket.socket, path: str | None = None, *, refuses: bool = False) -> None:
        try:
            sock.setblocking(False)
            _prepare(sock)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self.name = name_of(sock.getsockname())
        self.host = b"localhost" if sock.family == socket.AF_UNIX else self.name.encode()
        self.path = path
        self._file = None if path is None else _identity(path)
        self.is_handed_over = False
        self.is_tls = self.takes_proxy_header = False
        self.refuses = refuses

    @property
    def is_plain(self) -> bool:
        """HTTP begins with the first byte of a connection."""
        return not (self.is_tls or self.takes_proxy_header)

    @property
    def port(self) -> int:
        """0 on a Unix socket."""
        match self.sock.getsockname():
            case (str(), int(port), *_):
                return port
            case _:
                return 0

    def listen(self) -> None:
        """Refuse clients no more. OSError that names the address, where another program has taken it."""
        if self.refuses:
            if self._has_lost_file():
                taken = OSError(errno.EADDRINUSE, "another program has taken its file")
                raise _cannot_listen(self.path, taken)
            _listen(self.sock)
            self.refuses = False

    def close(self) -> None:
        """Accept no more connections, and remove the file of a Unix socket. May be called again."""
        is_ours = not (self.is_handed_over or self._has_lost_file())
        self.sock.close()
        path, self.path = self.path, None
        if path is not None and is_ours:
            with suppress(OSError):
                os.unlink(path)

    def _has_lost_file(self) -> bool:
        """While it refuses nothing seems to listen there, so another program may take the file for stale."""
        return self.refuses and self.path is not None and _identity(self.path) != self._file


def _identity(path: str) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _prepare(sock: socket.socket) -> None:
    """Set the options that accepted connections inherit.

    TCP_NODELAY sends small answers at once. TCP_NOTSENT_LOWAT bounds what the kernel buffers for a client
    that reads slowly.
    """
    no_delay(sock)
    if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def name_of(name: object) -> str:
    """A socket's address as the log and the API write it: "1.2.3.4:80", "[::1]:80" or "unix:/path"."""
    match name:
        case (str(host), int(port), _, int(zone)) if zone and "%" not in host:
            return f"[{host}%{_interface(zone)}]:{port}"
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case bytes():
            return f"unix:{name.decode(errors='replace')}"
        case _:
            return f"unix:{name}"


def _interface(zone: int) -> str:
    try:
        return socket.if_indextoname(zone)
    except OSError:  # it is gone
        return str(zone)


async def open_listeners(address: listen_address.Address, *, refusing: bool = False) -> list[Listener]:
    """Listen at an address of the configuration: one socket for each address that a host name resolves to.

    `refusing`: take the address only, and refuse clients until `Listener.listen`. A socket that another
    program has opened listens already, and what comes waits. The caller owns the listeners. Raises OSError,
    whose message names the address; then no socket is left open.
    """
    match address:
        case FdAddress(fd=fd):
            return [Listener(_inherited(fd))]
        case UnixAddress():
            listeners = [Listener(_bound_to_file(address), address.path, refuses=True)]
        case TcpAddress(host=host, port=port):
            listeners = _bound_to_all(await _places(host, port))
    if not refusing:
        _listen_on_all(listeners)
    return listeners


def _listen_on_all(listeners: Sequence[Listener]) -> None:
    try:
        for listener in listeners:
            listener.listen()
    except OSError:
        for listener in listeners:
            listener.close()
        raise


async def _places(host: str, port: int) -> list[tuple[int, object]]:
    """(family, address) of each address that the host resolves to; an empty host means every interface."""
    if "%" in host:
        return [_with_zone(host, port)]
    try:
        found = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as exc:
        raise OSError(exc.errno, f"cannot listen on {host}:{port}: {str(exc.strerror).lower()}") from exc
    return [(family, where) for family, _, _, _, where in dict.fromkeys(found)]


def _with_zone(host: str, port: int) -> Address:
    try:
        address = literal(host, port)
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on [{host}]:{port}: {exc.strerror}") from exc
    assert address is not None
    return address


def _bound_to_all(places: Sequence[tuple[int, object]]) -> list[Listener]:
    """Skip addresses that this machine does not have, such as IPv6 ones, if at least one other works."""
    listeners: list[Listener] = []
    missing: OSError | None = None
    try:
        for family, where in places:
            try:
                listeners.append(Listener(_bound(family, where), refuses=True))
            except OSError as exc:
                if exc.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = exc
        if missing is not None and not listeners:
            raise missing
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _inherited(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.detach()
            raise OSError(errno.EINVAL, "it is a socket, but does not listen")
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on fd://{fd}: {exc.strerror}") from exc
    return sock


def _bound_to_file(address: UnixAddress) -> socket.socket:
    """A Unix socket. Nobody can connect before it listens, so none does before its mode is set."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    is_bound = False
    try:
        _remove_stale(address.path)
        sock.bind(address.path)
        is_bound = True
        socket_file.set_access(address, UNIX_MODE)
    except (OSError, ValueError) as exc:  # ValueError: a zero byte within the path
        sock.close()
        if is_bound:
            os.unlink(address.path)
        raise _cannot_listen(address.path, exc) from exc
    return sock


def _cannot_listen(where: object, exc: OSError | ValueError) -> OSError:
    number, words = (exc.errno, exc.strerror) if isinstance(exc, OSError) else (None, None)
    why = words or str(exc)
    more = advice(number, where[1]) if isinstance(where, tuple) else ""
    return OSError(
        number or errno.EINVAL, f"cannot listen on {name_of(where)}: {why[:1].lower()}{why[1:]}{more}"
    )


def _bound(family: int, where: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)  # type: ignore[arg-type]  # getaddrinfo made it for this family
    except OSError as exc:
        sock.close()
        raise _cannot_listen(where, exc) from exc
    return sock


def _listen(sock: socket.socket) -> None:
    try:
        sock.listen(BACKLOG)
    except OSError as exc:
        raise _cannot_listen(sock.getsockname(), exc) from exc


def _remove_stale(path: str) -> None:
    """Remove the socket file that an ended process left; a file whose process still listens stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # the backlog of a process that listens may be full
            probe.connect(path)
    except (FileNotFoundError, BlockingIOError):
        return
    except ConnectionRefusedError:
        os.unlink(path)
