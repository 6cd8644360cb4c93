"""A connection to a server that is asked: TCP, TLS or Unix, as one Trio stream."""

import select
import socket
import ssl

import trio

from lb.http_client.ask_failed import NotReached, in_words
from lb.http_client.server_url import Server
from lb.net.addresses import Address, in_turns, literal
from lb.net.connect import connect

KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A peer that is gone without a word is noticed after half a minute, however silent its stream may be."""


class Dialled:
    """A connected stream. Whoever has it closes it, which needs no await."""

    def __init__(self, sock: trio.socket.SocketType, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._sock = sock

    def close(self) -> None:
        self._sock.close()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come, an end neither. It may be used again only then."""
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return not poll.poll(0)


async def dial(server: Server, seconds: float) -> Dialled:
    """Connect within so many seconds, TLS included. NotReached says why not. Nothing is open then."""
    with trio.move_on_after(seconds) as scope:
        return await _dial(server)
    assert scope.cancelled_caught
    raise NotReached(f"{server}: no connection within {seconds:g} s")


async def _dial(server: Server) -> Dialled:
    context = await _context(server) if server.is_tls else None
    try:
        sock = trio.socket.from_stdlib_socket(await connect(await _addresses(server)))
    except OSError as exc:
        raise NotReached(f"{server}: {in_words(exc)}") from exc
    try:
        return await _on(sock, server, context)
    except (ssl.SSLError, OSError, trio.BrokenResourceError) as exc:
        sock.close()
        raise NotReached(f"{server}: {in_words(exc)}") from exc
    except ValueError as exc:  # UnicodeError is one
        sock.close()
        raise NotReached(f"{server}: no certificate can be for {server.name or server.host!r}") from exc
    except BaseException:
        sock.close()
        raise


async def _on(sock: trio.socket.SocketType, server: Server, context: ssl.SSLContext | None) -> Dialled:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    plain = trio.SocketStream(sock)
    if context is None:
        return Dialled(sock, plain)
    name = server.name or server.host.partition("%")[0]
    secure = trio.SSLStream(plain, context, server_hostname=name, https_compatible=True)
    await secure.do_handshake()
    return Dialled(sock, secure)


async def _addresses(server: Server) -> list[Address]:
    """All addresses of the host. An OSError where there are none."""
    if (address := literal(server.host, server.port)) is not None:
        return [address]
    try:
        found = await trio.socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError(f"{server.host!r} is no name that can be resolved") from exc
    return in_turns((socket.AddressFamily(family), where) for family, _, _, _, where in found)


async def _context(server: Server) -> ssl.SSLContext:
    """Who is trusted and who we are; the files are read in a thread."""
    try:
        return await trio.to_thread.run_sync(_read_context, server, abandon_on_cancel=True)
    except (ssl.SSLError, OSError) as exc:
        files = ", ".join(filter(None, (server.ca, server.chain, server.key))) or "the system's store"
        raise NotReached(f"{server}: {files} cannot be used for TLS: {in_words(exc)}") from exc


def _read_context(server: Server) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if server.ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(server.ca)
    if server.chain is not None:
        context.load_cert_chain(server.chain, server.key, password=_no_password)
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal for that of a locked key."""
    return ""
