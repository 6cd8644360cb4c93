"""Both sides of an exchange in memory, without a socket: what `lb.proxy.exchange` needs and nothing else.

    async with exchanging(backends=2) as scene:
        exchange = scene.asks(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        connection = await scene.connected()
        connection.answers(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n", b"ok")
        assert await exchange.outcome() is None

A side waits where a socket would: the client until the test gives it content or room, the backend until the
test lets it answer. `Asked.outcome` does what the owner of an exchange does: it opens the guard's scope, runs
the exchange, and runs it again where the verdict says so.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

import lb
from lb.core.backend import Backend
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Registry
from lb.errors import BackendError, ClientGone, ConnectFailed, LBError
from lb.http1.fast_head import read_request, read_response
from lb.http1.forwarded_fields import ForwardedFields
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.epoll import Readiness
from lb.net.splice import Copy, Pipe
from lb.net.wire import Wire
from lb.observe.counters import Metrics
from lb.proxy.context import Context
from lb.proxy.exchange import failure
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.run import run
from lb.proxy.guard import Guard
from lb.proxy.sides import BackendSide, Borrower, Source
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import Limits
from tests.kit.balancer import streaming


class Changes:
    """Wakes every task that waits for a condition, whenever something has changed."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def tell(self) -> None:
        self._lot.unpark_all()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._lot.park()
        await trio.lowlevel.checkpoint()


class Half:
    """What both sides share: content that comes piece by piece, and content that is heard."""

    wire: Wire  # there is none; nothing here can be spliced

    def __init__(self) -> None:
        self.changes = Changes()
        self.pieces: deque[bytes] = deque()
        self.has_ended = False
        self.error: LBError | None = None
        self.takes = True
        self.unsent: memoryview | None = None
        self.heard = b""
        self.heard_all = False
        self.received = 0

    # -- for tests -------------------------------------------------------------------------------------

    def says(self, *pieces: bytes, ends: bool = False) -> None:
        """Content comes from this side."""
        self.pieces += pieces
        self.has_ended = ends
        self.changes.tell()

    def breaks_off(self, error: LBError) -> None:
        self.error = error
        self.changes.tell()

    def stalls(self) -> None:
        """From now on this side takes nothing."""
        self.takes = False

    def reads_on(self) -> None:
        self.takes, self.unsent, self.behind = True, None, 0
        self.changes.tell()

    # -- a source ----------------------------------------------------------------------------------------

    @property
    def has_received_all(self) -> bool:
        return self.has_ended and not self.pieces

    @property
    def trailers(self) -> bytes:
        return b""

    @property
    def raw_left(self) -> int:
        return 0

    def take_content(self) -> bytes:
        content = b"".join(self.pieces)
        self.pieces.clear()
        self.changes.tell()
        return content

    async def receive_content(self) -> bytes:
        await self.changes.until(lambda: self.pieces or self.error or self.has_ended)
        if not self.pieces and self.error is not None:
            raise self.error
        content = self.pieces.popleft() if self.pieces else b""
        self.received += len(content)
        self.changes.tell()
        return content

    def more_content_now(self) -> bytes | None:
        if not self.pieces:
            return None
        content = self.pieces.popleft()
        self.received += len(content)
        self.changes.tell()
        return content

    async def fill(self, pipe: Pipe | Copy) -> int:
        raise NotImplementedError

    def take_rest(self) -> bytes:
        return b""

    # -- a sink ------------------------------------------------------------------------------------------

    @property
    def takes_raw(self) -> bool:
        return False

    def send_content_now(self, content: bytes, source: Source) -> None:
        assert self.unsent is None, "sent behind what has not been taken"
        self.heard += content
        self.heard_all = source.has_received_all
        self.changes.tell()
        if not self.takes:
            self.unsent = memoryview(content or b"-")

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        raise NotImplementedError

    async def flush(self) -> None:
        await self.changes.until(lambda: self.unsent is None)

    # -- a sink for which bytes may be held --------------------------------------------------------------

    behind = 0

    @property
    def held(self) -> int:
        return self.behind + (0 if self.unsent is None else len(self.unsent))

    def add_content_now(self, content: bytes, source: Source) -> None:
        """All that comes behind what is unsent is held; `reads_on` takes it."""
        if self.unsent is None:
            self.send_content_now(content, source)
            return
        self.heard += content
        self.heard_all = source.has_received_all
        self.behind += len(content)


