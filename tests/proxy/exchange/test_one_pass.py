"""A deadline strikes in the same pass of the event loop in which what it was for happens.

However that ends, a request is never sent twice unless it may be, and never without its body; and a
connection to a backend is kept only where the request on it was sent whole.
"""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from lb.net.wire import Wire
from tests.kit import OK, Ended, Scene, running, virtual_time

pytestmark = virtual_time

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


def strike_as_it_comes(
    lb: Scene, monkeypatch: pytest.MonkeyPatch, strike: Callable[[], None], client: bool = True
) -> None:
    """Do in one pass what `Deadlines` and the epoll do: the wire is readable, then the deadline strikes."""
    (connection,) = lb.connections
    wake = Wire.wake
    done: list[int] = []

    def waking(wire: Wire, ended: bool) -> None:
        wake(wire, ended)
        if (wire is connection.wire) is client and not done:
            done.append(1)
            strike()

    monkeypatch.setattr(Wire, "wake", waking)


async def test_last_piece_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as lb:
        client = await lb.asks(POST + b"hello")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"hello")
        strike_as_it_comes(lb, monkeypatch, lambda: lb.connections[0].guard.up.strike())
        await client.says(b"world")
        await client.hears(408)
        await lb.backend.accepts_nobody()
        assert lb["one"].idle_connections == 0


async def test_head_and_first_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request has come in time, and is served once."""
    async with running() as lb:
        client = await lb.asks(POST[:20])
        await trio.testing.wait_all_tasks_blocked()
        strike_as_it_comes(lb, monkeypatch, lambda: lb.connections[0].guard.down.strike())
        await client.says(POST[20:] + b"hello")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.hears_exactly(b"hello")
        await client.says(b"world")
        await peer.hears_exactly(b"world")
        await peer.says(OK)
        await client.hears(200)
        await lb.backend.accepts_nobody()


async def test_first_piece_of_an_answer_to_a_post(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as lb:
        client = await lb.asks(POST + b"helloworld")
        peer = await lb.backend.hears()
        strike_as_it_comes(lb, monkeypatch, lambda: lb.connections[0].guard.down.strike(), client=False)
        await peer.says(OK[:-1])
        with pytest.raises(Ended):
            await client.take(1000)
        await lb.backend.accepts_nobody()


async def test_body_that_is_too_long_beside_an_early_answer_leaves_no_connection() -> None:
    async with running(limits={"request_body": 8}) as lb:
        client = await lb.asks(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.says, b"5\r\nworld\r\n0\r\n\r\n")
            nursery.start_soon(peer.says, OK)
        await trio.testing.wait_all_tasks_blocked()
        assert lb["one"].idle_connections == 0


async def test_latency_is_never_negative() -> None:
    pools = {"default": {"policy": "ewma"}}
    async with running(pools=pools) as lb:
        told: list[float] = []
        lb.registry.pools["default"]._learn = lambda _backend, seconds: told.append(seconds)
        client = await lb.asks(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        peer = await lb.backend.accepts()
        await peer.hears_head()
        await peer.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        await trio.sleep(20)
        await client.says(b"helloworld")
        await peer.hears_exactly(b"helloworld")
        await trio.sleep(1)
        await peer.says(OK)
        await client.take_until(b"ok")
        await trio.testing.wait_all_tasks_blocked()
        assert told == [pytest.approx(1.0)]
