"""/events: what happens, as server-sent events for as long as the client reads them.

`admin.event_publisher` publishes the events, and `lb.observe.event_feed` keeps them and hands them out. Here
is the stream of one reader. It runs in the task of its request: when the client leaves that task is
cancelled, and `__aexit__` removes the reader from the feed. The stream ends by itself when the feed closes,
so a stop does not wait for it, and when its client is too slow: its queue was full, or the socket took
STALLED_SECONDS for one chunk.
"""

from math import inf
from types import TracebackType

import msgspec
import trio
from quart import Response
from quart.wrappers.response import ResponseBody

from admin.input.parameters import WORD, text
from admin.protocol.call import Call
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import Problem
from admin.views.event_json import (
    BackendEvent,
    BalancerEvent,
    CertificateChanged,
    ConfigEvent,
    DrainEvent,
    FailedEvent,
    RenewalTold,
    WorkerProcessEvent,
)
from admin.views.stats_json import Stats
from admin.views.trouble_json import TroubleEvent
from lb.control import Control
from lb.observe.event_feed import Feed, Reader

TYPES = (
    *("stats", "backend", "health", "drain", "config", "balancer", "worker", "certificate", "renewal"),
    "trouble",
    "request_failed",
)
PING_SECONDS = 15.0
"""A proxy on the way may close a stream that is silent for a minute, and only a send finds a dead client."""
STALLED_SECONDS = 3.0
"""As long as a send may take before `admin.transport.bounded_stream` closes the connection."""
HELLO = b": events of this balancer\nretry: 2000\n\n"
PING = b": ping\n\n"


class Missed(msgspec.Struct, kw_only=True):
    """`missed`: not all events that followed the event `after` are kept any more."""

    after: str


class Ending(msgspec.Struct, kw_only=True):
    """`ending`: the last event, and why the stream ends."""

    why: str


SENT: tuple[type[msgspec.Struct], ...] = (
    Stats,
    BackendEvent,
    DrainEvent,
    ConfigEvent,
    BalancerEvent,
    WorkerProcessEvent,
    CertificateChanged,
    RenewalTold,
    TroubleEvent,
    FailedEvent,
    Missed,
    Ending,
)
"""What the field `data` of an event may have."""


def event_types(value: object) -> frozenset[str]:
    """A reader of `health,drain`."""
    wanted = [word.strip() for word in text(value).split(",")]
    if unknown := [word for word in wanted if word not in TYPES]:
        raise ValueError(f"there is no type {unknown[0]!r}; there are: {', '.join(TYPES)}")
    return frozenset(wanted)


SOME_TYPE = f"({'|'.join(TYPES)})"
SOME_TYPES = {**WORD, "pattern": f"^{SOME_TYPE}( *, *{SOME_TYPE})*$", "examples": ["health,drain"]}
ONLY = Parameter("types", "only these, separated by commas", event_types, SOME_TYPES)
AFTER = Parameter("last_event_id", "tell what came behind this one; as Last-Event-ID", text, WORD)


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def events(call: Call) -> Response:
        wanted, after = call.get(ONLY) or frozenset(TYPES), _seen_last(call)
        if control.feed.is_full:
            raise Problem("too-many-readers", headers={"Retry-After": "5"})
        is_head = call.request.method == "HEAD"
        body = b"" if is_head else Stream(control.feed, wanted, after)
        response = Response(body, content_type="text/event-stream")
        response.headers.pop("Content-Length", None)  # for HEAD it would be that of an empty GET
        response.headers["X-Accel-Buffering"] = "no"  # otherwise nginx buffers events
        response.timeout = None
        return response

    return (
        Operation(
            method="GET",
            path="/events",
            summary="what happens, as server-sent events: ?types=health,drain",
            handler=events,
            parameters=(ONLY, AFTER),
            answers={200: "Server-sent events; the field `event` says which of these `data` is."},
            event_types=SENT,
            problems=(503,),
        ),
    )


def _seen_last(call: Call) -> str | None:
    """The id of the last event that the client saw: a browser that reconnects sends it as a field."""
    return call.request.headers.get("Last-Event-ID") or call.get(AFTER) or None


class Stream(ResponseBody):
    """The body of one answer: the events of these types, from now on or from behind the event `after`."""

    def __init__(self, feed: Feed, wanted: frozenset[str], after: str | None) -> None:
        self._feed = feed
        self._wanted = wanted
        self._after = after
        self._said_hello = False
        self._sending_since = inf
        self._reader = Reader(wanted, b"")

    async def __aenter__(self) -> "Stream":
        self._reader = self._feed.join(self._wanted, self._after)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException], exc_value: BaseException, tb: TracebackType
    ) -> None:
        self._drop_if_stalled()
        self._feed.leave(self._reader)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        if self._reader.is_over:
            raise StopAsyncIteration
        self._drop_if_stalled()
        self._sending_since = inf
        chunk = await self._next() if self._said_hello else HELLO
        self._said_hello = True
        self._sending_since = trio.current_time()
        return chunk

    async def _next(self) -> bytes:
        with trio.move_on_after(PING_SECONDS):
            await self._reader.wait()
            return self._reader.take()
        return PING

    def _drop_if_stalled(self) -> None:
        """A chunk is being sent from when it is handed out until the next one is asked for."""
        if trio.current_time() - self._sending_since >= STALLED_SECONDS:
            self._feed.drop(self._reader)
