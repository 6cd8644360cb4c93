"""A program that is replaced again and again, and traffic of every kind with exact books."""

import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.system.program import Program, is_worker, program, until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
BODY = bytes(range(256)) * 256
HELLO = b"hello\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
UPGRADE = "Connection: Upgrade", "Upgrade: echo"
END_SECONDS = 20.0
PINGS = 50


async def serve(stream: trio.SocketStream) -> None:
    """A backend in the test's process: it greets, counts the bytes of an upload, or echoes in a tunnel."""
    buffer = b""
    with suppress(trio.BrokenResourceError):
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (data := await stream.receive_some()):
                    return
                buffer += bytes(data)
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            if b"\r\nUpgrade: echo" in head:
                await stream.send_all(SWITCHED + buffer)
                async for echoed in stream:
                    await stream.send_all(echoed)
                return
            length = _length(head)
            while len(buffer) < length:
                if not (data := await stream.receive_some()):
                    return
                buffer += bytes(data)
            buffer = buffer[length:]
            answer = b"%d\n" % length if length else HELLO
            await stream.send_all(ANSWER % (len(answer), answer))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@asynccontextmanager
async def backend() -> AsyncIterator[int]:
    """`serve` on a port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class ServiceManager:
    """Hears what it is told, as (process, line)."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
        self.told: list[tuple[int, str]] = []
        self._sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    async def run(self) -> None:
        """Hear until cancelled."""
        with self._sock:
            await self._sock.bind(self.environment["NOTIFY_SOCKET"])
            while True:
                data, [(_, _, credentials)], *_ = await self._sock.recvmsg(65536, 1024)
                pid = struct.unpack("iii", credentials)[0]
                self.told += [(pid, line) for line in data.decode().splitlines()]

    async def is_told(self, pid: int, line: str) -> bool:
        return (pid, line) in self.told


@asynccontextmanager
async def service_manager(path: Path) -> AsyncIterator[ServiceManager]:
    """One that hears at this path."""
    async with trio.open_nursery() as nursery:
        manager = ServiceManager(path)
        nursery.start_soon(manager.run)
        yield manager
        nursery.cancel_scope.cancel()


async def asked(stream: trio.SocketStream, path: str, *lines: str) -> str:
    """The head of the answer on a connection that stays."""
    request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""])
    await stream.send_all(request.encode())
    received = bytearray()
    while not (b"\r\n\r\n" in received and (b" 101 " in received or received.endswith(HELLO))):
        received += await _some(stream, bytes(received))
    return bytes(received).partition(b"\r\n\r\n")[0].decode()


async def open_tunnel(lb: Program) -> trio.SocketStream:
    """A tunnel to a backend, which echoes."""
    stream = await lb.connect()
    assert " 101 " in await asked(stream, "/", *UPGRADE)
    return stream


async def says_ping(tunnel: trio.SocketStream) -> None:
    await tunnel.send_all(b"ping")
    heard = b""
    while len(heard) < 4:
        heard += await _some(tunnel, heard)
    assert heard == b"ping"


@asynccontextmanager
async def upgradable(*arguments: str, **options: Any) -> AsyncIterator[Program]:
    """`lb run` in a process group of its own; whichever programs of it run at the end are ended."""
    async with program(*arguments, start_new_session=True, **options) as lb:
        group = lb.process.pid
        try:
            yield lb
        finally:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
            with trio.CancelScope(shield=True), trio.move_on_after(END_SECONDS):
                await until(lambda: _is_gone(group))
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


async def _is_gone(group: int) -> bool:
    """Whether no process of the group runs; those that have ended and wait for their parent do not count."""
    return not list(processes_of(group))


def processes_of(group: int) -> list[int]:
    """The processes of this group that run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] != "Z":
                    found.append(int(folder.name))
    return found


def programs_of(group: int) -> list[int]:
    """Those of them that are no workers."""
    return sorted(pid for pid in processes_of(group) if not is_worker(pid))


class Traffic:
    """Clients of four kinds, each at its pace. `done` counts what went well, by kind; nothing else may be."""

    def __init__(self, connect: Callable[[], Awaitable[trio.SocketStream]]) -> None:
        self._connect = connect
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = trio.Event()

    def stop(self) -> None:
        self._stop.set()

    @property
    def total(self) -> int:
        return self.done.total()

    async def run(self, kept: int = 30, short: int = 6, uploads: int = 2, tunnels: int = 4) -> None:
        async with trio.open_nursery() as nursery:
            for count, kind, pause in (
                (kept, self._kept, 0.04),
                (short, self._short, 0.05),
                (uploads, self._upload, 0.1),
                (tunnels, self._tunnel, 0.1),
            ):
                for number in range(count):
                    nursery.start_soon(self._again_and_again, kind, pause, number / count * pause)

    async def _again_and_again(
        self, kind: Callable[[float], Awaitable[None]], pause: float, late: float
    ) -> None:
        """Connect and talk; a failure is in the books, and the next connection is tried."""
        await trio.sleep(late)
        while not self._stop.is_set():
            try:
                await kind(pause)
            except (OSError, trio.BrokenResourceError, Cut) as exc:
                self.failures.append(f"{kind.__name__}: {exc!r}")

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._stop.wait()

    async def _kept(self, pause: float) -> None:
        async with await self._connect() as stream:
            while not self._stop.is_set():
                head = await self._asked(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HELLO)
                self.done["kept"] += 1
                if b"connection: close" in head.lower():
                    return
                await self._pause(pause)

    async def _short(self, pause: float) -> None:
        async with await self._connect() as stream:
            await self._asked(stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", HELLO)
            self.done["short"] += 1
        await self._pause(pause)

    async def _upload(self, pause: float) -> None:
        """A body in pieces, so that upgrades come within it."""
        async with await self._connect() as stream:
            head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
                BODY
            )
            await stream.send_all(head)
            for start in range(0, len(BODY), 8192):
                await stream.send_all(BODY[start : start + 8192])
                await trio.sleep(0.02)
            await self._asked(stream, b"", b"%d\n" % len(BODY))
            self.done["upload"] += 1
        await self._pause(pause)

    async def _tunnel(self, pause: float) -> None:
        """One that lives on over an upgrade or two."""
        async with await self._connect() as stream:
            await stream.send_all(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            )
            received = bytearray()
            while b"\r\n\r\n" not in received:
                received += await _some(stream, b"no head yet " + bytes(received))
            if not received.startswith(b"HTTP/1.1 101 "):
                raise Cut(bytes(received))
            for _ in range(PINGS):
                if self._stop.is_set():
                    return
                await stream.send_all(b"ping")
                heard = b""
                while len(heard) < 4:
                    heard += await _some(stream, b"in a tunnel")
                self.done["tunnel"] += 1
                await self._pause(pause)

    async def _asked(self, stream: trio.SocketStream, request: bytes, body: bytes) -> bytes:
        """The head of the answer, which must be 200 with this body."""
        if request:
            await stream.send_all(request)
        received = bytearray()
        while not received.endswith(b"\r\n\r\n" + body):
            received += await _some(stream, bytes(received))
        head = bytes(received).partition(b"\r\n\r\n")[0]
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Cut(head)
        return head


class Cut(Exception):
    """The connection ended in the middle of something, or the answer was another one."""


async def _some(stream: trio.SocketStream, before: bytes = b"") -> bytes:
    with trio.move_on_after(20):
        if not (data := await stream.receive_some()):
            raise Cut(before)
        return data
    raise Cut(b"silent after " + before)
