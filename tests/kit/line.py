"""One end of a connection. A test says what must come next on it; anything else fails the test.

An end (FIN) and a reset (RST) are told apart: before an end the other side has sent all that it had to send.
"""

import os
import socket
import struct
from contextlib import suppress

import trio
import trio.testing

from tests.kit.wires import SecureSocket

PATIENCE = 4000.0
"""Virtual seconds until a wait for the other side fails the test; longer than any default timeout."""
SIZE = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ended(AssertionError):
    """The connection ended where the test expected more; `how` is "end" or "reset"."""

    def __init__(self, how: str, heard: bytes) -> None:
        super().__init__(f"{how} of the connection after {heard[:200]!r}")
        self.how = how


class Line:
    """A connected socket, and in `heard` the bytes that have come and that the test has not looked at yet."""

    def __init__(self, sock: trio.socket.SocketType | SecureSocket) -> None:
        self.sock = sock
        self.heard = b""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- speaking ----------------------------------------------------------------------------------------

    async def says(self, *pieces: bytes) -> None:
        """Send the pieces, each in a segment of its own."""
        for data in pieces:
            with trio.fail_after(PATIENCE):
                left = memoryview(data)
                while left:
                    left = left[await self.sock.send(left) :]

    def says_at_once(self, data: bytes) -> None:
        """Send it without a wait, so that no other task runs before."""
        if isinstance(self.sock, SecureSocket):
            self.sock.send_now(data)
            return
        with socket.socket(fileno=os.dup(self.sock.fileno())) as sock:
            assert sock.send(data) == len(data)

    async def says_bytewise(self, data: bytes, step: int = 1) -> None:
        """Send `step` bytes at a time, each time after all tasks have dealt with the bytes before."""
        for at in range(0, len(data), step):
            await self.says(data[at : at + step])
            await trio.testing.wait_all_tasks_blocked()

    async def says_until_stuck(self, data: bytes, most: int) -> int:
        """Send the same piece again and again until the other side takes no more. Returns the bytes sent."""
        sent = 0
        while sent < most:
            with trio.move_on_after(0.001) as stuck:
                sent += await self.sock.send(data)
            if stuck.cancelled_caught:
                break
        return sent

    def ends(self) -> None:
        """Send an end (FIN), and go on listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def closes(self) -> None:
        self.sock.close()

    def resets(self) -> None:
        """Close the connection with a reset (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if isinstance(self.sock, SecureSocket):
            self.sock.abort()
        else:
            self.sock.close()

    @property
    def is_open(self) -> bool:
        return self.sock.fileno() >= 0

    # -- listening ---------------------------------------------------------------------------------------

    async def hears_exactly(self, expected: bytes) -> None:
        heard = await self.take(len(expected))
        assert heard == expected, f"heard {heard[:200]!r}, not {expected[:200]!r}"

    async def hears_nothing(self) -> None:
        """When all tasks wait, nothing has come, not even an end."""
        await trio.testing.wait_all_tasks_blocked()
        if isinstance(self.sock, SecureSocket):
            self.heard += b"an end" if (data := self.sock.recv_now(SIZE)) == b"" else data or b""
            assert not self.heard, f"heard {self.heard[:200]!r}"
            return
        with suppress(BlockingIOError), socket.socket(fileno=os.dup(self.sock.fileno())) as sock:
            self.heard += sock.recv(SIZE, socket.MSG_DONTWAIT) or b"an end"
        assert not self.heard, f"heard {self.heard[:200]!r}"

    async def hears_end(self) -> None:
        """Nothing more comes, and then an end."""
        heard, how = await self.hears_all()
        assert not heard, f"before the end it heard {heard[:200]!r}"
        assert how == "end", f"it was a {how}"

    async def hears_reset(self) -> None:
        """Nothing more comes, and then a reset."""
        heard, how = await self.hears_all()
        assert not heard, f"before the reset it heard {heard[:200]!r}"
        assert how == "reset", f"it was an {how}"

    async def hears_all(self) -> tuple[bytes, str]:
        """Read all until the connection is over. Returns it, and "end" or "reset"."""
        try:
            while True:
                await self._more()
        except Ended as exc:
            heard, self.heard = self.heard, b""
            return heard, exc.how

    async def take(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        pieces, left = [self.heard], count - len(self.heard)
        self.heard = b""
        while left > 0:
            await self._more()
            pieces.append(self.heard)
            left -= len(self.heard)
            self.heard = b""
        taken = b"".join(pieces)
        self.heard = taken[count:]
        return taken[:count]

    async def take_until(self, mark: bytes) -> bytes:
        """Read up to the mark and the mark itself."""
        while mark not in self.heard:
            await self._more()
        taken, mark, self.heard = self.heard.partition(mark)
        return taken + mark

    async def _more(self) -> None:
        try:
            with trio.fail_after(PATIENCE):
                data = await self.sock.recv(SIZE)
        except ConnectionResetError:
            raise Ended("reset", self.heard) from None
        if not data:
            raise Ended("end", self.heard)
        self.heard += data
