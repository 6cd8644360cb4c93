"""A client that speaks HTTP/1.1 or 1.0 (`lb.proxy.sides.ClientSide`)."""

from collections import deque

from lb.core.client_address import client_of
from lb.errors import BadRequest, ClientGone, LBError
from lb.http1.body import BadBody, CloseReader, Reader, reader_for
from lb.http1.error_answer import CONTINUE
from lb.http1.forwarded_fields import ForwardedFields
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.plain_wire import PlainWire
from lb.net.splice import Copy, Pipe
from lb.net.wire import RECEIVE_SIZE, Wire
from lb.proxy.context import Context
from lb.proxy.guard import Guard
from lb.proxy.http1_stream import Http1Stream
from lb.proxy.sides import Source

STRICT_TRANSPORT = b"strict-transport-security:"
LEFT = "the client closed the connection"
HEAD_TO_COME: Reader = CloseReader()
"""The reader of a request whose head has not been received: it is never done."""


class Http1Client(Http1Stream):
    """One client connection as the client side of its exchanges, one after the other.

    `lb.proxy.client_side.connection` owns it and calls `await_head` and `begin` for each request.
    `_wants_more`: the request allows another one on this connection. `_stays`: our response says that the
    connection goes on. `_is_asked`: no interim answer may be sent by `ask_now`.
    """

    __slots__ = (
        "_context",
        "_ends_by_close",
        "_guard",
        "_held",
        "_held_bytes",
        "_is_asked",
        "_peer",
        "_served",
        "_stays",
        "_wants_more",
        "address",
        "has_head",
        "head",
        "identity",
        "is_secured",
    )

    head: RequestHead

    def __init__(
        self,
        context: Context,
        guard: Guard,
        wire: Wire,
        address: str,
        identity: ForwardedFields,
        *,
        is_secured: bool = False,
    ) -> None:
        super().__init__(wire)
        self._context = context
        self._guard = guard
        self.address = self._peer = address
        self.identity = identity
        self.is_secured = is_secured
        self._served = 0
        self._held: deque[bytearray] | None = None  # which few connections ever need
        self._held_bytes = 0
        self.await_head()

    def await_head(self) -> None:
        """The head of a request has begun to arrive; nothing is known of the request yet."""
        self._reader = HEAD_TO_COME
        self._wants_more = self._stays = self._ends_by_close = self._is_asked = False
        self.has_head = False
        """The head of the response, or of our error answer, has been sent."""

    def begin(self, head: RequestHead, behind: bytes) -> None:
        """The head of a request has been received, with the bytes behind it: a new exchange begins."""
        self._served += 1
        self.head = head
        claims = head.claims if self.identity.is_trusted else None
        self.address = self._peer if claims is None else client_of(self._peer, claims, self._context.trust)
        self.buffer = behind
        self._wants_more = head.keep_alive
        self._stays = self._ends_by_close = self._is_asked = self._is_chunking = self.has_head = False
        self._reader = reader_for(head.length) if head.length else None

    def end(self, why: LBError) -> None:
        self._guard.end(why)

    @property
    def is_untouched(self) -> bool:
        return not self.has_head and self.unsent is None

    # -- does the connection go on? ----------------------------------------------------------------------

    @property
    def stays(self) -> bool:
        """Our response said that the connection goes on, and the request has been received whole."""
        return self._stays and (self._reader is None or self._reader.done)

    def may_stay(self) -> bool:
        """The connection may carry another request after this one, as far as is known now."""
        context = self._context
        return (
            self._wants_more
            and (self._reader is None or self._reader.done)
            and not context.closing
            and not context.draining
            and self._served < context.limits.requests_per_connection
        )

    @property
    def is_done(self) -> bool:
        """The client asked to close the connection, and its request has been received; nothing follows it."""
        return self.has_received_all and not (self.buffer or self._wants_more)

    def ends_requests(self) -> None:
        self._wants_more = False

    # -- the response ------------------------------------------------------------------------------------

    def interim_now(self, head: ResponseHead) -> None:
        assert self.is_untouched
        if not self.head.is_1_0:
            self._send_now(head.to_client(b"", b"", b""))

    def respond_now(self, head: ResponseHead, added: bytes, content: bytes, source: Source) -> None:
        is_1_0 = self.head.is_1_0
        self._stays = self.may_stay()
        if not self._stays:
            added += b"Connection: close\r\n"
        self.has_head = True
        if head.length < 0:
            self._ends_by_close, self._is_chunking = is_1_0, not is_1_0
        if self._context.hsts and self.is_secured and STRICT_TRANSPORT not in head.lines.lower():
            added += self._context.hsts
        first = head.to_client(self._context.date.now(), head.framing(is_1_0), added)
        is_last = not self._stays and source.has_received_all and self.has_received_all
        self._send_now(first + self._framed(content, source), is_last=is_last)

    def switch_now(self, head: ResponseHead, added: bytes, content: bytes) -> None:
        assert self.is_untouched
        self.has_head = True
        upgrade = added + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        self._send_now(head.to_client(b"", b"", upgrade) + content)

    def answer_ourselves_now(self, lines: bytes, body: bytes) -> None:
        """Send an answer of ours that is no error; the last lines of its head are missing."""
        self._stays = self.may_stay()
        self._send_now(lines + (b"\r\n" if self._stays else b"Connection: close\r\n\r\n") + body)

    def answer_now(self, answer: bytes) -> None:
        """Send a whole error answer."""
        assert self.is_untouched
        self.has_head = True
        self._send_now(answer)

    def send_content_now(self, content: bytes, source: Source) -> None:
        assert self.unsent is None
        self._send_now(self._framed(content, source))

    def _send_now(self, data: bytes | bytearray | memoryview, *, is_last: bool = False) -> None:
        try:
            is_sent = self.wire.send_last_now(data) if is_last else self.wire.send_now(data)
        except OSError as exc:
            raise ClientGone(LEFT) from exc
        if not is_sent:
            self._is_asked = True  # an interim answer would be sent in the middle of this

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        assert isinstance(self.wire, PlainWire)
        try:
            return pipe.drain(self.wire)
        except OSError as exc:
            raise ClientGone(LEFT) from exc

    async def flush(self) -> None:
        if self.unsent is not None:
            try:
                await self.wire.send_some()
            except OSError as exc:
                raise ClientGone(LEFT) from exc
        self._go_on_to_held()

    @property
    def held(self) -> int:
        return self._held_bytes + (0 if self.unsent is None else len(self.unsent))

    def add_content_now(self, content: bytes, source: Source) -> None:
        data = self._framed(content, source)
        if self._held is None:
            self._held = deque()
        if self._held and len(self._held[-1]) < RECEIVE_SIZE:
            self._held[-1] += data  # many small pieces would take more room than their bytes
        elif data:
            self._held.append(bytearray(data))
        self._held_bytes += len(data)
        self._go_on_to_held()

    def _go_on_to_held(self) -> None:
        while self.unsent is None and self._held:
            data = self._held.popleft()
            self._held_bytes -= len(data)
            self._send_now(data)

    def is_behind(self) -> bool:
        return self.unsent is not None or self.wire.unsent_in_kernel() > 0

    def ask_now(self) -> None:
        """Ask a client that has ended its side whether it still reads, by a 100 (RFC 9110 section 15.2).

        A client that reads ignores it. From a client that has left comes a reset, which the next check sees.
        Nothing else tells the two apart. HTTP/1.0 has no interim answers, and none may be sent once the
        response has begun. May be called from any task.
        """
        if not self.has_received_all or self._is_asked or self.has_head or self.head.is_1_0:
            return
        self._is_asked = True
        try:
            is_taken = self.wire.send_now(CONTINUE)
        except OSError:
            is_taken = False
        if not is_taken:  # a client that takes not even this has stopped reading, too
            self.end(ClientGone(LEFT))

    def break_off(self, error: LBError) -> None:
        """Close the connection in the middle of a response, so that the client notices.

        Where the end of the connection is the end of the body, only a reset shows the difference. A reset
        also frees the kernel's send buffer at once, which it would keep for a client that does not read.
        """
        if self._ends_by_close or self._guard.client_stalled:
            self.wire.reset()
        else:
            self.wire.close()

    # -- whose fault it is -------------------------------------------------------------------------------

    def _broken_off(self, how: str) -> ClientGone:
        if how.startswith("reset"):
            return ClientGone("the client reset the connection")
        return ClientGone("the client ended its side in the middle of its request")

    def _bad_body(self, exc: BadBody) -> BadRequest:
        return BadRequest(f"the request body: {exc}")
