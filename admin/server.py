"""The service: hypercorn's connections on listeners of ours, restarted when they crash.

    supervised ── serve_admin ─┬─ accepting     one per listener; ends first
                               ├─ ticking       reads the counters, tells /events; ends with them
                               └─ connections   one per client, each with a task for its request

Of hypercorn we take what handles one connection, and keep the accept loop and the sockets ourselves, for
only so can the following be had:

- An end. Its sends are shielded and know no deadline, so a client that stops reading would hold the whole
  program; here each send has a limit, and the exit takes GRACE_SECONDS and one such limit at the longest.
- HTTP/1.1 and nothing else. It switches to HTTP/2 for whoever asks, and has no setting against it.
- A listener that outlives a crash: the port is bound once, so it cannot be lost, and a request that comes
  while we start again waits in the backlog.
- An answer that arrives although the client has more to say: we read on for a moment before we close.
"""

import logging
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    Scope,
)
from quart.wrappers import base as quart_base

from admin.application import create_app
from admin.event_publisher import EventPublisher
from lb.control import Control
from lb.observe.event_feed import MOST_READERS
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, parse_address

GRACE_SECONDS = 2.0
SEND_SECONDS = 3.0
LINGER_SECONDS = 1.0
IDLE_SECONDS = 15
MAX_CONNECTIONS = 512
SHARE_OF_DESCRIPTORS = 20
"""One in so many is the most for the operator's side: clients and backends have nine tenths of them."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
UNIX = "unix:"
STEADY_SECONDS = 60.0
"""A service that lived so long is thought to be well, and its next crash is a first one again."""
CLIENT_LEFT: type[Exception] = getattr(quart_base, "ClientDisconnectedError", trio.BrokenResourceError)
"""Quart 0.23 raises it where it would answer somebody who has left; those before say nothing of it."""

log = logging.getLogger(__name__)


async def supervised(
    control: Control,
    token: str | None,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admin API until `stop`; report the address once it is bound.

    OSError, in one line, where it cannot be bound. From then on a crash is logged, counted and followed by
    another start, after a pause that doubles; nobody else sees it.
    """
    bound = await bind(control.config.admin.listen)
    try:
        task_status.started(address(bound[0]))
        await _again_and_again(control, token, bound, EventPublisher(control), stop)
    finally:
        for listener in bound:
            _close(listener)


async def _again_and_again(
    control: Control,
    token: str | None,
    bound: Sequence[trio.SocketListener],
    publisher: EventPublisher,
    stop: trio.Event,
) -> None:
    pause = FIRST_PAUSE
    while not stop.is_set():
        started = trio.current_time()
        try:
            await serve_admin(control, token, bound, publisher, stop=stop)
        except Exception:
            steady = trio.current_time() - started > STEADY_SECONDS
            pause = FIRST_PAUSE if steady else pause
            control.metrics.admin_restarts += 1
            log.exception("the admin service crashed; traffic goes on; next start in %g s", pause)
            with trio.move_on_after(pause):
                await stop.wait()
            pause = min(2 * pause, LONGEST_PAUSE)


