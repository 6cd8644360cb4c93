"""A WSGI app for a server that handles one request at a time. It reads the body first; /large is 3 MiB."""

from collections.abc import Callable, Iterable
from typing import Any

LARGE = 3 << 20


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    read = len(environ["wsgi.input"].read())
    body = bytes(LARGE) if environ["PATH_INFO"] == "/large" else b"%d\n" % read
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
