"""Clients that upload: `uploaders.py CLIENT URL BYTES TIMES` prints the status of each response on a line.

Each upload has a connection of its own. `raw` is the strictest of them: it sends everything, as blocking
clients in C and Go's net/http with a short body do, and reads only then.
"""

import http.client
import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp
import anyio
import httpx
import requests


def by_http_client(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("POST", parts.path or "/", body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def by_requests(url: str, body: bytes) -> int:
    return requests.post(url, body, timeout=60).status_code


def by_httpx(url: str, body: bytes) -> int:
    return httpx.post(url, content=body, timeout=60).status_code


def by_aiohttp(url: str, body: bytes) -> int:
    async def post() -> int:
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
            await response.read()
            return response.status

    return anyio.run(post, backend="asyncio")


def by_raw(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as sock:
        sock.sendall(
            b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (parts.path.encode(), len(body))
        )
        sock.sendall(body)
        with sock.makefile("rb") as answer:
            return int(answer.readline().split()[1])


CLIENTS: dict[str, Callable[[str, bytes], int]] = {
    "http.client": by_http_client,
    "requests": by_requests,
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "raw": by_raw,
}

if __name__ == "__main__":
    client, target, size, times = sys.argv[1:]
    for _ in range(int(times)):
        try:
            print(CLIENTS[client](target, bytes(int(size))))
        except Exception as exc:
            print(type(exc).__name__, exc)
