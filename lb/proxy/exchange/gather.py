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

    Called by `run` while there is no attempt. Where there is no room for more, the body goes on as it comes.
    Raises a ClientError where the body breaks off.
    """
    body = exchange.body
    if body is None or not _is_to_be_gathered(exchange, body):
        return
    began = exchange.context.now()
    holding = exchange.holding = Holding(exchange.context.held)
    share = holding.request = holding.share(exchange.pool.settings.buffer.request)
    pace = Pace(exchange.context.timeouts.body_idle, exchange.context.limits.body_rate)
    while share.room and not exchange.client.has_received_all:
        content = await receive(exchange, pace)
        body.add(content)
        share.holds(len(body.content))
        exchange.count_request(len(content))
    exchange.guard.up.rest()
    exchange.since = exchange.context.now()
    exchange.record.gathered = exchange.since - began


def _is_to_be_gathered(exchange: Exchange, body: Replay) -> bool:
    head, buffer = exchange.head, exchange.pool.settings.buffer
    if not 0 < (head.length or 0) <= buffer.request or head.expects_continue:
        return False
    if exchange.attempt is not None or exchange.client.has_received_all or not body.is_whole_so_far:
        return False
    body.keep_up_to(buffer.request)
    return True
