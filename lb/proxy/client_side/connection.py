"""One client connection that speaks HTTP/1, from its first byte to its last: one task, one owner.

The task reads a head, hands it to an exchange, and does that again for as long as both sides wish. One guard
holds everything (`lb.proxy.guard`): whatever can end an exchange early (a deadline, a drain that cuts, a
client that left, a shutdown) cancels its scope and says why. Then the client gets an answer if that is still
possible, and the connection goes on only where nothing is left that could be misread.
"""

import structlog

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
from lb.http1.fields import Identity
from lb.http1.head_reader import RequestHeadReader
from lb.http1.request_head import RequestHead
from lb.http1.response_head import SWITCHING_PROTOCOLS
from lb.net.wire import Wire
from lb.observe.counters import ListenerCounts
from lb.proxy.client_side.fast_path import FastPath
from lb.proxy.client_side.http1_client import LEFT, Http1Client
from lb.proxy.context import Context
from lb.proxy.exchange import failure
from lb.proxy.exchange.exchange import Exchange
from lb.proxy.exchange.run import run
from lb.proxy.guard import Guard

LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024
LAST_CHANCE_SECONDS = 1.0
"""How long a connection that was just used may still send its next request once we are closing."""
log = structlog.get_logger()


class ClientConnection:
    """A client connection. `serve` is its whole life; the other public verbs may be called from any task.

    `record` is that of the request that is being read or served, None between two requests. `exchange` is set
    from the end of its head on, unless the request is answered here.
    """

    __slots__ = (
        "_guard",
        "_host",
        "_is_used",
        "client",
        "context",
        "counts",
        "exchange",
        "is_idle",
        "listener",
        "peer",
        "record",
    )

    def __init__(
        self, context: Context, wire: Wire, listener: str, peer: tuple[str, str], host: bytes
    ) -> None:
        address, self.peer = peer
        self.context = context
        self.listener = listener
        self.counts: ListenerCounts = context.metrics.listener(listener)
        self.record: ExchangeRecord | None = None
        self.exchange: Exchange | None = None
        self.is_idle = False
        self._is_used = False
        self._host = host
        self._guard = Guard(context.deadlines)
        self.client = Http1Client(context, self._guard, wire, address)

    @property
    def wire(self) -> Wire:
        return self.client.wire

    async def serve(self) -> None:
        """Serve until either side is done. The wire is closed and the last exchange told in any case."""
        try:
            while await self._serve_until_trouble():
                pass
        finally:
            self.wire.close()
            self._guard.close()
            self.finish(self._guard.why or Abandoned("the balancer was ended at once"))

    async def _serve_until_trouble(self) -> bool:
        """True if there was trouble and the connection goes on behind it."""
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
            error = self._guard.verdict()
            if self._goes_on_after(error):
                return True
        return await self._conclude(error)

    def _goes_on_after(self, error: LBError | None) -> bool:
        """The exchange is run again, in a fresh scope: its backend missed a deadline, and others are left.

        Or without an error: a deadline struck when what it was for had just happened.
        """
        if self.exchange is None:
            return False
        if error is None:
            failure.interrupted(self.exchange)
            return True
        return isinstance(error, BackendError) and failure.may_go_on(self.exchange, error)

    def _came_too_late(self) -> bool:
        """What was to end an exchange found it ended; the next one goes on, unless the client has left."""
        return self._guard.why is None or isinstance(self._guard.why, AttemptCut)

    # -- from outside ------------------------------------------------------------------------------------

    def cut(self, why: str = "the backend was taken out while the request ran on it") -> None:
        """An operator or a shutdown ends what runs."""
        self._guard.end(AttemptCut(why))

    def gone(self) -> None:
        """The client has left for good: nobody will read a response."""
        self._guard.end(ClientGone(LEFT))

    def close_soon(self) -> None:
        """We are shutting down: an idle connection ends, after a last chance if it was just used."""
        if self.is_idle:
            self._guard.end_by(self.context.now() + LAST_CHANCE_SECONDS)

    def idle_for(self, now: float) -> float:
        """Seconds for which an idle connection has been waiting for a request, as its deadline tells."""
        timeouts = self.context.timeouts
        longest = timeouts.keepalive if self._is_used else timeouts.request_head
        return longest - (self._guard.down.at - now)

    def make_room(self) -> None:
        """Close an idle connection now: another client needs its place."""
        if self.is_idle:
            self._guard.end_by(self.context.now())

    def ask_whether_there(self) -> None:
        """The client has ended its side: find out whether it still reads."""
        if self.exchange is not None:
            self.client.ask_now()

    def is_waiting_since(self, moment: float) -> bool:
        """It has been waiting since before that moment for a response or the rest of one; no tunnel is."""
        record = self.record
        return record is not None and record.started < moment and record.status != SWITCHING_PROTOCOLS

    @property
    def address(self) -> str:
        return self.client.address

    def tell_identity(self, identity: Identity) -> None:
        """The configuration has changed, and with it perhaps whether this client's peer is trusted."""
        self.client.identity = identity

    # -- one request after the other ---------------------------------------------------------------------

    async def _next_request(self) -> bool:
        if self.exchange is None and not self.client.buffer and self.wire.can_be_watched:
            self.become_idle()
            await FastPath(self).serve()
        if self.exchange is None:
            found = await self._receive_head()
            if found is None:
                return False
            if found[0].answer_here:
                return await self._answer_options(*found)
            self._forward(*found)
        assert self.exchange is not None
        await run(self.exchange)
        return await self._goes_on()

    async def _goes_on(self) -> bool:
        """The exchange is over; its connection goes on, or ends in good order."""
        self.finish(None)
        if not self.client.stays:
            await self._linger()
        return self.client.stays

    async def _receive_head(self) -> tuple[RequestHead, bytes] | None:
        """The next head, judged, and what came behind it; None when the client has no more requests."""
        limits = self.context.limits
        heads = RequestHeadReader(
            self._host, head_limit=limits.request_head, target_limit=limits.target, field_limit=limits.fields
        )
        heads.add(self.client.take_rest())
        while True:
            if heads.has_begun:
                if self.record is None:
                    self._begin_record()
                    self.client.await_head()
                    self._guard.down.expect(self.context.timeouts.request_head, RequestTimeout)
                if (found := heads.next_head()) is not None:
                    return found
            elif not self.is_idle:
                self.become_idle()
            data = await self._receive()
            if not data:
                self._forget_record()
                return None
            heads.add(data)

    async def _receive(self) -> bytes:
        try:
            return await self.wire.receive()
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc

    def become_idle(self) -> None:
        """From now on the next request is awaited, and the connection may be told to end."""
        timeouts = self.context.timeouts
        self.is_idle = True
        self._guard.down.expect(timeouts.keepalive if self._is_used else timeouts.request_head, None)
        if self.context.closing:
            self.close_soon()

    def begin(self, head: RequestHead, behind: bytes) -> Exchange:
        """A request that may be forwarded has come whole, or its head has; what is behind the head."""
        self._begin_record()
        return self._forward(head, behind)

    def _forward(self, head: RequestHead, behind: bytes) -> Exchange:
        record = self.record
        assert record is not None
        record.method, record.target = head.method, head.target
        self.client.begin(head, behind)
        exchange = self.exchange = Exchange(self.context, self.client, record, self._guard)
        exchange.begin()
        return exchange

    def _begin_record(self) -> None:
        self.record = ExchangeRecord(self.context.ids.new(), self.listener, self.peer, self.context.now())
        self.counts.in_flight += 1
        self.is_idle, self._is_used = False, True

    # -- answers of our own ------------------------------------------------------------------------------

    async def _answer_options(self, head: RequestHead, behind: bytes) -> bool:
        record = self.record
        assert record is not None
        record.method, record.target, record.status = head.method, head.target, 204
        self.client.begin(head, behind)
        self.client.answer_options_now()
        await self._flush()
        return await self._goes_on()

    async def _flush(self) -> None:
        if self.client.unsent is not None:
            self._guard.down.expect(self.context.timeouts.send, ClientStalled)
            await self.client.flush()

    async def _conclude(self, error: LBError | None) -> bool:
        """Answer a failed exchange if its response has not begun; True if the connection goes on."""
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
        """True if the answer went out whole and the connection goes on."""
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

    async def _linger(self) -> None:
        """Read on for a while before closing, or a reset could take the answer from the client."""
        self._guard.down.expect(LINGER_SECONDS, None)
        if self.client.is_done:
            return  # it asked for the end and sent nothing more
        try:
            self.wire.end_sending()
            left = LINGER_BYTES
            while left > 0 and (data := await self.wire.receive()):
                left -= len(data)
        except OSError:
            pass

    # -- accounts ----------------------------------------------------------------------------------------

    def finish(self, error: LBError | None) -> None:
        """The exchange has ended: tell all observers, once."""
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
        """The client ended its side in the middle of a head: there was no request."""
        if self.record is not None:
            self.record = None
            self.counts.in_flight -= 1
