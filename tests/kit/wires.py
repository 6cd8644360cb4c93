"""What is on the network between a test's clients, the balancer and the backends: plain bytes, or TLS.

A test in a module with `over_all_wires` among its marks runs once with each kind, and says nothing of it; but
for tests that are `plain_only`, for the reason that they give. `WIRES=TLS just test ...` runs all with TLS.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import trio

from tests.kit.certificates import authority, certificate

SIZE = 64 * 1024


@dataclass(frozen=True)
class Wires:
    """Whether clients, and whether backends, speak TLS with the balancer."""

    front: bool = False
    back: bool = False


PLAIN = Wires()
KINDS = {"plain": PLAIN, "TLS": Wires(front=True, back=True)}
over_all_wires = pytest.mark.usefixtures("wires")
plain_only = pytest.mark.plain_only
_current = [KINDS[os.environ.get("WIRES", "plain")]]


def current() -> Wires:
    return _current[-1]


@contextmanager
def among(wires: Wires) -> Iterator[None]:
    """Within the block, scenes have such wires."""
    _current.append(wires)
    try:
        yield
    finally:
        _current.pop()


@dataclass(frozen=True)
class Files:
    """A certificate that is good for every address of a test, and its authority."""

    chain: str
    key: str
    ca: str


@cache
def files() -> Files:
    folder, root = Path(mkdtemp(prefix="lb-wires-")), authority()
    (folder / "ca.pem").write_text(root.pem)
    chain, key = certificate("127.0.0.1", "::1", "localhost", "a", by=root).write(folder)
    return Files(chain, key, str(folder / "ca.pem"))


@cache
def client_context(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return context


@cache
def server_context(*, asks: bool = False) -> ssl.SSLContext:
    """Of a backend; with `asks` its clients have to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files().chain, files().key)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if asks:
        context.load_verify_locations(files().ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class SecureSocket:
    """What a `Line` uses of a Trio socket, with TLS on it. `shake_hands` before anything else."""

    def __init__(self, sock: trio.socket.SocketType, context: ssl.SSLContext, name: str | None) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=name is None, server_hostname=name
        )
        self.family = sock.family
        self.is_open = False

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                break
        await self._flush()
        self.is_open = True

    async def _flush(self) -> None:
        left = memoryview(self._outgoing.read())
        while left:
            left = left[await self._sock.send(left) :]

    async def _fill(self) -> None:
        if data := await self._sock.recv(SIZE):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def send(self, data: bytes | memoryview) -> int:
        """Cancelled in the middle of a record, it can only be closed."""
        piece = data[: 16 * 1024]
        self._tls.write(piece)
        await self._flush()
        return len(piece)

    def send_now(self, data: bytes) -> int:
        self._tls.write(data)
        records = self._outgoing.read()
        with socket.socket(fileno=socket.dup(self.fileno())) as sock:
            assert sock.send(records) == len(records)
        return len(data)

    async def recv(self, size: int) -> bytes:
        while True:
            data = self._read(size)
            if data is not None:
                return data
            await self._fill()

    def recv_now(self, size: int) -> bytes | None:
        """What has come, None if nothing has."""
        while (data := self._read(size)) is None:
            with socket.socket(fileno=socket.dup(self.fileno())) as sock:
                try:
                    raw = sock.recv(SIZE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return None
            if raw:
                self._incoming.write(raw)
            else:
                self._incoming.write_eof()
        return data

    def _read(self, size: int) -> bytes | None:
        if not self.is_open:
            raise ConnectionResetError("no handshake came about")
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as exc:
            raise ConnectionResetError(f"no orderly end: {exc}") from exc

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self._say_end()
        self._sock.shutdown(how)

    def _say_end(self) -> None:
        with suppress(ssl.SSLError):  # it waits for the other side's end
            self._tls.unwrap()
        with suppress(OSError), socket.socket(fileno=socket.dup(self.fileno())) as sock:
            sock.send(self._outgoing.read(), socket.MSG_DONTWAIT)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._say_end()
        self._sock.close()

    def abort(self) -> None:
        """Close it without saying so."""
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
