"""Hypercorn's connection, bound to HTTP/1.1, and the app that it calls, shielded while it sends.

Hypercorn switches to HTTP/2 for every client that asks, and has no setting against it.
"""

import logging
from urllib.parse import urlsplit

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Event, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from quart.wrappers import base as quart_base

from admin.transport.admission import Place
from admin.transport.bounded_stream import LINGER_SECONDS, SEND_SECONDS

IDLE_SECONDS = 15
CLIENT_LEFT: type[Exception] = getattr(quart_base, "ClientDisconnectedError", trio.BrokenResourceError)
"""Quart 0.23 raises it on an answer to a client that has left; before that Quart raised nothing."""


def settings() -> HypercornConfig:
    """What hypercorn has settings for.

    `read_timeout` would also run while a client waits for its answer, or reads events. The other waits have
    limits already: an idle connection that of `keep_alive_timeout`, a body one in the app, a wait that the
    API grants the one that was asked for.
    """
    config = HypercornConfig()
    config.alpn_protocols = ["http/1.1"]
    config.read_timeout = None
    config.keep_alive_timeout = IDLE_SECONDS
    config.include_server_header = False
    config.errorlog = logging.getLogger("admin.hypercorn")
    return config


class Connection(TCPServer):
    """Hypercorn's connection, bound to HTTP/1.1, which ends as soon as its client has left.

    Hypercorn's idle task would keep the place and the descriptor of that client for IDLE_SECONDS. So it is
    stopped, and not started again by an answer that is completed after that. `place` is told when the
    connection waits for its next request.
    """

    _has_ended = False
    place: Place | None = None

    async def _read_data(self) -> None:
        self.protocol.protocol._check_protocol = stay_with_http1  # type: ignore[union-attr, method-assign]
        await super()._read_data()
        self._has_ended = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            if event.idle and self.place is not None:
                self.place.ends()
            if self._has_ended:
                return
        await super().protocol_send(event)


async def stay_with_http1(event: h11.Request) -> None:
    """Replaces the look for `Upgrade: h2c`, which RFC 9110 section 7.8 lets us ignore."""


def shielded(app: ASGIFramework) -> ASGIFramework:
    """The app, with each send shielded from cancellation, for a limited time.

    quart-trio cancels the sending task as soon as the answer is complete, while hypercorn is closing the
    connection. Without the shield a client that waits for EOF (`Connection: close`, HTTP/1.0) gets none.
    """

    async def shield(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_through(message: ASGISendEvent) -> None:
            with trio.move_on_after(SEND_SECONDS + LINGER_SECONDS, shield=True):
                await send(message)

        if scope["type"] == "http" and not can_be_split(scope["path"]):
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif scope["type"] == "http":
            try:
                await app(scope, receive, send_through)
            except* CLIENT_LEFT:
                pass  # the client has left, so there is nothing to answer
        else:  # a WebSocket; hypercorn makes it a 403
            await send({"type": "websocket.close", "code": 1000, "reason": None})

    return shield


def can_be_split(target: str) -> bool:
    """Whether Quart can take the path out of this target; of one in absolute form it may fail to."""
    try:
        return target.startswith("/") or bool(target and urlsplit(target))
    except ValueError:
        return False
