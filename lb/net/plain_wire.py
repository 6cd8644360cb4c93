"""A wire whose bytes are on the network as they are."""

import socket

from lb.net.wire import Wire


class PlainWire(Wire):
    """A wire without TLS: what is in the kernel are the bytes of its messages, so they may be spliced."""

    __slots__ = ()

    def take(self, size: int) -> bytes | None:
        try:
            data = self._sock.recv(size)
        except BlockingIOError:
            self.was_emptied()
            return None
        if len(data) < size:
            self.was_emptied()
        return data

    def send_now(self, data: bytes | bytearray | memoryview) -> bool:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self.unsent = memoryview(data)[sent:]
        return False

    def send_part(self, data: memoryview) -> int:
        """Send what the kernel takes at once: how many bytes. The others stay with the caller."""
        return self._give_part(data)

    def is_quiet(self) -> bool:
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
