"""PROXY headers from haproxy in front of the balancer, and to nginx and haproxy behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.program import Program, program, until
from tests.system.servers import free_ports, processes

NGINX = """
daemon off; worker_processes 1; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        location / {{ return 200 "$proxy_protocol_addr $http_x_forwarded_for"; }}
    }}
}}
"""
HAPROXY = """
defaults
    mode {mode}
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend in
    bind 127.0.0.1:{port} {accepts}
    {answer}
"""
PASSED_ON = """default_backend out
backend out
    server lb 127.0.0.1:{to} {sends} check {check} inter 200ms"""
ANSWERED = (
    'http-request return status 200 content-type text/plain lf-string "%[src] %[req.hdr(x-forwarded-for)]"'
)
FROM_HERE = ("--set", 'proxy_protocol_from=["127.0.0.0/8"]')
SOURCE = "127.0.0.9"
"""An address of ours, from which a test connects: it is not that of any program between."""


def written(file: Path, config: str) -> None:
    file.parent.mkdir()
    file.write_text(config)


@asynccontextmanager
async def running(kind: str, folder: Path, config: str, port: int) -> AsyncIterator[None]:
    file = folder / "conf"
    written(file, config)
    command = (
        ["nginx", "-p", str(folder), "-c", str(file)] if kind == "nginx" else ["haproxy", "-f", str(file)]
    )
    async with processes([command], [port]):
        yield


async def asks(url: str) -> str:
    transport = httpx.AsyncHTTPTransport(local_address=SOURCE)
    async with httpx.AsyncClient(transport=transport, timeout=20) as client:
        answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


async def last_request(lb: Program) -> dict[str, object]:
    found = await lb.api("GET", "/requests?limit=1")
    record: dict[str, object] = found["items"][0]
    return record


async def health(lb: Program) -> dict[str, Any]:
    [backend] = (await lb.api("GET", "/backends"))["items"]
    found: dict[str, Any] = backend["status"]["health"]
    return found


def back(kind: str, folder: Path, port: int) -> str:
    if kind == "nginx":
        return NGINX.format(root=folder, port=port)
    return HAPROXY.format(mode="http", port=port, accepts="accept-proxy", answer=ANSWERED)


@pytest.mark.needs("nginx", "haproxy")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_from_a_balancer_in_front_to_a_server_behind(
    tmp_path: Path, kind: str, version: int, workers: str
) -> None:
    front, here, behind = free_ports(3)
    more = ["--set", f"pools.default.proxy_protocol={version}", "--set", "pools.default.probe.interval=0.2"]
    more += [*FROM_HERE, "--workers", workers, "--backend", f"one=http://127.0.0.1:{behind}"]
    sends = "send-proxy" if version == 1 else "send-proxy-v2 proxy-v2-options unique-id,crc32c"
    passes = PASSED_ON.format(to=here, sends=sends, check="check-send-proxy")
    in_front = HAPROXY.format(mode="tcp", port=front, accepts="", answer=passes)
    listen = f"proxy+http://127.0.0.1:{here}"
    async with running(kind, tmp_path / "back", back(kind, tmp_path / "back", behind), behind):
        async with program(*more, listen=listen) as lb:
            async with running("haproxy", tmp_path / "front", in_front, front):
                said = [await asks(f"http://127.0.0.1:{front}/") for _ in range(3)]

                async def is_probed() -> bool:
                    return len((await health(lb))["recent"]) >= 3

                await until(is_probed)
                probes = (await health(lb))["recent"]
                record = await last_request(lb)
                metrics = await lb.api("GET", "/metrics")
    assert all(probes)
    assert said == [f"{SOURCE} {SOURCE}"] * 3
    assert str(record["client"]).startswith(f"{SOURCE}:")
    header = record["proxy_header"]
    assert isinstance(header, dict)
    assert header["destination"] == f"127.0.0.1:{front}"
    assert 'reason="proxy_header"' not in metrics


@pytest.mark.needs("haproxy")
async def test_a_health_check_without_a_header_is_told_in_the_log(tmp_path: Path) -> None:
    front, here = free_ports(2)
    # a port of its own makes haproxy leave the header out of its checks
    passes = PASSED_ON.format(to=here, sends="send-proxy", check=f"port {here}")
    config = HAPROXY.format(
        mode="http",
        port=front,
        accepts="",
        answer=passes.replace("backend out", "backend out\n    option httpchk"),
    )
    async with program(
        *FROM_HERE, "--backend", "one=http://127.0.0.1:1", listen=f"proxy+http://127.0.0.1:{here}"
    ) as lb:
        async with running("haproxy", tmp_path / "front", config, front):

            async def is_told() -> bool:
                return await lb.has_said(b"no usable PROXY header")

            await until(is_told)
        assert b"HTTP (OPTIONS /)" in lb.said
        metrics = await lb.api("GET", "/metrics")
    assert 'reason="proxy_header"' in metrics
