"""A race between two backends, for a request that either may answer (Dean and Barroso, "The Tail at Scale").

When the backend that was chosen takes longer than nearly all of its answers did, a second one is asked too,
if the retry budget has room. The first good head wins and its answer is passed on; the other attempt is ended
and its connection closed. While nobody is slow this costs a timer and a nursery, and only where it was asked
for.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lb.core.backend import Backend
from lb.core.decision import Attempt, PassedOver
from lb.errors import BackendError, ConnectionTerminated
from lb.http.head import ResponseHead
from lb.proxy.relay import Relay
from lb.proxy.wire import Wire

if TYPE_CHECKING:
    from lb.proxy.exchange import Forwarding

GOOD_BELOW = 500


class Runner:
    """One attempt in a race; it holds its place on a backend as a request does (`lb.core.pool.Holder`)."""

    backend: Backend
    attempt: Attempt
    relay: Relay

    def __init__(self, forwarding: "Forwarding") -> None:
        self._forwarding = forwarding
        self._scope = trio.CancelScope()
        self._wire: Wire | None = None
        self.answer: tuple[ResponseHead, bytes] | None = None
        self.error: BackendError | None = None

    def begin(self, backend: Backend, passed_over: PassedOver) -> None:
        self.backend = backend
        self.attempt = self._forwarding.begin_attempt(backend, passed_over)

    # -- a holder --------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Only this attempt ends; the other may still win."""
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

    @property
    def is_good(self) -> bool:
        return self.answer is not None and self.answer[0].status < GOOD_BELOW

    async def run(self) -> None:
        """To the head of an answer or to an error, which is kept."""
        with self._scope:
            try:
                self.answer = await self._ask()
            except BackendError as error:
                self.error = error
        if self._scope.cancelled_caught:
            self.attempt.is_beaten = True

    async def _ask(self) -> tuple[ResponseHead, bytes]:
        forwarding = self._forwarding
        wire = forwarding.connections.take(self.backend)
        if wire is not None:
            try:
                return await self._over(wire, reused=True)
            except ConnectionTerminated as error:  # it had gone stale
                self.give_back(keep=False)
                forwarding.end_attempt(self.attempt, error.reason)
                self.begin(self.backend, self.attempt.passed_over)
        return await self._over(await forwarding.connect(self.backend), reused=False)

    async def _over(self, wire: Wire, reused: bool) -> tuple[ResponseHead, bytes]:
        self._wire = wire
        self.relay = self._forwarding.relay_over(wire, self.attempt, reused)
        with suppress(OSError):  # it may have answered before
            await wire.send(self._forwarding.head_for_backend())
        return await self.relay.head(is_racing=True)

    def give_back(self, keep: bool) -> None:
        """The connection, once; `keep` says that the next exchange may use it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._forwarding.connections.give(self.backend, wire, keep)


async def race(runners: list[Runner], delay: float, another: Callable[[], Runner | None]) -> Runner | None:
    """The runner whose answer is to be passed on: a good one, or else the first that has any, or None.

    `runners` holds the first, and if that is still running after `delay` seconds, whom `another` gives.
    """
    async with trio.open_nursery() as nursery:

        async def run(runner: Runner) -> None:
            await runner.run()
            over.append(runner)
            if runner.is_good or len(over) == len(runners):
                nursery.cancel_scope.cancel()

        over: list[Runner] = []
        nursery.start_soon(run, runners[0])
        await trio.sleep(delay)
        if (second := another()) is not None:
            runners.append(second)
            nursery.start_soon(run, second)
    answered = [runner for runner in over if runner.answer is not None]
    return next((runner for runner in answered if runner.is_good), answered[0] if answered else None)
