"""The real program, as its user starts it: a process, its banner, its admin API."""

import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

START_SECONDS = 60.0
STOP_SECONDS = 40.0
LISTENING = re.compile(rb"^  listening   (?:https?://)?(\S+)$", re.MULTILINE)
ADMIN = re.compile(rb"^  admin       (?:https?://)?(\S+)$", re.MULTILINE)
BACKENDS = re.compile(rb"^  backends .*\n", re.MULTILINE)


class Program:
    """A running `lb run`: where it listens, what it has said, and its admin API."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = bytearray()
        self.announced = trio.Event()

    async def read(self) -> None:
        """Collect what it says on stderr until it ends."""
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.said += data
            if not self.announced.is_set() and BACKENDS.search(self.said):
                self.announced.set()
        self.announced.set()

    @property
    def address(self) -> str:
        return self._found(LISTENING)

    @property
    def admin(self) -> str:
        return self._found(ADMIN)

    def _found(self, pattern: re.Pattern[bytes]) -> str:
        match = pattern.search(self.said)
        assert match is not None, self.said.decode()
        return match[1].decode()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def api(self, method: str, path: str, expect: int = 200, **options: Any) -> Any:
        """One call of the admin API; the decoded answer."""
        # No certificates are read for each client, which takes 50 ms.
        async with httpx.AsyncClient(timeout=60, verify=False) as client:
            response = await client.request(method, f"http://{self.admin}{path}", **options)
        assert response.status_code == expect, response.text
        return response.json() if "json" in response.headers.get("content-type", "") else response.text

    async def counts(self) -> dict[str, int]:
        """Requests by backend, as the API has them."""
        listing = await self.api("GET", "/backends")
        return {item["id"]: item["status"]["requests_total"] for item in listing["items"]}

    async def is_busy(self) -> bool:
        """Does a request run on some backend?"""
        listing = await self.api("GET", "/backends")
        return any(item["status"]["in_flight"] for item in listing["items"])

    async def is_idle(self) -> bool:
        return not await self.is_busy()

    async def pid(self) -> int:
        """The process that answers now, which may be another one than was started.

        Asked often, so without httpx, of which a client takes tens of milliseconds to make.
        """
        host, _, port = self.admin.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /info HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join([data async for data in stream])
        return int(json.loads(answer.partition(b"\r\n\r\n")[2])["pid"])

    async def upgrade(self, expect: int = 200, **parameters: str) -> Any:
        """Replace it by another one."""
        return await self.api("POST", "/upgrade", expect, params=parameters)

    async def connect(self) -> trio.SocketStream:
        """A connection to where it listens."""
        host, _, port = self.address.rpartition(":")
        return await trio.open_tcp_stream(host, int(port))

    async def connect_securely(self, context: ssl.SSLContext, name: str) -> trio.SSLStream[trio.SocketStream]:
        """A connection with TLS on it; it ends as the connections of browsers do."""
        stream = trio.SSLStream(await self.connect(), context, server_hostname=name, https_compatible=True)
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def has_said(self, text: bytes) -> bool:
        return text in self.said

    def memory(self) -> int:
        """Resident bytes now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def ends(self) -> int:
        """The exit code, once it has ended."""
        with trio.fail_after(STOP_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def program(
    *arguments: str, listen: str | None = "127.0.0.1:0", within: Sequence[str] = (), **options: Any
) -> AsyncIterator[Program]:
    """`lb run` on free ports with these arguments; ended by SIGTERM if it still runs.

    Where `listen` is None the arguments say where. `within` is a command that runs the one after it in
    surroundings of its own.
    """
    command = [*within, sys.executable, "-m", "lb", "run", "--admin", "127.0.0.1:0"]
    command += [] if listen is None else ["--listen", listen]
    command += ["--access-log", "off", *arguments]
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            **options,
        )
        process = await nursery.start(run)
        running = Program(process)
        nursery.start_soon(running.read)
        with trio.fail_after(START_SECONDS):
            await running.announced.wait()
        assert process.poll() is None, running.said.decode()
        yield running
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            await running.ends()


def is_worker(pid: int) -> bool:
    """Whether a worker runs there. One that has ended, and nobody has looked, is no process any more."""
    try:
        return b"lb.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Look again and again at another process until this holds: it has no event to wait for."""
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def backend_flags(ports: list[int], **by_name: int) -> list[str]:
    """`--backend` flags for servers on loopback."""
    named = {f"web{number}": port for number, port in enumerate(ports, 1)} | by_name
    return [part for id, port in named.items() for part in ("--backend", f"{id}=http://127.0.0.1:{port}")]
