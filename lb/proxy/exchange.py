"""One exchange: choose a backend, attempt, relay both bodies, account. The heart of the program.

Until the head of the answer has gone to the client, a failed attempt may be followed by another one
(`lb.core.retry`); afterwards there is nothing to do but break off. A request body that came whole with its
head travels with it; any other is uploaded by a second task, which lives exactly as long as it is of use:
a backend may answer early, and its answer is passed on at once (RFC 9112 section 9.3).
"""

from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from lb.core.backend import Backend
from lb.core.decision import Attempt, Exchange, PassedOver
from lb.core.pace import Pace
from lb.core.pool import Pool, Turn
from lb.core.retry import may_retry
from lb.errors import (
    BackendError,
    BackendStalled,
    BadRequest,
    BadResponse,
    ClientGone,
    ClientStalled,
    ConnectionTerminated,
    LBError,
    LoopDetected,
    QueueFull,
    RequestTimeout,
    ResponseIncomplete,
    ResponseStalled,
    ResponseTimeout,
    TunnelIdle,
    Unavailable,
    UpgradeFailed,
)
from lb.http.body import CHUNKED, BadBody, LengthReader, Reader, as_chunk, last_chunk, reader_for
from lb.http.head import RequestHead, ResponseHead
from lb.http.plain import read_response
from lb.proxy.beside import beside
from lb.proxy.pipe import SPLICE_FROM, Copy, Pipe
from lb.proxy.tunnel import tunnel
from lb.proxy.wire import Wire

if TYPE_CHECKING:
    from lb.proxy.client import Client

MOST_INTERIM = 20
SWITCHING_PROTOCOLS = 101
ANSWER_BEGINS = b"HTTP/1."


