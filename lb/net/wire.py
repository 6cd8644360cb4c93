"""A connected, non-blocking socket with one pair of verbs, whatever its bytes look like on the network.

A Trio stream runs the scheduler on every success; a wire runs it only where a call would block. A send tries
first, because a socket is nearly always writable. A receive waits first, because an answer is hardly ever
there yet; that wait is also the checkpoint at which other tasks run and cancellations arrive.

Only a `PlainWire` (`lb.net.plain_wire`) has the bytes of its messages in the kernel, so only its type can be
spliced. A `TlsWire` (`lb.net.tls_wire`) has them in records.
"""

import fcntl
import socket
import struct
import termios
from typing import Protocol

import trio
from trio.lowlevel import Abort, Task, wait_readable, wait_writable

from lb.core.client_address import UNIX, plain
from lb.net.epoll import Readiness

RECEIVE_SIZE = 64 * 1024
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first probe, seconds between probes, and how many may stay unanswered."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds


class Watcher(Protocol):
    """Is called when there is something to receive, instead of waking a task. It must not raise."""

    def came(self, wire: "Wire") -> None: ...


class Wire:
    """A connected socket, which the wire owns. The wire's owner closes it. Errors are OSErrors.

    One task at a time may receive and one may send. `unsent` is what the kernel has not taken of what was
    sent; nothing else may be sent while there is any, but by `flush`. After an error or a cancellation during
    a send it is not known how much was sent, so the wire can only be closed.
    While `watcher` is set it is called instead of the task in `readable`; only where `can_be_watched`.
    `is_ready`: the last edge said that there is something to receive, and it has not all been received.
    """

    __slots__ = ("_has_ended", "_reader", "_readiness", "_sock", "_unread", "is_ready", "unsent", "watcher")

    def __init__(self, sock: socket.socket, readiness: Readiness | None = None) -> None:
        self._sock = sock
        sock.setblocking(False)
        self.unsent: memoryview | None = None
        self.is_ready = self._has_ended = False
        self.watcher: Watcher | None = None
        self._unread: bytes | None = None
        self._reader: Task | None = None
        registered = readiness is not None and readiness.register(sock.fileno(), self)
        self._readiness = readiness if registered else None

    def fileno(self) -> int:
        """The descriptor, to be polled; it stays the wire's."""
        return self._sock.fileno()

    def local_address(self) -> str:
        """The IP address of our end; "" on a Unix socket."""
        host, _ = self.local_end()
        return "" if host == UNIX else host

    def local_end(self) -> tuple[str, int]:
        """The IP address and the port of our end; UNIX and 0 on a Unix socket."""
        match self._sock.getsockname():
            case (str(host), int(port), *_):
                return plain(host) if ":" in host else host, port
            case _:
                return UNIX, 0

    async def readable(self) -> None:
        """Wait until there is something to receive, or the end.

        BusyResourceError if another task waits here.
        """
        if self._readiness is None:
            await wait_readable(self._sock)
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
        if ended:
            self.is_ready = self._has_ended = True
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
        await wait_writable(self._sock)

    async def receive(self, size: int = RECEIVE_SIZE) -> bytes:
        """Wait for up to `size` bytes, at least one; b"" once the peer has ended its side."""
        while True:
            await self.readable()
            if self._unread is not None:
                data, self._unread = self._unread, None
                return data
            found = self.take(size)
            if found is not None:
                return found

    def take(self, size: int) -> bytes | None:
        """Up to `size` bytes that are there, or None; b"" at the end. Raises the OSError of a broken one."""
        raise NotImplementedError

    @property
    def can_be_watched(self) -> bool:
        """A `watcher` may be set: nothing was put back. It is called on the next edge, so not for what is
        there while the wire `is_ready`."""
        return self._readiness is not None and self._unread is None

    @property
    def is_known_quiet(self) -> bool:
        """As `is_quiet`, by the last look at all connections; False where that is not known.

        Costs no system call, so what has come since is not known either.
        """
        return self._readiness is not None and not self.is_ready

    def receive_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """Up to `size` bytes that are there, or None; b"" at the end and where the connection broke."""
        try:
            data = self._sock.recv(size)
        except BlockingIOError:
            self.was_emptied()
            return None
        except OSError:
            return b""
        if len(data) < size:
            self.was_emptied()
        return data

    def receive_raw_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """As `receive_now`, but what is on the network as it is: before TLS begins, if it does."""
        return self.receive_now(size)

    def unread(self, data: bytes) -> None:
        """Put back what `receive_now` returned; the next `receive` returns it.

        Only `receive` sees these bytes.
        """
        self._unread, self.is_ready = data, True

    async def send_some(self) -> None:
        """Wait until the kernel takes more, and send what it takes of what is `unsent`.

        The caller sets the timeout. May be cancelled, and called again.
        """
        await wait_writable(self._sock)
        if self.unsent is not None:
            self._give(self.unsent)

    async def flush(self) -> None:
        """Wait until nothing is `unsent`. The caller sets the timeout."""
        while self.unsent is not None:
            await self.send_some()

    async def send(self, data: bytes) -> None:
        """Send everything. The caller sets the timeout."""
        if not self.send_now(data):
            await self.flush()

    def send_now(self, data: bytes | bytearray | memoryview) -> bool:
        """Send what the kernel takes at once. False if some is `unsent`; only while nothing is."""
        raise NotImplementedError

    def send_last_now(self, data: bytes | bytearray | memoryview) -> bool:
        """As `send_now`, of the last bytes that are sent: our end goes out with them where bytes say it."""
        return self.send_now(data)

    def _give(self, data: bytes | bytearray | memoryview) -> bool:
        """Give these bytes to the kernel as they are; what it does not take is `unsent`."""
        sent = self._give_part(data)
        if sent == len(data):
            self.unsent = None
            return True
        self.unsent = memoryview(data)[sent:]
        return False

    def _give_part(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def end_sending(self) -> None:
        """Half-close: the peer receives our end, and may go on sending."""
        self._sock.shutdown(socket.SHUT_WR)

    def keep_alive(self) -> None:
        """Have the kernel ask a silent peer whether it is there: one that has vanished ends the connection.

        For connections that may be silent for long. It takes about two minutes to notice.
        """
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._sock.family == socket.AF_UNIX:
            return
        for option, value in KEEPALIVE.items():
            if hasattr(socket, option):
                self._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def unsent_in_kernel(self) -> int:
        """Bytes sent that the peer's kernel has not acknowledged (TIOCOUTQ); 0 where that is unknown."""
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(count)

    def is_quiet(self) -> bool:
        """True while neither a byte nor an end is there to be received. Costs a system call."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket. Closing it again does nothing."""
        self._drop()

    def _drop(self) -> None:
        if self._readiness is not None:
            self._readiness.forget(self._sock.fileno())
        self._sock.close()

    def reset(self) -> None:
        """Close with a TCP reset, so that the peer sees an error rather than an orderly end.

        Not after `close`.
        """
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._drop()


def no_delay(sock: socket.socket) -> None:
    """Set TCP_NODELAY, so that small answers are sent at once; Unix sockets do not have it."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
