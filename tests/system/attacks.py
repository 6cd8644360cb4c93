"""What may be done to an operator's side that can be reached: each attack lasts a while, and then leaves.

They know an address and nothing else; `TOKEN` is for those that come from inside. An attack raises
AssertionError where it was let in.
"""

import os
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

import trio

TOKEN = "let-me-in"
SECONDS = 0.4
MANY = 200
PATIENCE = 0.3
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
GONE = OSError, trio.BrokenResourceError, trio.ClosedResourceError
BEARER = f"Authorization: Bearer {TOKEN}\n"
WRITES = (
    "POST /backends",
    "PUT /backends",
    "PATCH /backends/web1",
    "DELETE /backends/web1",
    "POST /backends/web1/drain",
    "POST /backends/web1/maintenance",
    "PATCH /pools/default",
    "POST /drain?exit=true",
    "POST /config/reload",
)
READS = ("/", "/backends", "/config", "/requests", "/stats", "/audit", "/metrics")
MALFORMED = (
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /\x00\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[:::/ HTTP/1.1\r\nHost: [::\r\n\r\n",
    b"GET ?a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /%ff%00/../.. HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /backends HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /backends HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /backends HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /backends HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
)
BODY_HEAD = f"POST /backends HTTP/1.1\nHost: 127.0.0.1\n{BEARER}Content-Type: application/json\n"


class Target:
    """Where the operator's side is, for whoever wants to attack it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._where = host, int(port)

    async def connect(self, buffer: int = 0) -> trio.SocketStream:
        sock = trio.socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await sock.connect(self._where)
        return trio.SocketStream(sock)

    async def says(self, *pieces: bytes, pause: float = 0) -> bytes:
        """Say this, and give what comes back by its end, or until it is silent for a while."""
        heard = b""
        with suppress(*GONE):
            async with await self.connect() as stream:
                with suppress(*GONE):
                    for piece in pieces:
                        await stream.send_all(piece)
                        await trio.sleep(pause)
                with trio.move_on_after(PATIENCE):
                    async for data in stream:
                        heard += data
        return heard

    async def asks(self, start: str, fields: str = "", body: bytes = b"") -> int:
        """One request as a client would send it; the status, or 0 where there was no place for us."""
        length = f"Content-Length: {len(body)}\n" if body or start[:3] != "GET" else ""
        host = "" if fields.startswith("Host:") else "Host: 127.0.0.1\n"
        head = f"{start} HTTP/1.1\n{host}{fields}{length}Connection: close\n\n"
        heard = await self.says(crlf(head) + body)
        return int(heard[9:12]) if heard.startswith(b"HTTP/1.1 ") else 0


Attack = Callable[[Target], Awaitable[None]]


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


async def at_once(attackers: Iterable[Callable[[], Awaitable[object]]]) -> None:
    async with trio.open_nursery() as nursery:
        for attacker in attackers:
            nursery.start_soon(attacker)


async def malformed(target: Target) -> None:
    async def one(head: bytes) -> None:
        heard = await target.says(head)
        assert heard[9:10] in (b"", b"2", b"4"), (head, heard)

    await at_once(partial(one, head) for head in MALFORMED * 4)


async def garbage(target: Target) -> None:
    chance = random.Random(1)
    pieces = [chance.randbytes(chance.randrange(1, 5000)) for _ in range(100)]
    await at_once(partial(target.says, piece) for piece in pieces)


async def tls(target: Target) -> None:
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="lb").do_handshake()
    hello = out.read()
    await at_once(lambda: target.says(hello) for _ in range(50))


async def slow_heads(target: Target) -> None:
    head = [bytes([byte]) for byte in b"GET /stats"]
    await at_once(lambda: target.says(*head, pause=SECONDS / len(head)) for _ in range(MANY))


async def slow_bodies(target: Target) -> None:
    head = crlf(f"{BODY_HEAD}Content-Length: 1000\n\n")
    pieces = [head, *[b" "] * 10]
    await at_once(lambda: target.says(*pieces, pause=SECONDS / len(pieces)) for _ in range(MANY))


async def huge_heads(target: Target) -> None:
    one_field = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1_000_000
    fields = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 100_000
    path = b"GET /" + b"x" * 500_000
    await at_once(partial(target.says, head) for head in [one_field, fields, path] * 5)


async def huge_bodies(target: Target) -> None:
    announced = crlf(f"{BODY_HEAD}Content-Length: 100000000000\n\n") + b" " * 4_000_000
    chunks = crlf(f"{BODY_HEAD}Transfer-Encoding: chunked\n\n") + b"10000\r\n%b\r\n" % (b" " * 65536) * 60
    await at_once(partial(target.says, body) for body in [announced, chunks] * 4)


async def mean_json(target: Target) -> None:
    nested = b'{"labels":' * 6000, b"[" * 60_000, b'{"url":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    large = b'{"weight":' + b"9" * 60_000 + b"}", b'{"labels":{' + b'"a":"b",' * 7_000 + b'"c":"d"}}'
    strange = b'{"url":"\\ud800"}', b'{"url":"http://a","weight":1e999}', b"\xff\xfe{}", b"NaN"

    async def one(body: bytes) -> None:
        fields = f"{BEARER}Content-Type: application/json\n"
        status = await target.asks("POST /backends", fields, body)
        assert status in (0, 400, 413, 415, 422), (status, body[:50])

    await at_once(partial(one, body) for body in (*nested, *large, *strange) * 3)


async def cross_site(target: Target) -> None:
    foreign = "Origin: http://evil.example\n", "Origin: null\n", "Sec-Fetch-Site: cross-site\n"

    async def one(start: str, fields: str) -> None:
        assert await target.asks(start, fields + BEARER, b"{}") in (0, 403), (start, fields)

    await at_once(partial(one, start, fields) for start in WRITES for fields in foreign)


async def rebinding(target: Target) -> None:
    async def one(start: str) -> None:
        status = await target.asks(start, f"Host: evil.example\nOrigin: http://evil.example\n{BEARER}")
        assert status in (0, 421), (start, status)

    await at_once(partial(one, start) for start in (*WRITES, *(f"GET {path}" for path in READS)))


async def tokens(target: Target) -> None:
    async def one(number: int) -> None:
        given = f"{TOKEN[:-1]}{number}" if number % 2 else "x" * number * 20
        start = WRITES[number % len(WRITES)]
        assert await target.asks(start, f"Authorization: Bearer {given}\n", b"{}") in (0, 401), start

    await at_once(partial(one, number) for number in range(MANY))


async def silent_readers(target: Target) -> None:
    async def one() -> None:
        with suppress(*GONE):
            async with await target.connect(buffer=2048) as stream:
                await stream.send_all(crlf(f"GET /events HTTP/1.1\nHost: 127.0.0.1\n{BEARER}\n"))
                await trio.sleep(2 * SECONDS)

    await at_once(one for _ in range(100))


async def resets(target: Target) -> None:
    async def one(number: int) -> None:
        with suppress(*GONE):
            stream = await target.connect()
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            async with stream:
                says = crlf(f"GET /stats HTTP/1.1\nHost: 127.0.0.1\n{BEARER}\n")
                await stream.send_all(says[: number % (len(says) + 1)])

    for _ in range(3):
        await at_once(partial(one, number) for number in range(MANY))


async def hammering(target: Target) -> None:
    """By somebody who has a token, and asks for what is dear."""
    dear = (
        ("GET /requests?limit=1000", b""),
        ("POST /whatif", b'{"remove":["web1"]}'),
        ("GET /metrics", b""),
        ("GET /stats", b""),
    )
    json = f"{BEARER}Content-Type: application/json\n"

    async def one(number: int) -> None:
        with trio.move_on_after(SECONDS):
            while True:
                start, body = dear[number % len(dear)]
                await target.asks(start, json if body else BEARER, body)

    await at_once(partial(one, number) for number in range(8))


ALL: tuple[Attack, ...] = (
    malformed,
    garbage,
    tls,
    slow_heads,
    slow_bodies,
    huge_heads,
    huge_bodies,
    mean_json,
    cross_site,
    rebinding,
    tokens,
    silent_readers,
    resets,
    hammering,
)


def environment() -> dict[str, str]:
    """Of a program whose token is `TOKEN`."""
    return {**os.environ, "LB_ADMIN_TOKEN": TOKEN}