class Forwarding:
    """One request on its way. `run` once; afterwards the exchange's record is complete but for its end."""

    __slots__ = (
        "_attempt",
        "_client_stays",
        "_context",
        "_first",
        "_is_replayable",
        "_owes",
        "client",
        "exchange",
        "head",
        "pool",
        "upload",
    )

    def __init__(self, client: "Client", head: RequestHead, exchange: Exchange) -> None:
        self._context = client.context
        self.client = client
        self.head = head
        self.exchange = exchange
        self.pool = self._route()
        self.upload: Reader | None = None
        self._first = b""
        self._is_replayable = True
        self._owes = False  # the backend has not taken all that was to be sent to it
        self._client_stays = False
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
        self._take_first_content()
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
        head, limit = self.head, self._context.request_body_limit
        if head.via and self._context.via in head.via:
            raise LoopDetected("the request came through this balancer before", status=508)
        if limit is not None and head.length is not None and head.length > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)
        if (id := self.client.identity.request_id(head.claims)) is not None:
            self.exchange.id = id

    def _take_first_content(self) -> None:
        """What came with the head is sent with the head; very often that is all."""
        length = self.head.length
        if not length:
            self.client.request_done = True
            return
        self.upload = reader_for(length)
        data, self.client.buffer = self.client.buffer, b""
        self._first = self._framed(data)

    def _framed(self, data: bytes) -> bytes:
        """The content in what the client sent, framed for the backend; its rest is the next request."""
        reader = self.upload
        assert reader is not None
        try:
            content = reader.feed(data)
        except BadBody as exc:
            raise BadRequest(f"the request body: {exc}") from exc
        self._count_request_bytes(len(content))
        if reader.done:
            self.client.request_done = True
            self.client.buffer = reader.rest
        return chunked_framing(reader, content) if self.head.length == CHUNKED else content

    def _count_request_bytes(self, count: int) -> None:
        self.exchange.request_bytes += count
        limit = self._context.request_body_limit
        if limit is not None and self.exchange.request_bytes > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)

    async def _choose(self, tried: tuple[Backend, ...]) -> tuple[Backend, PassedOver]:
        backend, passed_over = self.pool.take(self.client, tried)
        if backend is None:
            return await self._queue(tried)
        return backend, passed_over

    async def _queue(self, tried: tuple[Backend, ...]) -> tuple[Backend, PassedOver]:
        granted, began, longest = trio.Event(), trio.current_time(), self._context.timeouts.queue
        ticket = self.pool.queue(self.client, tried, granted.set)
        self.client.expect(inf, None)
        try:
            with trio.move_on_after(longest):
                await granted.wait()
            if ticket.backend is None:  # a grant in the very moment of the timeout still counts
                raise QueueFull(f"no backend came free in {longest:g} s")
        except BaseException:
            self.pool.leave(ticket)
            raise
        finally:
            self.exchange.queued += trio.current_time() - began
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
                if not may_retry(error, self.exchange, self._is_replayable):
                    raise
            self._begin_attempt(backend, passed_over)
        self.client.expect(inf, None)
        wire = await connections.open(backend)
        return await self._over(wire, backend, reused=False)

    def _begin_attempt(self, backend: Backend, passed_over: PassedOver) -> None:
        self._settle()
        self._attempt = Attempt(backend, passed_over, trio.current_time())
        self.exchange.attempts.append(self._attempt)

    def _blame(self, error: LBError) -> None:
        if self._attempt is not None:
            self._attempt.reason = error.reason

    def _settle(self) -> None:
        if self._attempt is not None and self._attempt.ended is None:
            self._attempt.ended = trio.current_time()

    def _may_go_elsewhere(self, error: LBError, tried: tuple[Backend, ...]) -> bool:
        return may_retry(error, self.exchange, self._is_replayable) and any(
            backend not in tried and (backend.why_not() is None or backend.is_worth_waiting_for)
            for backend in self.pool.backends
        )

    async def _over(self, wire: Wire, backend: Backend, reused: bool) -> bool:
        """The attempt over a connection that is lent to us; it goes back whatever happens."""
        attempt = self._attempt
        assert attempt is not None
        attempt.reused, attempt.connected = reused, trio.current_time()
        keep = False
        try:
            left = self._send_now(wire, self._head_for_backend() + self._first)
            if left is None and self.client.request_done:
                self.client.expect(self._context.timeouts.response_head, ResponseTimeout)
                keep = await self._relay_answer(wire, attempt)
            else:
                keep = await beside(
                    partial(self._relay_answer, wire, attempt), partial(self._upload_rest, wire, left)
                )
        finally:
            keep = keep and self.client.request_done and not self._owes
            self._context.connections.give(backend, wire, keep)
        return self._client_stays and self.client.request_done

    def _head_for_backend(self) -> bytes:
        head = self.head
        lines = self.client.identity.lines(head.host, self.exchange.id, head.claims, head.is_1_0)
        return head.to_backend(lines)

    def _send_now(self, wire: Wire, data: bytes) -> memoryview | None:
        """What the backend has not taken at once. An error is none yet: it may have answered before."""
        self._owes = True
        left = None
        with suppress(OSError):
            left = wire.send_now(data)
            self._owes = left is not None
        return left

    async def _send_rest(self, wire: Wire, left: memoryview | None) -> bool:
        """False if the backend takes no more."""
        if left is not None:
            self.client.expect(self._context.timeouts.send, BackendStalled)
            with suppress(OSError):
                await wire.send_rest(left)
                self._owes = False
        return not self._owes

    async def _upload_rest(self, wire: Wire, left: memoryview | None) -> None:
        """Send `left`, then what the client still sends of its body, at the pace of the slower of the two."""
        client, timeouts = self.client, self._context.timeouts
        is_taken = await self._send_rest(wire, left)
        pace = Pace(timeouts.body_idle, self._context.limits.body_rate)
        if is_taken and isinstance(self.upload, LengthReader) and self.upload.left >= SPLICE_FROM:
            is_taken = await self._carry_upload(wire, self.upload, pace)
        while is_taken and not client.request_done:
            began = trio.current_time()
            client.expect(pace.patience(), RequestTimeout)
            data = await client.receive()
            pace.came(len(data), trio.current_time() - began)
            self._is_replayable = False
            if not data:
                raise ClientGone("the client ended its side in the middle of its request")
            is_taken = await self._send_rest(wire, self._send_now(wire, self._framed(data)))
        client.expect(timeouts.response_head, ResponseTimeout)

    async def _carry_upload(self, wire: Wire, reader: LengthReader, pace: Pace) -> bool:
        """The rest of a large body goes to the backend without coming to us. False if it takes no more."""
        client, timeouts = self.client, self._context.timeouts
        with self._context.pipes.lend() as pipe:
            while not reader.done:
                began = trio.current_time()
                client.expect(pace.patience(), RequestTimeout)
                count = await self._fill_from_client(pipe, reader)
                pace.came(count, trio.current_time() - began)
                self._is_replayable, self._owes = False, True
                try:
                    while not pipe.drain(wire.sock):
                        client.expect(timeouts.send, BackendStalled)
                        await wire.writable()
                except OSError:
                    return False
                self._owes = False
        client.request_done = True
        return True

    async def _fill_from_client(self, pipe: Pipe | Copy, reader: LengthReader) -> int:
        wire, count = self.client.wire, None
        try:
            while count is None:
                await wire.readable()
                count = pipe.fill(wire.sock, reader.left)
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc
        if not count:
            raise ClientGone("the client ended its side in the middle of its request")
        reader.skip(count)
        self.exchange.request_bytes += count
        return count

    # -- the answer ------------------------------------------------------------------------------------

    async def _relay_answer(self, wire: Wire, attempt: Attempt) -> bool:
        """Pass on the answer, interim ones first. True if its connection can carry another exchange."""
        data = b""
        for _ in range(MOST_INTERIM):
            head, data = await self._receive_head(wire, attempt, data)
            if head.status == SWITCHING_PROTOCOLS:
                await self._switch(wire, head, data)
                return False
            if not head.is_interim:
                return await self._relay_final(wire, head, data)
            if not self.client.is_1_0:
                await self.client.send(head.to_client(b"", b"", b""))
        raise BadResponse(f"more than {MOST_INTERIM} interim answers")

    async def _receive_head(self, wire: Wire, attempt: Attempt, data: bytes) -> tuple[ResponseHead, bytes]:
        """The next head of an answer, judged, and what came behind it."""
        limits, searched = self._context.limits, 0
        while (end := data.find(b"\r\n\r\n", searched)) < 0 and len(data) <= limits.response_head:
            if data and not data.startswith(ANSWER_BEGINS[: len(data)]):
                raise BadResponse("the answer is not HTTP/1")
            searched = max(0, len(data) - 3)
            data += await self._receive_some(wire, attempt)
        if not 0 <= end <= limits.response_head - 4:
            raise BadResponse(f"the head of the answer is longer than {limits.response_head} bytes")
        return read_response(data[: end + 4], self.head.method, limits.fields), data[end + 4 :]

    async def _receive_some(self, wire: Wire, attempt: Attempt) -> bytes:
        try:
            data = await wire.receive()
        except OSError:
            data = b""
        if not data and attempt.first_byte is None:
            raise ConnectionTerminated(f"{attempt.backend.id} closed the connection without an answer")
        if not data:
            raise ResponseIncomplete(f"{attempt.backend.id} closed the connection in the head of its answer")
        if attempt.first_byte is None:
            attempt.first_byte = trio.current_time()
        return data

    async def _relay_final(self, wire: Wire, head: ResponseHead, data: bytes) -> bool:
        client, reader = self.client, reader_for(head.length)
        content = self._content(reader, data)
        until_close = head.length < 0 and client.is_1_0
        self._client_stays = client.stays_open()
        connection = b"" if self._client_stays else b"Connection: close\r\n"
        client.head_sent, client.ends_by_close = True, until_close
        self.exchange.status = head.status
        first = head.to_client(self._context.date.now(), head.framing(client.is_1_0), connection)
        frame = identity_framing if head.length >= 0 or until_close else chunked_framing
        await client.send(first + frame(reader, content))
        if isinstance(reader, LengthReader) and reader.left >= SPLICE_FROM:
            await self._carry_answer(wire, reader)
        while not reader.done:
            content = await self._receive_content(wire, reader)
            await client.send(frame(reader, content))
        return head.keep_alive and not reader.rest

    async def _carry_answer(self, wire: Wire, reader: LengthReader) -> None:
        """The rest of a large body goes to the client without coming to us."""
        client, timeouts = self.client, self._context.timeouts
        with self._context.pipes.lend() as pipe:
            while not reader.done:
                client.expect(timeouts.response_idle, ResponseStalled)
                count = await self._fill(pipe, wire, reader)
                self.exchange.response_bytes += count
                try:
                    while not pipe.drain(client.wire.sock):
                        client.expect(timeouts.send, ClientStalled)
                        await client.wire.writable()
                except OSError as exc:
                    raise ClientGone("the client closed the connection") from exc

    async def _fill(self, pipe: Pipe | Copy, wire: Wire, reader: LengthReader) -> int:
        count: int | None = None
        try:
            while count is None:
                await wire.readable()
                count = pipe.fill(wire.sock, reader.left)
        except OSError as exc:
            raise ResponseIncomplete("the backend reset the connection in the middle of its answer") from exc
        if not count:
            raise ResponseIncomplete("the backend closed the connection in the middle of its answer")
        reader.skip(count)
        return count

    async def _receive_content(self, wire: Wire, reader: Reader) -> bytes:
        self.client.expect(self._context.timeouts.response_idle, ResponseStalled)
        try:
            data = await wire.receive()
        except OSError as exc:
            raise ResponseIncomplete("the backend reset the connection in the middle of its answer") from exc
        if not data and not reader.ends_with_connection():
            raise ResponseIncomplete("the backend closed the connection in the middle of its answer")
        return self._content(reader, data) if data else data

    def _content(self, reader: Reader, data: bytes) -> bytes:
        try:
            content = reader.feed(data)
        except BadBody as exc:
            raise BadResponse(f"the body of the answer: {exc}") from exc
        self.exchange.response_bytes += len(content)
        return content

    # -- upgrades --------------------------------------------------------------------------------------

    async def _switch(self, wire: Wire, head: ResponseHead, data: bytes) -> None:
        """RFC 9110 section 7.8: only to a protocol that the client offered; then we only carry bytes."""
        client = self.client
        offered = {p.strip().lower() for p in self.head.upgrade.split(b",")} - {b""}
        if not head.upgrade or head.upgrade.lower() not in offered or self._owes:
            client.wants_more = False  # what it sends next may be meant for the other protocol
            raise UpgradeFailed("the backend switched to a protocol that was not asked for")
        client.head_sent, self.exchange.status = True, head.status
        upgrade = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        await client.send(head.to_client(b"", b"", upgrade) + data)
        early, client.buffer = client.buffer, b""
        await self._send_rest(wire, self._send_now(wire, early))
        self._carried(to_client=True, count=len(data))
        self._carried(to_client=False, count=len(early))
        await tunnel(client.wire, wire, self._context.pipes, self._carried)

    def _carried(self, to_client: bool, count: int) -> None:
        if to_client:
            self.exchange.response_bytes += count
        else:
            self.exchange.request_bytes += count
        self.client.expect(self._context.timeouts.tunnel_idle, TunnelIdle)


def identity_framing(_reader: Reader, content: bytes) -> bytes:
    """Content as it is: its length was announced, or the end of the connection is its end."""
    return content


def chunked_framing(reader: Reader, content: bytes) -> bytes:
    """Content as one chunk, and the last chunk with the trailers when it is the end."""
    return as_chunk(content) + last_chunk(reader.trailers) if reader.done else as_chunk(content)
