"""The real program with TLS at its listener: its certificate, and clients that trust it."""

import os
import socket
import ssl
from collections import Counter
from pathlib import Path

import trio

from tests.kit.certificates import ALWAYS, Issued, authority, certificate
from tests.system.program import Program
from tests.system.upgrades import HELLO

ASKS = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
NAME = "a.test"
KEPT = 3
"""So many requests a client of a `Rush` sends on a connection, unless the test says otherwise."""


class Front:
    """A folder with the certificate for a.test, and an lb.toml with https:// and one backend."""

    def __init__(self, folder: Path, port: int, more: str = "") -> None:
        self.folder = folder
        self.root = authority()
        self.file = folder / "lb.toml"
        self.authorities = str(folder / "ca.pem")
        (folder / "ca.pem").write_text(self.root.pem)
        self.issued = self.issue()
        self._port = port
        self.configure(more)

    def configure(self, more: str = "", listen: str = "https://127.0.0.1:0") -> None:
        """Write lb.toml."""
        tls = f'[[tls.certificates]]\nchain = "{self.folder}/www.pem"\nkey = "{self.folder}/www.key"\n'
        backends = f'[[pools.default.backends]]\nurl = "http://127.0.0.1:{self._port}"\n'
        tls = tls if "https" in listen else ""
        self.file.write_text(f'listen = ["{listen}"]\n{more}\n{tls}{backends}')

    def issue(self, valid: tuple[float, float] = ALWAYS) -> Issued:
        """Another certificate, each file in place of the one before in one step, as certbot does."""
        self.issued = made = certificate(NAME, "127.0.0.1", by=self.root, valid=valid)
        for name in made.write(self.folder, "next"):
            os.replace(name, name.replace("next", "www"))
        return made

    def context(self) -> ssl.SSLContext:
        """Of a new client, which has no sessions."""
        context = ssl.create_default_context(cafile=self.authorities)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    @property
    def flags(self) -> tuple[str, str]:
        return "--config", str(self.file)


async def shown(lb: Program, front: Front, count: int = 8) -> set[int]:
    """The serial numbers of the certificates that so many new connections are shown."""
    context, serials = front.context(), set[int]()
    for _ in range(count):
        async with await lb.connect_securely(context, NAME) as stream:
            found = stream.getpeercert()
            serials.add(int(str(found["serialNumber"]), 16))
    return serials


class Rush:
    """Clients that connect again and again, with a handshake each, and keep exact books."""

    def __init__(self, lb: Program, front: Front) -> None:
        self._lb = lb
        self._context = front.context()
        self.done: Counter[int] = Counter()
        """Requests, by the serial number of the certificate."""
        self.failures: list[str] = []
        self.is_over = False

    async def run(self, clients: int, kept: int = KEPT) -> None:
        """So many clients, each of which sends so many requests on a connection."""
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(self._client, kept)

    async def _client(self, kept: int) -> None:
        while not self.is_over:
            try:
                await self._connect(kept)
            except (OSError, trio.BrokenResourceError, EOFError) as exc:
                self.failures.append(f"{exc!r}: {exc.__cause__!r}")

    async def _connect(self, kept: int) -> None:
        async with await self._lb.connect_securely(self._context, NAME) as stream:
            serial = int(str(stream.getpeercert()["serialNumber"]), 16)
            for _ in range(kept):
                if self.is_over:
                    return
                head = await asked(stream)
                self.done[serial] += 1
                if b"connection: close" in head.lower():
                    return


class Returning:
    """A client that takes up its session again and again, in a thread: Trio's streams cannot."""

    def __init__(self, lb: Program, front: Front) -> None:
        host, _, port = lb.address.rpartition(":")
        self._where, self._context = (host, int(port)), front.context()
        self.is_over = False
        self.resumed: Counter[bool] = Counter()
        self.failures: list[str] = []

    async def run(self) -> None:
        await trio.to_thread.run_sync(self._run)

    def _run(self) -> None:
        session: ssl.SSLSession | None = None
        while not self.is_over:
            try:
                plain = socket.create_connection(self._where, timeout=20)
                with self._context.wrap_socket(plain, server_hostname=NAME, session=session) as tls:
                    tls.sendall(ASKS)
                    answer = tls.recv(65536)
                    self.resumed[bool(tls.session_reused)] += 1
                    session = tls.session
                if not answer.endswith(HELLO):
                    self.failures.append(repr(answer))
            except OSError as exc:
                self.failures.append(repr(exc))


async def asked(stream: trio.abc.Stream) -> bytes:
    """The head of the answer to one request; EOFError for any that is not whole and 200."""
    await stream.send_all(ASKS)
    received = bytearray()
    while not received.endswith(b"\r\n\r\n" + HELLO):
        data = await stream.receive_some()
        if not data:
            raise EOFError(bytes(received))
        received += data
    if not received.startswith(b"HTTP/1.1 200 "):
        raise EOFError(bytes(received))
    return bytes(received)
