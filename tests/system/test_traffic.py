"""Real servers behind, real clients in front: what goes in comes out, spread evenly."""

import hashlib
import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trio
import trio_websocket

from tests.system.program import Program, backend_flags, program, until
from tests.system.servers import nginx_servers, python_servers, upload_servers

GIB = 1 << 30
ROOM = 20 << 20
"""Bytes that resident memory may grow by while a body of 1 GiB goes through."""


async def wrk(lb: Program, path: str, seconds: int) -> None:
    """Load from 32 connections; any answer but 200 and any broken connection is a failure."""
    done = await trio.run_process(
        ["wrk", "-t1", "-c32", f"-d{seconds}", f"{lb.url}{path}"], capture_stdout=True
    )
    report = done.stdout.decode()
    assert "Socket errors" not in report, report
    assert "Non-2xx" not in report, report


async def spread_of_10_000(ports: list[int], path: str) -> None:
    async with program(*backend_flags(ports)) as lb:
        while sum((await lb.counts()).values()) < 10_000:
            await wrk(lb, path, 2)
        await until(lb.is_idle)  # wrk leaves in the middle of its last requests
        counts = (await lb.counts()).values()
        assert max(counts) - min(counts) <= 1, counts


@pytest.mark.needs("wrk")
async def test_ten_thousand_requests_are_spread_over_python_servers(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("hello\n")
    async with python_servers(3, tmp_path) as ports:
        await spread_of_10_000(ports, "/hello")


@pytest.mark.needs("nginx", "wrk")
async def test_ten_thousand_requests_are_spread_over_nginx_servers(tmp_path: Path) -> None:
    async with nginx_servers(3, tmp_path) as ports:
        await spread_of_10_000(ports, "/hello")


class LargeFile(NamedTuple):
    path: Path
    sha256: str


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LargeFile]:
    """1 GiB without a repetition: blocks of noise, each after its number."""
    path = tmp_path_factory.mktemp("large") / "large"
    noise = random.Random(7).randbytes((1 << 20) - 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(GIB >> 20):
            block = number.to_bytes(8, "big") + noise
            digest.update(block)
            file.write(block)
    yield LargeFile(path, digest.hexdigest())
    path.unlink()


async def most_memory(lb: Program, most: list[int]) -> None:
    while True:
        most[0] = max(most[0], lb.memory())
        await trio.sleep(0.02)


async def curl(*arguments: str) -> bytes:
    return (await trio.run_process(["curl", "-sSf", *arguments], capture_stdout=True)).stdout


@pytest.mark.needs("curl", "nginx")
async def test_a_gibibyte_comes_down_byte_exact_in_little_memory(
    large_file: LargeFile, tmp_path: Path
) -> None:
    async with nginx_servers(1, tmp_path, www=large_file.path.parent) as ports:
        async with program(*backend_flags(ports)) as lb, trio.open_nursery() as nursery:
            await curl(f"{lb.url}/hello")
            idle, most = lb.memory(), [0]
            nursery.start_soon(most_memory, lb, most)
            summed = await trio.run_process(
                f"curl -sSf {lb.url}/large | sha256sum", shell=True, capture_stdout=True
            )
            nursery.cancel_scope.cancel()
    assert summed.stdout.split()[0].decode() == large_file.sha256
    assert most[0] - idle < ROOM


@pytest.mark.needs("curl")
@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunked"])
async def test_a_gibibyte_goes_up_byte_exact_in_little_memory(
    large_file: LargeFile, framing: list[str]
) -> None:
    async with upload_servers(1) as ports:
        async with program(*backend_flags(ports)) as lb, trio.open_nursery() as nursery:
            await curl("-d", "warm up", lb.url)
            idle, most = lb.memory(), [0]
            nursery.start_soon(most_memory, lb, most)
            answer = await curl("-X", "POST", "-T", str(large_file.path), *framing, lb.url)
            nursery.cancel_scope.cancel()
    assert answer.decode() == f"{GIB} {large_file.sha256}"
    assert most[0] - idle < ROOM


async def test_a_websocket_echoes_ten_thousand_messages() -> None:
    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except trio_websocket.ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        serve = trio_websocket.serve_websocket
        server = await nursery.start(lambda **kw: serve(echo, "127.0.0.1", 0, None, **kw))
        async with program(*backend_flags([server.port])) as lb:
            async with trio_websocket.open_websocket_url(f"ws://{lb.address}/chat") as socket:
                for number in range(10_000):
                    message = f"{number} " + "x" * (number % 300)
                    await socket.send_message(message)
                    assert await socket.get_message() == message
        nursery.cancel_scope.cancel()


SCRIPTS = {
    "requests": """
import requests, sys
with requests.Session() as session:
    texts = [session.get(sys.argv[1]).text for _ in range(3)]
texts.append(requests.get(sys.argv[1], headers={"Connection": "close"}).text)
print("".join(texts), end="")
""",
    "httpx": """
import httpx, sys
with httpx.Client() as client:
    texts = [client.get(sys.argv[1]).text for _ in range(3)]
texts.append(httpx.get(sys.argv[1], headers={"Connection": "close"}).text)
print("".join(texts), end="")
""",
    "aiohttp": """
import aiohttp, asyncio, sys
async def main():
    texts = []
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(sys.argv[1]) as response:
                texts.append(await response.text())
    async with aiohttp.request("GET", sys.argv[1], headers={"Connection": "close"}) as response:
        texts.append(await response.text())
    print("".join(texts), end="")
asyncio.run(main())
""",
}
NODE = """
(async () => {
  let text = "";
  for (let i = 0; i < 3; i++) text += await (await fetch(process.argv[1])).text();
  const http = require("http");
  text += await new Promise((done, failed) => http.get(process.argv[1], {agent: false, headers:
    {connection: "close"}}, r => { let t = ""; r.on("data", d => t += d); r.on("end", () => done(t)); })
    .on("error", failed));
  process.stdout.write(text);
})();
"""


@pytest.fixture
async def hello(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a balancer in front of one nginx that says who it is."""
    async with nginx_servers(1, tmp_path) as ports, program(*backend_flags(ports)) as lb:
        yield f"{lb.url}/hello"


async def four_answers(command: list[str]) -> None:
    """The command asks four times, three on one connection and once with `Connection: close`."""
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 4
    assert all(line.startswith("hello from ") for line in lines)


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("library", SCRIPTS)
async def test_python_clients_are_served(library: str, hello: str) -> None:
    await four_answers([sys.executable, "-c", SCRIPTS[library], hello])


@pytest.mark.needs("nginx", "node")
async def test_node_is_served(hello: str) -> None:
    await four_answers(["node", "-e", NODE, hello])


@pytest.mark.needs("curl", "nginx")
async def test_curl_is_served_in_both_versions(hello: str) -> None:
    await four_answers(["curl", "-sSf", hello, hello, hello, hello])
    await four_answers(["curl", "-sSf", "--http1.0", hello, hello, hello, hello])


@pytest.mark.needs("curl", "nginx")
async def test_headers_only_is_served(hello: str) -> None:
    done = await trio.run_process(["curl", "-sSfI", hello], capture_stdout=True)
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.needs("nginx")
async def test_a_range_of_a_file_is_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)))
    async with nginx_servers(1, tmp_path, www=tmp_path) as ports, program(*backend_flags(ports)) as lb:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"{lb.url}/file", headers={"Range": "bytes=16-19"})
    assert (response.status_code, response.content) == (206, bytes(range(16, 20)))