async def serve_admin(
    control: Control,
    token: str | None,
    bound: Sequence[trio.SocketListener],
    publisher: EventPublisher,
    *,
    stop: trio.Event,
) -> None:
    """Answer on these listeners, which stay open, until `stop` is set and the last answer is out.

    Streams of events end at once, requests that still wait GRACE_SECONDS after that are cut.
    """
    # half of the connections, so that whoever watches leaves room for those who act
    control.feed.open(min(MOST_READERS, most_connections() // 2))
    context = WorkerContext(None)
    app = ASGIWrapper(shielded(create_app(control, token)))
    async with trio.open_nursery() as connections:
        serve = partial(_connection, app, settings(), context, connections, Door())
        async with trio.open_nursery() as accepting:
            for listener in bound:
                # accepting closes what it accepts on
                ours = trio.SocketListener(listener.socket.dup())
                accepting.start_soon(
                    partial(trio.serve_listeners, serve, [ours], handler_nursery=connections)
                )
            accepting.start_soon(publisher.run)
            await stop.wait()
            accepting.cancel_scope.cancel()
        control.feed.close("stopping")
        await context.terminated.set()  # idle connections end at this
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


def settings() -> HypercornConfig:
    """What hypercorn has settings for.

    `read_timeout` would also run while a client silently waits for its answer or reads events. Nobody needs
    it: who sends no request is idle, a body that dawdles has a limit of its own in the app, and so has each
    wait that we grant.
    """
    config = HypercornConfig()
    config.alpn_protocols = ["http/1.1"]
    config.read_timeout = None
    config.keep_alive_timeout = IDLE_SECONDS
    config.include_server_header = False
    config.errorlog = logging.getLogger("admin.hypercorn")
    return config


async def _connection(
    app: ASGIWrapper,
    config: HypercornConfig,
    context: WorkerContext,
    connections: trio.Nursery,
    door: "Door",
    stream: trio.SocketStream,
) -> None:
    """One connection, and its crash is its own. Who accepted it closes it, whatever happens here."""
    if len(connections.child_tasks) > most_connections() and not door.makes_room():
        return
    try:
        with trio.CancelScope() as scope, door.silent(scope) as speaks:
            ours = BoundedStream(stream, speaks)
            # hypercorn says SSLStream, and takes whatever has these methods
            await Connection(app, config, context, ConnectionState({}), ours).run()  # type: ignore[arg-type]
    except Exception:
        log.exception("a connection to the admin service crashed")


class Door:
    """Who is connected and has not said a word, oldest first: when the house is full, they make room."""

    def __init__(self) -> None:
        self._silent: dict[trio.CancelScope, None] = {}

    @contextmanager
    def silent(self, scope: trio.CancelScope) -> Iterator[Callable[[], object]]:
        """For as long as a connection lasts; to be called when its first bytes come."""
        self._silent[scope] = None
        try:
            yield partial(self._silent.pop, scope, None)
        finally:
            self._silent.pop(scope, None)

    def makes_room(self) -> bool:
        """The one that has been silent longest goes; False if everybody has spoken."""
        if not self._silent:
            return False
        longest = next(iter(self._silent))
        del self._silent[longest]
        longest.cancel()
        return True


def most_connections() -> int:
    """How many may be connected at once, so that whoever holds them all takes nothing from the traffic."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(16, soft // SHARE_OF_DESCRIPTORS))


class Connection(TCPServer):
    """hypercorn's connection, bound to HTTP/1.1."""

    async def _read_data(self) -> None:
        self.protocol.protocol._check_protocol = stay_with_http1  # type: ignore[union-attr, method-assign]
        await super()._read_data()
        await self.idle_task.stop()  # else who has left keeps a place and a descriptor for IDLE_SECONDS


async def stay_with_http1(event: h11.Request) -> None:
    """In place of the look for `Upgrade: h2c`, which RFC 9110 section 7.8 lets us ignore."""


class BoundedStream:
    """A client's stream on which no send waits for ever, and no answer is lost by closing.

    Closed while a receive is going on, it reads on for LINGER_SECONDS first: the kernel would answer unread
    bytes with a reset, and a reset takes the answer along (RFC 9112 section 9.6).
    """

    def __init__(self, stream: trio.SocketStream, speaks: Callable[[], object]) -> None:
        self._stream = stream
        self._speaks = speaks
        self.socket = stream.socket
        self._receiving: trio.CancelScope | None = None
        self._is_closing = False

    async def send_all(self, data: bytes) -> None:
        """BrokenResourceError, and the connection is lost, if the client does not read for SEND_SECONDS."""
        with trio.move_on_after(SEND_SECONDS) as scope:
            try:
                await self._stream.send_all(data)
            except trio.BusyResourceError as exc:  # by `send_eof`, which waits for no lock
                raise trio.BrokenResourceError("the connection is being closed") from exc
        if scope.cancelled_caught:
            self.socket.close()
            raise trio.BrokenResourceError("the client does not read")

    async def receive_some(self, most: int) -> bytes:
        with self._reception():
            data = await self._stream.receive_some(most)
            while self._is_closing and data:
                data = await self._stream.receive_some(most)
        if not self._is_closing:
            self._speaks()
            return bytes(data)
        self.socket.close()
        raise trio.ClosedResourceError

    @contextmanager
    def _reception(self) -> Iterator[None]:
        try:
            with trio.CancelScope() as self._receiving:
                yield
        finally:
            self._receiving = None

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        if self._receiving is None:
            await self._stream.aclose()
            return
        self._is_closing = True
        self._receiving.deadline = trio.current_time() + LINGER_SECONDS
        with suppress(OSError):  # the client may have left already
            self.socket.shutdown(trio.socket.SHUT_WR)


def shielded(app: ASGIFramework) -> ASGIFramework:
    """The app, with every send seen through to its end.

    quart-trio cancels the task that sends as soon as the answer is complete, and hypercorn is then in the
    midst of closing: without the shield, `Connection: close` and HTTP/1.0 would wait for EOF in vain.
    """

    async def shield(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_through(message: ASGISendEvent) -> None:
            with trio.move_on_after(SEND_SECONDS + LINGER_SECONDS, shield=True):
                await send(message)

        if scope["type"] == "http" and not can_be_split(scope["path"]):
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif scope["type"] == "http":
            try:
                await app(scope, receive, send_through)
            except* CLIENT_LEFT:
                pass  # nobody is there to be told
        else:  # a WebSocket; hypercorn makes it a 403
            await send({"type": "websocket.close", "code": 1000, "reason": None})

    return shield


def can_be_split(target: str) -> bool:
    """Quart takes the path out of a target in absolute form, and fails where that is none."""
    try:
        return target.startswith("/") or bool(target and urlsplit(target))
    except ValueError:
        return False


async def bind(listen: str) -> list[trio.SocketListener]:
    """Listeners on HOST:PORT, fd://N or unix:PATH; OSError says in one line what is in the way."""
    try:
        match parse_address(listen):
            case TcpAddress(host, port):
                listeners = await trio.open_tcp_listeners(port, host=host or None)
                return _same_port(listeners) if port == 0 else listeners
            case FdAddress(fd):
                return [trio.SocketListener(trio.socket.socket(fileno=fd))]
            case UnixAddress(path):
                return [await _bind_unix(path)]
    except OSError as exc:
        raise OSError(exc.errno, f"admin cannot listen on {listen}: {exc.strerror}") from exc


def _same_port(listeners: list[trio.SocketListener]) -> list[trio.SocketListener]:
    """A name with several addresses got several free ports; one of them is enough, and can be told."""
    for listener in listeners[1:]:
        listener.socket.close()
    return listeners[:1]


async def _bind_unix(path: str) -> trio.SocketListener:
    """Only the owner may connect. A socket file that nobody answers on is left over from a crash."""
    if not await _is_answered(path):
        _remove_socket(path)
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await sock.bind(path)
        _make_private(path)
        sock.listen()
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
        raise


def _remove_socket(path: str) -> None:
    if Path(path).is_socket():
        Path(path).unlink()


def _make_private(path: str) -> None:
    Path(path).chmod(0o600)


def _close(listener: trio.SocketListener) -> None:
    where = address(listener)
    listener.socket.close()
    if where.startswith(UNIX):
        _remove_socket(where.removeprefix(UNIX))


async def _is_answered(path: str) -> bool:
    try:
        stream = await trio.open_unix_socket(path)
    except OSError:
        return False
    await stream.aclose()
    return True


def address(listener: trio.SocketListener) -> str:
    """Where it listens, in the form in which it is configured."""
    name = listener.socket.getsockname()
    if not isinstance(name, tuple):
        return f"{UNIX}{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
