"""Forwarding the rest of a request's body to the backend, at the pace of the slower side.

Waiting for the client is bounded by `body_idle` and `body_rate`; missing these is the client's fault. Waiting
for the backend to take the body is bounded by `send`; missing it is the backend's fault. Both set the guard's
deadline `up`.
"""

from lb.core.body_pace import Pace
from lb.errors import BackendStalled, RequestTimeout
from lb.net.splice import SPLICE_FROM
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.replay import Replay
from lb.proxy.sides import BackendSide


async def upload(exchange: Exchange, attempt: Attempt) -> None:
    """Send what the backend has not taken yet and what the client still sends, until the request is whole.

    Runs beside `download`, after `Exchange.send_over`. Returns early if the backend takes no more: the
    response, or the end of the connection, decides then. Raises a ClientError where the body breaks off.
    """
    connection, body = attempt.connection, exchange.body
    assert connection is not None
    exchange.last_sent = exchange.context.now()
    await backend_takes(exchange, connection)
    if body is not None:
        await _send_rest(exchange, connection, body)
    if exchange.client.has_received_all:
        exchange.request_sent(attempt, exchange.context.now())
    elif exchange.response is None:
        exchange.await_head()
    exchange.guard.up.rest()


async def _send_rest(exchange: Exchange, connection: BackendSide, body: Replay) -> None:
    client = exchange.client
    pace = Pace(exchange.context.timeouts.body_idle, exchange.context.limits.body_rate)
    if client.raw_left >= SPLICE_FROM and connection.takes_raw and not body.has_room_for(client.raw_left):
        await _splice(exchange, connection, body, pace)
    while not (client.has_received_all or connection.takes_no_more):
        content = await receive(exchange, pace)
        body.add(content)
        exchange.count_request(len(content))
        connection.send_content_now(content, client)
        exchange.last_sent = exchange.context.now()
        await backend_takes(exchange, connection)


async def receive(exchange: Exchange, pace: Pace) -> bytes:
    """Wait for more content of the request, no longer than its pace allows."""
    client, began = exchange.client, exchange.context.now()
    before = client.received
    exchange.guard.up.expect(_patience(exchange, pace), RequestTimeout)
    content = await client.receive_content()
    pace.came(client.received - before, exchange.context.now() - began)
    return content


def _patience(exchange: Exchange, pace: Pace) -> float:
    """Seconds to wait for the next piece: by the pace of the body, and the time of the whole request."""
    longest, context = exchange.context.timeouts.request, exchange.context
    if not longest:
        return pace.patience()
    return min(pace.patience(), max(0.0, exchange.record.started + longest - context.now()))


async def backend_takes(exchange: Exchange, connection: BackendSide) -> None:
    """Wait until the backend has taken what was sent, under the timeout `send`, or takes no more."""
    if connection.unsent is not None:
        exchange.guard.up.expect(exchange.context.timeouts.send, BackendStalled)
        await connection.flush()


async def _splice(exchange: Exchange, connection: BackendSide, body: Replay, pace: Pace) -> None:
    """Forward the rest of a large body through a pipe. None of it is kept for another attempt."""
    client, context, up = exchange.client, exchange.context, exchange.guard.up
    with context.pipes.lend() as pipe:
        while not (client.has_received_all or connection.takes_no_more):
            began = context.now()
            up.expect(_patience(exchange, pace), RequestTimeout)
            count = await client.fill(pipe)
            pace.came(count, context.now() - began)
            body.give_up()
            exchange.record.request_bytes += count
            while not connection.drain_now(pipe):
                up.expect(context.timeouts.send, BackendStalled)
                await connection.wire.writable()
            exchange.last_sent = context.now()
