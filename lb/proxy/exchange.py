"""One exchange: choose a backend, attempt, relay both bodies, account. The heart of the program.

Until the head of the answer has gone to the client, a failed attempt may be followed by another one
(`lb.core.retry`); afterwards there is nothing to do but break off. A request body that came whole with its
head travels with it; any other is uploaded by a second task, which lives exactly as long as it is of use:
a backend may answer early, and its answer is passed on at once (RFC 9112 section 9.3).
"""

from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from lb.core.backend import Backend
from lb.core.decision import Attempt, Exchange, PassedOver
from lb.core.pool import Pool, Turn
from lb.core.retry import may_retry
from lb.errors import (
    BackendError,
    BadRequest,
    ConnectionTerminated,
    LBError,
    LoopDetected,
    QueueFull,
    ResponseTimeout,
    Unavailable,
)
from lb.http.head import RequestHead
from lb.proxy.beside import beside
from lb.proxy.relay import Relay
from lb.proxy.upload import Upload
from lb.proxy.wire import Wire

if TYPE_CHECKING:
    from lb.proxy.client import Client


class Forwarding:
    """One request on its way. `run` once; afterwards the exchange's record is complete but for its end."""

    __slots__ = ("_attempt", "_context", "_upload", "client", "exchange", "head", "pool")

    def __init__(self, client: "Client", head: RequestHead, exchange: Exchange) -> None:
        self._context = client.context
        self.client = client
        self.head = head
        self.exchange = exchange
        self.pool = self._route()
        self._attempt: Attempt | None = None

    def _route(self) -> Pool:
        name = self._context.routes.pool_for(self.head.host, self.head.target)
        self.exchange.pool = name
        try:
            return self._context.pools[name]
        except KeyError:
            raise Unavailable(f"no route matches, and there is no pool {name!r}") from None

    async def run(self) -> bool:
        """Forward the request and its answer. True if the client connection can go on behind it."""
        self._admit()
        self._upload = Upload(self.client, self.head, self.exchange)
        tried: tuple[Backend, ...] = ()
        while True:
            backend, passed_over = await self._choose(tried)
            try:
                return await self._attempt_on(backend, passed_over)
            except BackendError as error:
                self._blame(error)
                tried = (*tried, backend)
                if not self._may_go_elsewhere(error, tried):
                    raise
            finally:
                self._settle()
                self.pool.release(backend, self.client)

    # -- before anything is sent -----------------------------------------------------------------------

    def _admit(self) -> None:
        head, limit = self.head, self._context.limits.request_body
        if head.via and self._context.via in head.via:
            raise LoopDetected("the request came through this balancer before", status=508)
        if limit is not None and head.length is not None and head.length > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)
        if (id := self.client.identity.request_id(head.claims)) is not None:
            self.exchange.id = id

    async def _choose(self, tried: tuple[Backend, ...]) -> tuple[Backend, PassedOver]:
        backend, passed_over = self.pool.take(self.client, tried)
        if backend is None:
            return await self._queue(tried)
        return backend, passed_over

    async def _queue(self, tried: tuple[Backend, ...]) -> tuple[Backend, PassedOver]:
        granted, began, longest = trio.Event(), self._context.now(), self._context.timeouts.queue
        ticket = self.pool.queue(self.client, tried, granted.set)
        self.client.expect(inf, None)
        try:
            with trio.move_on_after(longest):
                await granted.wait()
            if ticket.turn is Turn.REFUSED:
                raise Unavailable(self.pool.explain(ticket.passed_over))
            if ticket.backend is None:  # a grant in the very moment of the timeout still counts
                raise QueueFull(f"no backend came free in {longest:g} s")
        except BaseException:
            self.pool.leave(ticket)
            raise
        finally:
            self.exchange.queued += self._context.now() - began
        ticket.turn = Turn.LEFT
        return ticket.backend, ticket.passed_over

    # -- attempts --------------------------------------------------------------------------------------

    async def _attempt_on(self, backend: Backend, passed_over: PassedOver) -> bool:
        """One backend: on an idle connection if there is one; if that had gone stale, on a new one."""
        connections = self._context.connections
        self._begin_attempt(backend, passed_over)
        wire = connections.take(backend)
        if wire is not None:
            try:
                return await self._over(wire, backend, reused=True)
            except ConnectionTerminated as error:
                self._blame(error)
                if not may_retry(error, self.exchange, self._upload.is_replayable):
                    raise
            self._begin_attempt(backend, passed_over)
        self.client.expect(inf, None)
        wire = await connections.open(backend)
        return await self._over(wire, backend, reused=False)

    def _begin_attempt(self, backend: Backend, passed_over: PassedOver) -> None:
        self._settle()
        self._attempt = Attempt(backend, passed_over, self._context.now())
        self.exchange.attempts.append(self._attempt)

    def _blame(self, error: LBError) -> None:
        if self._attempt is not None:
            self._attempt.reason = error.reason

    def _settle(self) -> None:
        if self._attempt is not None and self._attempt.ended is None:
            self._attempt.ended = self._context.now()

    def _may_go_elsewhere(self, error: LBError, tried: tuple[Backend, ...]) -> bool:
        return may_retry(error, self.exchange, self._upload.is_replayable) and any(
            backend not in tried and (backend.why_not() is None or backend.is_worth_waiting_for)
            for backend in self.pool.backends
        )

    async def _over(self, wire: Wire, backend: Backend, reused: bool) -> bool:
        """The attempt over a connection that is lent to us; it goes back whatever happens."""
        attempt = self._attempt
        assert attempt is not None
        attempt.reused, attempt.connected = reused, attempt.started if reused else self._context.now()
        upload, relay, keep = self._upload, Relay(self.client, self._upload, attempt, wire), False
        try:
            left = upload.send_now(wire, self._head_for_backend() + upload.first)
            if left is None and self.client.request_done:
                self.client.expect(self._context.timeouts.response_head, ResponseTimeout)
                keep = await relay.run()
            else:
                keep = await beside(relay.run, partial(upload.send_all_of_it, wire, left))
        finally:
            keep = keep and self.client.request_done and not upload.owes
            self._context.connections.give(backend, wire, keep)
        return relay.client_stays and self.client.request_done

    def _head_for_backend(self) -> bytes:
        head = self.head
        lines = self.client.identity.lines(head.host, self.exchange.id, head.claims, head.is_1_0)
        return head.to_backend(lines)
