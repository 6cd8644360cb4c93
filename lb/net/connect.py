"""Connecting to a backend, without a thread: to the first of its addresses that accepts (RFC 8305)."""

import errno
import os
import socket
from collections.abc import Collection, Sequence

import trio
from trio.lowlevel import wait_writable

from lb.net.addresses import Address
from lb.net.wire import no_delay

OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors that mean this process, or the system, is out of descriptors or memory: not the peer's fault."""
NO_PORT_LEFT = errno.EADDRINUSE
"""Every local port is taken for this address, mostly by connections that have ended: not the peer's fault."""
NEXT_AFTER_SECONDS = 0.25
"""How long an address is tried alone before the next one is tried beside it: RFC 8305 section 8."""
UNIX_PAUSE_SECONDS = 0.02
"""Pause before a Unix socket whose backlog is full is tried again: the kernel lets nobody wait for it."""


async def connect(addresses: Sequence[Address]) -> socket.socket:
    """Connect to one of these addresses, and return the socket, which is non-blocking.

    The next address is tried when the one before refuses, or has not accepted within a quarter of a second;
    the first to accept is it. Raises an OSError if none accepts: one of OUT_OF_DESCRIPTORS if there was one,
    then NO_PORT_LEFT, otherwise the last. There is no timeout here: the caller sets one, for all
    addresses together. The caller owns the socket. No other socket is left open, nor any after an error or a
    cancellation.
    """
    if len(addresses) == 1:
        return await _connect_one(*addresses[0])
    race = _Race()
    try:
        async with trio.open_nursery() as nursery:
            await race.run(addresses, nursery)
        return race.result()
    except BaseException:
        race.close()
        raise


class _Race:
    """Attempts to connect that run side by side. The first to succeed ends the others."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._failures: list[OSError] = []

    async def run(self, addresses: Sequence[Address], nursery: trio.Nursery) -> None:
        """Start the attempts. Where descriptors are short, no further one is started."""
        for address in addresses:
            has_failed = trio.Event()
            nursery.start_soon(self._attempt, address, has_failed, nursery.cancel_scope)
            with trio.move_on_after(NEXT_AFTER_SECONDS):
                await has_failed.wait()
            if self._lack() is not None:
                return

    async def _attempt(self, address: Address, has_failed: trio.Event, scope: trio.CancelScope) -> None:
        try:
            sock = await _connect_one(*address)
        except OSError as exc:
            self._failures.append(exc)
            has_failed.set()
            return
        if self._sock is None:
            self._sock = sock
            scope.cancel()
        else:  # two were connected in the same turn of the event loop
            sock.close()

    def _lack(self) -> OSError | None:
        return self._first_of(OUT_OF_DESCRIPTORS)

    def _first_of(self, codes: Collection[int]) -> OSError | None:
        return next((exc for exc in self._failures if exc.errno in codes), None)

    def result(self) -> socket.socket:
        if self._sock is not None:
            return self._sock
        last = self._failures[-1] if self._failures else None
        ours = self._lack() or self._first_of((NO_PORT_LEFT,))
        raise ours or last or OSError(errno.EADDRNOTAVAIL, "no address to connect to")

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()


def begin_with(sock: socket.socket, data: bytes) -> None:
    """Send the first bytes on a new connection, as few as its kernel takes at once.

    OSError where it does not, or the connection has ended; the socket is closed then.
    """
    try:
        if sock.send(data) < len(data):
            raise OSError(errno.EAGAIN, "the kernel does not take the first bytes")
    except BaseException:
        sock.close()
        raise


async def _connect_one(family: socket.AddressFamily, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        no_delay(sock)
        code = sock.connect_ex(address)  # type: ignore[arg-type]  # of this family
        while code == errno.EAGAIN and family == socket.AF_UNIX:
            await trio.sleep(UNIX_PAUSE_SECONDS)
            code = sock.connect_ex(address)  # type: ignore[arg-type]
        if code == errno.EINPROGRESS:
            await wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.EADDRNOTAVAIL and _has_source(family, address):
            raise OSError(NO_PORT_LEFT, "no local port is left")
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _has_source(family: socket.AddressFamily, address: object) -> bool:
    """This machine has an address from which that one is reached. UDP sends nothing and has its own ports."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        return sock.connect_ex(address) == 0  # type: ignore[arg-type]  # of this family
