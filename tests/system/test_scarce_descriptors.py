"""The real program with few descriptors: its clients come first."""

import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import trio
import trio.lowlevel

from tests.system.program import Program, program, until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer(stream: trio.SocketStream) -> None:
    try:
        async for _request in stream:
            await trio.sleep(0.05)
            await stream.send_all(ANSWER)
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def servers(count: int) -> AsyncIterator[list[int]]:
    """So many servers in this process; their ports."""
    async with trio.open_nursery() as nursery:
        ports = []
        for _ in range(count):
            serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            ports.append(listener.socket.getsockname()[1])
        yield ports
        nursery.cancel_scope.cancel()


def limited_to(descriptors: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


async def statuses_of(lb: Program, count: int) -> list[int]:
    """So many requests at a time, each on a connection of its own."""
    statuses: list[int] = []

    async def ask() -> None:
        # No certificates are read for each client, which takes 50 ms.
        async with httpx.AsyncClient(timeout=60, verify=False) as client:
            statuses.append((await client.get(lb.url)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
    return statuses


async def test_f3_7_waves_of_requests_are_all_served() -> None:
    settings = ["--set", "timeouts.backend_idle=60s"]
    async with servers(8) as ports:
        backends = [part for port in ports for part in ("--backend", f"http://127.0.0.1:{port}")]
        async with program(*backends, *settings, preexec_fn=limited_to(256)) as lb:
            for _ in range(8):
                assert await statuses_of(lb, 40) == [200] * 40
            assert lb.open_files() < 250


async def test_f3_6_three_thousand_backends_are_no_hindrance(tmp_path: Path) -> None:
    async with servers(1) as [port]:
        lines = [
            f'[[pools.default.backends]]\nid = "b{number}"\nurl = "http://127.0.0.1:{port}"'
            for number in range(3000)
        ]
        (tmp_path / "lb.toml").write_text("\n".join(lines))
        async with program("--config", str(tmp_path / "lb.toml"), preexec_fn=limited_to(1024)) as lb:
            assert await statuses_of(lb, 40) == [200] * 40
            await trio.lowlevel.checkpoint()
            assert b"not reachable" not in lb.said
            assert b"accepting rests" not in lb.said
            await until(lb.is_idle)
