"""A wire that carries HTTP/1 messages, one at a time in each direction: how their bodies are framed.

The framing of a received body is removed, and a body that is sent is framed anew (RFC 9112 section 7). The
subclasses in `lb.proxy.client_side` and `lb.proxy.backend_side` add the heads, and the errors: whose fault it
is when a body breaks off.
"""

import trio

from lb.errors import LBError
from lb.http1.body import BadBody, LengthReader, Reader, as_chunk, last_chunk
from lb.net.plain_wire import PlainWire
from lb.net.splice import Copy, Pipe, fill
from lb.net.wire import RECEIVE_SIZE, Wire
from lb.proxy.sides import Source


class Http1Stream:
    """The bodies on one wire. The stream's owner closes the wire; after an error it can only be closed.

    `buffer` holds bytes that were received and not parsed yet. `received` counts the bytes that
    `receive_content` received, framing included. `_reader` removes the framing of the body being received;
    None stands for a message without a body.
    """

    __slots__ = ("_is_chunking", "_reader", "buffer", "received", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = b""
        self.received = 0
        self._reader: Reader | None = None
        self._is_chunking = False

    @property
    def unsent(self) -> memoryview | None:
        """Bytes that the kernel has not taken yet; nothing else may be sent before `flush`."""
        return self.wire.unsent

    # -- the body being received -------------------------------------------------------------------------

    @property
    def has_received_all(self) -> bool:
        """The message being received has ended."""
        return self._reader is None or self._reader.done

    @property
    def trailers(self) -> bytes:
        """The trailer lines that may be forwarded. Complete once `has_received_all`."""
        return b"" if self._reader is None else self._reader.trailers

    def take_content(self) -> bytes:
        """The content in the buffer; b"" where there is none. Raises as `receive_content` does.

        Never waits.
        """
        if self._reader is None or self._reader.done or not self.buffer:
            return b""
        data, self.buffer = self.buffer, b""
        return self._content(data)

    async def receive_content(self) -> bytes:
        """Wait for more content; b"" where only framing came. Not once `has_received_all`.

        Raises the LBError of the subclass where the body breaks off or its framing is broken. The caller sets
        the deadline.
        """
        assert not self.has_received_all
        if self.buffer:  # the reader has stopped in the middle of it, so that others get their turn
            await trio.lowlevel.checkpoint()
            return self.take_content()
        data = await self._receive()
        self.received += len(data)
        if data:
            return self._content(data)
        assert self._reader is not None
        if not self._reader.ends_with_connection():
            raise self._broken_off("closed the connection")
        return b""

    def more_content_now(self) -> bytes | None:
        """What `receive_content` would return next, if it is there: b"" where only framing came, else None.

        Raises as `receive_content` does. An end is left to that.
        """
        wire = self.wire
        if self.has_received_all or self.buffer or not (wire.is_ready and wire.can_be_watched):
            return None
        try:
            data = wire.take(RECEIVE_SIZE)
        except OSError as exc:
            raise self._broken_off("reset the connection") from exc
        if not data:
            return None
        self.received += len(data)
        return self._content(data)

    def _content(self, data: bytes) -> bytes:
        reader = self._reader
        assert reader is not None
        try:
            content = reader.feed(data)
        except BadBody as exc:
            raise self._bad_body(exc) from exc
        self.buffer = reader.rest
        return content

    async def _receive(self) -> bytes:
        try:
            return await self.wire.receive()
        except OSError as exc:
            raise self._broken_off("reset the connection") from exc

    def _broken_off(self, how: str) -> LBError:
        """The error where the peer `how` ("closed the connection") in the middle of its message."""
        raise NotImplementedError

    def _bad_body(self, exc: BadBody) -> LBError:
        """The error where the framing of the body is invalid."""
        raise NotImplementedError

    # -- by pipe: the bytes of a large body do not enter Python ------------------------------------------

    @property
    def raw_left(self) -> int:
        """Bytes of the body still to come without framing; 0 where it is chunked, or comes in TLS records."""
        if isinstance(self._reader, LengthReader) and isinstance(self.wire, PlainWire):
            return self._reader.left
        return 0

    async def fill(self, pipe: Pipe | Copy) -> int:
        """Wait for content and splice it into an empty pipe: how many bytes. Only while `raw_left`.

        Raises as `receive_content` does; the caller sets the deadline.
        """
        assert isinstance(self._reader, LengthReader)
        assert isinstance(self.wire, PlainWire)
        try:
            count = await fill(pipe, self.wire, self._reader.left)
        except OSError as exc:
            raise self._broken_off("reset the connection") from exc
        if not count:
            raise self._broken_off("closed the connection")
        self._reader.skip(count)
        return count

    @property
    def takes_raw(self) -> bool:
        """The body being sent has no framing, and goes out without TLS, so it may be spliced."""
        return not self._is_chunking and isinstance(self.wire, PlainWire)

    def take_rest(self) -> bytes:
        """Take the whole buffer: bytes behind the last message, or behind a head that switches protocols."""
        rest, self.buffer = self.buffer, b""
        return rest

    # -- the body being sent ---------------------------------------------------------------------------

    def _framed(self, content: bytes, source: Source) -> bytes:
        """Content as it is sent, with the end of the body behind it if the source has received all."""
        if not self._is_chunking:
            return content
        end = last_chunk(source.trailers) if source.has_received_all else b""
        return as_chunk(content) + end
