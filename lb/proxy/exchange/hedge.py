"""A race between two backends, for a request that either may answer (Dean and Barroso, "The Tail at Scale").

When the backend that was chosen takes longer than nearly all of its answers did, a second one is asked too,
if the retry budget has room. The first good head wins, and its answer is passed on; by then the other attempt
has ended, its connection is closed and its place on the backend free. While nobody is slow this costs a timer
and a nursery, and only where it was asked for.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lb.core.backend import Backend
from lb.core.exchange_record import Attempt, PassedOver
from lb.errors import AttemptCut, ConnectionTerminated, LBError
from lb.http1.head import ResponseHead
from lb.net.wire import Wire
from lb.proxy.exchange.download import Relay

if TYPE_CHECKING:
    from lb.proxy.exchange.exchange import Forwarding

GOOD_BELOW = 500


class Runner:
    """One attempt in a race; it holds its place on a backend as a request does (`lb.core.pool.Holder`)."""

    relay: Relay

    def __init__(self, forwarding: "Forwarding") -> None:
        self._forwarding = forwarding
        self._scope = trio.CancelScope()
        self._wire: Wire | None = None
        self._is_over = False
        self.backend: Backend | None = None
        self.attempt: Attempt | None = None
        self.answer: tuple[ResponseHead, bytes] | None = None
        self.error: LBError | None = None
        self.has_won = False

    # -- a holder --------------------------------------------------------------------------------------

    def cut(self) -> None:
        """During the race only this attempt ends, and the other may still win; later it is all there is."""
        if self.has_won:
            self._forwarding.cut()
        else:
            self._scope.cancel()

    @property
    def address(self) -> str:
        return self._forwarding.address

    @property
    def target(self) -> bytes:
        return self._forwarding.target

    def field(self, name: bytes) -> bytes | None:
        return self._forwarding.field(name)

    def cookie(self, name: bytes) -> bytes | None:
        return self._forwarding.cookie(name)

    # -- a runner --------------------------------------------------------------------------------------

    def begin(self, backend: Backend, passed_over: PassedOver, leads: bool) -> None:
        """On a backend whose place it holds. Of who `leads` the exchange's end is told, until one wins."""
        self.backend = backend
        self.attempt = self._forwarding.begin_attempt(backend, passed_over, leads)

    async def run(self, leads: bool) -> None:
        """To the head of an answer or to an error, which is kept."""
        with self._scope:
            try:
                self.answer = await self._ask(leads)
            except LBError as error:
                self.error = error

    async def _ask(self, leads: bool) -> tuple[ResponseHead, bytes]:
        forwarding, backend, attempt = self._forwarding, self.backend, self.attempt
        assert backend is not None
        assert attempt is not None
        wire = forwarding.connections.take(backend)
        if wire is not None:
            try:
                return await self._over(wire, attempt, reused=True)
            except ConnectionTerminated as error:  # it had gone stale
                self._give_back(keep=False)
                forwarding.end_attempt(attempt, error.reason)
                self.begin(backend, attempt.passed_over, leads)
        assert self.attempt is not None
        return await self._over(await forwarding.connect(backend), self.attempt, reused=False)

    async def _over(self, wire: Wire, attempt: Attempt, reused: bool) -> tuple[ResponseHead, bytes]:
        self._wire = wire
        self.relay = self._forwarding.relay_over(wire, attempt, reused)
        with suppress(OSError):  # it may have answered before
            await wire.send(self._forwarding.head_for_backend())
        return await self.relay.head(is_racing=True)

    def _give_back(self, keep: bool) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            assert self.backend is not None
            self._forwarding.connections.give(self.backend, wire, keep)

    def end(self, keep: bool = False) -> None:
        """Let go of all that it has, once; `keep` says that the next exchange may use the connection."""
        if self._is_over or self.backend is None or self.attempt is None:
            return
        self._is_over = True
        self._give_back(keep)
        if self.error is not None:
            self._forwarding.hold_against(self.attempt, self.error)
        elif self.attempt is not self._forwarding.exchange.deciding:
            self.attempt.is_beaten = True
        self._forwarding.end_attempt(self.attempt)
        self._forwarding.pool.release(self.backend, self)


class Race:
    """The attempts of one exchange that run side by side."""

    def __init__(self, forwarding: "Forwarding") -> None:
        self._forwarding = forwarding
        self._runners: list[Runner] = []

    async def run(self, first: Runner, delay: float) -> bool:
        """Pass on the best answer of `first` and, after `delay` seconds, a second one.

        True if the client connection can go on behind it.
        """
        self._runners.append(first)
        keep, winner = False, None
        try:
            winner = await self._winner(delay)
            if winner is None or winner.answer is None:
                raise self._error(first)
            self._decide(winner)
            keep = await winner.relay.pass_on(*winner.answer)
            return winner.relay.client_stays
        finally:
            for runner in self._runners:
                runner.end(keep and runner is winner)

    def _error(self, first: Runner) -> LBError:
        """What the client is told: of the first. Whoever catches that holds it against its backend."""
        error, first.error = first.error, None
        return error or AttemptCut("the backend was taken out while the request ran on it")

    def _decide(self, winner: Runner) -> None:
        winner.has_won = True
        if winner.attempt is not None:
            self._forwarding.lead(winner.attempt)
        for runner in self._runners:
            if runner is not winner:
                runner.end()

    async def _winner(self, delay: float) -> Runner | None:
        """Who has a good answer first, or else any; None if nobody has one."""
        over: list[Runner] = []
        async with trio.open_nursery() as nursery:

            async def run(runner: Runner) -> None:
                await runner.run(leads=runner is self._runners[0])
                over.append(runner)
                if self._is_good(runner) or len(over) == len(self._runners):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(run, self._runners[0])
            await trio.sleep(delay)
            if (second := self._forwarding.second_runner()) is not None:
                self._runners.append(second)
                nursery.start_soon(run, second)
        answered = [runner for runner in over if runner.answer is not None]
        return next(
            (runner for runner in answered if self._is_good(runner)), answered[0] if answered else None
        )

    def _is_good(self, runner: Runner) -> bool:
        """Not one that another attempt would be made for, nor an error of the backend's."""
        if runner.answer is None:
            return False
        status = runner.answer[0].status
        return status < GOOD_BELOW and status not in self._forwarding.pool.retried_codes
