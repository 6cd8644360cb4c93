"""The smuggling table through the balancer to real servers: each sees the requests that we saw, no others."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.kit.smuggling import gadgets
from tests.system.program import Program, backend_flags, program, until
from tests.system.servers import free_ports, processes

HERE = Path(__file__).with_name("origins")
AT_ONCE = 16
PYTHON = [sys.executable, "-W", "ignore", "-m"]
ORIGINS = {
    "gunicorn": [
        *PYTHON,
        "gunicorn",
        "--log-level=critical",
        "--threads=16",
        "--chdir={here}",
        "-b127.0.0.1:{port}",
        "wsgi_app:app",
    ],
    "waitress": [*PYTHON, "waitress", "--threads=16", "--listen=127.0.0.1:{port}", "wsgi_app:app"],
    "uvicorn": [
        *PYTHON,
        "uvicorn",
        "--log-level=critical",
        "--app-dir={here}",
        "--port={port}",
        "asgi_app:app",
    ],
    "aiohttp": [sys.executable, "{here}/aiohttp_app.py", "{port}"],
    "node": ["node", "{here}/node_app.js", "{port}"],
}
NEEDS = {"node": pytest.mark.needs("node")}
Count = Callable[[], Awaitable[Counter[str]]]

NGINX = """
daemon off; worker_processes 1; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format path "$uri"; access_log {root}/seen path;
    client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "seen\\n"; }} }}
}}
"""


@asynccontextmanager
async def counting_app(name: str) -> AsyncIterator[tuple[int, Count]]:
    [port] = free_ports(1)

    async def count() -> Counter[str]:
        async with httpx.AsyncClient() as client:
            return Counter((await client.get(f"http://127.0.0.1:{port}/count")).json())

    command = [part.format(port=port, here=HERE) for part in ORIGINS[name]]
    async with processes([command], [port], cwd=HERE):
        yield port, count


@asynccontextmanager
async def counting_nginx(folder: Path) -> AsyncIterator[tuple[int, Count]]:
    [port] = free_ports(1)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(root=folder, port=port))

    async def count() -> Counter[str]:
        return Counter((folder / "seen").read_text().split())

    async with processes([["nginx", "-c", str(config), "-p", str(folder)]], [port]):
        yield port, count


async def send_all(lb: Program, table: list[bytes]) -> None:
    """Each on a connection of its own, a few at once; every one must end by itself."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def send(payload: bytes) -> None:
        async with limit, await lb.connect() as stream:
            await stream.send_all(payload)
            await stream.send_eof()
            with trio.fail_after(20):
                while await stream.receive_some():
                    pass

    async with trio.open_nursery() as nursery:
        for payload in table:
            nursery.start_soon(send, payload)


async def ours_is_theirs(port: int, count: Count) -> None:
    async with program(*backend_flags([port])) as lb:
        await send_all(lb, list(gadgets()))
        await until(lb.is_idle)
        item = (await lb.api("GET", "/backends"))["items"][0]
        seen = await count()
    forwarded = item["status"]["requests_total"]
    assert forwarded > 100  # the table has harmless ones too
    assert seen.total() == forwarded, seen
    assert set(seen) <= {"/", "/hidden"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in ORIGINS])
async def test_an_app_server_sees_the_requests_that_we_saw(name: str) -> None:
    async with counting_app(name) as (port, count):
        await ours_is_theirs(port, count)


@pytest.mark.needs("nginx")
async def test_nginx_sees_the_requests_that_we_saw(tmp_path: Path) -> None:
    async with counting_nginx(tmp_path) as (port, count):
        await ours_is_theirs(port, count)
