"""One vocabulary: a failure has the same RFC 9209 token everywhere, the admin page included.

Each scene makes an exchange fail in one way, over real sockets, and returns the answer that its client got,
if there was one.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing
from markupsafe import escape

from admin.views.failure_words import LOOK
from lb import BackendSpec, errors
from lb.errors import LBError, Reason
from lb.observe.access_log import record
from tests.admin.kit import Api
from tests.kit import GET, OK, Backend, BlackHole, Refusing, Scene, answer, running, virtual_time
from tests.kit.message import Response
from tests.kit.wires import files, server_context

pytestmark = virtual_time

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"

Answer = Response | None


class Nowhere(trio.abc.HostnameResolver):
    """Resolves no name."""

    async def getaddrinfo(self, *_args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


class Silent(Nowhere):
    """Gives no answer."""

    async def getaddrinfo(self, *_args: Any) -> Any:
        await trio.sleep_forever()


def narrow() -> Backend:
    """A client whose receive buffer is small."""
    return Backend(receive_buffer=4096)


def secure() -> Backend:
    return Backend(context=server_context())


def asking() -> Backend:
    return Backend(context=server_context(asks=True))


async def asks(lb: Scene, status: int, request: bytes = GET) -> Answer:
    return await (await lb.asks(request)).hears(status)


async def says(lb: Scene, status: int, said: bytes) -> Answer:
    """The backend sends these bytes and closes the connection."""
    client = await lb.asks(GET)
    peer = await lb.backend.hears()
    await peer.says(said)
    await trio.testing.wait_all_tasks_blocked()
    peer.closes()
    return await client.hears(status)


async def waits(lb: Scene, status: int) -> Answer:
    client = await lb.asks(GET)
    await lb.backend.hears()
    return await client.hears(status)


async def has_a_name_of_no_address(lb: Scene) -> Answer:
    trio.socket.set_custom_hostname_resolver(Nowhere())
    lb.registry.maintenance(lb["one"])
    lb.registry.add(BackendSpec(id="named", url="http://shop.test:80"))
    return await asks(lb, 502)


async def has_a_name_that_nobody_resolves(lb: Scene) -> Answer:
    trio.socket.set_custom_hostname_resolver(Silent())
    lb.registry.maintenance(lb["one"])
    lb.registry.add(BackendSpec(id="named", url="http://shop.test:80"))
    return await asks(lb, 504)


async def is_in_maintenance(lb: Scene) -> Answer:
    lb.registry.maintenance(lb["one"])
    return await asks(lb, 503)


async def takes_no_second(lb: Scene) -> Answer:
    await lb.asks(GET)
    await lb.backend.hears()
    return await asks(lb, 503)


async def stops_in_its_answer(lb: Scene) -> Answer:
    client = await lb.asks(GET)
    peer = await lb.backend.hears()
    await peer.says(BEGUN)
    await client.hears_head(200)
    await client.hears_exactly(b"ab")
    await client.hears_end()
    return None


async def stops_reading(lb: Scene) -> Answer:
    client = await lb.asks(UPLOAD)
    await lb.backend.accepts()
    await client.says_until_stuck(bytes(1 << 16), most=1 << 28)
    return await client.hears(504)


async def meets_itself(lb: Scene) -> Answer:
    async with lb.backend.answering(OK) as heard:
        await asks(lb, 200)
        via = heard[0]["Via"].encode()
        return await asks(lb, 508, b"GET / HTTP/1.1\r\nHost: a\r\nVia: " + via + b"\r\n\r\n")


async def is_left_by_its_client(lb: Scene) -> Answer:
    client = await lb.asks(GET)
    await lb.backend.hears()
    client.resets()
    with trio.fail_after(5):
        while not lb.exchanges:  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.1)
    return None


async def speaks_no_tls(lb: Scene) -> Answer:
    lb.registry.maintenance(lb["one"])
    with_tls(lb, f"https://{lb.backend.address}")
    client = await lb.asks(GET)
    peer = await lb.backend.accepts()
    await peer.says(answer(b"", status="400 Bad Request"))
    return await client.hears(502)


async def has_a_certificate_of_nobody(lb: Scene) -> Answer:
    with_tls(lb)
    client = await lb.asks(GET)
    for _ in range(2):  # the second connection looks at the certificate
        await lb.backend.accepts()
    return await client.hears(502)


async def wants_a_certificate(lb: Scene) -> Answer:
    with_tls(lb)
    client = await lb.asks(GET)
    await lb.backend.accepts()
    return await client.hears(502)


def with_tls(lb: Scene, url: str | None = None) -> None:
    """The backend speaks TLS, by its pool's settings, whose files have been read."""
    connections = lb.balancer.traffic.connections
    connections.backend_tls().contexts.prepare(lb.registry.pools["default"].settings.tls)
    if url is not None:
        lb.registry.add(BackendSpec(id="secure", url=url))


