"""What a start would try beside reading the file: the start itself, and `lb config check` before it."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lb import socket_file
from lb.config import state_file
from lb.config.admin_token import admin_token
from lb.config.local_loops import local_loops
from lb.config.own_addresses import listeners
from lb.config.proxy_check import proxy_notes
from lb.config.tls_check import tls_notes
from lb.errors import ConfigError
from lb.net.bind_advice import advice, holder
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import TcpAddress, UnixAddress, parse_address

NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""Errors of an address that this machine does not have. One of several that a name has is enough."""


def before_start(config: Config) -> str | None:
    """The token of the admin side. It blocks.

    ConfigError for a secret or a group that cannot be used, or an audit file that cannot be written.
    """
    for key, text in listeners(config):
        address = parse_address(text)
        if isinstance(address, UnixAddress) and address.group is not None:
            try:
                socket_file.group_id(address.group)
            except LookupError as exc:
                raise ConfigError(f"{key}: {text}: {exc}") from exc
    if (path := config.admin.audit_file) is not None:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600))
        except OSError as exc:
            raise ConfigError(f"admin.audit_file: {path} cannot be written: {exc.strerror}") from exc
    return admin_token(config.admin)


def try_start(config: Config) -> Iterator[str]:
    """Try a start, and yield a note for what works but not as well as it might. It blocks.

    ConfigError, which names the key, for what would keep the program from starting. An address that is in use
    gets a note only: the program may run already.
    """
    before_start(config)
    for key, text in listeners(config):
        try:
            if _is_taken(text):
                yield f"{key}: {text} is in use{_holder(text)}, and a start fails while it is"
        except OSError as exc:
            why = (exc.strerror or str(exc)).lower()
            raise ConfigError(f"{key}: cannot listen on {text}: {why}{_advice(exc, text)}") from exc
    yield from local_loops(config)
    yield from tls_notes(config, time.time())
    yield from proxy_notes(config)
    if config.state:
        state_file.load(config.state)
        if note := state_file.try_out(config.state):
            yield f"state: {config.state}: {note}"


def _advice(error: OSError, text: str) -> str:
    address = parse_address(text)
    return advice(error.errno, address.port) if isinstance(address, TcpAddress) else ""


def _holder(text: str) -> str:
    address = parse_address(text)
    return holder(address.port) if isinstance(address, TcpAddress) else ""


def _is_taken(text: str) -> bool:
    """Whether a program has this port; OSError where none can listen there.

    A descriptor is inherited by the start only.
    """
    match parse_address(text):
        case TcpAddress(host, port):
            return _try_all(host, port)
        case UnixAddress(path=path):
            folder = Path(path).absolute().parent
            if not folder.is_dir():
                raise OSError(errno.ENOENT, f"there is no folder {folder}")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, f"folder {folder} cannot be written")
    return False


def _try_all(host: str, port: int) -> bool:
    """Bind to each address of the host and let go of it; whether one of them is in use."""
    places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    refusals = [exc for family, *_, where in places if (exc := _refusal(family, where)) is not None]
    missing = [exc for exc in refusals if exc.errno in NOT_HERE]
    if len(missing) == len(places):
        raise missing[0]
    return len(refusals) > len(missing)


def _refusal(family: int, where: object) -> OSError | None:
    """The error where the address is in use or this machine does not have it; any other one is raised."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # as the listener, which has one socket for each family
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)  # type: ignore[arg-type]  # getaddrinfo made it for this family
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE and exc.errno not in NOT_HERE:
            raise
        return exc
    return None
