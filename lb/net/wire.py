"""One connected, non-blocking socket.

A Trio stream runs the scheduler on every success; a wire runs it only where a call would block. A send tries
first, because a socket is nearly always writable. A receive waits first, because an answer is hardly ever
there yet; that wait is also the checkpoint at which other tasks run and cancellations arrive.
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
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first probe, seconds between probes, and how many may stay unanswered."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds


class Watcher(Protocol):
    """Is called when there is something to receive, instead of waking a task. It must not raise."""

    def came(self, wire: "Wire") -> None: ...


class Wire:
    """A connected socket, which the wire owns. The wire's owner closes it. Errors are OSErrors of the socket.

    One task at a time may receive and one may send. After an error or a cancellation during a send it is not
    known how much was sent, so the wire can only be closed.
    While `watcher` is set it is called instead of the task in `readable`; only where `can_be_watched`.
    `is_ready`: the last edge said that there is something to receive, and it has not all been received.
    """

    __slots__ = ("_has_ended", "_reader", "_readiness", "_unread", "is_ready", "sock", "watcher")

    def __init__(self, sock: socket.socket, readiness: Readiness | None = None) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.is_ready = self._has_ended = False
        self.watcher: Watcher | None = None
        self._unread: bytes | None = None
        self._reader: Task | None = None
        registered = readiness is not None and readiness.register(sock.fileno(), self)
        self._readiness = readiness if registered else None

    async def readable(self) -> None:
        """Wait until there is something to receive, or the end.

        BusyResourceError if another task waits here.
        """
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
        """There is something to receive: called on an edge (`lb.net.epoll.Waiting`)."""
        self.is_ready = True
        self._has_ended = self._has_ended or ended
        if self.watcher is not None:
            self.watcher.came(self)
        elif self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    def was_emptied(self) -> None:
        """Everything that was there has been received.

        An end stays readable, since its edge comes only once.
        """
        self.is_ready = self._has_ended

    async def writable(self) -> None:
        """Wait until the kernel takes more bytes."""
        await wait_writable(self.sock)

    async def receive(self, size: int = RECEIVE_SIZE) -> bytes:
        """Wait for up to `size` bytes, at least one; b"" once the peer has ended its side."""
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
        """A `watcher` may be set: nothing was put back. It is called on the next edge, so not for what is
        there while the wire `is_ready`."""
        return self._readiness is not None and self._unread is None

    @property
    def is_known_quiet(self) -> bool:
        """As `is_quiet`, without a system call; False where that is not known."""
        return self._readiness is not None and not self.is_ready

    def receive_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """Up to `size` bytes that are there, or None; b"" at the end and where the connection broke."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            self.was_emptied()
            return None
        except OSError:
            return b""
        if len(data) < size:
            self.was_emptied()
        return data

    def unread(self, data: bytes) -> None:
        """Put back what `receive_now` returned; the next `receive` returns it.

        Only `receive` sees these bytes.
        """
        self._unread, self.is_ready = data, True

    def send_now(self, data: bytes | bytearray | memoryview) -> memoryview | None:
        """Send what the kernel takes at once. Returns what is left to send, or None."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        return None if sent == len(data) else memoryview(data)[sent:]

    async def send_rest(self, left: memoryview) -> None:
        """Send what `send_now` returned. The caller sets the timeout."""
        while left:
            await wait_writable(self.sock)
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                continue

    async def send(self, data: bytes) -> None:
        """Send everything. The caller sets the timeout."""
        left = self.send_now(data)
        if left is not None:
            await self.send_rest(left)

    def end_sending(self) -> None:
        """Half-close: the peer receives our end, and may go on sending."""
        self.sock.shutdown(socket.SHUT_WR)

    def keep_alive(self) -> None:
        """Have the kernel ask a silent peer whether it is there: one that has vanished ends the connection.

        For connections that may be silent for long. It takes about two minutes to notice.
        """
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.sock.family == socket.AF_UNIX:
            return
        for option, value in KEEPALIVE.items():
            if hasattr(socket, option):
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def unsent_in_kernel(self) -> int:
        """Bytes sent that the peer's kernel has not acknowledged (TIOCOUTQ); 0 where that is unknown."""
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(count)

    def is_quiet(self) -> bool:
        """True while neither a byte nor an end is there to be received. Costs a system call."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the socket. Closing it again does nothing."""
        if self._readiness is not None:
            self._readiness.forget(self.sock.fileno())
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset, so that the peer sees an error rather than an orderly end.

        Not after `close`.
        """
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


def no_delay(sock: socket.socket) -> None:
    """Set TCP_NODELAY, so that small answers are sent at once; Unix sockets do not have it."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
