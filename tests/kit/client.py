"""The client of a dialogue, and how it connects."""

import trio

from tests.kit.line import Line
from tests.kit.message import Response, read_body, read_chunk, read_response_head, read_trailers
from tests.kit.wires import SecureSocket, client_context, current, files

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Client(Line):
    """The client's end of a connection. It reads answers, whole or piece by piece."""

    async def hears(self, status: int, *, to: str = "GET") -> Response:
        """Read the next answer with its body. It must have this status. `to` is the method of the request."""
        response = await self.hears_head(status, to=to)
        await read_body(self, response)
        return response

    async def hears_head(self, status: int, *, to: str = "GET") -> Response:
        """Read the next head, and leave its body."""
        response = await read_response_head(self, to)
        assert response.status == status, f"{response.head!r} {self.heard[:300]!r}"
        return response

    async def hears_any(self) -> Response:
        """Read the next answer to a GET with its body, whatever its status is."""
        response = await read_response_head(self, "GET")
        await read_body(self, response)
        return response

    async def hears_chunk(self, content: bytes) -> None:
        """Read the next chunk of a body. It must be this one; b"" is the last chunk, without trailers."""
        assert await read_chunk(self) == content
        if not content:
            assert await read_trailers(self) == []


async def connected(address: str, *, ca: str | None = None, name: str | None = None) -> Client:
    """Connect to a listener at `host:port`, `[host]:port` or `unix:path`.

    With TLS where the test has such wires, or where it names an authority and perhaps a server name.
    """
    if address.startswith("unix:"):
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.connect(address.removeprefix("unix:"))
        return Client(sock)
    host, _, port = address.rpartition(":")
    family = trio.socket.AF_INET6 if host.startswith("[") else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await sock.connect((host.strip("[]"), int(port)))
        if not current().front and ca is None:
            return Client(sock)
        secure = SecureSocket(sock, client_context(ca or files().ca), name or host.strip("[]"))
        await secure.shake_hands()
    except BaseException:
        sock.close()
        raise
    return Client(secure)
