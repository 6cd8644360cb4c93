"""A race between two attempts of one idempotent request (Dean and Barroso, "The Tail at Scale").

When the backend takes longer than nearly all of its last answers did, a second backend is sent the request
too, if the retry budget has room. The first good head wins. Before its response is forwarded, the other
attempt is ended: its connection is closed and its place given back. Only pools with `hedge` in their settings
have races, and only their requests pay for the timer and the nursery.
"""

import trio

from lb.errors import AttemptCut, BadResponse, ConnectionTerminated, LBError
from lb.http1.response_head import ResponseHead
from lb.proxy.exchange import failure
from lb.proxy.exchange.attempt import Attempt
from lb.proxy.exchange.download import await_next_head, final_head, pass_on
from lb.proxy.exchange.exchange import CUT, Exchange
from lb.proxy.exchange.read_ahead import client_takes
from lb.proxy.sides import BackendSide

GOOD_BELOW = 500
"""A status from here on does not win while the other attempt may still answer."""

LINE_BYTES = 64
"""What an interim head costs beside its fields."""


class Runner:
    """One attempt in a race, and its result: the head of a response, or an error.

    `Race` makes and ends it.
    """

    __slots__ = ("_exchange", "_interim_bytes", "_is_over", "attempt", "error", "head", "interim")

    def __init__(self, exchange: Exchange, attempt: Attempt) -> None:
        self._exchange = exchange
        self._is_over = False
        self.attempt = attempt
        self.attempt.racing = trio.CancelScope()
        self.interim: list[ResponseHead] = []
        self._interim_bytes = 0
        self.head: ResponseHead | None = None
        self.error: LBError | None = None

    async def run(self) -> None:
        """Go on to the head of a response or to an LBError, and keep it. Neither if the attempt is cut."""
        assert self.attempt.racing is not None
        with self.attempt.racing:
            try:
                self.head = await self._ask()
            except LBError as error:
                self.error = error

    async def _ask(self) -> ResponseHead:
        exchange, attempt = self._exchange, self.attempt
        if exchange.use_idle_connection(attempt):
            try:
                return await self._receive_head()
            except ConnectionTerminated as error:
                if not failure.may_replace_stale(exchange, attempt, error):
                    raise
                exchange.begin_again(attempt, error.reason)
        connection = await exchange.context.connections.open(attempt.backend, exchange.time_left(), exchange)
        exchange.send_over(attempt, connection, is_reused=False)
        return await self._receive_head()

    async def _receive_head(self) -> ResponseHead:
        connection = self._connection
        if connection.unsent is not None:
            await connection.flush()
            self._exchange.request_sent(self.attempt, self._exchange.context.now())
        return await final_head(connection, self._keep)

    async def _keep(self, head: ResponseHead) -> None:
        """Hold back an interim head, since this attempt may lose. All together are bounded as one head is."""
        self.interim.append(head)
        self._interim_bytes += len(head.lines) + LINE_BYTES
        if self._interim_bytes > self._exchange.context.limits.response_head:
            raise BadResponse("its interim heads are too long, all together")
        if self.attempt is self._exchange.attempt:
            await_next_head(self._exchange, self.attempt)

    @property
    def _connection(self) -> BackendSide:
        assert self.attempt.connection is not None
        return self.attempt.connection

    async def pass_on(self) -> None:
        """Forward the interim heads, which were held back, and the response. Only for the winner."""
        assert self.head is not None
        for head in self.interim:
            self._exchange.client.interim_now(head)
            if self._exchange.client.unsent is not None:
                await client_takes(self._exchange)
        await pass_on(self._exchange, self.attempt, self._connection, self.head)

    def end(self) -> None:
        """Record the result and let the attempt go. Called again, it does nothing."""
        if self._is_over:
            return
        self._is_over = True
        record = self.attempt.record
        if self.error is not None:
            failure.hold_against(self._exchange, record, self.error)
        elif record is not self._exchange.record.deciding:
            record.is_beaten = True
        self._exchange.let_go(self.attempt)


class Race:
    """The attempts of one exchange that run side by side. Made by `run`, for one call of `Race.run`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._runners: list[Runner] = []

    async def run(self, attempt: Attempt, delay: float) -> None:
        """Forward the better response of this attempt and a second one, which begins after `delay` seconds.

        All attempts have ended when this returns or raises. Raises the error of the first one if neither has
        a response; the caller counts it against that backend.
        """
        first = Runner(self._exchange, attempt)
        self._runners.append(first)
        self._exchange.await_head()
        try:
            winner = await self._winner(delay)
            if winner is None or winner.head is None:
                raise self._error(first)
            self._decide(winner)
            await winner.pass_on()
        finally:
            for runner in self._runners:
                runner.end()

    def _error(self, first: Runner) -> LBError:
        """The error of the first attempt, taken from it: the caller counts it against the backend."""
        error, first.error = first.error, None
        return error or AttemptCut(CUT)

    def _decide(self, winner: Runner) -> None:
        """End the other attempt. From now on a cut of the winner ends the exchange."""
        winner.attempt.racing = None
        self._exchange.lead(winner.attempt)
        for runner in self._runners:
            if runner is not winner:
                runner.end()

    async def _winner(self, delay: float) -> Runner | None:
        """The first runner with a good response, or else one with any response; None if neither has one."""
        over: list[Runner] = []
        async with trio.open_nursery() as nursery:

            async def run(runner: Runner) -> None:
                await runner.run()
                over.append(runner)
                if self._is_good(runner) or len(over) == len(self._runners):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(run, self._runners[0])
            await trio.sleep(delay)
            if (attempt := self._exchange.begin_beside()) is not None:
                second = Runner(self._exchange, attempt)
                self._runners.append(second)
                nursery.start_soon(run, second)
        answered = [runner for runner in over if runner.head is not None]
        good = (runner for runner in answered if self._is_good(runner))
        return next(good, answered[0] if answered else None)

    def _is_good(self, runner: Runner) -> bool:
        """It has a response, whose status is neither a 5xx nor one that is retried."""
        if runner.head is None:
            return False
        status = runner.head.status
        return status < GOOD_BELOW and status not in self._exchange.pool.retried_codes
