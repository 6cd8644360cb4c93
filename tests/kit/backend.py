"""A backend that answers what the test says, and two addresses at which no backend answers."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing

from tests.kit.line import PATIENCE, Ended, Line
from tests.kit.message import Request, read_body, read_request_head
from tests.kit.wires import SecureSocket, current, server_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A whole answer with a Content-Length."""
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Peer(Line):
    """The backend's end of one connection from the balancer."""

    async def hears_request(self, start: bytes = b"") -> Request:
        """Read the next request with its body. `start`, if given, must be its request line."""
        request = await self.hears_head(start)
        await read_body(self, request)
        return request

    async def hears_head(self, start: bytes = b"") -> Request:
        """Read the next head, and leave its body."""
        request = await read_request_head(self)
        assert not start or request.head.startswith(start + b"\r\n"), f"{request.start!r}"
        return request

    async def hears_body(self, request: Request) -> bytes:
        await read_body(self, request)
        return request.body


class Stand:
    """What a backend's URL leads to: a socket with a port. `running` closes it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._listening = socket.socket()
        self._context = context or (server_context() if current().back else None)
        if port:  # which was that of another stand before
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind((host, port))
        host, port = self._listening.getsockname()
        self.port = port
        self.address = f"{host}:{port}"
        self.url = f"{'https' if self._context else 'http'}://{self.address}"

    def close(self) -> None:
        self._listening.close()

    @property
    def sockets(self) -> int:
        """How many sockets it has open."""
        return int(self._listening.fileno() >= 0)


class Refusing(Stand):
    """A port without a listener, which is held so that no other program listens on it."""


class BlackHole(Stand):
    """A listener whose backlog is full: a connection is neither made nor refused."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self._listening.listen(0)
        self._filling: list[socket.socket] = []
        while not self._filling or _connects(self._filling[-1]):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listening.getsockname())
            self._filling.append(filler)

    def close(self) -> None:
        for filler in self._filling:
            filler.close()
        super().close()

    @property
    def sockets(self) -> int:
        return super().sockets + len(self._filling)


def _connects(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class Backend(Stand):
    """A backend that does what the test says, one step after the other."""

    def __init__(
        self,
        receive_buffer: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(host, port, context)
        if receive_buffer:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listening.listen(100)
        self._sock = trio.socket.from_stdlib_socket(self._listening)
        self.peers: list[Peer] = []

    async def accepts(self) -> Peer:
        """Accept the next connection."""
        with trio.fail_after(PATIENCE):
            sock, _ = await self._sock.accept()
            self.peers.append(Peer(await secured(sock, self._context)))
        return self.peers[-1]

    async def hears(self, start: bytes = b"") -> Peer:
        """Accept the next connection and read the first request on it."""
        peer = await self.accepts()
        await peer.hears_request(start)
        return peer

    async def accepts_nobody(self) -> None:
        """When all tasks wait, no connection is in the backlog."""
        await trio.testing.wait_all_tasks_blocked()
        self._listening.setblocking(False)
        try:
            sock, peer = self._listening.accept()
        except BlockingIOError:
            return
        sock.close()
        raise AssertionError(f"there was a connection from {peer}")

    @asynccontextmanager
    async def answering(self, *answers: bytes) -> AsyncIterator[list[Request]]:
        """Answer each request with the next of these answers, on any number of connections.

        The list gets the requests in the order in which they came. The connections stay open after the block.
        """
        heard: list[Request] = []

        async def serve(peer: Peer) -> None:
            try:
                while True:
                    heard.append(await peer.hears_request())
                    await peer.says(answers[(len(heard) - 1) % len(answers)])
            except (Ended, OSError):
                peer.closes()

        async def accept() -> None:
            while True:
                nursery.start_soon(serve, await self.accepts())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            yield heard
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        for peer in self.peers:
            peer.closes()
        super().close()

    @property
    def sockets(self) -> int:
        return super().sockets + sum(peer.is_open for peer in self.peers)


async def secured(
    sock: trio.socket.SocketType, context: ssl.SSLContext | None
) -> trio.socket.SocketType | SecureSocket:
    """The socket, with TLS on it where there is a context. It is closed where this is cancelled."""
    if context is None:
        return sock
    secure = SecureSocket(sock, context, None)
    try:
        with suppress(ssl.SSLError, OSError):  # whoever reads hears of it
            await secure.shake_hands()
    except BaseException:
        secure.close()
        raise
    return secure
