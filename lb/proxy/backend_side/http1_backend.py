"""A connection to a backend that speaks HTTP/1.1 (`lb.proxy.sides.BackendSide`)."""

from collections.abc import Callable

from lb.errors import BadResponse, ConnectionTerminated, ResponseIncomplete, TlsRefused
from lb.http1.body import CHUNKED, BadBody, reader_for
from lb.http1.head_reader import ResponseHeadReader, recognise_whole_response
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.plain_wire import PlainWire
from lb.net.splice import Copy, Pipe
from lb.net.wire import Wire
from lb.net.wire_errors import Refused
from lb.proxy.backend_side.terms import Terms
from lb.proxy.http1_stream import Http1Stream
from lb.proxy.sides import Source
from lb.settings.balancer_settings import Limits


class Http1Backend(Http1Stream):
    """One connection, which carries one exchange after the other; `Connections` owns and closes it.

    `name` is the backend's id, for error messages. `now` is Trio's clock. `limits` may be replaced between
    exchanges. `terms` say how long it may be kept, and hear what the responses say of that.
    `_has_undrained`: the request's body was left in a pipe in part.
    """

    __slots__ = (
        "_has_undrained",
        "_heads",
        "_method",
        "_name",
        "_now",
        "_response",
        "first_byte",
        "limits",
        "takes_no_more",
        "terms",
        "was_reset",
    )

    def __init__(self, wire: Wire, name: str, limits: Limits, now: Callable[[], float], terms: Terms) -> None:
        super().__init__(wire)
        self.terms = terms
        self.limits = limits
        self._name = name
        self._now = now
        self._reset(b"")

    def _reset(self, method: bytes) -> None:
        self._method = method
        self._heads: ResponseHeadReader | None = None
        self._response: ResponseHead | None = None
        self._reader = None
        self._is_chunking = self._has_undrained = False
        self.first_byte: float | None = None
        self.takes_no_more = self.was_reset = False

    @property
    def can_be_kept(self) -> bool:
        response = self._response
        if response is None or not response.keep_alive or response.status < 200:
            return False
        if self.takes_no_more or self._has_undrained or self.unsent is not None:
            return False
        return (self._reader is None or self._reader.done) and not self.buffer

    # -- the request -------------------------------------------------------------------------------------

    def request_now(self, head: RequestHead, added: bytes, content: bytes, source: Source) -> None:
        self._reset(head.method)
        data = head.to_backend(added)
        if head.length:
            self._is_chunking = head.length == CHUNKED
            data += self._framed(content, source)
        self._send_now(data)

    def send_content_now(self, content: bytes, source: Source) -> None:
        assert self.unsent is None
        self._send_now(self._framed(content, source))

    def _send_now(self, data: bytes) -> None:
        try:
            self.wire.send_now(data)
        except OSError as exc:
            self._send_failed(exc)

    def _send_failed(self, exc: OSError) -> None:
        """The kernel reports a reset once, to whichever call comes first; a receive sees a mere end then."""
        self.takes_no_more = True
        self.was_reset = self.was_reset or isinstance(exc, ConnectionResetError)

    async def flush(self) -> None:
        if self.unsent is not None:
            try:
                await self.wire.flush()
            except OSError as exc:
                self._send_failed(exc)
                self.wire.unsent = None

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        assert isinstance(self.wire, PlainWire)
        try:
            is_empty = pipe.drain(self.wire)
        except OSError as exc:
            self._send_failed(exc)
            is_empty = True
        self._has_undrained = not is_empty
        return is_empty

    # -- the response ------------------------------------------------------------------------------------

    def recognise(self, data: bytes) -> ResponseHead | None:
        """For the fast path: the final head, if `data` begins with a whole one that is plain.

        None otherwise, and nothing has changed then: the caller puts `data` back with `Wire.unread`.
        """
        limits = self.limits
        found = recognise_whole_response(data, self._method, limits.response_head, limits.fields)
        if found is None:
            return None
        self.first_byte = self._now()
        return self._begin_response(*found)

    async def receive_head(self) -> ResponseHead:
        data = self.take_rest()
        if self._heads is None:
            data = data or await self._receive_of_head()
            limits = self.limits
            found = recognise_whole_response(data, self._method, limits.response_head, limits.fields)
            if found is not None:
                return self._begin_response(*found)
            self._heads = ResponseHeadReader(
                self._method, head_limit=limits.response_head, field_limit=limits.fields
            )
        while (found := self._heads.feed(data)) is None:
            data = await self._receive_of_head()
        return self._begin_response(*found)

    async def _receive_of_head(self) -> bytes:
        try:
            data = await self.wire.receive()
        except Refused as exc:
            why = f"{self._name} refused the TLS handshake: {exc.strerror}"
            raise TlsRefused(why) from exc
        except OSError:
            data, self.was_reset = b"", True
        if data and self.first_byte is None:
            self.first_byte = self._now()
        elif not data and self.first_byte is None:
            raise ConnectionTerminated(f"{self._name} closed the connection without an answer")
        elif not data:
            raise ResponseIncomplete(f"{self._name} closed the connection in the head of its answer")
        return data

    def _begin_response(self, head: ResponseHead, behind: bytes) -> ResponseHead:
        self._response, self.buffer = head, behind
        if head.length and head.status >= 200:
            self._reader = reader_for(head.length, is_strict=False)
        if head.offer is not None:
            self.terms.hear(head.offer)
        return head

    def _broken_off(self, how: str) -> ResponseIncomplete:
        return ResponseIncomplete(f"the backend {how} in the middle of its answer")

    def _bad_body(self, exc: BadBody) -> BadResponse:
        return BadResponse(f"the body of the answer: {exc}")
