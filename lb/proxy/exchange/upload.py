"""The request on its way to a backend: its head, what came with it, and what the client still sends.

Nothing here is an error of the backend's by itself: one that takes no more may have answered before, and its
answer decides. What it has not taken it is still owed, and such a connection is never used again.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from lb.core.body_pace import Pace
from lb.core.exchange_record import ExchangeRecord
from lb.errors import BackendStalled, BadRequest, ClientGone, RequestTimeout
from lb.http1.body import CHUNKED, BadBody, LengthReader, Reader, framed, reader_for
from lb.http1.head import RequestHead
from lb.net.splice import SPLICE_FROM, Copy, Pipe, fill
from lb.net.wire import Wire

if TYPE_CHECKING:
    from lb.proxy.client.connection import Client


class Upload:
    """One request's bytes. `first` is the content that came so far and is kept, framed for the backend.

    What came with the head is always kept; `keep` is how many bytes may be, in case the request is sent once
    more. `is_replayable`: all that was ever sent could be. `owes`: the backend has not taken all.
    """

    __slots__ = ("_client", "_keep", "_reader", "exchange", "first", "head", "is_replayable", "owes")

    def __init__(self, client: "Client", head: RequestHead, exchange: ExchangeRecord, keep: int) -> None:
        self._client = client
        self.head = head
        self.exchange = exchange
        self._reader: Reader | None = None
        self._keep = keep
        self.first = b""
        self.is_replayable = True
        self.owes = False
        if head.length:
            self._reader = reader_for(head.length)
            data, client.buffer = client.buffer, b""
            self.first = self._framed(data)
        else:
            client.request_done = True

    def _framed(self, data: bytes) -> bytes:
        """The content in what the client sent, framed for the backend; its rest is the next request."""
        reader = self._reader
        assert reader is not None
        try:
            content = reader.feed(data)
        except BadBody as exc:
            raise BadRequest(f"the request body: {exc}") from exc
        self._count_request_bytes(len(content))
        if reader.done:
            self._client.request_done = True
            self._client.buffer = reader.rest
        return framed(reader, content) if self.head.length == CHUNKED else content

    def _remember(self, data: bytes, was_whole: bool) -> None:
        """Before it is sent, so that whatever ends the attempt, none of it is lost."""
        self.is_replayable = was_whole and len(self.first) + len(data) <= self._keep
        self.first = self.first + data if self.is_replayable else b""

    def _is_worth_a_pipe(self) -> bool:
        """What is to be kept must come through our hands."""
        reader = self._reader
        if not isinstance(reader, LengthReader) or reader.left < SPLICE_FROM:
            return False
        return not self.is_replayable or len(self.first) + reader.left > self._keep

    def _count_request_bytes(self, count: int) -> None:
        self.exchange.request_bytes += count
        limit = self._client.context.limits.request_body
        if limit is not None and self.exchange.request_bytes > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", status=413)

    def send_now(self, wire: Wire, data: bytes) -> memoryview | None:
        """What the backend has not taken at once. An error is none yet: it may have answered before."""
        self.owes = True
        try:
            left = wire.send_now(data)
        except OSError:
            return None
        self.owes = left is not None
        return left

    async def send_rest(self, wire: Wire, left: memoryview | None) -> bool:
        """False if the backend takes no more."""
        if left is not None:
            self._client.expect(self._client.context.timeouts.send, BackendStalled)
            with suppress(OSError):
                await wire.send_rest(left)
                self.owes = False
        return not self.owes

    async def send_all_of_it(self, wire: Wire, left: memoryview | None) -> None:
        """Send `left`, then what the client still sends of its body, at the pace of the slower of the two."""
        client, timeouts = self._client, self._client.context.timeouts
        is_taken = await self.send_rest(wire, left)
        pace = Pace(timeouts.body_idle, self._client.context.limits.body_rate)
        if is_taken and self._is_worth_a_pipe():
            assert isinstance(self._reader, LengthReader)
            is_taken = await self._carry_upload(wire, self._reader, pace)
        while is_taken and not client.request_done:
            began = client.context.now()
            client.expect(pace.patience(), RequestTimeout)
            data = await client.receive()
            pace.came(len(data), client.context.now() - began)
            if not data:
                raise ClientGone("the client ended its side in the middle of its request")
            was_whole, self.is_replayable = self.is_replayable, False  # until what was read is kept
            framed_data = self._framed(data)
            self._remember(framed_data, was_whole)
            is_taken = await self.send_rest(wire, self.send_now(wire, framed_data))
        assert client.forwarding is not None
        client.forwarding.expect_a_head()

    async def _carry_upload(self, wire: Wire, reader: LengthReader, pace: Pace) -> bool:
        """The rest of a large body goes to the backend without coming to us. False if it takes no more."""
        client, timeouts = self._client, self._client.context.timeouts
        with self._client.context.pipes.lend() as pipe:
            while not reader.done:
                began = client.context.now()
                client.expect(pace.patience(), RequestTimeout)
                count = await self._fill_from_client(pipe, reader)
                pace.came(count, client.context.now() - began)
                self.first, self.is_replayable, self.owes = b"", False, True
                try:
                    while not pipe.drain(wire.sock):
                        client.expect(timeouts.send, BackendStalled)
                        await wire.writable()
                except OSError:
                    return False
                self.owes = False
        client.request_done = True
        return True

    async def _fill_from_client(self, pipe: Pipe | Copy, reader: LengthReader) -> int:
        try:
            count = await fill(pipe, self._client.wire, reader.left)
        except OSError as exc:
            raise ClientGone("the client reset the connection") from exc
        if not count:
            raise ClientGone("the client ended its side in the middle of its request")
        reader.skip(count)
        self.exchange.request_bytes += count
        return count
