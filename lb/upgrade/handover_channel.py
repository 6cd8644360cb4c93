"""One end of the socket pair on which two programs talk."""

import os
import socket
from typing import Self, TypeVar

import trio

from lb.errors import NotUpgraded
from lb.upgrade.handover_messages import LENGTH, LONGEST, Message, framed, read

VARIABLE = "LB_UPGRADE_FD"
"""In the environment of a program that replaces another: the descriptor of its end."""

M = TypeVar("M", bound=Message)


class Channel:
    """Sends and receives messages in order. The owner closes it. One task may send at a time, one receive.

    `trio.BrokenResourceError` where the other end is gone while something is sent.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._sending = trio.Lock()
        self._sent = self._received = 0
        self._buffer = bytearray()

    @classmethod
    def of_environment(cls) -> Self:
        """The end that this program was started with."""
        number = int(os.environ[VARIABLE])
        os.set_inheritable(number, False)
        return cls(socket.socket(fileno=os.dup(number)))

    async def send(self, message: Message) -> None:
        async with self._sending:
            data = framed(message, self._sent)
            self._sent += 1
            await self._stream.send_all(data)

    async def receive(self) -> Message | None:
        """The next message; None at the end."""
        if not (head := await self._read(LENGTH.size)):
            return None
        length, number = LENGTH.unpack(head)
        if number != self._received or length > LONGEST:
            raise NotUpgraded(f"the other program sent message {number}, not {self._received}")
        self._received += 1
        return read(await self._read(length))

    async def hear(self, kind: type[M]) -> M:
        """The next message, which must be of this kind: NotUpgraded for any other and for the end."""
        message = await self.receive()
        if not isinstance(message, kind):
            said = "nothing" if message is None else type(message).__name__
            raise NotUpgraded(f"the other program said {said}, not {kind.__name__}")
        return message

    async def _read(self, length: int) -> bytes:
        """So many bytes; none where the other end is gone before the last of them."""
        while len(self._buffer) < length:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:  # reset, since it left something unread
                return b""
            if not data:
                return b""
            self._buffer += data
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    async def aclose(self) -> None:
        await self._stream.aclose()
