"""The client side of exchanges over HTTP/1, one at a time (`lb.proxy.sides.ClientSide`)."""

from lb.errors import BadRequest, ClientGone, ClientStalled, LBError
from lb.http1.body import BadBody, CloseReader, Reader, reader_for
from lb.http1.error_answer import CONTINUE, options_answer
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.splice import Copy, Pipe
from lb.net.wire import Wire
from lb.proxy.context import Context
from lb.proxy.guard import Guard
from lb.proxy.http1_stream import Http1Stream
from lb.proxy.sides import Source

LEFT = "the client closed the connection"
HEAD_TO_COME: Reader = CloseReader()
"""Stands for the body of a request whose head has not ended: not all of it has been received."""


class Http1Client(Http1Stream):
    """The client of the exchange that runs on a connection; `begin` makes it that of the next one."""

    __slots__ = (
        "_context",
        "_ends_by_close",
        "_guard",
        "_is_asked",
        "_served",
        "_stays",
        "_wants_more",
        "address",
        "has_head",
        "head",
        "identity",
    )

    head: RequestHead

    def __init__(self, context: Context, guard: Guard, wire: Wire, address: str) -> None:
        super().__init__(wire)
        self._context = context
        self._guard = guard
        self.address = address
        self.identity = context.identity(address)
        self._served = 0
        self.await_head()

    def await_head(self) -> None:
        """Another request is to come; nothing is known of it yet."""
        self._reader = HEAD_TO_COME
        self._wants_more = self._stays = self._ends_by_close = self._is_asked = False
        self.has_head = False
        """The head of our response, or of an error answer, has been sent."""

    def begin(self, head: RequestHead, behind: bytes) -> None:
        """The head of a request has come, and the bytes behind it."""
        self._served += 1
        self.head = head
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
        """The response said that it does, and all of the request has come."""
        return self._stays and (self._reader is None or self._reader.done)

    def may_stay(self) -> bool:
        """May the connection carry another request behind this one, as far as is known now?"""
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
        """The client wished for the end of the connection, and has sent nothing that was not read."""
        return self.has_received_all and not (self.buffer or self._wants_more) and self.wire.is_quiet()

    def ends_requests(self) -> None:
        self._wants_more = False

    # -- the response ------------------------------------------------------------------------------------

    def interim_now(self, head: ResponseHead) -> None:
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
        first = head.to_client(self._context.date.now(), head.framing(is_1_0), added)
        self._send_now(first + self._framed(content, source))

    def switch_now(self, head: ResponseHead, added: bytes, content: bytes) -> None:
        self.has_head = True
        upgrade = added + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        self._send_now(head.to_client(b"", b"", upgrade) + content)

    def answer_options_now(self) -> None:
        """Answer an OPTIONS that asks us and nobody behind us."""
        self._stays = self.may_stay()
        self._send_now(options_answer(self._context.date.now(), closing=not self._stays))

    def answer_now(self, answer: bytes) -> None:
        """Send a whole answer of ours."""
        self.has_head = True
        self._send_now(answer)

    def send_content_now(self, content: bytes, source: Source) -> None:
        self._send_now(self._framed(content, source))

    def _send_now(self, data: bytes) -> None:
        try:
            self.unsent = self.wire.send_now(data)
        except OSError as exc:
            raise ClientGone(LEFT) from exc
        if self.unsent is not None:
            self._is_asked = True  # an interim answer would stand in the middle of this

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        try:
            return pipe.drain(self.wire.sock)
        except OSError as exc:
            raise ClientGone(LEFT) from exc

    async def flush(self) -> None:
        if self.unsent is None:
            return
        try:
            await self.wire.send_rest(self.unsent)
        except OSError as exc:
            raise ClientGone(LEFT) from exc
        self.unsent = None

    def is_behind(self) -> bool:
        return self.unsent is not None or self.wire.unsent_in_kernel() > 0

    def ask_now(self) -> None:
        """The client has ended its side: does it still read? RFC 9110, 15.2 lets us ask by an interim answer.

        A client that reads ignores it, one that has left answers with a reset; only that tells the two apart.
        HTTP/1.0 knows no interim answers, and once our response has begun none may be sent.
        """
        if not self.has_received_all or self._is_asked or self.has_head or self.head.is_1_0:
            return
        self._is_asked = True
        try:
            self.wire.send_now(CONTINUE)
        except OSError:
            self.end(ClientGone(LEFT))

    def break_off(self, error: LBError) -> None:
        """Close so that the client sees that its response broke off.

        Where the end of the connection is the end of the body, only a reset shows it. A reset also frees what
        the kernel would go on holding, for minutes, for a client that does not read.
        """
        if self._ends_by_close or isinstance(error, ClientStalled):
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