class MemoryClient(Half):
    """A client; `statuses` are those of the heads that it has heard."""

    def __init__(self, guard: Guard, head: RequestHead, *pieces: bytes, ends: bool) -> None:
        super().__init__()
        self.head = head
        self.address = "192.0.2.1"
        self.identity = ForwardedFields(b"192.0.2.1", False, b"lb", False)
        self.statuses: list[int] = []
        self._guard = guard
        self.says(*pieces, ends=ends)

    def leaves(self) -> None:
        self.end(ClientGone("it left"))

    def end(self, why: LBError) -> None:
        self._guard.end(why)

    @property
    def is_untouched(self) -> bool:
        return not [status for status in self.statuses if status >= 200] and self.unsent is None

    @property
    def stays(self) -> bool:
        return self.has_received_all

    def is_behind(self) -> bool:
        return self.unsent is not None

    def ends_requests(self) -> None:
        pass

    def interim_now(self, head: ResponseHead) -> None:
        self.statuses.append(head.status)

    def respond_now(self, head: ResponseHead, added: bytes, content: bytes, source: Source) -> None:
        self.statuses.append(head.status)
        self.send_content_now(content, source)

    def switch_now(self, head: ResponseHead, added: bytes, content: bytes) -> None:
        raise NotImplementedError


