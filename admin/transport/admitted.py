"""The app, as one connection calls it: its place is told how far each request has come."""

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope

from admin.resources.healthz import PROBES
from admin.transport.admission import Place

REFUSED = [(b"content-length", b"0"), (b"retry-after", b"1"), (b"connection", b"close")]
FRAMING = frozenset((b"content-length", b"transfer-encoding"))


def admitted(app: ASGIFramework, place: Place) -> ASGIFramework:
    """The app for the requests of the connection that has this place. 503 where it cannot be served now."""

    async def admit(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def receive_through() -> ASGIReceiveEvent:
            message = await receive()
            if message["type"] == "http.request" and not message["more_body"]:
                place.is_whole()
            return message

        if scope["type"] == "http":
            if not place.begins(is_probe=scope["path"] in PROBES):
                await send({"type": "http.response.start", "status": 503, "headers": REFUSED})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if not any(name.lower() in FRAMING for name, _ in scope["headers"]):
                place.is_whole()
        await app(scope, receive_through, send)

    return admit
