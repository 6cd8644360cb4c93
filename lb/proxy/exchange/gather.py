"""Receiving a short request body whole before a backend is chosen.

A server that handles one request at a time would otherwise wait for a slow client, and all others for it. A
body whose length is not known is not waited for, since its client may wait for an answer to the first part.
Neither is one that the client announced with Expect: it asks the backend first (RFC 9110 section 10.1.1).
"""

from lb.core.body_pace import Pace
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.holding import Holding
from lb.proxy.exchange.replay import Replay
from lb.proxy.exchange.upload import receive


async def gather(exchange: Exchange) -> None:
    """Receive the rest of the body, if it is to be gathered; whatever is waited for is the client's.

    Called by `run` while there is no attempt. Raises a ClientError where the body breaks off.
    """
    body, began = exchange.body, exchange.context.now()
    if body is None or not _takes_room(exchange, body):
        return
    pace = Pace(exchange.context.timeouts.body_idle, exchange.context.limits.body_rate)
    while not exchange.client.has_received_all:
        content = await receive(exchange, pace)
        body.add(content)
        exchange.count_request(len(content))
    exchange.guard.up.rest()
    exchange.since = exchange.context.now()
    exchange.record.gathered = exchange.since - began


def _takes_room(exchange: Exchange, body: Replay) -> bool:
    """The rest of the body is to be gathered. The room for it is taken then."""
    head, buffer = exchange.head, exchange.pool.settings.buffer
    if not 0 < (head.length or 0) <= buffer.request or head.expects_continue:
        return False
    if exchange.attempt is not None or exchange.client.has_received_all or not body.is_whole_so_far:
        return False
    assert head.length is not None
    holding = exchange.holding = Holding(exchange.context.held)
    share = holding.share(buffer.request)
    if share.room < head.length:
        return False
    share.holds(head.length)
    holding.request = share
    body.keep_up_to(head.length)
    return True
