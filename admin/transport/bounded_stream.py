"""A client's stream on which no send waits for ever, and no answer is lost by closing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from admin.transport.secure_stream import SecureStream

SEND_SECONDS = 3.0
LINGER_SECONDS = 1.0


class BoundedStream:
    """The stream that hypercorn's connection reads and writes.

    `heard` is called when bytes have come. Closed during a receive, the stream goes on reading for
    LINGER_SECONDS: for unread bytes the kernel would send a reset, and a client that gets a reset may lose
    the answer before it (RFC 9112 section 9.6).
    """

    def __init__(self, stream: "trio.SocketStream | SecureStream", heard: Callable[[], object]) -> None:
        self._stream = stream
        self._heard = heard
        self.socket = stream.socket
        self._receiving: trio.CancelScope | None = None
        self._is_closing = False

    async def send_all(self, data: bytes) -> None:
        """Send, or lose the connection with BrokenResourceError if the client does not read in time."""
        with trio.move_on_after(SEND_SECONDS) as scope:
            try:
                await self._stream.send_all(data)
            except trio.BusyResourceError as exc:  # `send_eof` has it, which hypercorn calls without its lock
                raise trio.BrokenResourceError("the connection is being closed") from exc
        if scope.cancelled_caught:
            self.socket.close()
            raise trio.BrokenResourceError("the client does not read")

    async def receive_some(self, most: int) -> bytes:
        """Bytes from the client; ClosedResourceError once the stream is closed."""
        with self._reception():
            data = await self._stream.receive_some(most)
            while self._is_closing and data:
                data = await self._stream.receive_some(most)
        if not self._is_closing:
            self._heard()
            return bytes(data)
        self.socket.close()
        raise trio.ClosedResourceError

    @contextmanager
    def _reception(self) -> Iterator[None]:
        try:
            with trio.CancelScope() as self._receiving:
                yield
        finally:
            self._receiving = None

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close now, or during a receive end sending and let that receive close the socket."""
        if self._receiving is None:
            await self._stream.aclose()
            return
        self._is_closing = True
        self._receiving.deadline = trio.current_time() + LINGER_SECONDS
        with suppress(OSError):  # the client may have left already
            self.socket.shutdown(trio.socket.SHUT_WR)


class SecuredStream(BoundedStream):
    """The same over TLS, of which hypercorn asks what it would ask a `trio.SSLStream`."""

    async def do_handshake(self) -> None:
        """It is done."""

    def selected_alpn_protocol(self) -> str:
        return "http/1.1"

    @property
    def transport_stream(self) -> Self:
        return self
