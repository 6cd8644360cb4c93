"""A client that stops in the middle of its ClientHello, and goes on when a test says so."""

import ssl
from contextlib import suppress

import trio

SAID = 100
"""Bytes of the hello that are said at first."""


class HalfHello:
    """A client that has connected, and has said half of its ClientHello."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, name: str) -> None:
        self._stream = stream
        self._come, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._come, self._goes, server_hostname=name)
        self._rest = b""

    async def begin(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        hello = self._goes.read()
        await self._stream.send_all(hello[:SAID])
        self._rest = hello[SAID:]

    async def finish(self) -> None:
        """Say the rest, and shake hands."""
        await self._stream.send_all(self._rest)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._take()
            else:
                await self._stream.send_all(self._goes.read())
                return

    async def _take(self) -> None:
        if goes := self._goes.read():
            await self._stream.send_all(goes)
        data = await self._stream.receive_some()
        assert data, "the connection was closed in the middle of the handshake"
        self._come.write(data)

    async def asks(self) -> bytes:
        self._tls.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await self._stream.send_all(self._goes.read())
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                await self._take()
