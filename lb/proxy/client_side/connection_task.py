"""The task of a client connection: it waits where the plain steps of `ClientConnection` cannot go on.

It receives a head, runs an exchange for it, and repeats that while both sides keep the connection. All of it
is in the cancel scope of one guard (`lb.proxy.guard`), which is cancelled with a reason where an exchange is
to end early. Then the client gets an error answer if no response has begun. The connection goes on only where
none of its bytes could be misread.
"""

import structlog
import trio

from lb.errors import (
    AttemptCut,
    BackendError,
    ClientError,
    ClientGone,
    ClientStalled,
    LBError,
    RequestTimeout,
)
from lb.http1.head_reader import RequestHeadReader, recognise_whole_request
from lb.http1.request_head import RequestHead
from lb.net.wire import RECEIVE_SIZE
from lb.proxy.client_side.connection import ClientConnection, OurAnswer
from lb.proxy.client_side.fast_path import FastPath
from lb.proxy.client_side.linger import linger
from lb.proxy.exchange import failure
from lb.proxy.exchange.run import run

log = structlog.get_logger()


class ConnectionTask:
    """Serves a connection from wherever it is. Made in the task, once for a connection."""

    __slots__ = ("_connection", "_pending")

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._pending: tuple[RequestHead, bytes] | None = None

    async def serve(self) -> None:
        """Serve requests until either side ends the connection.

        On every way out, even when cancelled, the wire is closed and the last exchange told to the observers.
        """
        try:
            while await self._serve_until_trouble():
                await trio.lowlevel.checkpoint()  # requests that fail at once must not keep the event loop
        finally:
            self._connection.close()

    async def _serve_until_trouble(self) -> bool:
        """Serve requests until an exchange fails or the connection ends. True if the connection goes on."""
        error: LBError | None = None
        with self._connection.guard.open():
            try:
                while await self._next_request():
                    if self._connection.guard.is_cancelled:
                        return self._came_too_late()
                return False
            except LBError as exc:
                error = exc
            except Exception:
                log.exception(
                    "a bug ended an exchange",
                    client=self._connection.peer,
                    listener=self._connection.listener,
                )
                self._connection.client.ends_requests()
                error = LBError("the balancer has a bug; its log says more")
        if error is None:
            if (
                self._connection.record is None
                and self._connection.client.stays
                and self._connection.client.buffer
            ):
                return self._came_too_late()
            error = self._connection.guard.verdict()
            if self._goes_on_after(error):
                return True
        return await self._conclude(error)

    def _goes_on_after(self, error: LBError | None) -> bool:
        """Run the exchange again, in a fresh scope: its backend missed a deadline, others may be tried."""
        if self._connection.exchange is None or not isinstance(error, BackendError):
            return False
        return failure.may_go_on(self._connection.exchange, error)

    def _came_too_late(self) -> bool:
        """The scope was cancelled after the exchange had ended: go on, unless the client has left."""
        return self._connection.guard.why is None or isinstance(self._connection.guard.why, AttemptCut)

    async def _next_request(self) -> bool:
        if (fast := self._fast_path()) is not None and not await fast.serve():
            await self._linger()
            return False
        if self._connection.exchange is None:
            found = self._pending or await self._receive_head()
            if found is None:
                return False
            if self._connection.guard.is_cancelled:  # as the head came
                self._pending = found  # and is served in a fresh scope
                return True
            self._pending = None
            if (answer := self._connection.answer_of_ours(found[0])) is not None:
                return await self._answer_ourselves(answer, *found)
            self._connection.forward(*found)
        assert self._connection.exchange is not None
        await run(self._connection.exchange)
        return await self._goes_on()

    def _fast_path(self) -> FastPath | None:
        """The one on which the connection began, or a fresh one where a request is to be waited for."""
        fast, self._connection.fast = self._connection.fast, None
        is_between = (
            self._connection.exchange is None and self._pending is None and not self._connection.client.buffer
        )
        if fast is None and is_between and self._connection.wire.can_be_watched:
            self._connection.become_idle()
            fast = FastPath(self._connection)
            fast.begin()
        return fast

    async def _goes_on(self) -> bool:
        """Tell how the exchange went. True if the connection goes on; if not, it has lingered."""
        self._connection.finish(None)
        if not self._connection.client.stays:
            await self._linger()
        elif self._connection.client.buffer:  # the next request is here, so perhaps nothing is waited for
            await trio.lowlevel.checkpoint()
        return self._connection.client.stays

    async def _receive_head(self) -> tuple[RequestHead, bytes] | None:
        """Wait for the next head; return it and the bytes behind it, or None at the end of the connection."""
        data = self._connection.client.take_rest()
        if not data:
            if not self._connection.is_idle:
                self._connection.become_idle()
            data = await self._receive()
        limits = self._connection.context.limits
        found = recognise_whole_request(
            data, self._connection.host, limits.request_head, limits.target, limits.fields
        )
        if found is None:
            return await self._receive_rest_of_head(data)
        self._connection.begin_record()
        return self._with_body_that_is_here(*found)

    async def _receive_rest_of_head(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """The same for a head that is not plain, or has not come whole; `data` has come of it."""
        limits = self._connection.context.limits
        heads = RequestHeadReader(
            self._connection.host,
            head_limit=limits.request_head,
            target_limit=limits.target,
            field_limit=limits.fields,
            takes_https=self._connection.secured is not None or self._connection.client.identity.is_trusted,
        )
        try:
            return await self._feed(heads, data)
        finally:
            if self._connection.record is not None:
                self._connection.record.method, self._connection.record.target = heads.asked

    async def _feed(self, heads: RequestHeadReader, data: bytes) -> tuple[RequestHead, bytes] | None:
        while data:
            heads.add(data)
            if heads.has_begun:
                if self._connection.record is None:
                    self._connection.begin_record()
                    self._connection.client.await_head()
                    self._connection.guard.down.expect(
                        self._connection.context.timeouts.request_head, RequestTimeout
                    )
                if (found := heads.next_head()) is not None:
                    return self._with_body_that_is_here(*found)
            elif not self._connection.is_idle:
                self._connection.become_idle()
            data = await self._receive()
        self._connection.forget_record()
        return None

    def _with_body_that_is_here(self, head: RequestHead, behind: bytes) -> tuple[RequestHead, bytes]:
        """Add what has arrived of a body whose length is known, and nothing of what follows it."""
        missing = (head.length or 0) - len(behind)
        if missing > 0:
            behind += self._connection.wire.receive_now(min(missing, RECEIVE_SIZE)) or b""
        return head, behind

    async def _receive(self) -> bytes:
        try:
            return await self._connection.wire.receive(self._connection.context.limits.request_head)
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc

    async def _linger(self) -> None:
        if not self._connection.may_close():
            await linger(self._connection.wire, self._connection.context.now, self._connection.wait_idle)

    async def _answer_ourselves(self, answer: OurAnswer, head: RequestHead, behind: bytes) -> bool:
        record = self._connection.record
        assert record is not None
        record.method, record.target, record.status = head.method, head.target, int(answer.lines[9:12])
        self._connection.begin_request(record, head, behind)
        lines = answer.lines
        if self._connection.context.tells_id:
            lines += b"X-Request-Id: %b\r\n" % record.id
        self._connection.client.answer_ourselves_now(lines, answer.body)
        await self._flush()
        return await self._goes_on()

    async def _flush(self) -> None:
        while self._connection.client.unsent is not None:
            self._connection.guard.down.expect(self._connection.context.timeouts.send, ClientStalled)
            await self._connection.client.flush()

    async def _conclude(self, error: LBError | None) -> bool:
        """Send an error answer if no response has begun, and tell how it went.

        True if the connection goes on.
        """
        if self._connection.record is None:
            return False
        if error is None:
            error = AttemptCut("the balancer shut down")
        keep = False
        if not self._connection.client.is_untouched or isinstance(error, ClientGone):
            self._connection.client.break_off(error)
        else:
            keep = await self._answer(
                error, self._connection.client.may_stay() and not isinstance(error, ClientError)
            )
        self._connection.finish(error)
        return keep

    async def _answer(self, error: LBError, keep: bool) -> bool:
        """Send an error answer. True if it was sent whole and the connection goes on."""
        record = self._connection.record
        assert record is not None
        is_sent = False
        record.status = error.status
        answer = self._connection.context.error_answer(error, record, closing=not keep)
        with self._connection.guard.open():
            self._connection.guard.rest()
            try:
                self._connection.client.answer_now(answer)
                await self._flush()
                self._connection.finish(error)
                is_sent = True
                if not keep:
                    await self._linger()
            except ClientGone:
                pass
        if not is_sent:
            self._connection.client.break_off(ClientStalled("the client did not take the answer"))
        return keep and is_sent
