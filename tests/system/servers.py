"""Real servers to balance: `python -m http.server` and nginx, as processes on free ports."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from tests.system.program import until

NGINX = """
daemon off; worker_processes 1; master_process off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    {servers}
}}
"""
NGINX_SERVER = """
    server {{
        listen 127.0.0.1:{port}; root {www};
        location = /hello {{ return 200 "hello from {port}\\n"; }}
    }}
"""


PORTS = 5_000
"""How many ports each pytest worker has to itself."""


def free_ports(count: int) -> list[int]:
    """Ports on which no process listens now, for programs that are told theirs.

    The kernel takes a port for a client, or for a listener on port 0, from 32768 on. The tests of the other
    worker have many of both, so these ports are below: they are free still when the program listens.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + worker % 4 * PORTS
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(first, first + PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return list(ports)


async def listens(port: int) -> None:
    """Wait until a connection to the port is accepted."""

    async def accepts() -> bool:
        try:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        except OSError:
            return False
        return True

    await until(accepts, seconds=15)


@asynccontextmanager
async def processes(
    commands: list[list[str]], ports: list[int], cwd: Path | None = None
) -> AsyncIterator[list[trio.Process]]:
    """Run these until the block ends; they are up when it begins."""
    async with trio.open_nursery() as nursery:
        running = []
        for command in commands:
            run = partial(
                trio.run_process,
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                deliver_cancel=end_at_once,
                cwd=cwd,
            )
            running.append(await nursery.start(run))
        for port in ports:
            await listens(port)
        yield running
        nursery.cancel_scope.cancel()


async def end_at_once(process: trio.Process) -> None:
    """Asked first, since one that is killed leaves its workers behind."""
    process.terminate()
    with trio.move_on_after(3):
        await process.wait()
    process.kill()


@asynccontextmanager
async def python_servers(count: int, folder: Path) -> AsyncIterator[list[int]]:
    """`python -m http.server` that many times; the ports."""
    ports = free_ports(count)
    serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder)]
    async with processes([[*serve, str(port)] for port in ports], ports):
        yield ports


@asynccontextmanager
async def nginx_servers(count: int, folder: Path, www: Path | None = None) -> AsyncIterator[list[int]]:
    """One nginx on that many ports; `folder` is for its own files."""
    ports = free_ports(count)
    servers = "".join(NGINX_SERVER.format(port=port, www=www or folder) for port in ports)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(root=folder, servers=servers))
    async with processes([["nginx", "-c", str(config), "-p", str(folder)]], ports):
        yield ports


@asynccontextmanager
async def upload_servers(count: int) -> AsyncIterator[list[int]]:
    """`tests/system/upload_server.py` that many times: it answers with the SHA-256 of what it was sent."""
    ports = free_ports(count)
    script = str(Path(__file__).with_name("upload_server.py"))
    async with processes([[sys.executable, script, str(port)] for port in ports], ports):
        yield ports
