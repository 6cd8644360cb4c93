"""/events: what happens, as server-sent events for as long as the client reads them.

What is told stands in `admin.resources.event_stream`, how it is kept and handed out in
`lb.observe.event_feed`. Here is one reader's stream. It lives in the task of its request: a client that
leaves cancels that, and `__aexit__` takes the reader off the feed. It ends by itself when the feed closes, so
that no stop waits for it, and when its client was too slow: either its queue was full, or the socket took
STALLED_SECONDS for what we gave it.
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
from admin.views.event_json import BackendEvent, BalancerEvent, ConfigEvent, DrainEvent, FailedEvent
from admin.views.stats_json import Stats
from lb.control import Control
from lb.observe.event_feed import Feed, Reader

TYPES = ("stats", "backend", "health", "drain", "config", "balancer", "request_failed")
PING_SECONDS = 15.0
"""Proxies between us and the reader close what is silent for a minute or less; nor would a reset show."""
STALLED_SECONDS = 3.0
"""As long as a send may take before `admin.transport.bounded_stream` closes the connection."""
HELLO = b": events of this balancer\nretry: 2000\n\n"
PING = b": ping\n\n"


class Missed(msgspec.Struct, kw_only=True):
    """`missed`: of what came behind the event `after`, not all is kept any more."""

    after: str


class Ending(msgspec.Struct, kw_only=True):
    """`ending`: nothing more follows, and why."""

    why: str


def types(value: object) -> frozenset[str]:
    """A reader of `health,drain`."""
    wanted = [word.strip() for word in text(value).split(",")]
    if unknown := [word for word in wanted if word not in TYPES]:
        raise ValueError(f"there is no type {unknown[0]!r}; there are: {', '.join(TYPES)}")
    return frozenset(wanted)


SOME_TYPE = f"({'|'.join(TYPES)})"
SOME_TYPES = {**WORD, "pattern": f"^{SOME_TYPE}( *, *{SOME_TYPE})*$", "examples": ["health,drain"]}
ONLY = Parameter("types", "only these, separated by commas", types, SOME_TYPES)
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
        response.headers.pop("Content-Length", None)  # of a HEAD it would speak of an empty GET
        response.headers["X-Accel-Buffering"] = "no"  # nginx would gather them
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
            event_types=(
                Stats,
                BackendEvent,
                DrainEvent,
                ConfigEvent,
                BalancerEvent,
                FailedEvent,
                Missed,
                Ending,
            ),
            problems=(503,),
        ),
    )


def _seen_last(call: Call) -> str | None:
    """A browser that reconnects says it in the field; its address stays what it was at first."""
    return call.request.headers.get("Last-Event-ID") or call.get(AFTER) or None


class Stream(ResponseBody):
    """The body of the answer to one reader."""

    def __init__(self, feed: Feed, types: frozenset[str], after: str | None) -> None:
        self._feed = feed
        self._types = types
        self._after = after
        self._said_hello = False
        self._sending_since = inf
        self._reader = Reader(types, b"")

    async def __aenter__(self) -> "Stream":
        self._reader = self._feed.join(self._types, self._after)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException], exc_value: BaseException, tb: TracebackType
    ) -> None:
        self._look_whether_stalled()
        self._feed.leave(self._reader)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        if self._reader.is_over:
            raise StopAsyncIteration
        self._look_whether_stalled()
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

    def _look_whether_stalled(self) -> None:
        """From when a chunk is handed out until the next one is asked for it is being sent."""
        if trio.current_time() - self._sending_since >= STALLED_SECONDS:
            self._feed.drop(self._reader)
