"""The two sides of an exchange, as it sees them. HTTP/1 implements each once; tests do in memory.

An exchange knows neither protocol. The client's side is a source of the request's body and a sink for the
response; the backend's side is a sink for the request and a source of the response's body. Verbs that end in
`_now` never wait: what the peer does not take at once is kept by the side as `unsent`, and `flush` waits for
it. Deadlines are the exchange's business, sockets are the sides'. Both sides belong to their connections; an
exchange borrows them.
"""

from typing import Protocol

from lb.core.backend import Backend
from lb.errors import LBError
from lb.http1.fields import Identity
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.splice import Copy, Pipe
from lb.net.wire import Wire
from lb.settings.balancer_settings import Limits, Timeouts


class Source(Protocol):
    """Where a body comes from, its framing taken off."""

    received: int
    """Bytes of bodies that were waited for, framing included: what the pace of a sender is judged by."""

    @property
    def has_received_all(self) -> bool:
        """The whole message is here, `trailers` included."""
        ...

    @property
    def trailers(self) -> bytes: ...

    @property
    def raw_left(self) -> int:
        """Bytes of the body that are still to come as they are; 0 where they cannot be spliced."""
        ...

    def take_content(self) -> bytes:
        """The content that has come already."""
        ...

    async def receive_content(self) -> bytes:
        """Wait for content, which may be none; raises the LBError of its side where the body breaks off."""
        ...

    async def fill(self, pipe: Pipe | Copy) -> int:
        """Wait for content and splice it into a pipe: how many bytes. Only while there is `raw_left`."""
        ...

    def take_rest(self) -> bytes:
        """The bytes behind the message, which belong to whatever follows an upgrade."""
        ...


class Sink(Protocol):
    """Where a body goes."""

    wire: Wire
    """For tunnels, and to wait until a pipe can be drained on."""
    unsent: memoryview | None

    @property
    def takes_raw(self) -> bool:
        """Content travels as it is, so that it can be spliced."""
        ...

    def send_content_now(self, content: bytes, source: Source) -> None:
        """Send content from a source, and the end of the body behind it if the source has received all."""
        ...

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        """Send what is in a pipe; False if some of it is still there, and `wire` is not writable."""
        ...

    async def flush(self) -> None:
        """Wait until nothing is `unsent`."""
        ...


class ClientSide(Source, Sink, Protocol):
    """The client of one exchange. All that it raises are ClientErrors: the client's doing."""

    head: RequestHead
    address: str
    """The client's IP address, or "unix"."""
    identity: Identity
    """What backends are told about the client."""

    @property
    def is_untouched(self) -> bool:
        """Nothing of a final response has been sent, and nothing is sent in part."""
        ...

    @property
    def stays(self) -> bool:
        """Once the exchange is over, the client may send another request."""
        ...

    def interim_now(self, head: ResponseHead) -> None:
        """Send an interim head, unless this client takes none."""
        ...

    def respond_now(self, head: ResponseHead, added: bytes, content: bytes, source: Source) -> None:
        """Send the final head, with the field lines `added`, and content as `send_content_now` does."""
        ...

    def is_behind(self) -> bool:
        """Bytes that were sent still wait, here or in the kernel, for the client to make room."""
        ...

    def ends_requests(self) -> None:
        """What the client sends from now on is no request of this protocol."""
        ...

    def switch_now(self, head: ResponseHead, added: bytes, content: bytes) -> None:
        """Pass on a 101, and what came behind it: from here on the wire is a tunnel."""
        ...

    def end(self, why: LBError) -> None:
        """End the exchange from outside, soon and with this reason; the first reason counts."""
        ...


class BackendSide(Source, Sink, Protocol):
    """A connection to a backend, lent to one attempt. All that it raises are BackendErrors.

    A send that fails is no error by itself: the backend may have answered before, and its answer decides. It
    `takes_no_more` then, and such a connection is never used again.
    """

    limits: Limits
    """How large the heads of its responses may be; set when the connection is lent."""
    first_byte: float | None
    """When the first byte of the response came; None before."""
    takes_no_more: bool

    @property
    def can_be_kept(self) -> bool:
        """The backend took the request and gave the response whole, and wants to keep the connection."""
        ...

    def request_now(self, head: RequestHead, added: bytes, content: bytes, source: Source) -> None:
        """Send a head, with the field lines `added`, and content as `send_content_now` does."""
        ...

    async def receive_head(self) -> ResponseHead:
        """The next head of the response, an interim one or the final one."""
        ...


class BackendConnections(Protocol):
    """Lends connections to backends and takes them back (`lb.proxy.backend_side.connections`)."""

    timeouts: Timeouts
    limits: Limits

    def take(self, backend: Backend) -> BackendSide | None:
        """An idle connection that is still good, or None."""
        ...

    async def open(self, backend: Backend, within: float) -> BackendSide:
        """A new connection, in the connect timeout and in so many seconds; ConnectFailed otherwise."""
        ...

    def give(self, backend: Backend, connection: BackendSide, keep: bool) -> None:
        """Take back what was lent; `keep` says that another exchange may use it."""
        ...
