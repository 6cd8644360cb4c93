"""Forwarding the response to the client: interim heads, the final head and the body, or a tunnel.

Waiting for the backend is bounded by `response_head` and `response_idle`; missing these is the backend's
fault. Waiting for the client to take the response is bounded by `send`; missing it is the client's fault.
Both set the guard's deadline `down`.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from lb.errors import ResponseStalled, TunnelIdle, UpgradeFailed
from lb.http1.fields import is_event_stream
from lb.http1.response_head import SWITCHING_PROTOCOLS, ResponseHead
from lb.net.splice import SPLICE_FROM
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.read_ahead import client_takes, client_takes_or_waits, drain, given
from lb.proxy.exchange.tunnel import tunnel
from lb.proxy.exchange.upload import backend_takes
from lb.proxy.sides import BackendSide

INTERIM_RENEWALS = 10
"""How many times `response_head` a response may take in all, as long as interim heads (1xx) come."""
MORE_PIECES = 3
"""Pieces that are passed on behind one that was waited for, before other tasks run."""


async def download(exchange: Exchange, attempt: Attempt) -> None:
    """Forward the response of an attempt, from wherever it is, to its end.

    The request has been sent, or `upload` runs beside this. Raises an LBError of the side that failed.
    """
    connection = attempt.connection
    assert connection is not None
    if exchange.response is not None:
        await _rest(exchange, connection)
        return
    head = await final_head(connection, partial(_pass_on_interim, exchange, attempt))
    await pass_on(exchange, attempt, connection, head)


async def final_head(
    connection: BackendSide, interim: Callable[[ResponseHead], Awaitable[None]]
) -> ResponseHead:
    """Wait for the final head, or a 101, and call `interim` with each interim head before it."""
    while True:
        head = await connection.receive_head()
        if head.is_final:
            return head
        await interim(head)
        await trio.lowlevel.checkpoint()  # perhaps the next one is here, so nothing was waited for


async def _pass_on_interim(exchange: Exchange, attempt: Attempt, head: ResponseHead) -> None:
    """Forward an interim head. The time that the client takes for it does not count as the backend's."""
    exchange.client.interim_now(head)
    if exchange.client.unsent is not None:
        await client_takes(exchange)
    await_next_head(exchange, attempt)


def await_next_head(exchange: Exchange, attempt: Attempt) -> None:
    """An interim head has come: the wait for the response begins anew, a bounded number of times over.

    Until the request has been sent, nothing is awaited.
    """
    down, sent = exchange.guard.down, attempt.record.sent
    if sent is not None:
        exchange.await_head()
        longest = exchange.context.timeouts.response_head * INTERIM_RENEWALS
        down.move(min(down.at, sent + longest))
    elif attempt.connection is not None and attempt.connection.takes_no_more:
        exchange.await_head()
    else:
        down.rest()


async def pass_on(exchange: Exchange, attempt: Attempt, connection: BackendSide, head: ResponseHead) -> None:
    """Forward the response that has this head, to its end, or the tunnel."""
    if head.status == SWITCHING_PROTOCOLS:
        await _switch(exchange, attempt, connection, head)
        return
    exchange.respond(attempt, head)
    await _rest(exchange, connection)


async def _rest(exchange: Exchange, connection: BackendSide) -> None:
    """Forward the body until it has come whole. What the client has not taken then is left to `deliver`."""
    client = exchange.client
    if not connection.has_received_all and exchange.response is not None:
        exchange.record.is_stream = is_event_stream(exchange.response.lines)
    while not connection.has_received_all:
        if client.unsent is not None:
            await client_takes_or_waits(exchange, connection)
        elif connection.raw_left >= SPLICE_FROM and client.takes_raw:
            await _splice(exchange, connection)
        else:
            await _pass_on_pieces(exchange, connection)


async def _pass_on_pieces(exchange: Exchange, connection: BackendSide) -> None:
    """One piece, and a few more if they are there: waking a task for each costs as much as to encrypt it."""
    given(exchange)
    exchange.guard.down.expect(exchange.context.timeouts.response_idle, ResponseStalled)
    _give(exchange, connection, await connection.receive_content())
    for _ in range(MORE_PIECES):
        if exchange.client.unsent is not None or (content := connection.more_content_now()) is None:
            return
        _give(exchange, connection, content)


def _give(exchange: Exchange, connection: BackendSide, content: bytes) -> None:
    exchange.record.response_bytes += len(content)
    exchange.client.send_content_now(content, connection)


async def _splice(exchange: Exchange, connection: BackendSide) -> None:
    """Forward the rest of a large body through a pipe, unless the client is slow and the rest can be held."""
    context, down = exchange.context, exchange.guard.down
    with context.pipes.lend() as pipe:
        while not connection.has_received_all:
            down.expect(context.timeouts.response_idle, ResponseStalled)
            filled = await connection.fill(pipe)
            exchange.record.response_bytes += filled
            if not await drain(exchange, connection, pipe):
                return


# -- upgrades ------------------------------------------------------------------------------------------


async def _switch(exchange: Exchange, attempt: Attempt, connection: BackendSide, head: ResponseHead) -> None:
    """Switch protocols, if the client offered this one (RFC 9110 section 7.8), and carry bytes both ways."""
    client, record = exchange.client, exchange.record
    client.ends_requests()  # the client's next bytes may be of the other protocol
    offered = {protocol.strip().lower() for protocol in exchange.head.upgrade.split(b",")} - {b""}
    if not head.upgrade or head.upgrade.lower() not in offered or attempt.record.sent is None:
        raise UpgradeFailed("the backend switched to a protocol that was not asked for")
    added = exchange.answered(attempt, head.status)
    if exchange.context.tells_id:
        head = head.with_request_id(record.id)
    exchange.response, record.status = head, head.status
    from_backend, from_client = connection.take_rest(), client.take_rest()
    client.switch_now(head, added, from_backend)
    if client.unsent is not None:
        await client_takes(exchange)
    connection.send_content_now(from_client, client)
    await backend_takes(exchange, connection)
    exchange.guard.up.rest()
    for wire in (client.wire, connection.wire):
        wire.keep_alive()

    def carried(to_client: bool, count: int) -> None:
        if to_client:
            record.response_bytes += count
        else:
            record.request_bytes += count
        exchange.guard.down.expect(exchange.context.timeouts.tunnel_idle, TunnelIdle)

    carried(to_client=True, count=len(from_backend))
    carried(to_client=False, count=len(from_client))
    half_open = exchange.context.timeouts.tunnel_half_open
    await tunnel(client.wire, connection.wire, exchange.context.pipes, carried, half_open)