async def has_a_bug(lb: Scene) -> Answer:
    lb.errors_expected = 1
    lb.context.routes = None  # type: ignore[assignment]
    return await asks(lb, 500)


class Failure(NamedTuple):
    """How an exchange ends in this error; `settings` are those of `running`."""

    error: type[LBError]
    provoke: Callable[[Scene], Awaitable[Answer]]
    kinds: tuple[Callable[[], Any], ...] = ()
    settings: Mapping[str, Any] = {}


DISTRUSTS = {"pools": {"default": {"tls": {"ca": "system"}}}}
TRUSTS = {"pools": {"default": {"tls": {"ca": files().ca}}}}
FULL = {"each": {"max_in_flight": 1}, "pools": {"default": {"queue": 0}}}
FAILURES = [
    Failure(errors.NameNotResolved, has_a_name_of_no_address),
    Failure(errors.NameUnanswered, has_a_name_that_nobody_resolves),
    Failure(errors.Unavailable, is_in_maintenance),
    Failure(errors.ConnectFailed, partial(asks, status=502), (Refusing,)),
    Failure(errors.ConnectTimeout, partial(asks, status=504), (BlackHole,)),
    Failure(errors.TlsFailed, speaks_no_tls),
    Failure(errors.CertificateRefused, has_a_certificate_of_nobody, (secure,), DISTRUSTS),
    Failure(errors.TlsRefused, wants_a_certificate, (asking,), TRUSTS),
    Failure(errors.ConnectionTerminated, partial(says, status=502, said=b"")),
    Failure(errors.ResponseStalled, stops_in_its_answer),
    Failure(errors.BackendStalled, stops_reading, (narrow,)),
    Failure(errors.QueueFull, takes_no_second, (), FULL),
    Failure(errors.BadRequest, partial(asks, status=400, request=b"GET / HTTP/1.1\r\n\r\n")),
    Failure(errors.ResponseIncomplete, partial(says, status=502, said=b"HTTP/1.1 200 OK\r\nConte")),
    Failure(errors.ResponseTimeout, partial(waits, status=504)),
    Failure(errors.UpgradeFailed, partial(says, status=502, said=SWITCHED)),
    Failure(errors.NotHttp, partial(says, status=502, said=b"garbage")),
    Failure(errors.LoopDetected, meets_itself),
    Failure(errors.ClientGone, is_left_by_its_client),
]
A_BUG = Failure(errors.LBError, has_a_bug)


def scene(failure: Failure) -> AbstractAsyncContextManager[Scene]:
    return running(*failure.kinds, **failure.settings)


@pytest.fixture
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to backends have small receive buffers."""

    def narrowed(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr("lb.net.connect.no_delay", narrowed)


@pytest.mark.usefixtures("_little_room")
@pytest.mark.parametrize(
    "failure",
    [*FAILURES, pytest.param(A_BUG, marks=pytest.mark.pure)],
    ids=lambda failure: failure.error.reason,
)
async def test_one_word_for_it_everywhere(failure: Failure) -> None:
    token = failure.error.reason
    async with scene(failure) as lb:
        answer = await failure.provoke(lb)
        exchange, control = lb.exchange, lb.balancer.control
        assert exchange.reason is token
        assert control.recorder.find(exchange.id) is exchange
        assert lb.metrics.failures == {(exchange.pool, token): 1}
        assert record(exchange, control.wall).reason == token
        view = (await Api(control)("GET", f"/requests/{exchange.id.decode()}")).json
        assert view["error"] == token
        assert view["explain"].endswith(LOOK[failure.error])
        page = (await Api(control)("GET", "/", headers={"Accept": "text/html"})).body.decode()
        assert f'<i data-f="error">{token}</i>' in page
        assert escape(view["explain"]) in page
        if answer is not None:
            assert answer["Proxy-Status"].startswith(f"lb; error={token}; ")
            assert answer["X-Request-Id"] == view["id"]


async def test_every_token_is_among_them() -> None:
    assert {failure.error.reason for failure in (*FAILURES, A_BUG)} == set(Reason)
