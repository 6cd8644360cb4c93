"""One client connection, from its first byte to its last: one task, one owner, one deadline that moves.

The task reads a head, hands it to an exchange, and does that again for as long as both sides wish. One
cancel scope holds everything; what we wait for sets its deadline and, with it, which error a timeout is.
Everything that can end an exchange early (a timeout, a drain that cuts, a client that left, a shutdown)
cancels that scope and says why; then the client gets an answer if that is still possible, and the
connection goes on only where nothing is left that could be misread.
"""

import re
from math import inf

import structlog
import trio

from lb.core.exchange_record import ExchangeRecord
from lb.errors import (
    Abandoned,
    AttemptCut,
    BackendError,
    BadRequest,
    ClientError,
    ClientGone,
    ClientStalled,
    LBError,
    RequestTimeout,
)
from lb.http1.error_answer import CONTINUE, options_answer
from lb.http1.fast_head import read_request
from lb.http1.head import HOPELESS, RequestHead
from lb.net.timers import Timer
from lb.net.wire import Wire
from lb.observe.counters import ListenerCounts
from lb.proxy.client.fast_path import Express
from lb.proxy.context import Context
from lb.proxy.exchange.exchange import Forwarding

LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024
LAST_CHANCE_SECONDS = 1.0
"""How long a connection that was just used may still send its next request once we are closing."""

EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")
NOT_BEGUN = (b"", b"\r")
"""What may still become an empty line before a request."""

log = structlog.get_logger()


