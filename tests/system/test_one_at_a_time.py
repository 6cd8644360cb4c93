"""A server that handles one request at a time, as gunicorn's sync worker does, and clients that are slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import httpx
import trio

from tests.system.origins.one_at_a_time import LARGE
from tests.system.program import Program, backend_flags, program
from tests.system.servers import free_ports, processes
from tests.system.test_origins import HERE, PYTHON

SLOW_SECONDS = 4.0
UNHINDERED_SECONDS = 2.0
"""More than a request beside a slow client takes on any machine, and less than one behind it would."""
UPLOAD = 40_000


@asynccontextmanager
async def balanced() -> AsyncIterator[Program]:
    [port] = free_ports(1)
    server = [*PYTHON, "gunicorn", "--log-level=critical", f"-b127.0.0.1:{port}", "one_at_a_time:app"]
    async with processes([server], [port], cwd=HERE), program(*backend_flags([port])) as lb:
        yield lb


async def longest_beside(lb: Program, until: trio.Event) -> float:
    """The longest that another client's request took, until then."""
    longest = 0.0
    async with httpx.AsyncClient(timeout=30) as client:
        while not until.is_set():
            began = perf_counter()
            assert (await client.get(lb.url)).text == "0\n"
            longest = max(longest, perf_counter() - began)
            await trio.sleep(0.05)
    return longest


async def the_record(lb: Program, method: str, target: str) -> dict[str, Any]:
    records = (await lb.api("GET", "/requests"))["items"]
    return next(each for each in records if (each["method"], each["target"]) == (method, target))


async def slow_upload(stream: trio.SocketStream) -> None:
    await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UPLOAD)
    for _ in range(10):
        await trio.sleep(SLOW_SECONDS / 10)
        await stream.send_all(bytes(UPLOAD // 10))
    answer = await stream.receive_some()
    if answer.endswith(b"\r\n\r\n"):  # gunicorn sends head and body apart, and so may they come
        answer += await stream.receive_some()
    assert answer.endswith(b"\r\n\r\n40000\n")


async def slow_download(stream: trio.SocketStream) -> None:
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 16 * 1024)
    await stream.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    received, began = 0, trio.current_time()
    while data := await stream.receive_some(32 * 1024):
        received += len(data)
        await trio.sleep_until(began + SLOW_SECONDS * received / LARGE)
    assert received > LARGE


async def test_f5_11_a_slow_upload_costs_another_client_nothing() -> None:
    async with balanced() as lb, await lb.connect() as stream, trio.open_nursery() as nursery:
        done = trio.Event()

        async def upload() -> None:
            await slow_upload(stream)
            done.set()

        nursery.start_soon(upload)
        assert await longest_beside(lb, done) < UNHINDERED_SECONDS
        record = await the_record(lb, "POST", "/")
        assert record["buffered"]["request_ms"] > SLOW_SECONDS * 900
        assert "before a backend was chosen" in record["explain"]


async def test_f5_11_an_answer_that_is_read_slowly_costs_another_client_nothing() -> None:
    async with balanced() as lb, await lb.connect() as stream, trio.open_nursery() as nursery:
        done = trio.Event()

        async def download() -> None:
            await slow_download(stream)
            done.set()

        nursery.start_soon(download)
        assert await longest_beside(lb, done) < UNHINDERED_SECONDS
        record = await the_record(lb, "GET", "/large")
        assert record["buffered"]["response_bytes"] > LARGE // 2
        assert "were held for it here" in record["explain"]
