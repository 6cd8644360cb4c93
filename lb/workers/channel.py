"""Messages on a stream socket: four bytes of length, then the message.

`tell` is a plain function, so that a callback of the registry may call it; a task sends what was told. What
waits to be sent is bounded: beyond it the other end is taken for dead, which `Stuck` says to whoever runs the
channel.
"""

import struct
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import trio

LENGTH = struct.Struct("!I")
MOST_WAITING = 64 * 1024 * 1024
"""Bytes that may wait for the other end. A snapshot of ten thousand backends has 2 MB."""
PIECE = 256 * 1024


class Stuck(Exception):
    """The other end does not take its messages."""


class Channel:
    """One end of a socket pair, which it owns: `close` it. `run` sends; `heard` gives what comes."""

    def __init__(self, stream: trio.SocketStream, hears: object) -> None:
        self._stream = stream
        self._decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(hears)
        self._encoder = msgspec.msgpack.Encoder()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._news = trio.Event()
        self._sent = trio.Event()
        self._patience = trio.CancelScope()

    def tell(self, message: object) -> None:
        """Send this after all that was told before. Too much that waits ends `run`."""
        data = self._encoder.encode(message)
        self._waiting.append(LENGTH.pack(len(data)) + data)
        self._size += LENGTH.size + len(data)
        self._news.set()
        if self._size > MOST_WAITING:
            self._patience.cancel()

    async def sent(self) -> None:
        """Wait until all that was told is sent."""
        while self._size:
            await self._sent.wait()

    async def run(self) -> None:
        """Send until cancelled. Stuck, or trio.BrokenResourceError where the other end is gone."""
        with self._patience:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await self.flush()
        raise Stuck(f"{self._size} bytes wait to be sent")

    async def flush(self) -> None:
        """Send all that was told; for `run`, and before it. Raises as `run`."""
        while self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            await self._stream.send_all(data)
            self._size -= len(data)
        sent, self._sent = self._sent, trio.Event()
        sent.set()

    async def heard(self) -> AsyncGenerator[object, None]:
        """Each message that comes, until the other end closes or is gone."""
        buffer = bytearray()
        while True:
            try:
                piece = await self._stream.receive_some(PIECE)
            except trio.BrokenResourceError:
                return
            if not piece:
                return
            buffer += piece
            for message in self._taken_from(buffer):
                yield message

    async def first(self) -> object | None:
        """The first message, before `heard` is called; None at the end. No other may follow yet."""
        async with aclosing(self.heard()) as heard:
            async for message in heard:
                return message
        return None

    def _taken_from(self, buffer: bytearray) -> list[object]:
        """The whole messages at the beginning of the buffer, which loses them."""
        messages, at = [], 0
        while len(buffer) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, at)
            if len(buffer) - at - LENGTH.size < length:
                break
            at += LENGTH.size + length
            messages.append(self._decoder.decode(bytes(buffer[at - length : at])))
        del buffer[:at]
        return messages

    def close(self) -> None:
        """Close this end; the other one sees that when it has read all that was sent."""
        self._stream.socket.close()
