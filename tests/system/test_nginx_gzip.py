"""nginx as a backend compresses for whoever comes through us, if it is told so or sees no Via."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.system.program import backend_flags, program
from tests.system.servers import free_ports, processes

NGINX = """
daemon off; worker_processes 1; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; gzip on; gzip_min_length 1; gzip_types text/plain; {more}
    client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{ listen 127.0.0.1:{port}; root {root}/www; }}
}}
"""
TEXT = "the same again and again\n" * 1000


@asynccontextmanager
async def nginx(folder: Path, more: str) -> AsyncIterator[int]:
    [port] = free_ports(1)
    (folder / "www").mkdir()
    (folder / "www" / "a.txt").write_text(TEXT)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(root=folder, port=port, more=more))
    async with processes([["nginx", "-c", str(config), "-p", str(folder)]], [port]):
        yield port


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(
    ("more", "flags", "is_compressed"),
    [
        ("", [], False),
        ("gzip_proxied any;", [], True),
        ("", ["--set", "via="], True),
    ],
    ids=["as it is", "gzip_proxied any", "no Via"],
)
async def test_f5_14_nginx_compresses_if_it_is_told_so_or_sees_no_via(
    tmp_path: Path, more: str, flags: list[str], is_compressed: bool
) -> None:
    async with nginx(tmp_path, more) as port, program(*backend_flags([port]), *flags) as lb:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{lb.url}/a.txt", headers={"Accept-Encoding": "gzip"})
    assert answer.text == TEXT
    assert answer.headers.get("Content-Encoding") == ("gzip" if is_compressed else None)
