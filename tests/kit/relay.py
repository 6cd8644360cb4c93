"""A line between a client and a server that a test makes bad: it stalls, loses, delays, refuses, resets."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

import trio

Way = Literal["up", "down"]
"""From the client to the server, or back."""
BOTH: tuple[Way, Way] = ("up", "down")
SIZE = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Connection:
    """One connection of a client, and what it has said first."""

    def __init__(self, client: trio.SocketStream) -> None:
        self.client = client
        self.said = b""
        self.has_lost = False

    def resets(self) -> None:
        with suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.client.socket.close()


class Relay:
    """It listens on `port`, and passes on to a server of this machine.

    What is done `to` connections is done to those whose first words hold these bytes; all of them by default.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.delay = 0.0
        """Seconds by which each piece is late."""
        self.accepted = 0
        """How many connections there were."""
        self._is_refusing = False
        self._stalled: dict[Way, bytes] = {}
        self._losing: dict[Way, bytes] = {}
        self._healed = trio.Event()
        self._open: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # -- what a test does to it --------------------------------------------------------------------------

    def stalls(self, *ways: Way, to: bytes = b"") -> None:
        """Nothing moves this way, and nothing is lost. Without a way: in both."""
        self._stalled.update(dict.fromkeys(ways or BOTH, to))

    def loses(self, *ways: Way, to: bytes = b"") -> None:
        """What goes this way is lost, and the connections stay open. Without a way: in both."""
        self._losing.update(dict.fromkeys(ways or BOTH, to))

    def refuses(self) -> None:
        """All connections are reset, and so is each new one."""
        self._is_refusing = True
        self.resets()

    def resets(self) -> None:
        """Reset all connections."""
        for connection in [*self._open]:
            connection.resets()

    def heals(self) -> None:
        """Pass on everything at once again. Connections that have lost something are reset."""
        self.delay, self._is_refusing = 0.0, False
        self._losing.clear()
        self._stalled.clear()
        for connection in [connection for connection in self._open if connection.has_lost]:
            connection.resets()
        healed, self._healed = self._healed, trio.Event()
        healed.set()

    # -- what it does ------------------------------------------------------------------------------------

    async def serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        connection = _Connection(client)
        if self._is_refusing:
            connection.resets()
            return
        self._open.add(connection)
        try:
            with suppress(OSError):
                async with await trio.open_tcp_stream("127.0.0.1", self.server_port) as server:
                    await self._pass_on(connection, server)
        finally:
            self._open.remove(connection)
            client.socket.close()

    async def _pass_on(self, connection: _Connection, server: trio.SocketStream) -> None:
        """In both ways, until one has ended."""
        client = connection.client

        async def pump(way: Way, source: trio.SocketStream, into: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await source.receive_some(SIZE):
                    await self._pass(way, data, connection, into)
                await self._flows(way, connection)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, "up", client, server)
            nursery.start_soon(pump, "down", server, client)

    async def _pass(self, way: Way, data: bytes, connection: _Connection, into: trio.SocketStream) -> None:
        if way == "up" and len(connection.said) < SIZE:
            connection.said += data
        await self._flows(way, connection)
        await trio.sleep(self.delay)
        if way in self._losing and self._losing[way] in connection.said:
            connection.has_lost = True
        else:
            await into.send_all(data)

    async def _flows(self, way: Way, connection: _Connection) -> None:
        """Wait while it is stalled."""
        while way in self._stalled and self._stalled[way] in connection.said:
            await self._healed.wait()


@asynccontextmanager
async def relay(server_port: int) -> AsyncIterator[Relay]:
    """A relay to the server of this port, until the end of the block."""
    there = Relay(server_port)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        there.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, there.serve, listeners)
        yield there
        nursery.cancel_scope.cancel()
