"""A WSGI origin that counts: `GET /count` says how many other requests there were, and for what."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

SEEN: Counter[str] = Counter()
LOCK = threading.Lock()


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/count":
        body = json.dumps(SEEN).encode()
    else:
        with LOCK:
            SEEN[path] += 1
        body = b"seen\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
