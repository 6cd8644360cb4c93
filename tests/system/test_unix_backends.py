"""Application servers behind Unix sockets, as they are usually deployed."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.system.program import program, until
from tests.system.servers import processes

ORIGINS = Path(__file__).with_name("origins")
PYTHON = [sys.executable, "-W", "ignore", "-m"]
SERVERS = {
    "gunicorn": ["gunicorn", "--log-level=critical", "--bind=unix:{path}", "wsgi_app:app"],
    "gunicorn with threads": [
        *("gunicorn", "--log-level=critical", "--threads=4", "--bind=unix:{path}", "wsgi_app:app"),
    ],
    "uvicorn": ["uvicorn", "--log-level=critical", "--uds={path}", "asgi_app:app"],
}


@asynccontextmanager
async def serving(name: str, path: Path) -> AsyncIterator[None]:
    async def listens() -> bool:
        try:
            await (await trio.open_unix_socket(str(path))).aclose()
        except OSError:
            return False
        return True

    command = [part.format(path=path) for part in SERVERS[name]]
    async with processes([[*PYTHON, *command]], [], cwd=ORIGINS):
        await until(listens, seconds=20)
        yield


@pytest.mark.parametrize("name", SERVERS)
async def test_f3_8_an_application_server_behind_a_unix_socket(name: str, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    probe = ["--set", "pools.default.probe={}"]
    async with serving(name, path), program("--backend", f"app=unix:{path}", *probe) as lb:
        async with httpx.AsyncClient() as client:
            for method in ("GET", "POST", "GET", "POST"):
                response = await client.request(method, lb.url, content=b"x" if method == "POST" else None)
                assert response.status_code == 200, response.text

        async def is_probed() -> bool:
            return "ok 200" in str(await lb.api("GET", "/backends/app"))

        await until(is_probed)
        app = await lb.api("GET", "/backends/app")
        assert (app["url"], app["status"]["state"]) == (f"unix:{path}", "ready")
