"""An upload that is refused early is told so, whichever client sends it and whoever refuses it."""

import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import trio

from tests.system.program import program
from tests.system.servers import free_ports, processes

HERE = Path(__file__).parent
SIZE = 8 << 20
TIMES = 5
CONFIG = """
[limits]
request_body = "{limit}"

[[pools.early.backends]]
url = "http://127.0.0.1:{early}"

[[pools.gone.backends]]
url = "http://127.0.0.1:{gone}"

[pools.empty]

[[routes]]
path = "/empty"
pool = "empty"

[[routes]]
path = "/gone"
pool = "gone"

[[routes]]
pool = "early"
"""
REFUSALS = {
    "a backend": ("1GiB", "/", 413),
    "our limit": ("1MiB", "/", 413),
    "no backend is there": ("1GiB", "/empty", 503),
    "the backend is not reachable": ("1GiB", "/gone", 502),
}
"""`limits.request_body`, the path, and the status that every client is to get."""


def python_client(name: str, url: str) -> list[str]:
    script = HERE / "uploaders" / "uploaders.py"
    return [sys.executable, "-W", "ignore", str(script), name, url, str(SIZE), str(TIMES)]


def node_client(name: str, url: str) -> list[str]:
    return ["node", str(HERE / "uploaders" / "uploaders.js"), name, url, str(SIZE), str(TIMES)]


def curl_client(body: Path, *options: str, url: str) -> list[str]:
    one = ["--data-binary", f"@{body}", "-s", "-o", "/dev/null", "-w", "%{http_code}\\n", *options, url]
    return ["curl", *one, *(["--next", *one] * (TIMES - 1))]


PYTHON = ("http.client", "requests", "httpx", "aiohttp", "raw")
NODE = ("node http", "node fetch")
CURL = ("curl", "curl without Expect")
CLIENTS = {
    **{name: partial(python_client, name) for name in PYTHON},
    **{name: partial(node_client, name.removeprefix("node ")) for name in NODE},
}


def command(client: str, url: str, folder: Path) -> list[str]:
    if not client.startswith("curl"):
        return CLIENTS[client](url)
    body = folder / "body"
    body.write_bytes(bytes(SIZE))
    options = ["-H", "Expect:"] if "without" in client else []
    return curl_client(body, *options, url=url)


@pytest.mark.parametrize(
    ("refusal", "client"),
    [
        *product(("a backend",), PYTHON),
        *(pytest.param("a backend", name, marks=pytest.mark.needs("node")) for name in NODE),
        *(pytest.param("a backend", name, marks=pytest.mark.needs("curl")) for name in CURL),
        *product(
            ("our limit", "no backend is there", "the backend is not reachable"), ("raw", "http.client")
        ),
    ],
)
async def test_f5_1_a_refused_upload_is_told_so(client: str, refusal: str, tmp_path: Path) -> None:
    limit, path, status = REFUSALS[refusal]
    early, gone = free_ports(2)
    config = tmp_path / "lb.toml"
    config.write_text(CONFIG.format(limit=limit, early=early, gone=gone))
    server = [sys.executable, str(HERE / "early_server.py"), str(early)]
    async with processes([server], [early]), program("--config", str(config)) as lb:
        run = command(client, lb.url + path, tmp_path)
        with trio.fail_after(60):
            ran = await trio.run_process(run, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert ran.stdout.decode().split() == [str(status)] * TIMES, ran.stdout.decode()
