"""Moving bytes from one socket to another inside the kernel, through a pipe: they never enter Python.

A pipe costs two descriptors and kernel memory, so there are only so many; whoever gets none copies, which
is the same work by other means. A pipe that still holds bytes is closed rather than lent again: they are
somebody's body.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lb.net.wire import Wire

PIPE_BYTES = 256 * 1024
MOST_PIPES = 64
SPLICE_FROM = 64 * 1024
"""Below that a pipe saves nothing: measured on 16 KiB and 1 MiB, in `just bench`."""
COPY_BYTES = 64 * 1024
FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Pipe:
    """A pipe between two sockets; `held` bytes are in it. Closed by whoever has it."""

    __slots__ = ("_into", "_out", "held")

    def __init__(self) -> None:
        self._out, self._into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        with suppress(OSError):  # a user's pipes have a limit together; the size that it has will do
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self, source: Wire, most: int) -> int | None:
        """Take up to `most` bytes from a wire: how many, 0 at its end, None if it has none now."""
        try:
            moved = os.splice(source.sock.fileno(), self._into, most, flags=FLAGS)
        except BlockingIOError:
            source.was_emptied()
            return None
        self.held += moved
        return moved

    def drain(self, sink: socket.socket) -> bool:
        """Give a socket what is held; False if it takes no more now."""
        while self.held:
            try:
                self.held -= os.splice(self._out, sink.fileno(), self.held, flags=FLAGS)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        os.close(self._out)
        os.close(self._into)


class Copy:
    """Does what a pipe does where there is none: the bytes pass through Python."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = memoryview(b"")

    @property
    def held(self) -> int:
        return len(self._data)

    def fill(self, source: Wire, most: int) -> int | None:
        try:
            data = source.sock.recv(min(most, COPY_BYTES))
        except BlockingIOError:
            source.was_emptied()
            return None
        self._data = memoryview(data)
        return len(data)

    def drain(self, sink: socket.socket) -> bool:
        while self._data:
            try:
                self._data = self._data[sink.send(self._data) :]
            except BlockingIOError:
                return False
        return True


async def fill(pipe: Pipe | Copy, source: Wire, most: int) -> int:
    """Wait until a wire has something and take up to `most` bytes of it: how many, 0 at its end."""
    count: int | None = None
    while count is None:
        await source.readable()
        count = pipe.fill(source, most)
    return count


class Pipes:
    """The pipes of one balancer. At most so many are open at a time, lent or not."""

    def __init__(self, most: int = MOST_PIPES if hasattr(os, "splice") else 0) -> None:
        self._most = most
        self._idle: list[Pipe] = []
        self._lent = 0

    @contextmanager
    def lend(self) -> Iterator[Pipe | Copy]:
        """A pipe for as long as the block lasts, or what stands in for one."""
        pipe = self._take()
        if pipe is None:
            yield Copy()
            return
        self._lent += 1
        try:
            yield pipe
        finally:
            self._lent -= 1
            if pipe.held:
                pipe.close()
            else:
                self._idle.append(pipe)

    def _take(self) -> Pipe | None:
        if self._idle:
            return self._idle.pop()
        if self._lent >= self._most:
            return None
        try:
            return Pipe()
        except OSError:
            return None

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