class Client:
    """A client connection. `serve` is its whole life; the other verbs are for those who may end it."""

    __slots__ = (
        "_phase",
        "_scope",
        "_served",
        "_timer",
        "_why",
        "address",
        "buffer",
        "context",
        "counts",
        "ends_by_close",
        "exchange",
        "forwarding",
        "head_sent",
        "host",
        "identity",
        "is_1_0",
        "is_idle",
        "is_sending",
        "listener",
        "peer",
        "probed",
        "request_done",
        "wants_more",
        "wire",
    )

    def __init__(
        self, context: Context, wire: Wire, listener: str, peer: tuple[str, str], host: bytes
    ) -> None:
        self.context = context
        self.wire = wire
        self.listener = listener
        self.counts: ListenerCounts = context.metrics.listener(listener)
        self.address, self.peer = peer
        self.host = host
        self.identity = context.identity(self.address)
        self.buffer = b""
        self.exchange: ExchangeRecord | None = None
        self.forwarding: Forwarding | None = None
        self.is_idle = False
        self.is_1_0 = False
        self.is_sending = False  # something has left in part, and nothing else may leave before its rest
        self.head_sent = False
        self.ends_by_close = False
        self.request_done = True
        self.wants_more = False
        self.probed = False
        self._served = 0
        self._scope = trio.CancelScope()
        self._timer = Timer(context.deadlines, self._scope)
        self._phase: type[LBError] | None = None
        self._why: LBError | None = None

    async def serve(self) -> None:
        """Serve until either side is done. The wire is closed and the last exchange told in any case."""
        try:
            while await self._serve_until_trouble():
                pass
        finally:
            self.wire.close()
            self._timer.cancel()
            if self.exchange is not None:
                self.finish(self._why or Abandoned("the balancer was ended at once"))

    async def _serve_until_trouble(self) -> bool:
        """True if there was trouble and the connection goes on behind it."""
        error: LBError | None = None
        self._why = None
        with trio.CancelScope() as self._scope:
            self._timer.scope = self._scope
            try:
                while await self._next_exchange():
                    if self._scope.cancel_called:
                        return self._came_too_late()
                return False
            except LBError as exc:
                error = exc
            except Exception:
                log.exception("a bug ended an exchange", client=self.peer, listener=self.listener)
                self.wants_more, error = False, LBError("the balancer has a bug; its log says more")
        if error is None:
            error = self._verdict()
            if self._goes_on_after(error):
                return True
        return await self._conclude(error)

    def _goes_on_after(self, error: LBError | None) -> bool:
        """The exchange may be tried once more, in a scope of its own: a backend let a timeout pass.

        Or without an error: a timeout struck just when something had happened, and nothing is waited for now.
        """
        forwarding = self.forwarding
        if forwarding is None:
            return False
        if error is None:
            forwarding.interrupted()
            return True
        return isinstance(error, BackendError) and forwarding.may_go_on(error)

    def _came_too_late(self) -> bool:
        """What was to end an exchange found it ended; the next one must not pay, unless the client left."""
        return self._why is None or isinstance(self._why, AttemptCut)

    # -- what bounds a wait ---------------------------------------------------------------------------

    def expect(self, seconds: float, phase: type[LBError] | None) -> None:
        """From now on wait at most so long; `phase` is the error if it takes longer, None a quiet end."""
        self._phase = phase
        self._timer.move(self.context.now() + seconds)

    def cut(self, why: str = "the backend was taken out while the request ran on it") -> None:
        """A drain or an operator ends what runs on a backend (`lb.core.backend.Running`)."""
        self._end(AttemptCut(why))

    def gone(self) -> None:
        """The client has left for good: nobody will read an answer."""
        self._end(ClientGone("the client closed the connection"))

    def close_soon(self) -> None:
        """We are shutting down: an idle connection ends, after a last chance if it was just used."""
        if self.is_idle:
            self._phase = None
            self._timer.move(min(self._timer.at, self.context.now() + LAST_CHANCE_SECONDS))

    def ask_whether_there(self) -> None:
        """The client has ended its side: has it left, or does it still read? RFC 9110, 15.2 lets us ask.

        An interim answer is ignored by who reads and draws a reset from who has left; only a reset is told
        apart from a half-close. Nothing can be asked of HTTP/1.0, or once our answer has begun.
        """
        if self.request_done and not (self.probed or self.head_sent or self.is_1_0):
            self.probed = True
            try:
                self.wire.send_now(CONTINUE)
            except OSError:
                self.gone()

    def is_waiting_since(self, moment: float) -> bool:
        """Has it been waiting since before that moment, for an answer or the rest of one?

        Nobody need look after a tunnel, which reads from both sides all the time.
        """
        exchange = self.exchange
        return exchange is not None and exchange.started < moment and exchange.status != 101

    def _end(self, why: LBError) -> None:
        if self._why is None:
            self._why = why
            self._scope.cancel()

    def _verdict(self) -> LBError | None:
        if self._why is not None:
            return self._why
        return self._phase(self._phase.too_slow) if self._phase is not None else None

    # -- one request after the other -------------------------------------------------------------------

    async def _next_exchange(self) -> bool:
        if self.forwarding is None and not self.buffer and self.wire.can_be_watched:
            self.become_idle()
            await Express(self).serve()
        forwarding = self.forwarding
        if forwarding is None:
            head = await self._receive_head()
            if head is None:
                return False
            exchange = self.exchange
            assert exchange is not None
            if head.answer_here:
                return await self._answer_options(head, exchange)
            forwarding = self.forwarding = Forwarding(self, head, exchange)
            forwarding.begin()
        keep = await forwarding.go_on()
        self.finish(None)
        if keep:
            return True
        await self._linger()
        return False

    async def _receive_head(self) -> RequestHead | None:
        """The next request, judged; None when the client has no more."""
        data = _behind_empty_lines(self.buffer)
        if data in NOT_BEGUN and (data := await self._receive_first_bytes(data)) == b"":
            return None
        self._begin_exchange()
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.expect(self.context.timeouts.request_head, RequestTimeout)
            data, end = await self._receive_rest(data)
            if not data:
                self._forget_exchange()
                return None
        return self._judge(data, end + 4)

    async def _receive_rest(self, data: bytes) -> tuple[bytes, int]:
        """A head that came in pieces, and where it ends; no bytes if the client ends its side before."""
        searched = 0
        while (end := data.find(b"\r\n\r\n", searched)) < 0:
            self._refuse_hopeless(data, searched)
            searched = max(0, len(data) - 3)
            more = await self.receive()
            if not more:
                return b"", 0
            data += more
        return data, end

    async def _receive_first_bytes(self, data: bytes) -> bytes:
        """Wait for a request to begin; empty lines before it are skipped."""
        if not self.is_idle:
            self.become_idle()
        while True:
            more = await self.receive()
            if not more:
                return b""
            data = _behind_empty_lines(data + more)
            if data not in NOT_BEGUN:
                self.is_idle = False
                return data

    def become_idle(self) -> None:
        """From now on we wait for the next request, and may be told to end."""
        timeouts = self.context.timeouts
        self.is_idle = True
        self.expect(timeouts.keepalive if self._served else timeouts.request_head, None)
        if self.context.closing:
            self.close_soon()

    async def receive(self) -> bytes:
        """What the client sent next, none when it has ended its side."""
        try:
            return await self.wire.receive()
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc

    def _refuse_hopeless(self, data: bytes, searched: int) -> None:
        """Say no before the head is whole where it never will be."""
        limit = self.context.limits.request_head
        if (illegal := HOPELESS.search(data, searched, limit)) is not None:
            raise BadRequest(f"the head has an illegal byte or line end at offset {illegal.start()}")
        if len(data) <= limit:
            return
        if b"\n" not in data[: self.context.limits.target + 40]:
            raise BadRequest(f"the target is longer than {self.context.limits.target} bytes", status=414)
        raise BadRequest(f"the head is longer than {limit} bytes", status=431)

    def _judge(self, data: bytes, end: int) -> RequestHead:
        if end > self.context.limits.request_head:
            self._refuse_hopeless(data[:end], 0)
        head = read_request(data[:end], self.host, self.context.limits.target, self.context.limits.fields)
        self._takes(head, data[end:])
        return head

    def _takes(self, head: RequestHead, behind: bytes) -> ExchangeRecord:
        exchange = self.exchange
        assert exchange is not None
        exchange.method, exchange.target = head.method, head.target
        self.is_1_0, self.wants_more = head.is_1_0, head.keep_alive
        self.buffer = behind
        return exchange

    def begin(self, head: RequestHead, behind: bytes) -> Forwarding:
        """A request that may be forwarded has come, and what is behind its head."""
        self._begin_exchange()
        self.forwarding = Forwarding(self, head, self._takes(head, behind))
        self.forwarding.begin()
        return self.forwarding

    def _begin_exchange(self) -> None:
        self.exchange = ExchangeRecord(self.context.ids.new(), self.listener, self.peer, self.context.now())
        self.counts.in_flight += 1
        self.head_sent = self.ends_by_close = self.request_done = False
        self.probed = self.is_1_0 = self.is_idle = self.is_sending = self.wants_more = False
        self._served += 1

    def stays_open(self) -> bool:
        """May the connection carry another request behind this one, as far as is known now?"""
        return (
            self.wants_more
            and self.request_done
            and not self.context.closing
            and not self.context.draining
            and self._served < self.context.limits.requests_per_connection
        )

    # -- answers ---------------------------------------------------------------------------------------

    async def send(self, data: bytes | memoryview) -> None:
        """Send to the client; only a send that must wait costs a deadline."""
        left = self.send_now(data)
        if left is not None:
            try:
                await self._send_rest(left)
            except OSError as exc:
                raise ClientGone("the client closed the connection") from exc

    def send_now(self, data: bytes | memoryview) -> memoryview | None:
        """Send to the client without waiting; what is left to send, or None."""
        try:
            left = self.wire.send_now(data)
        except OSError as exc:
            raise ClientGone("the client closed the connection") from exc
        if left is not None:
            self.probed = True  # nothing may come between the parts of what is being sent
        return left

    async def _send_rest(self, left: memoryview) -> None:
        """The time that the client takes is not held against whom we were waiting for before."""
        phase, deadline, began = self._phase, self._timer.at, self.context.now()
        self.expect(self.context.timeouts.send, ClientStalled)
        self.is_sending = True
        await self.wire.send_rest(left)
        self.is_sending = False
        if self._phase is ClientStalled:
            self._phase = phase
            self._timer.move(deadline + self.context.now() - began)

    async def _answer_options(self, head: RequestHead, exchange: ExchangeRecord) -> bool:
        self.request_done = not head.has_body
        keep = self.stays_open()
        exchange.status = 204
        await self.send(options_answer(self.context.date.now(), closing=not keep))
        self.finish(None)
        if not keep:
            await self._linger()
        return keep

    async def _conclude(self, error: LBError | None) -> bool:
        """Answer a failed exchange if its answer has not begun; True if the connection goes on."""
        if self.exchange is None:
            return False
        if error is None:
            error = AttemptCut("the balancer shut down")
        keep = False
        if self.head_sent or self.is_sending or isinstance(error, ClientGone):
            self._break_off(error)
        else:
            keep = await self._answer(error, self.stays_open() and not isinstance(error, ClientError))
        self.finish(error)
        return keep

    def _break_off(self, error: LBError) -> None:
        """The client must see that its answer broke off; where the end is its end, only a reset shows it.

        A reset also frees what the kernel would go on holding, for minutes, for a client that does not read.
        """
        if self.ends_by_close or isinstance(error, ClientStalled):
            self.wire.reset()
        else:
            self.wire.close()

    async def _answer(self, error: LBError, keep: bool) -> bool:
        """True if the answer went out whole and the connection goes on."""
        assert self.exchange is not None
        is_sent = False
        self.exchange.status, self.head_sent = error.status, True
        answer = self.context.error_answer(error, self.exchange, closing=not keep)
        with trio.CancelScope() as self._scope:
            self._timer.scope = self._scope
            self._timer.move(inf)
            try:
                await self.send(answer)
                self.finish(error)
                is_sent = True
                if not keep:
                    await self._linger()
            except ClientGone:
                pass
        if not is_sent:
            self._break_off(ClientStalled("the client did not take the answer"))
        return keep and is_sent

    async def _linger(self) -> None:
        """Read on for a while before closing, or a reset could take the answer from the client."""
        self.expect(LINGER_SECONDS, None)
        if self.request_done and not self.buffer and not self.wants_more and self.wire.is_quiet():
            return  # it wished for the end, and has nothing more to say
        try:
            self.wire.end_sending()
            left = LINGER_BYTES
            while left > 0 and (data := await self.wire.receive()):
                left -= len(data)
        except OSError:
            pass

    # -- accounts --------------------------------------------------------------------------------------

    def finish(self, error: LBError | None) -> None:
        """The exchange has ended: tell everybody, once."""
        exchange, self.exchange, self.forwarding = self.exchange, None, None
        if exchange is None:
            return
        self.counts.in_flight -= 1
        exchange.ended = self.context.now()
        if error is not None:
            exchange.reason, exchange.detail = error.reason, str(error)
            answered = self.head_sent and not isinstance(error, BackendError)
            if exchange.deciding is not None and not answered:
                exchange.deciding.reason = exchange.deciding.reason or error.reason
            exchange.status = exchange.status or error.status
        self.context.finished(exchange)

    def _forget_exchange(self) -> None:
        """The client ended its side in the middle of a head: there was no request."""
        self.exchange = None
        self.counts.in_flight -= 1


def _behind_empty_lines(data: bytes) -> bytes:
    """RFC 9112 section 2.2: empty lines before a request are skipped, if they end as lines must."""
    return EMPTY_LINES.sub(b"", data, count=1) if data.startswith(b"\r\n") else data
