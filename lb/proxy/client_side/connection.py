"""One client connection that speaks HTTP/1, from its first byte to its last, and the task that owns it.

The task receives a head, runs an exchange for it, and repeats that while both sides keep the connection. All
of it is in the cancel scope of one guard (`lb.proxy.guard`). What ends an exchange early (a deadline, a drain
that cuts, a client that left, a shutdown) cancels that scope with a reason. Then the client gets an error
answer if no response has begun. The connection goes on only where none of its bytes could be misread.
"""

import structlog
import trio

from lb.core.exchange_record import ExchangeRecord
from lb.errors import (
    Abandoned,
    AttemptCut,
    BackendError,
    ClientError,
    ClientGone,
    ClientStalled,
    LBError,
    RequestTimeout,
)
from lb.http1.fields import is_event_stream
from lb.http1.forwarded_fields import ForwardedFields
from lb.http1.head_reader import RequestHeadReader, recognise_whole_request
from lb.http1.request_head import RequestHead
from lb.http1.response_head import SWITCHING_PROTOCOLS
from lb.net.wire import RECEIVE_SIZE, Wire
from lb.observe.counters import ListenerCounts
from lb.proxy.client_side.fast_path import FastPath
from lb.proxy.client_side.http1_client import LEFT, Http1Client
from lb.proxy.client_side.linger import linger
from lb.proxy.context import Context
from lb.proxy.exchange import failure
from lb.proxy.exchange.exchange import CUT, Exchange
from lb.proxy.exchange.run import run
from lb.proxy.guard import Guard

LAST_CHANCE_SECONDS = 1.0
"""How long an idle connection may still send a request once the balancer shuts down."""
log = structlog.get_logger()