class MemoryBackend(Half):
    """A connection to a backend; `requests` are the heads that it has heard."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.requests: list[RequestHead] = []
        self.heads: deque[ResponseHead] = deque()
        self.limits = Limits()
        self.first_byte: float | None = None
        self.takes_no_more = self.was_reset = False
        self.is_kept: bool | None = None
        """Whether it was given back to be used again; None while it is lent."""

    def answers(self, head: bytes, *content: bytes, ends: bool = True) -> None:
        """The head of a response, and content behind it."""
        read = read_response(head, self.requests[-1].method if self.requests else b"GET", 100)
        self.heads.append(read)
        self.says(*content, ends=ends and not read.is_interim)

    @property
    def can_be_kept(self) -> bool:
        return self.has_received_all and not self.heads and not self.takes_no_more and self.unsent is None

    def request_now(self, head: RequestHead, added: bytes, content: bytes, source: Source) -> None:
        self.requests.append(head)
        self.first_byte, self.has_ended = None, False
        self.send_content_now(content, source)

    async def receive_head(self) -> ResponseHead:
        await self.changes.until(lambda: self.heads or self.error)
        if not self.heads:
            assert self.error is not None
            raise self.error
        self.first_byte = self.first_byte or trio.current_time()
        return self.heads.popleft()


class MemoryConnections:
    """Opens connections at once, or refuses where a backend's id is among `refusing`.

    `on_lent` is called with each connection that is lent, a new one or an idle one.
    """

    def __init__(self) -> None:
        self.timeouts, self.limits = lb.build({}).timeouts, Limits()
        self.opened: list[MemoryBackend] = []
        self.idle: list[MemoryBackend] = []
        self.refusing: set[str] = set()
        self.on_lent: Callable[[MemoryBackend], object] = lambda _connection: None

    def take(self, backend: Backend, borrower: Borrower) -> BackendSide | None:
        for connection in self.idle:
            if connection.backend is backend:
                self.idle.remove(connection)
                connection.is_kept = None
                self.on_lent(connection)
                return connection
        return None

    async def open(self, backend: Backend, within: float, borrower: Borrower) -> BackendSide:
        await trio.lowlevel.checkpoint()
        if backend.id in self.refusing:
            raise ConnectFailed(f"{backend.id}: refused")
        connection = MemoryBackend(backend)
        self.opened.append(connection)
        self.on_lent(connection)
        return connection

    def give(self, backend: Backend, connection: BackendSide, keep: bool) -> None:
        assert isinstance(connection, MemoryBackend)
        assert connection.is_kept is None, "given back twice"
        connection.is_kept = keep
        if keep:
            self.idle.append(connection)


class Asked:
    """One exchange, and the task that runs it."""

    def __init__(self, context: Context, head: RequestHead, *pieces: bytes, ends: bool) -> None:
        self._guard = Guard(context.deadlines)
        self._context = context
        self.client = MemoryClient(self._guard, head, *pieces, ends=ends)
        self.record = ExchangeRecord(b"id", "memory", "192.0.2.1:1", trio.current_time())
        self.exchange = Exchange(context, self.client, self.record, self._guard)
        self._is_over = trio.Event()
        self._error: LBError | None = None

    async def run(self) -> None:
        self.exchange.begin()
        while await self._interrupted():
            pass
        self._guard.close()
        self._is_over.set()

    async def _interrupted(self) -> bool:
        """True if the exchange is to be run again."""
        error: LBError | None
        with self._guard.open():
            try:
                await run(self.exchange)
                return False
            except LBError as exc:
                self._error = exc
                return False
        error = self._guard.verdict()
        if isinstance(error, BackendError) and failure.may_go_on(self.exchange, error):
            return True
        self._error = error
        return False

    async def outcome(self) -> LBError | None:
        """How it ended: without an error, or with this one."""
        await self._is_over.wait()
        return self._error


class MemoryScene:
    """A pool of backends, and exchanges on it."""

    def __init__(self, context: Context, connections: MemoryConnections, nursery: trio.Nursery) -> None:
        self.context = context
        self.connections = connections
        self.pool = context.pools["default"]
        self._nursery = nursery

    def asks(self, head: bytes, *pieces: bytes, ends: bool = True) -> Asked:
        """An exchange begins; `ends` says that its request ends behind these pieces."""
        asked = Asked(self.context, read_request(head, b"a", 8192, 100), *pieces, ends=ends)
        self._nursery.start_soon(asked.run)
        return asked

    async def serving(self, asked: Asked) -> MemoryBackend:
        """The connection on which the exchange runs, once nothing else happens."""
        await trio.testing.wait_all_tasks_blocked()
        assert asked.exchange.attempt is not None
        connection = asked.exchange.attempt.connection
        assert isinstance(connection, MemoryBackend)
        return connection

    @property
    def ejected(self) -> list[str]:
        return [backend.id for backend in self.pool.backends if not backend.is_open]


@asynccontextmanager
async def exchanging(*, backends: int = 1, **pool: Any) -> AsyncIterator[MemoryScene]:
    """A pool of that many backends. At the end every place and every connection was given back."""
    config = lb.build(streaming({"pools": {"default": pool}}))
    registry = Registry(trio.current_time, lambda: 0.5, lambda _file: b"key")
    registry.add_pool("default", config.pools["default"].settings)
    for number in range(backends):
        registry.add(BackendSpec(id=f"b{number}", url=f"http://127.0.0.1:{number + 1}"), "default")
    connections = MemoryConnections()
    context = Context(config, registry, connections, Readiness(), Metrics(), (), ())
    context.chance = lambda: 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.deadlines.run)
        async with trio.open_nursery() as asking:
            yield MemoryScene(context, connections, asking)
        nursery.cancel_scope.cancel()
    assert not any(backend.running for backend in registry.backends.values())
    assert registry.pools["default"].in_flight == registry.pools["default"].waiting == 0
    assert all(connection.is_kept is not None for connection in connections.opened)
    assert context.held.count == 0
