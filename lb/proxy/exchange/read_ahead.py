"""Reading a response ahead of a client that takes it slowly, so that it holds no backend for long.

While the client takes what was sent, the response is received on, as far as the exchange has room for it. A
response that has come whole lets its backend go, and the rest is delivered after that. A client that keeps up
costs nothing of this. Event streams and tunnels are never held: their bytes are of use only at once.
"""

import trio

from lb.core.held import Share
from lb.errors import ClientStalled, ResponseStalled
from lb.http1.fields import field_in, is_event_stream
from lb.http1.response_head import ResponseHead
from lb.net.splice import Copy, Pipe
from lb.proxy.exchange.beside import first_of
from lb.proxy.exchange.client_waits import ClientWaits
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.holding import Holding
from lb.proxy.sides import BackendSide

PATIENCE_SECONDS = 0.01
"""A client that has let a response wait for less than this in all is not slow."""


async def deliver(exchange: Exchange) -> None:
    """Send what is left of a response whose backend was let go, at the pace of the client. The last step."""
    while exchange.client.unsent is not None:
        await _client_takes_more(exchange)


async def client_takes(exchange: Exchange) -> None:
    """Wait until the client has taken what was sent. While something is unsent."""
    waits = given(exchange)
    try:
        while exchange.client.unsent is not None:
            await _client_takes_more(exchange)
    finally:
        waits.ended(exchange.context.now())


async def _client_takes_more(exchange: Exchange) -> None:
    """Under the timeout `send`, which begins anew with whatever the client takes: it may be slow."""
    exchange.guard.down.expect(exchange.context.timeouts.send, ClientStalled)
    await exchange.client.flush()
    share = None if exchange.holding is None else exchange.holding.response
    if share is not None and share.count:
        share.holds(exchange.client.held)


async def client_takes_or_waits(exchange: Exchange, connection: BackendSide) -> None:
    """Like `client_takes`, but read ahead if the client is slow.

    Returns when the client has taken everything, or the response has come whole.
    """
    share = _share(exchange)
    if not share.room:
        await client_takes(exchange)
        return
    with trio.move_on_after(_patience(exchange)):
        await client_takes(exchange)
    if exchange.client.unsent is not None:
        await _ReadAhead(exchange, connection, share).run()


async def drain(exchange: Exchange, connection: BackendSide, pipe: Pipe | Copy) -> bool:
    """Send what is in the pipe.

    False if the client is slow and the rest of the response can be read ahead: what was in the pipe is unsent
    then.
    """
    client, waits = exchange.client, given(exchange)
    is_slow = False
    while not client.drain_now(pipe):
        if is_slow:
            client.send_content_now(pipe.read(), connection)
            _share(exchange).holds(client.held)
            break
        exchange.guard.down.expect(exchange.context.timeouts.send, ClientStalled)
        fits = _share(exchange).room >= connection.raw_left + pipe.held
        with trio.move_on_after(_patience(exchange) if fits else float("inf")) as patience:
            await client.wire.writable()
        is_slow = patience.cancelled_caught
    waits.ended(exchange.context.now())
    return not is_slow


def _share(exchange: Exchange) -> Share:
    """What is held of the response; without room where nothing may be."""
    holding = exchange.holding
    if holding is None:
        holding = exchange.holding = Holding(exchange.context.held)
    if holding.response is None:
        most = exchange.pool.settings.buffer.response if _may_be_held(exchange.response) else 0
        holding.response = holding.share(most)
    return holding.response


def _may_be_held(head: ResponseHead | None) -> bool:
    """Not an event stream, nor what the backend asks to send on at once, in the way that nginx knows."""
    if head is None or is_event_stream(head.lines):
        return False
    return (field_in(head.lines, b"x-accel-buffering") or b"").lower() != b"no"


def given(exchange: Exchange) -> ClientWaits:
    """Bytes of the response have been given to the client now."""
    now = exchange.context.now()
    if exchange.waits is None:
        exchange.waits = ClientWaits(now)
    exchange.waits.since = now
    return exchange.waits


def _patience(exchange: Exchange) -> float:
    waited = 0.0 if exchange.waits is None else exchange.waits.total
    return max(0.0, PATIENCE_SECONDS - waited)


class _ReadAhead:
    """One stretch of a response in which the client is behind."""

    def __init__(self, exchange: Exchange, connection: BackendSide, share: Share) -> None:
        self._exchange = exchange
        self._connection = connection
        self._share = share
        self._has_taken = trio.Event()

    async def run(self) -> None:
        """Errors of either side are raised. `is_held_up` stays then: whose fault it is is judged by it."""
        self._share.holds(self._exchange.client.held)
        self._backend_waits(False)
        await first_of(self._receive, self._send)
        self._backend_waits(None)

    def _backend_waits(self, is_held_up: bool | None) -> None:
        assert self._exchange.holding is not None
        self._exchange.holding.is_held_up = is_held_up

    async def _receive(self) -> None:
        """Receive until the response has come whole."""
        exchange, connection = self._exchange, self._connection
        while not connection.has_received_all:
            if not self._share.room:
                await self._wait_for_room()
            with trio.move_on_after(exchange.context.timeouts.response_idle) as patience:
                content = await connection.receive_content()
            if patience.cancelled_caught:
                raise ResponseStalled(ResponseStalled.too_slow)
            exchange.record.response_bytes += len(content)
            exchange.client.add_content_now(content, connection)
            self._share.holds(exchange.client.held)

    async def _wait_for_room(self) -> None:
        """The backend waits for the client: that is not its fault."""
        exchange, waits = self._exchange, given(self._exchange)
        self._backend_waits(True)
        while not self._share.room:
            self._has_taken = trio.Event()
            await self._has_taken.wait()
        self._backend_waits(False)
        waits.ended(exchange.context.now())

    async def _send(self) -> None:
        """Send until the client has taken everything."""
        while self._exchange.client.unsent is not None:
            await _client_takes_more(self._exchange)
            self._has_taken.set()
