"""The two sides of an exchange, as interfaces. HTTP/1 implements each once, and tests do so in memory.

An exchange knows no protocol. The client's side is the source of the request's body and the sink of the
response. The backend's side is the sink of the request and the source of the response's body.

Two tasks may use the sides at once. The upload receives from the client and sends to the backend; the
download receives from the backend and sends to the client. So one task at a time receives from a side, and
one sends to it. Methods that end in `_now` never wait. They may be called only while nothing is `unsent`, and
what the peer does not take at once is `unsent` then, until `flush` has sent it. Methods that wait have no
timeout: the exchange sets its deadlines. The exchange borrows both sides and closes neither.
"""

from typing import Protocol

from lb.core.backend import Backend
from lb.errors import LBError
from lb.http1.forwarded_fields import ForwardedFields
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.net.splice import Copy, Pipe
from lb.net.wire import Wire
from lb.settings.balancer_settings import Limits, Timeouts


class Source(Protocol):
    """Where a body comes from, without its framing. Used by the task that receives from this side."""

    received: int
    """Bytes that `receive_content` received, framing included: the pace of a sender is measured with it."""

    @property
    def has_received_all(self) -> bool:
        """The message has been received to its end, `trailers` included. May be asked at any time."""
        ...

    @property
    def trailers(self) -> bytes:
        """The trailer lines that may be forwarded; complete once `has_received_all`."""
        ...

    @property
    def raw_left(self) -> int:
        """Bytes of the body still to come without framing; 0 where they cannot be spliced."""
        ...

    def take_content(self) -> bytes:
        """The content that has been received already, or b"". After the head, before `receive_content`."""
        ...

    async def receive_content(self) -> bytes:
        """Wait for content, which may be b"". Raises an LBError of this side where the body breaks off.

        Only while the message has not `has_received_all`.
        """
        ...

    def more_content_now(self) -> bytes | None:
        """What `receive_content` would return next, if it is there already; None where it is not."""
        ...

    async def fill(self, pipe: Pipe | Copy) -> int:
        """Wait for content and splice it into an empty pipe: how many bytes. Only while `raw_left`."""
        ...

    def take_rest(self) -> bytes:
        """The bytes received behind the message: the first ones of a tunnel. Only for an upgrade."""
        ...


class Sink(Protocol):
    """Where a body is sent. Used by the task that sends to this side."""

    wire: Wire
    """For tunnels, and to wait until `drain_now` can go on."""

    @property
    def unsent(self) -> memoryview | None:
        """Bytes that the peer has not taken yet. Only `flush` may follow while there are any."""
        ...

    @property
    def takes_raw(self) -> bool:
        """The body being sent has no framing, so it can be spliced. After its head was sent."""
        ...

    def send_content_now(self, content: bytes, source: Source) -> None:
        """Send content that came from `source`, and the end of the body if the source `has_received_all`."""
        ...

    def drain_now(self, pipe: Pipe | Copy) -> bool:
        """Send what is in a pipe. False if some of it is left: call again once `wire` is writable."""
        ...

    async def flush(self) -> None:
        """Wait until nothing is `unsent`. Cancelled, it leaves the side fit only for being closed."""
        ...


class ClientSide(Source, Sink, Protocol):
    """The client of one exchange. Every error that it raises is a ClientError.

    Bytes may be held for it. `flush` waits until the client takes more, so that the caller can set the next
    deadline: when it returns, some of what was `unsent` or held may be `unsent` still. It may be cancelled,
    and called again.
    """

    head: RequestHead
    address: str
    """The client's IP address, or "unix"."""
    identity: ForwardedFields
    """What backends are told about the client, in fields such as X-Forwarded-For."""

    @property
    def is_untouched(self) -> bool:
        """Nothing of a final response has been sent and nothing is `unsent`: an error answer is possible."""
        ...

    @property
    def stays(self) -> bool:
        """The connection goes on: another request may follow. Known after `respond_now`."""
        ...

    def interim_now(self, head: ResponseHead) -> None:
        """Send an interim head (1xx), unless the client speaks HTTP/1.0. Before `respond_now`, any number."""
        ...

    def respond_now(self, head: ResponseHead, added: bytes, content: bytes, source: Source) -> None:
        """Send the final head, with the field lines `added`, and content as `send_content_now` does. Once."""
        ...

    def add_content_now(self, content: bytes, source: Source) -> None:
        """Like `send_content_now`, also while something is `unsent`: the content is held then."""
        ...

    @property
    def held(self) -> int:
        """Bytes that wait for the client here: those that are `unsent`, and those held behind them."""
        ...

    def is_behind(self) -> bool:
        """Some bytes of the response are `unsent`, or in the kernel and not acknowledged by the client."""
        ...

    def ends_requests(self) -> None:
        """No request follows on this connection: the client may already speak another protocol."""
        ...

    def switch_now(self, head: ResponseHead, added: bytes, content: bytes) -> None:
        """Send a 101 with the bytes behind it, in place of `respond_now`.

        The wire is a tunnel from then on.
        """
        ...

    def end(self, why: LBError) -> None:
        """Cancel the exchange for this reason; the first reason counts. May be called from any task."""
        ...


class BackendSide(Source, Sink, Protocol):
    """A connection to a backend, lent to one attempt. Every error that it raises is a BackendError.

    A send that fails raises nothing, because the backend may have answered early, and its answer decides (RFC
    9112 section 9.3). The connection `takes_no_more` then; and it is not kept.
    """

    limits: Limits
    """Bounds for the heads of its responses; set when the connection is lent."""
    first_byte: float | None
    """When the first byte of the response came, on Trio's clock; None before."""
    was_reset: bool
    """The connection broke before the head of the response, where a backend that gives up closes it."""
    takes_no_more: bool
    """A send has failed since `request_now`."""

    @property
    def can_be_kept(self) -> bool:
        """Request and response have ended and the backend keeps the connection open.

        Asked when it is given back.
        """
        ...

    def request_now(self, head: RequestHead, added: bytes, content: bytes, source: Source) -> None:
        """Send a head, with the field lines `added`, and content as `send_content_now` does. Once."""
        ...

    async def receive_head(self) -> ResponseHead:
        """Wait for the next head, an interim or the final one.

        After `request_now`; not after a final head.
        """
        ...


class Borrower(Protocol):
    """The exchange that a connection is lent to."""

    @property
    def can_be_sent_again(self) -> bool:
        """The request may meet the end of an idle connection: it is all there, and may be sent twice."""
        ...

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """The addresses and ports of the client's connection: its own, and the one that it had connected to.

        A PROXY header that came on it may have said that. UNIX and 0 stand for a Unix socket.
        """
        ...


class BackendConnections(Protocol):
    """Lends connections to backends and takes them back (`lb.proxy.backend_side.connections`)."""

    timeouts: Timeouts
    limits: Limits

    def take(self, backend: Backend, borrower: Borrower) -> BackendSide | None:
        """Lend an idle connection that is still open, or None. The borrower has to `give` it back.

        One that its backend is about to close is not lent to a request that cannot be sent again.
        """
        ...

    async def open(self, backend: Backend, within: float, borrower: Borrower) -> BackendSide:
        """Lend a new connection. Takes at most the connect timeout, and `within` seconds.

        Raises ConnectFailed, or a subclass, and lends nothing then.
        """
        ...

    def give(self, backend: Backend, connection: BackendSide, keep: bool) -> None:
        """Take back what was lent. It is closed unless `keep` is set. Once for each loan; never waits."""
        ...
