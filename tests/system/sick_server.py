"""A backend that falls ill when it is told to: `sick_server.py NAME PORT SECONDS`, orders on stdin.

It answers `NAME TARGET` after so many SECONDS. An order is one word, and done when it stands on stdout too;
a line there for each POST that was begun says `got TARGET`, so that who kills it still knows.

    absent    it does not listen, and has no connections: so it begins, and so it is between two lives
    healthy   as above
    silent    it takes connections and requests, and answers nobody any more
    reset     it resets every connection
    503       it answers 503, at once
    slow      it answers at a hundredth of the speed
    flapping  it is absent and healthy in turn, a tenth of a second each
"""

import os
import struct
import sys
from contextlib import suppress

import trio

FLAP_SECONDS = 0.1
TIMES_SLOWER = 100
AT_ONCE = struct.pack("ii", 1, 0)


class Server:
    def __init__(self, name: str, port: int, seconds: float) -> None:
        self.name = name
        self.port = port
        self.seconds = seconds
        self.health = "absent"
        self.listeners: list[trio.SocketListener] = []
        self.connections: set[trio.CancelScope] = set()
        self.flapping = trio.CancelScope()

    async def run(self) -> None:
        orders = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        async with trio.open_nursery() as self.nursery:
            async for data in orders:
                for word in data.decode().split():
                    await self.become(word)
                    say(word)
            self.nursery.cancel_scope.cancel()

    async def become(self, order: str) -> None:
        self.flapping.cancel()
        if order == "flapping":
            self.flapping = trio.CancelScope()
            self.nursery.start_soon(self.flap, self.flapping)
        else:
            await self.change(order)

    async def flap(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                for health in ("absent", "healthy"):
                    await self.change(health)
                    await trio.sleep(FLAP_SECONDS)

    async def change(self, health: str) -> None:
        self.health = health
        if health in ("absent", "reset"):
            for connection in list(self.connections):
                connection.cancel()
        if health == "absent":
            for listener in self.listeners:
                listener.socket.close()
            self.listeners = []
        elif not self.listeners:
            self.listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            for listener in self.listeners:
                self.nursery.start_soon(self.accept, listener)

    async def accept(self, listener: trio.SocketListener) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                self.nursery.start_soon(self.serve, await listener.accept())

    async def serve(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope, suppress(trio.BrokenResourceError):
            self.connections.add(scope)
            if self.health == "reset":
                scope.cancel()
            await self.converse(stream)
        self.connections.remove(scope)
        if self.health == "reset":
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, AT_ONCE)
        stream.socket.close()

    async def converse(self, stream: trio.SocketStream) -> None:
        """Requests without a body, one after another."""
        data = b""
        while piece := await stream.receive_some():
            data += piece
            if data.endswith(b"\r\n\r\n"):
                method, target, _ = data.split(b" ", 2)
                data = b""
                if method == b"POST":
                    say(f"got {target.decode()}")
                await self.answer(stream, target)

    async def answer(self, stream: trio.SocketStream, target: bytes) -> None:
        if self.health == "503":
            await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        await trio.sleep(self.seconds * (TIMES_SLOWER if self.health == "slow" else 1))
        if self.health == "silent":
            await trio.sleep_forever()
        content = b"%b %b" % (self.name.encode(), target)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(Server(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])).run)
