"""A server that is asked, for tests of what asks it: it replays what the documented API of a real one says.

It has real sockets, TCP or Unix. A subclass answers the requests; `instead` are whole answers that the next
requests get in their place, such as a 500, nothing, or garbage.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio
import trio.testing

from tests.kit.backend import Peer, answer
from tests.kit.line import Ended
from tests.kit.message import Request

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
SILENCE = b""
"""As an answer: none, and the connection stays."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def in_json(value: object, *fields: str, status: str = "200 OK") -> bytes:
    """A whole answer with this as JSON."""
    return answer(msgspec.json.encode(value), "Content-Type: application/json", *fields, status=status)


class Asked:
    """What was asked: the path without its query, and the query."""

    def __init__(self, request: Request) -> None:
        parts = urlsplit(request.target)
        self.request = request
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}


class ScriptedServer:
    """`heard` is all that it was asked. `async with running()` it listens."""

    def __init__(self, path: Path | None = None) -> None:
        family = socket.AF_INET if path is None else socket.AF_UNIX
        self._listening = socket.socket(family)
        self._listening.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listening.listen(100)
        name = self._listening.getsockname()
        self.url = f"unix:{path}" if path is not None else f"http://127.0.0.1:{name[1]}"
        self.heard: list[Asked] = []
        self.instead: deque[bytes] = deque()
        self.streams: list[Peer] = []

    async def answer(self, asked: Asked, peer: Peer) -> None:
        """Answer one request. A stream is left open, in `streams`."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        peers: list[Peer] = []

        async def serve(peer: Peer) -> None:
            try:
                while True:
                    asked = Asked(await peer.hears_request())
                    self.heard.append(asked)
                    await self._answer(asked, peer)
            except (Ended, OSError):
                peer.closes()

        async def accept() -> None:
            sock = trio.socket.from_stdlib_socket(self._listening)
            while True:
                peers.append(Peer((await sock.accept())[0]))
                nursery.start_soon(serve, peers[-1])

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                yield self
                nursery.cancel_scope.cancel()
        finally:
            for peer in peers:
                peer.closes()
            self._listening.close()

    async def _answer(self, asked: Asked, peer: Peer) -> None:
        if self.instead and (said := self.instead.popleft()) is not None:
            await peer.says(said)
            return
        await self.answer(asked, peer)

    async def opens_stream(self, peer: Peer) -> None:
        await peer.says(CHUNKED)
        self.streams.append(peer)

    async def until_open(self) -> None:
        """Wait until somebody listens to a stream."""
        for _ in range(100):
            if any(peer.is_open for peer in self.streams):
                return
            await trio.testing.wait_all_tasks_blocked()
        raise AssertionError("nobody listens to a stream")

    async def says_line(self, value: object, cut: int = 0) -> None:
        """A line of JSON on each stream, in two chunks where `cut` says where to cut it."""
        data = value if isinstance(value, bytes) else msgspec.json.encode(value) + b"\n"
        self.streams = [peer for peer in self.streams if peer.is_open]
        for peer in self.streams:
            await peer.says(*(chunk(piece) for piece in (data[:cut], data[cut:]) if piece))

    async def ends_streams(self, *, well: bool = True) -> None:
        """End each stream: as HTTP wants it, or with the connection."""
        for peer in self.streams:
            if well:
                await peer.says(LAST_CHUNK)
            peer.ends()
        self.streams.clear()