class ClientConnection:
    """A client connection. Its task calls `serve`, which closes the wire.

    `cut`, `gone`, `close_soon`, `make_room`, `has_ended_its_side`, `tell_identity` and the questions may be
    called from any task; `begin`, `finish` and `become_idle` only by `serve` and its fast path. `record`
    belongs to the request that is being received or served, and is None between two requests. `exchange` is
    set from the end of the head on, unless the request is answered here. `host` stands in for the Host that
    an HTTP/1.0 request need not have.
    """

    __slots__ = (
        "_guard",
        "_is_used",
        "_longest_idle",
        "_pending",
        "address",
        "client",
        "context",
        "counts",
        "exchange",
        "host",
        "is_idle",
        "listener",
        "peer",
        "record",
        "wire",
    )

    def __init__(
        self, context: Context, wire: Wire, listener: str, peer: tuple[str, str], host: bytes
    ) -> None:
        self.address, self.peer = peer
        self.wire = wire
        self.context = context
        self.listener = listener
        self.counts: ListenerCounts = context.metrics.listener(listener)
        self.record: ExchangeRecord | None = None
        self.exchange: Exchange | None = None
        self.is_idle = False
        self._is_used = False
        self._longest_idle = 0.0
        self._pending: tuple[RequestHead, bytes] | None = None
        self.host = host
        self._guard = Guard(context.deadlines)
        self.client = Http1Client(context, self._guard, wire, self.address)

    async def serve(self) -> None:
        """Serve requests until either side ends the connection.

        On every way out, even when cancelled, the wire is closed and the last exchange told to the observers.
        """
        try:
            while await self._serve_until_trouble():
                await trio.lowlevel.checkpoint()  # requests that fail at once must not keep the event loop
        finally:
            self.wire.close()
            self._guard.close()
            self.finish(self._guard.why or Abandoned("the balancer was ended at once"))

    async def _serve_until_trouble(self) -> bool:
        """Serve requests until an exchange fails or the connection ends. True if the connection goes on."""
        error: LBError | None = None
        with self._guard.open():
            try:
                while await self._next_request():
                    if self._guard.is_cancelled:
                        return self._came_too_late()
                return False
            except LBError as exc:
                error = exc
            except Exception:
                log.exception("a bug ended an exchange", client=self.peer, listener=self.listener)
                self.client.ends_requests()
                error = LBError("the balancer has a bug; its log says more")
        if error is None:
            if self.record is None and self.client.stays and self.client.buffer:
                return self._came_too_late()
            error = self._guard.verdict()
            if self._goes_on_after(error):
                return True
        return await self._conclude(error)

    def _goes_on_after(self, error: LBError | None) -> bool:
        """Run the exchange again, in a fresh scope: its backend missed a deadline, others may be tried."""
        if self.exchange is None or not isinstance(error, BackendError):
            return False
        return failure.may_go_on(self.exchange, error)

    def _came_too_late(self) -> bool:
        """The scope was cancelled after the exchange had ended: go on, unless the client has left."""
        return self._guard.why is None or isinstance(self._guard.why, AttemptCut)

    # -- from outside ------------------------------------------------------------------------------------

    def cut(self, why: str = CUT) -> None:
        """Cancel what runs, for this reason: 503 if no response has begun."""
        self._guard.end(AttemptCut(why))

    def gone(self) -> None:
        """Cancel what runs: the client has closed both directions, so no response can reach it."""
        self._guard.end(ClientGone(LEFT))

    def close_soon(self) -> None:
        """End the connection within `LAST_CHANCE_SECONDS` if it is idle: the balancer shuts down."""
        if self.is_idle:
            self._guard.end_by(self.context.now() + LAST_CHANCE_SECONDS)

    def idle_for(self, now: float) -> float:
        """Seconds that an idle connection has waited for a request, computed from its deadline."""
        return self._longest_idle - (self._guard.down.at - now)

    def make_room(self) -> None:
        """Close an idle connection, or one that lingers, now: another client needs its place."""
        if self.is_idle:
            self._guard.end_by(self.context.now())

    def has_ended_its_side(self) -> None:
        """The client sends no more: it has left, or it still reads, which its end does not tell.

        A client of an event stream has left, as no such client ends only its side. What else the end means is
        a setting. By default it means nothing (RFC 9112 section 9.6), but the client is asked where it can
        be.
        """
        exchange, meaning = self.exchange, self.context.half_close
        if exchange is None or meaning == "reads":
            return
        if meaning == "left" or (exchange.response is not None and is_event_stream(exchange.response.lines)):
            self.gone()
        else:
            self.client.ask_now()

    def is_waiting_since(self, moment: float) -> bool:
        """An exchange, but no tunnel, has been running since before this time on Trio's clock."""
        record = self.record
        return record is not None and record.started < moment and record.status != SWITCHING_PROTOCOLS

    def tell_identity(self, identity: ForwardedFields) -> None:
        """The configuration has changed, and perhaps whether this client's address is trusted."""
        self.client.identity = identity

    # -- one request after the other ---------------------------------------------------------------------

    async def _next_request(self) -> bool:
        is_between = self.exchange is None and self._pending is None and not self.client.buffer
        if is_between and self.wire.can_be_watched:
            self.become_idle()
            if not await FastPath(self).serve():
                await self._linger()
                return False
        if self.exchange is None:
            found = self._pending or await self._receive_head()
            if found is None:
                return False
            if self._guard.is_cancelled:  # as the head came; the request is served in a fresh scope
                self._pending = found
                return True
            self._pending = None
            if found[0].answer_here:
                return await self._answer_options(*found)
            self._forward(*found)
        assert self.exchange is not None
        await run(self.exchange)
        return await self._goes_on()

    async def _goes_on(self) -> bool:
        """Tell how the exchange went. True if the connection goes on; if not, it has lingered."""
        self.finish(None)
        if not self.client.stays:
            await self._linger()
        elif self.client.buffer:  # the next request is here, so perhaps nothing is waited for
            await trio.lowlevel.checkpoint()
        return self.client.stays

    async def _receive_head(self) -> tuple[RequestHead, bytes] | None:
        """Wait for the next head; return it and the bytes behind it, or None at the end of the connection."""
        data = self.client.take_rest()
        if not data:
            if not self.is_idle:
                self.become_idle()
            data = await self._receive()
        limits = self.context.limits
        found = recognise_whole_request(data, self.host, limits.request_head, limits.target, limits.fields)
        if found is None:
            return await self._receive_rest_of_head(data)
        self._begin_record()
        return self._with_body_that_is_here(*found)

    async def _receive_rest_of_head(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """The same for a head that is not plain, or has not come whole; `data` has come of it."""
        limits = self.context.limits
        heads = RequestHeadReader(
            self.host,
            head_limit=limits.request_head,
            target_limit=limits.target,
            field_limit=limits.fields,
            takes_https=self.client.identity.is_trusted,
        )
        try:
            return await self._feed(heads, data)
        finally:
            if self.record is not None:
                self.record.method, self.record.target = heads.asked

    async def _feed(self, heads: RequestHeadReader, data: bytes) -> tuple[RequestHead, bytes] | None:
        while data:
            heads.add(data)
            if heads.has_begun:
                if self.record is None:
                    self._begin_record()
                    self.client.await_head()
                    self._guard.down.expect(self.context.timeouts.request_head, RequestTimeout)
                if (found := heads.next_head()) is not None:
                    return self._with_body_that_is_here(*found)
            elif not self.is_idle:
                self.become_idle()
            data = await self._receive()
        self._forget_record()
        return None

    def _with_body_that_is_here(self, head: RequestHead, behind: bytes) -> tuple[RequestHead, bytes]:
        """Add what has arrived of a body whose length is known, and nothing of what follows it."""
        missing = (head.length or 0) - len(behind)
        if missing > 0:
            behind += self.wire.receive_now(min(missing, RECEIVE_SIZE)) or b""
        return head, behind

    async def _receive(self) -> bytes:
        try:
            return await self.wire.receive(self.context.limits.request_head)
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc

    def become_idle(self) -> None:
        """Await the next request; missing this deadline ends the connection without an error."""
        timeouts = self.context.timeouts
        self._wait_idle(timeouts.keepalive if self._is_used else timeouts.request_head)

    def _wait_idle(self, longest: float) -> None:
        """Wait for the client; the connection ends early where its place is needed, or at a shutdown."""
        self.is_idle, self._longest_idle = True, longest
        self._guard.down.expect(longest, None)
        if self.context.closing:
            self.close_soon()

    async def _linger(self) -> None:
        if not self.client.is_done:  # else closing draws no reset
            await linger(self.wire, self.context.now, self._wait_idle)

    def begin(self, head: RequestHead, behind: bytes) -> Exchange:
        """For the fast path: begin the exchange of a request that arrived whole.

        Raises as `Exchange.begin`.
        """
        self._begin_record()
        return self._forward(head, behind)

    def _forward(self, head: RequestHead, behind: bytes) -> Exchange:
        record = self.record
        assert record is not None
        record.method, record.target = head.method, head.target
        self._begin_request(record, head, behind)
        exchange = self.exchange = Exchange(self.context, self.client, record, self._guard)
        exchange.begin()
        return exchange

    def _begin_request(self, record: ExchangeRecord, head: RequestHead, behind: bytes) -> None:
        self.client.begin(head, behind)
        if head.claims is not None and self.client.address != self.address:
            record.client = self.client.address
        if (names := self.context.noted_fields) is not None:
            record.noted = head.noted(names)

    def _begin_record(self) -> None:
        self.record = ExchangeRecord(self.context.ids.new(), self.listener, self.peer, self.context.now())
        self.counts.in_flight += 1
        self.is_idle, self._is_used = False, True

    # -- answers of our own ------------------------------------------------------------------------------

    async def _answer_options(self, head: RequestHead, behind: bytes) -> bool:
        record = self.record
        assert record is not None
        record.method, record.target, record.status = head.method, head.target, 204
        self._begin_request(record, head, behind)
        self.client.answer_options_now()
        await self._flush()
        return await self._goes_on()

    async def _flush(self) -> None:
        while self.client.unsent is not None:
            self._guard.down.expect(self.context.timeouts.send, ClientStalled)
            await self.client.flush()

    async def _conclude(self, error: LBError | None) -> bool:
        """Send an error answer if no response has begun, and tell how it went.

        True if the connection goes on.
        """
        if self.record is None:
            return False
        if error is None:
            error = AttemptCut("the balancer shut down")
        keep = False
        if not self.client.is_untouched or isinstance(error, ClientGone):
            self.client.break_off(error)
        else:
            keep = await self._answer(error, self.client.may_stay() and not isinstance(error, ClientError))
        self.finish(error)
        return keep

    async def _answer(self, error: LBError, keep: bool) -> bool:
        """Send an error answer. True if it was sent whole and the connection goes on."""
        record = self.record
        assert record is not None
        is_sent = False
        record.status = error.status
        answer = self.context.error_answer(error, record, closing=not keep)
        with self._guard.open():
            self._guard.rest()
            try:
                self.client.answer_now(answer)
                await self._flush()
                self.finish(error)
                is_sent = True
                if not keep:
                    await self._linger()
            except ClientGone:
                pass
        if not is_sent:
            self.client.break_off(ClientStalled("the client did not take the answer"))
        return keep and is_sent

    # -- accounts ----------------------------------------------------------------------------------------

    def finish(self, error: LBError | None) -> None:
        """Tell the observers that the exchange has ended, with this error. Does nothing without a record."""
        record, self.record, self.exchange = self.record, None, None
        if record is None:
            return
        self.counts.in_flight -= 1
        record.ended = self.context.now()
        if error is not None:
            record.reason, record.detail = error.reason, str(error)
            answered = self.client.has_head and not isinstance(error, BackendError)
            if record.deciding is not None and not answered:
                record.deciding.reason = record.deciding.reason or error.reason
            record.status = record.status or error.status
        self.context.finished(record)

    def _forget_record(self) -> None:
        """Drop the record: the client ended its side within a head, so there was no request."""
        if self.record is not None:
            self.record = None
            self.counts.in_flight -= 1
