# ruff: noqa: E501 - a browser's head is as long as it is
"""What is measured: the load of each case, and what it cost the program by the system's own accounts."""

import os
import re
import resource
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import LOAD_CORE

TICK = os.sysconf("SC_CLK_TCK")
REQUESTS = re.compile(r"(\d+) requests in")
LATENCY = re.compile(r"^ +(50|99)% +([\d.]+)(us|ms|s)$", re.MULTILINE)
TROUBLE = re.compile(r"Non-2xx|Socket errors")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
IDLE_CONNECTIONS = 10_000
REQUEST = b"GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n"

BACKEND = """
daemon off; user root; worker_processes 1; pid {root}/pid; error_log {root}/error.log; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0; sendfile on;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; gzip on; gzip_proxied any; gzip_comp_level 1;
  types {{ text/css css; }} gzip_types text/css;
  server {{ {listen} root {root}; location = /hello {{ return 200 "hello world\\n"; }} }}
}}
"""
BROWSER = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/hello?page=" .. count, {
    ["Host"] = "www.example.com", ["Connection"] = "keep-alive",
    ["sec-ch-ua"] = '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    ["sec-ch-ua-mobile"] = "?0", ["sec-ch-ua-platform"] = '"Linux"', ["Upgrade-Insecure-Requests"] = "1",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ["Sec-Fetch-Site"] = "none", ["Sec-Fetch-Mode"] = "navigate", ["Sec-Fetch-User"] = "?1",
    ["Sec-Fetch-Dest"] = "document", ["Accept-Encoding"] = "br, zstd", ["Accept-Language"] = "en-GB,en;q=0.9",
    ["Cookie"] = "session=" .. string.format("%032x", count) .. "; theme=dark",
  })
end
"""
POST = 'wrk.method = "POST"\nwrk.body = string.rep("x", 1024)\n'
SIZES = {"16k": 16 << 10, "1m": 1 << 20, "1g": 1 << 30}


@dataclass(frozen=True)
class Result:
    """CPU microseconds a request, and two latencies in seconds where the load has them."""

    cpu_us: float
    p50: float | None = None
    p99: float | None = None


Measure = Callable[[int, int, Path, float], Result]
"""(port, pid, folder, seconds) -> what the program at that port paid for the load."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK + sum(map(cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() + sum(map(resident, children(pid)))


def wrk(path: str, connections: int = 32, script: str = "", options: tuple[str, ...] = ()) -> Measure:
    def measure(port: int, pid: int, folder: Path, seconds: float) -> Result:
        command = [
            "taskset",
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--latency",
        ]
        if script:
            lua = folder / "load.lua"
            lua.write_text(script)
            command += ["-s", str(lua)]
        before = cpu_seconds(pid)
        done = subprocess.run(
            [*command, *options, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
        )
        return _result(done.stdout, cpu_seconds(pid) - before)

    return measure


def _result(report: str, spent: float) -> Result:
    if TROUBLE.search(report):
        raise RuntimeError(report)
    found = REQUESTS.search(report)
    assert found is not None, report
    late = {which: float(value) * UNITS[unit] for which, value, unit in LATENCY.findall(report)}
    return Result(spent / int(found[1]) * 1e6, late.get("50"), late.get("99"))


def download(port: int, pid: int, folder: Path, seconds: float) -> Result:
    before = cpu_seconds(pid)
    url = f"http://127.0.0.1:{port}/1g"
    subprocess.run(["taskset", "-c", LOAD_CORE, "curl", "-sSf", "-o", "/dev/null", url], check=True)
    return Result((cpu_seconds(pid) - before) * 1e6)


def idle_connections(port: int, pid: int, folder: Path, seconds: float) -> Result:
    """Bytes of resident memory for each kept-alive connection, in place of microseconds."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    before, held = resident(pid), []
    for number in range(IDLE_CONNECTIONS):
        host = f"127.0.1.{number % 250 + 1}"
        held.append(socket.create_connection(("127.0.0.1", port), source_address=(host, 0)))
        held[-1].sendall(REQUEST)
        held[-1].recv(4096)
    grown = resident(pid) - before
    wrk("/hello")(port, pid, folder, seconds)  # traffic goes on beside them
    for sock in held:
        sock.close()
    return Result(grown / IDLE_CONNECTIONS)


CASES: dict[str, Measure] = {
    "small GET": wrk("/hello"),
    "browser head": wrk("/hello", script=BROWSER),
    "POST 1 KiB": wrk("/hello", script=POST),
    "chunked response": wrk("/page.css", options=("-H", "Accept-Encoding: gzip")),
    "16 KiB": wrk("/16k"),
    "1 MiB": wrk("/1m"),
    "1 GiB": download,
    "a connection per request": wrk("/hello", options=("-H", "Connection: close")),
    "256 connections": wrk("/hello", connections=256),
    "one connection": wrk("/hello", connections=1),
    "idle connection": idle_connections,
}


def write_backend(folder: Path, ports: list[int]) -> str:
    """The configuration of the nginx that plays all backends, and its files."""
    for name, size in SIZES.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)
    (folder / "page.css").write_text("".join(f".c{n} {{ color: #{n:06x}; }}\n" for n in range(200)))
    listen = "".join(f"listen 127.0.0.1:{port} backlog=4096; " for port in ports)
    config = folder / "backend.conf"
    config.write_text(BACKEND.format(root=folder, listen=listen))
    return str(config)
