"""What a probe is sent to, and the connection to it."""

import socket
from typing import Literal, NamedTuple, Protocol

from lb.errors import NameNotResolved, NoPortLeft, TlsFailed, TooManyDescriptors
from lb.net.connect import NO_PORT_LEFT, OUT_OF_DESCRIPTORS, begin_with, connect
from lb.net.plain_wire import PlainWire
from lb.net.proxy_header_writer import proxy_header
from lb.net.resolver import Names
from lb.net.wire import Wire
from lb.settings.pool_settings import BackendTls, Probe


class ProbeFailed(Exception):
    """The backend failed the probe. The message says how, in words for people."""


class ProbeTarget(NamedTuple):
    """The host and port of a backend, and how its pool wants it probed. A Unix socket has no other port.

    `tls` is that of the pool, where the backend speaks TLS at the port that is probed; so is
    `proxy_protocol`, where it is the port that requests go to.
    """

    probe: Probe
    host: str
    port: int
    tls: BackendTls | None = None
    proxy_protocol: Literal[0, 1, 2] = 0

    @property
    def probed_port(self) -> int:
        return self.probe.port or self.port

    @property
    def header(self) -> bytes:
        """What a connection begins with, which is for no client."""
        return proxy_header(self.proxy_protocol, None, None) if self.proxy_protocol else b""


class Secure(Protocol):
    """Puts TLS on a connected socket (`lb.probes.tls_to_probed`)."""

    async def __call__(self, sock: socket.socket, target: ProbeTarget) -> Wire:
        """The wire owns the socket; after an error it is closed. TlsFailed where there is no TLS."""
        ...


async def connect_to(target: ProbeTarget, names: Names, secure: Secure) -> Wire:
    """A new connection, made as one for requests is. The caller closes it.

    ProbeFailed where none can be made. What says nothing about the backend is another error:
    TooManyDescriptors where this process is out of file descriptors, NoPortLeft where this machine has no
    port left, NameUnanswered where no resolver answered.
    """
    try:
        sock = await connect(await names.addresses(target.host, target.probed_port))
        if target.header:
            begin_with(sock, target.header)
    except NameNotResolved as exc:
        raise ProbeFailed(str(exc)) from exc
    except OSError as exc:
        if exc.errno in OUT_OF_DESCRIPTORS:
            raise TooManyDescriptors("this balancer is out of file descriptors") from exc
        if exc.errno == NO_PORT_LEFT:
            raise NoPortLeft("no local port is left to connect from") from exc
        raise ProbeFailed(in_words(exc)) from exc
    names.worked(target.host, target.probed_port, sock)
    if target.tls is None or target.probe.kind == "tcp":
        return PlainWire(sock)
    try:
        return await secure(sock, target)
    except TlsFailed as exc:
        raise ProbeFailed(str(exc)) from exc


def in_words(exc: OSError) -> str:
    """What went wrong, as the rest of a sentence: "connection refused"."""
    words = exc.strerror or str(exc)
    return words[:1].lower() + words[1:]
