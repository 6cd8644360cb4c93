"""One connected, non-blocking socket behind a few verbs; whatever may stand in for it offers the same.

A Trio stream reschedules on every success; here the scheduler is asked only when a call would block. Sends
try first, since a socket is nearly always writable. Receives wait first, since after a send the answer is
never there yet; the wait is also what lets others run and a cancellation in.
"""

import fcntl
import socket
import struct
import termios
from typing import Protocol

import trio
from trio.lowlevel import Abort, Task, wait_readable, wait_writable

from lb.net.epoll import Readiness

RECEIVE_SIZE = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Watcher(Protocol):
    """Who is called, instead of a task that would be woken, when there is something to receive."""

    def came(self, wire: "Wire") -> None: ...


class Wire:
    """Owns its socket: whoever owns the wire closes it, once. Errors are the socket's own `OSError`s.

    After an error or a cancellation in the middle of a send nobody knows how much left, so the wire is of
    no more use but to be closed.
    """

    __slots__ = ("_has_ended", "_reader", "_readiness", "_unread", "is_ready", "origin", "sock", "watcher")

    def __init__(self, sock: socket.socket, origin: str = "", readiness: Readiness | None = None) -> None:
        self.sock = sock
        self.origin = origin
        sock.setblocking(False)
        self.is_ready = self._has_ended = False
        self.watcher: Watcher | None = None
        self._unread: bytes | None = None
        self._reader: Task | None = None
        registered = readiness is not None and readiness.register(sock.fileno(), self)
        self._readiness = readiness if registered else None

    async def readable(self) -> None:
        """Wait until there is something to receive, if only the end."""
        if self._readiness is None:
            await wait_readable(self.sock)
        elif self.is_ready:
            await trio.lowlevel.checkpoint()
        elif self._reader is not None:
            raise trio.BusyResourceError("another task is waiting to receive on this connection")
        else:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _raise_cancel: object) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def wake(self, ended: bool) -> None:
        """There is something to receive (`lb.net.epoll.Waiting`)."""
        self.is_ready = True
        self._has_ended = self._has_ended or ended
        if self.watcher is not None:
            self.watcher.came(self)
        elif self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    def was_emptied(self) -> None:
        """All that there was has been received; an end, which is told only once, is still there."""
        self.is_ready = self._has_ended

    async def writable(self) -> None:
        """Wait until something can be sent."""
        await wait_writable(self.sock)

    async def receive(self, size: int = RECEIVE_SIZE) -> bytes:
        """Up to `size` bytes, at least one, or none when the peer has sent its last."""
        while True:
            await self.readable()
            if self._unread is not None:
                data, self._unread = self._unread, None
                return data
            try:
                data = self.sock.recv(size)
            except BlockingIOError:
                self.was_emptied()
                continue
            if len(data) < size:
                self.was_emptied()
            return data

    @property
    def can_be_watched(self) -> bool:
        """Will `watcher` be told, and is there nothing that it has missed?"""
        return self._readiness is not None and not self.is_ready

    def receive_now(self) -> bytes | None:
        """What is there to receive, or None; none where the connection broke, as at its end."""
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            self.was_emptied()
            return None
        except OSError:
            return b""
        if len(data) < RECEIVE_SIZE:
            self.was_emptied()
        return data

    def unread(self, data: bytes) -> None:
        """Put back what `receive_now` gave, for whoever receives next."""
        self._unread, self.is_ready = data, True

    def send_now(self, data: bytes | memoryview) -> memoryview | None:
        """Send without waiting; what is left to send, or None."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        return None if sent == len(data) else memoryview(data)[sent:]

    async def send_rest(self, left: memoryview) -> None:
        """Send what `send_now` left, waiting as often as it takes."""
        while left:
            await wait_writable(self.sock)
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                continue

    async def send(self, data: bytes) -> None:
        left = self.send_now(data)
        if left is not None:
            await self.send_rest(left)

    def end_sending(self) -> None:
        """Tell the peer that no more will come (a half-close)."""
        self.sock.shutdown(socket.SHUT_WR)

    def unsent_in_kernel(self) -> int:
        """How many bytes that were sent the peer's kernel has not taken yet; 0 where that cannot be told."""
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(count)

    def is_quiet(self) -> bool:
        """Nothing has come on an idle connection: no byte that nobody asked for, and no end."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        if self._readiness is not None:
            self._readiness.forget(self.sock.fileno())
        self.sock.close()

    def reset(self) -> None:
        """Close so that the peer sees an error, where an orderly end would say that all is well."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


def no_delay(sock: socket.socket) -> None:
    """Small answers leave at once; only TCP has the option."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
