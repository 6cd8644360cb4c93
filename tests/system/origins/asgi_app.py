"""An ASGI origin that counts: `GET /count` says how many other requests there were, and for what."""

import json
from collections import Counter
from typing import Any

SEEN: Counter[str] = Counter()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = b"seen\n"
    if scope["path"] == "/count":
        body = json.dumps(SEEN).encode()
    else:
        SEEN[scope["path"]] += 1
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
