"""The task that drives an exchange: it waits where the plain steps of `Exchange` cannot go on.

A body that arrived whole with its head is sent with it. Any other body is uploaded by a second task beside
the download, because a backend may answer early, and its answer is forwarded at once (RFC 9112 section 9.3).
The upload is cancelled when the response ends. A short body is gathered before a backend is chosen
(`gather`), and what a slow client leaves of a response is delivered after the backend was let go
(`read_ahead`).
"""

from functools import partial

import trio

from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.pool import Turn
from lb.core.retry import pause
from lb.errors import BackendError, ConnectionTerminated, QueueFull, Unavailable
from lb.proxy.exchange import failure
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.beside import beside
from lb.proxy.exchange.download import download
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.gather import gather
from lb.proxy.exchange.hedge import Race
from lb.proxy.exchange.read_ahead import deliver
from lb.proxy.exchange.upload import upload

MOVING_SECONDS = 0.1
"""How long a request waits for which the queue has no room, but for which another worker may have a place."""


async def run(exchange: Exchange) -> None:
    """Make attempts until a response has gone to the client whole. Raises an LBError if none could.

    Called by the task that owns the exchange, after `Exchange.begin` and within the guard's scope; it goes on
    from wherever the exchange is. On every way out the attempt has been let go. If the guard's scope was
    cancelled, it may be called again after `failure.may_go_on` said so.
    """
    try:
        await gather(exchange)
        while not await _is_answered(exchange):
            await _pause(exchange)
        await deliver(exchange)
    finally:
        if exchange.waits is not None:
            exchange.record.client_took = exchange.waits.total
        if exchange.holding is not None:
            exchange.record.held = exchange.holding.close()
            _count_what_was_sent(exchange)


def _count_what_was_sent(exchange: Exchange) -> None:
    """Content is counted when it comes: take off what a client that left or stalled has not taken."""
    record = exchange.record
    record.response_bytes = max(0, record.response_bytes - exchange.client.held)


async def _is_answered(exchange: Exchange) -> bool:
    """Make one attempt. False if it failed and another is to be made."""
    try:
        await _attempt(exchange)
    except BackendError as error:
        if not failure.may_go_on(exchange, error):
            raise failure.told(exchange, error) from error
        exchange.guard.rest()
        return False
    finally:
        exchange.let_go(exchange.attempt)
    return True


async def _attempt(exchange: Exchange) -> None:
    """One attempt, on an idle connection if there is one; if that had gone stale, on a new one."""
    _raise_trouble(exchange)
    attempt = exchange.attempt
    if attempt is None:
        attempt = await _choose(exchange)
        if (delay := _hedge_after(exchange, attempt)) is not None:
            return await Race(exchange).run(attempt, delay)
        exchange.use_idle_connection(attempt)
    if attempt.connection is not None:
        try:
            return await _converse(exchange, attempt)
        except ConnectionTerminated as error:
            if not failure.may_replace_stale(exchange, attempt, error):
                raise
            exchange.begin_again(attempt, error.reason)
    await connect(exchange, attempt)
    await _converse(exchange, attempt)


def _raise_trouble(exchange: Exchange) -> None:
    trouble, exchange.trouble = exchange.trouble, None
    if trouble is not None:
        raise trouble


async def connect(exchange: Exchange, attempt: Attempt) -> None:
    """Open a connection, within the connect timeout, and send the request over it."""
    assert attempt.connection is None
    exchange.guard.down.rest()
    connection = await exchange.context.connections.open(attempt.backend, exchange.time_left(), exchange)
    exchange.send_over(attempt, connection, is_reused=False)


async def _converse(exchange: Exchange, attempt: Attempt) -> None:
    """The rest of an attempt whose request is being sent or was sent."""
    if attempt.record.sent is not None:
        await download(exchange, attempt)
    else:
        exchange.guard.down.rest()
        await beside(partial(download, exchange, attempt), partial(upload, exchange, attempt))
        exchange.guard.up.rest()


# -- choosing ------------------------------------------------------------------------------------------


async def _choose(exchange: Exchange) -> Attempt:
    if not exchange.take():
        await _queue(exchange)
    assert exchange.attempt is not None
    return exchange.attempt


async def _queue(exchange: Exchange) -> None:
    """Wait for a place on a backend, in the pool's queue."""
    context, pool, attempt = exchange.context, exchange.pool, Attempt(exchange)
    granted, began = trio.Event(), context.now()
    longest = min(pool.settings.queue_timeout or context.timeouts.queue, exchange.time_left())
    ticket = pool.queue(attempt, exchange.tried, granted.set)
    if ticket.is_beyond:
        longest = min(longest, MOVING_SECONDS)
    exchange.guard.down.rest()
    try:
        with trio.move_on_after(longest):
            await granted.wait()
        if ticket.turn is Turn.REFUSED:
            exchange.record.passed_over = ticket.passed_over
            raise Unavailable(pool.explain(ticket.passed_over))
        if ticket.backend is None:  # a place granted at the same moment as the timeout still counts
            raise QueueFull(f"no backend came free in {longest:g} s")
    except BaseException:
        pool.leave_queue(ticket)
        raise
    finally:
        exchange.record.queued += context.now() - began
    ticket.turn = Turn.LEFT
    exchange.record.passed_over = NONE_PASSED_OVER
    exchange.begin_attempt(attempt, ticket.backend, ticket.passed_over)


async def _pause(exchange: Exchange) -> None:
    """Wait before the next attempt, within the time that is left; longer each time."""
    further, settings = len(exchange.tried), exchange.pool.settings.retry
    if seconds := pause(settings, further, exchange.context.chance()):
        await trio.sleep(min(seconds, exchange.time_left()))


def _hedge_after(exchange: Exchange, attempt: Attempt) -> float | None:
    """Seconds after which a second attempt may begin; None where this request may not be sent twice."""
    head, pool = exchange.head, exchange.pool
    if pool.settings.hedge is None or not exchange.is_idempotent or head.length or head.upgrade:
        return None
    return pool.hedge_after(attempt.backend, attempt, exchange.context.now())
