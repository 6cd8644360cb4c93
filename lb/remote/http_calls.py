"""One request to the admin API and its answer, over TCP, TLS or a Unix socket.

The standard library's `http.client` does it, whose import takes a quarter of what that of httpx takes: a
command has to answer at once. Each request has a connection of its own, so none is sent on one that the
balancer is just closing.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from lb.remote.address import Where

CONNECT_SECONDS = 10.0
PIECE = 64 * 1024

Unanswered = (OSError, HTTPException, UnicodeError)
"""What is raised where no answer comes, or only a part of it."""


class Asked(NamedTuple):
    """A request; `target` is below the balancer's URL."""

    method: str
    target: str
    fields: Mapping[str, str]
    body: bytes | None = None


class Said(NamedTuple):
    """The head of an answer, with names in lower case, and its body as it comes."""

    status: int
    fields: Mapping[str, str]
    pieces: Iterator[bytes]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def text(self) -> str:
        """The whole body. It blocks."""
        return b"".join(self.pieces).decode(errors="replace")


@contextmanager
def answered(where: Where, asked: Asked, patience: float) -> Iterator[Said]:
    """The answer, until the end of the block; each wait for more of it is at most `patience` seconds.

    One of Unanswered where there is none.
    """
    parts = urlsplit(where.url)
    with closing(_connection(where)) as connection:
        connection.connect()
        connection.sock.settimeout(patience)
        connection.request(asked.method, f"{parts.path}{asked.target}", asked.body, dict(asked.fields))
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        yield Said(response.status, fields, _pieces(response))


def _connection(where: Where) -> HTTPConnection:
    if where.socket is not None:
        return _UnixConnection(where.socket)
    parts = urlsplit(where.url)
    host = unquote(parts.hostname or "")
    if where.tls is not None:
        return HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=where.tls)
    return HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)


class _UnixConnection(HTTPConnection):
    """A connection to the Unix socket at this path."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CONNECT_SECONDS)
        self.sock.connect(self._path)


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(PIECE):
        yield piece
