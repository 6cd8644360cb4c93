"""The answer on its way to the client: interim heads, the final one and its body, or a tunnel."""

from typing import TYPE_CHECKING

from lb.core.exchange_record import Attempt
from lb.errors import (
    BadResponse,
    ClientGone,
    ClientStalled,
    ConnectionTerminated,
    ResponseIncomplete,
    ResponseStalled,
    TunnelIdle,
    UpgradeFailed,
)
from lb.http1.body import BadBody, LengthReader, Reader, as_it_is, framed, reader_for
from lb.http1.fast_head import read_response
from lb.http1.head import ResponseHead
from lb.net.splice import SPLICE_FROM, Copy, Pipe, fill
from lb.net.wire import Wire
from lb.proxy.exchange.tunnel import tunnel
from lb.proxy.exchange.upload import Upload

if TYPE_CHECKING:
    from lb.proxy.exchange.exchange import Forwarding

MOST_INTERIM = 20
SWITCHING_PROTOCOLS = 101
ANSWER_BEGINS = b"HTTP/1."


class Relay:
    """One answer, from its first byte to its last. `client_stays` is what its head told the client."""

    __slots__ = (
        "_attempt",
        "_client",
        "_exchange",
        "_final",
        "_forwarding",
        "_frame",
        "_interim",
        "_reader",
        "_unsent",
        "_upload",
        "_wire",
        "client_stays",
    )

    def __init__(self, forwarding: "Forwarding", upload: Upload, attempt: Attempt, wire: Wire) -> None:
        self._forwarding = forwarding
        self._client = forwarding.client
        self._upload = upload
        self._exchange = upload.exchange
        self._attempt = attempt
        self._wire = wire
        self._interim = b""
        self._final: ResponseHead | None = None
        self.client_stays = False

    async def run(self) -> bool:
        """Pass on the answer, interim ones first. True if its connection can carry another exchange."""
        if self._final is None:
            return await self.pass_on(*await self.head())
        await self._send_final()
        return self.wire_stays

    async def head(self, is_racing: bool = False) -> tuple[ResponseHead, bytes]:
        """The final head, and what came behind it; interim ones go ahead, if `is_racing` with it."""
        data = b""
        for _ in range(MOST_INTERIM):
            head, data = await self._receive_head(data)
            if not head.is_interim or head.status == SWITCHING_PROTOCOLS:
                return head, data
            if not self._client.is_1_0:
                self._interim += head.to_client(b"", b"", b"")
                if not is_racing:
                    await self._send_interim()
        raise BadResponse(f"more than {MOST_INTERIM} interim answers")

    async def _send_interim(self) -> None:
        heads, self._interim = self._interim, b""
        await self._client.send(heads)

    async def pass_on(self, head: ResponseHead, data: bytes) -> bool:
        """The answer with this head; as `run`."""
        if head.status == SWITCHING_PROTOCOLS:
            await self._switch(head, data)
            return False
        if self._interim:
            await self._send_interim()
        self.begin(head, data)
        await self._send_final()
        return self.wire_stays

    async def _receive_head(self, data: bytes) -> tuple[ResponseHead, bytes]:
        """The next head of an answer, judged, and what came behind it."""
        limits, searched = self._client.context.limits, 0
        while (end := data.find(b"\r\n\r\n", searched)) < 0 and len(data) <= limits.response_head:
            if data and not data.startswith(ANSWER_BEGINS[: len(data)]):
                raise BadResponse("the answer is not HTTP/1")
            searched = max(0, len(data) - 3)
            data += await self._receive_some()
        if not 0 <= end <= limits.response_head - 4:
            raise BadResponse(f"the head of the answer is longer than {limits.response_head} bytes")
        return read_response(data[: end + 4], self._upload.head.method, limits.fields), data[end + 4 :]

    async def _receive_some(self) -> bytes:
        try:
            data = await self._wire.receive()
        except OSError:
            data = b""
        if not data and self._attempt.first_byte is None:
            raise ConnectionTerminated(f"{self._attempt.backend.id} closed the connection without an answer")
        if not data:
            raise ResponseIncomplete(
                f"{self._attempt.backend.id} closed the connection in the head of its answer"
            )
        self.note_first_byte()
        return data

    def note_first_byte(self) -> None:
        if self._attempt.first_byte is None:
            self._attempt.first_byte = self._client.context.now()

    def begin(self, head: ResponseHead, data: bytes) -> None:
        """The final answer: its head, and what came behind it, are to be sent."""
        added = self._forwarding.answered(head.status)
        client, reader = self._client, reader_for(head.length)
        content = self._content(reader, data)
        until_close = head.length < 0 and client.is_1_0
        self.client_stays = client.stays_open()
        if not self.client_stays:
            added += b"Connection: close\r\n"
        client.head_sent, client.ends_by_close = True, until_close
        self._exchange.status = head.status
        first = head.to_client(self._client.context.date.now(), head.framing(client.is_1_0), added)
        self._frame = as_it_is if head.length >= 0 or until_close else framed
        self._final, self._reader = head, reader
        self._unsent: bytes | memoryview = first + self._frame(reader, content)

    def send_now(self) -> bool:
        """Send what is to be sent, without waiting. True if that was all, and the client stays."""
        self._unsent = self._client.send_now(self._unsent) or b""
        return self._reader.done and self.client_stays and not self._unsent

    @property
    def wire_stays(self) -> bool:
        """The answer was the last that its sender said, and it did not say that it would close."""
        assert self._final is not None
        return self._final.keep_alive and not self._reader.rest

    async def _send_final(self) -> None:
        client, reader = self._client, self._reader
        if self._unsent:
            await client.send(self._unsent)
        if isinstance(reader, LengthReader) and reader.left >= SPLICE_FROM:
            await self._carry(reader)
        while not reader.done:
            content = await self._receive_content(reader)
            await client.send(self._frame(reader, content))

    async def _carry(self, reader: LengthReader) -> None:
        """The rest of a large body goes to the client without coming to us."""
        client, timeouts = self._client, self._client.context.timeouts
        with self._client.context.pipes.lend() as pipe:
            while not reader.done:
                client.expect(timeouts.response_idle, ResponseStalled)
                count = await self._fill(pipe, reader)
                self._exchange.response_bytes += count
                try:
                    while not pipe.drain(client.wire.sock):
                        client.expect(timeouts.send, ClientStalled)
                        await client.wire.writable()
                except OSError as exc:
                    raise ClientGone("the client closed the connection") from exc

    async def _fill(self, pipe: Pipe | Copy, reader: LengthReader) -> int:
        try:
            count = await fill(pipe, self._wire, reader.left)
        except OSError as exc:
            raise ResponseIncomplete("the backend reset the connection in the middle of its answer") from exc
        if not count:
            raise ResponseIncomplete("the backend closed the connection in the middle of its answer")
        reader.skip(count)
        return count

    async def _receive_content(self, reader: Reader) -> bytes:
        self._client.expect(self._client.context.timeouts.response_idle, ResponseStalled)
        try:
            data = await self._wire.receive()
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
        self._exchange.response_bytes += len(content)
        return content

    # -- upgrades --------------------------------------------------------------------------------------

    async def _switch(self, head: ResponseHead, data: bytes) -> None:
        """RFC 9110 section 7.8: only to a protocol that the client offered; then we only carry bytes."""
        client = self._client
        offered = {p.strip().lower() for p in self._upload.head.upgrade.split(b",")} - {b""}
        client.wants_more = False  # what it sends next may be meant for the other protocol
        if not head.upgrade or head.upgrade.lower() not in offered or self._upload.owes:
            raise UpgradeFailed("the backend switched to a protocol that was not asked for")
        added = self._forwarding.answered(head.status)
        client.head_sent, self._exchange.status = True, head.status
        upgrade = added + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        await client.send(head.to_client(b"", b"", upgrade) + data)
        early, client.buffer = client.buffer, b""
        await self._upload.send_rest(self._wire, self._upload.send_now(self._wire, early))
        self._carried(to_client=True, count=len(data))
        self._carried(to_client=False, count=len(early))
        await tunnel(client.wire, self._wire, self._client.context.pipes, self._carried)

    def _carried(self, to_client: bool, count: int) -> None:
        if to_client:
            self._exchange.response_bytes += count
        else:
            self._exchange.request_bytes += count
        self._client.expect(self._client.context.timeouts.tunnel_idle, TunnelIdle)
