"""What a start would try beside reading the file: the start itself, and `lb config check` before it."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lb import socket_file
from lb.config import state_file
from lb.config.admin_token import admin_token
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import TcpAddress, UnixAddress, parse_address

NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""Errors of an address that this machine does not have. One of several that a name has is enough."""


def before_start(config: Config) -> str | None:
    """The token of the admin side. It blocks.

    ConfigError for a secret or a group that cannot be used, or an audit file that cannot be written.
    """
    for key, text in _listening(config):
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
    is none: the program may run already.
    """
    before_start(config)
    for key, text in _listening(config):
        try:
            _try_address(text)
        except OSError as exc:
            raise ConfigError(
                f"{key}: cannot listen on {text}: {(exc.strerror or str(exc)).lower()}"
            ) from exc
    if config.state:
        state_file.load(config.state)
        if note := state_file.try_out(config.state):
            yield f"state: {config.state}: {note}"


def _listening(config: Config) -> Iterator[tuple[str, str]]:
    """Each address that we listen on, with its key."""
    for index, text in enumerate(config.listen):
        yield f"listen[{index}]", text
    if config.admin.enabled:
        yield "admin.listen", config.admin.listen


def _try_address(text: str) -> None:
    """OSError where nothing can listen there. A descriptor is inherited by the start only."""
    match parse_address(text):
        case TcpAddress(host, port):
            _try_all(host, port)
        case UnixAddress(path=path):
            folder = Path(path).absolute().parent
            if not folder.is_dir():
                raise OSError(errno.ENOENT, f"there is no folder {folder}")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, f"folder {folder} cannot be written")


def _try_all(host: str, port: int) -> None:
    """Bind to each address of the host and let go of it."""
    places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    missing = [exc for family, *_, where in places if (exc := _refusal(family, where)) is not None]
    if len(missing) == len(places):
        raise missing[0]


def _refusal(family: int, where: object) -> OSError | None:
    """The error where this machine does not have the address; any other one is raised."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)  # type: ignore[arg-type]  # getaddrinfo made it for this family
    except OSError as exc:
        if exc.errno in NOT_HERE:
            return exc
        if exc.errno != errno.EADDRINUSE:
            raise
    return None
