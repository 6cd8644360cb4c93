"""A wire that carries HTTP/1 messages, one at a time in each direction: the bodies of both.

What comes has its framing taken off, what goes is framed anew. The two sides of the proxy add heads, and
whose fault it is when a body breaks off (`lb.proxy.client_side`, `lb.proxy.backend_side`).
"""

from lb.errors import LBError
from lb.http1.body import BadBody, LengthReader, Reader, as_chunk, last_chunk
from lb.net.splice import Copy, Pipe, fill
from lb.net.wire import Wire
from lb.proxy.sides import Source


class Http1Stream:
    """The bodies on one wire. Its owner closes the wire; after an error the stream is of no use.

    `buffer` is what was received and not read yet, `unsent` what the peer has not taken of what was sent,
    `received` how many bytes of bodies were waited for, framing included. `_reader` takes the framing off the
    body that comes; None stands for a message without a body.
    """

    __slots__ = ("_is_chunking", "_reader", "buffer", "received", "unsent", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = b""
        self.received = 0
        self.unsent: memoryview | None = None
        self._reader: Reader | None = None
        self._is_chunking = False

    # -- the body that comes ---------------------------------------------------------------------------

    @property
    def has_received_all(self) -> bool:
        """The message that comes has been received to its end."""
        return self._reader is None or self._reader.done

    @property
    def trailers(self) -> bytes:
        """The trailer lines that may travel on, once all has been received."""
        return b"" if self._reader is None else self._reader.trailers

    def take_content(self) -> bytes:
        """The content among the bytes that have been received already."""
        if self._reader is None or self._reader.done or not self.buffer:
            return b""
        data, self.buffer = self.buffer, b""
        return self._content(data)

    async def receive_content(self) -> bytes:
        """Wait for more of the message; content, or none where only framing came. Not after its end."""
        data = await self._receive()
        self.received += len(data)
        if data:
            return self._content(data)
        assert self._reader is not None
        if not self._reader.ends_with_connection():
            raise self._broken_off("closed the connection")
        return b""

    def _content(self, data: bytes) -> bytes:
        reader = self._reader
        assert reader is not None
        try:
            content = reader.feed(data)
        except BadBody as exc:
            raise self._bad_body(exc) from exc
        if reader.done:
            self.buffer = reader.rest
        return content

    async def _receive(self) -> bytes:
        try:
            return await self.wire.receive()
        except OSError as exc:
            raise self._broken_off("reset the connection") from exc

    def _broken_off(self, how: str) -> LBError:
        """The error where the peer did this in the middle of its message."""
        raise NotImplementedError

    def _bad_body(self, exc: BadBody) -> LBError:
        """The error where the framing of the body is broken."""
        raise NotImplementedError

    # -- by pipe: the bytes of a large body never enter Python -------------------------------------------

    @property
    def raw_left(self) -> int:
        """Bytes of the body that are still to come on the wire as they are; 0 where they are framed."""
        return self._reader.left if isinstance(self._reader, LengthReader) else 0

    async def fill(self, pipe: Pipe | Copy) -> int:
        """Wait for content and splice it into a pipe: how many bytes."""
        assert isinstance(self._reader, LengthReader)
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
        """The body that goes travels on the wire as it is."""
        return not self._is_chunking

    def take_rest(self) -> bytes:
        """The bytes that were received behind the message."""
        rest, self.buffer = self.buffer, b""
        return rest

    # -- the body that goes ----------------------------------------------------------------------------

    def _framed(self, content: bytes, source: Source) -> bytes:
        """Content for the wire, with the end of the body behind it if the source has received all."""
        if not self._is_chunking:
            return content
        end = last_chunk(source.trailers) if source.has_received_all else b""
        return as_chunk(content) + end
