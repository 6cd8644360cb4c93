"""A client's connection over TLS, with what `BoundedStream` needs of a stream and of its socket."""

from typing import Protocol

import trio

from lb.net.tls_wire import TlsWire


class Named(Protocol):
    """A socket, as far as it has names."""

    @property
    def family(self) -> int: ...

    def getpeername(self) -> object: ...

    def getsockname(self) -> object: ...


class SecureSocket:
    """What there is beside the bytes: addresses, and the two ends. Both say a close_notify before."""

    def __init__(self, wire: TlsWire, sock: Named) -> None:
        self._wire = wire
        self.family = sock.family
        self.getpeername, self.getsockname = sock.getpeername, sock.getsockname

    def shutdown(self, _how: int) -> None:
        """End our side; the peer may go on sending."""
        self._wire.end_sending()

    def close(self) -> None:
        """Close it. Tasks that wait for it get ClosedResourceError."""
        if self._wire.fileno() >= 0:
            trio.lowlevel.notify_closing(self._wire.fileno())
            self._wire.close()


class SecureStream:
    """A wire whose handshake is done. Errors are Trio's; the one who closes the stream closes the wire."""

    def __init__(self, wire: TlsWire, sock: Named) -> None:
        self._wire = wire
        self.socket = SecureSocket(wire, sock)

    async def send_all(self, data: bytes) -> None:
        """Send everything. BusyResourceError while another task does."""
        await self._checkpoint()
        try:
            await self._wire.send(data)
        except OSError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._wire.unsent is not None:
            raise trio.BusyResourceError("another task is sending on this connection")

    async def receive_some(self, most: int) -> bytes:
        """What has come, b"" at an end that was said."""
        try:
            return await self._wire.receive(most)
        except OSError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def send_eof(self) -> None:
        """End our side, unless something is being sent."""
        await self._checkpoint()
        try:
            self.socket.shutdown(trio.socket.SHUT_WR)
        except OSError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()
