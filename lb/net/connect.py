"""Connecting to a backend: one address after the other, without a thread."""

import errno
import os
import socket

from trio.lowlevel import wait_writable

from lb.net.resolver import Address
from lb.net.wire import no_delay

OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors that mean this process, or the system, is out of descriptors or memory: not the peer's fault."""


async def connect(addresses: list[Address]) -> socket.socket:
    """Connect to the first address that accepts, and return the socket, which is non-blocking.

    Raises the OSError of the last address tried if none accepts. There is no timeout here: the caller sets
    one, for all addresses together. The caller owns the socket. After an error or a cancellation no socket
    is left open.
    """
    failure: OSError | None = None
    for family, address in addresses:
        try:
            return await _connect_one(family, address)
        except OSError as exc:
            failure = exc
            if exc.errno in OUT_OF_DESCRIPTORS:
                break
    raise failure or OSError(errno.EADDRNOTAVAIL, "no address to connect to")


async def _connect_one(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        no_delay(sock)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
