"""Moving bytes from one socket to another inside the kernel, through a pipe: splice(2).

A pipe costs two descriptors and kernel memory, so there are few of them, and fewer where this process may
open few descriptors. Where no pipe is free, `Copy` does the same work through Python. A pipe that still holds
bytes is closed and never lent again, because they belong to the body of one exchange.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lb.net.descriptors import soft_limit
from lb.net.plain_wire import PlainWire

PIPE_BYTES = 256 * 1024
MOST_PIPES = 64
DESCRIPTORS_FOR_A_PIPE = 64
"""There is at most one pipe for this many descriptors."""
SPLICE_FROM = 64 * 1024
"""Bodies with fewer bytes left are copied, since a pipe saves nothing on them; `just bench` guards this."""
COPY_BYTES = 64 * 1024
FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Pipe:
    """A non-blocking pipe between two sockets; `held` bytes are in it. `Pipes` owns and closes it."""

    __slots__ = ("_into", "_out", "held")

    def __init__(self) -> None:
        self._out, self._into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        with suppress(OSError):  # over the user's limit for all pipes: keep the default size
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self, source: PlainWire, most: int) -> int | None:
        """Move up to `most` bytes from a wire to the pipe: how many, 0 at its end, None if none is there now.

        The pipe must be empty, since a full one cannot be told from a wire without bytes. Bytes that were put
        back by `Wire.unread` are not seen. Raises the OSError of splice(2).
        """
        try:
            moved = os.splice(source.fileno(), self._into, most, flags=FLAGS)
        except BlockingIOError:
            source.was_emptied()
            return None
        self.held += moved
        return moved

    def drain(self, sink: PlainWire) -> bool:
        """Move what is held to a wire; False if it takes no more now.

        Raises the OSError of splice(2).
        """
        while self.held:
            try:
                self.held -= os.splice(self._out, sink.fileno(), self.held, flags=FLAGS)
            except BlockingIOError:
                return False
        return True

    def read(self) -> bytes:
        """Take everything that is held, to be sent in another way."""
        pieces = []
        while self.held:
            pieces.append(os.read(self._out, self.held))
            self.held -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self._out)
        os.close(self._into)


class Copy:
    """Does the same as `Pipe` through Python, where no pipe can be had."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = memoryview(b"")

    @property
    def held(self) -> int:
        return len(self._data)

    def fill(self, source: PlainWire, most: int) -> int | None:
        data = source.take(min(most, COPY_BYTES))
        if data is None:
            return None
        self._data = memoryview(data)
        return len(data)

    def read(self) -> bytes:
        data, self._data = bytes(self._data), memoryview(b"")
        return data

    def drain(self, sink: PlainWire) -> bool:
        while self._data:
            sent = sink.send_part(self._data)
            if not sent:
                return False
            self._data = self._data[sent:]
        return True


async def fill(pipe: Pipe | Copy, source: PlainWire, most: int) -> int:
    """Wait for bytes on a wire and move up to `most` of them into an empty pipe: how many, 0 at its end."""
    count: int | None = None
    while count is None:
        await source.readable()
        count = pipe.fill(source, most)
    return count


class Pipes:
    """The pipes of one balancer: at most `most` are open, lent and idle ones together."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most_pipes() if most is None else most
        self._idle: list[Pipe] = []
        self._lent = 0

    @contextmanager
    def lend(self) -> Iterator[Pipe | Copy]:
        """A pipe, or a `Copy` where none is free, for as long as the block lasts. It is empty at first."""
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

    def give_up(self, leaving: int) -> bool:
        """Close idle pipes, all but so many; False if there were no more."""
        has_more = len(self._idle) > leaving
        while len(self._idle) > leaving:
            self._idle.pop().close()
        return has_more

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def most_pipes() -> int:
    """How many pipes this process may have; none where the platform has no splice(2)."""
    return min(MOST_PIPES, soft_limit() // DESCRIPTORS_FOR_A_PIPE) if hasattr(os, "splice") else 0
