"""What an operator of the real program sees of TLS: requests, refusals, metrics, and a swap of files."""

import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.kit.certificates import CLIENT, certificate
from tests.kit.terminations import ROOT, lasting
from tests.system.program import Program, program, until

CONFIG = """
listen = ["https://127.0.0.1:0"]
tls.certificates = [{{ chain = "{chain}", key = "{key}" }}]
tls.clients = [{{ ca = "{ca}", need = "offered" }}]

[pools.default]
backends = [{{ id = "web1", url = "http://127.0.0.1:9" }}]
"""


def configured(folder: Path) -> str:
    chain, key = lasting("localhost").write(folder)
    ca, file = folder / "ca.pem", folder / "lb.toml"
    ca.write_text(ROOT.pem)
    file.write_text(CONFIG.format(chain=chain, key=key, ca=ca))
    return str(file)


def trusting(folder: Path, *, shows: bool = False) -> ssl.SSLContext:
    """The context of a client that trusts us, and shows a certificate of its own."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if shows:
        files = certificate(subject="worker-7", by=ROOT, usages=(CLIENT,)).write(folder, "client")
        context.load_cert_chain(*files)
    return context


async def asked(lb: Program, context: ssl.SSLContext) -> httpx.Response:
    _, _, port = lb.address.rpartition(":")
    async with httpx.AsyncClient(verify=context) as client:
        return await client.get(f"https://localhost:{port}/")


async def why(lb: Program, *arguments: str) -> str:
    command = [sys.executable, "-m", "lb", "why", *arguments, "--admin", lb.admin]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221


async def test_what_is_known_of_tls(tmp_path: Path) -> None:
    async with program("--config", configured(tmp_path), listen=None) as lb:
        answer = await asked(lb, trusting(tmp_path, shows=True))
        request_id = answer.headers["X-Request-Id"]
        seen = await lb.api("GET", f"/requests/{request_id}")
        assert seen["tls"] == {
            "version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "resumed": False,
            "server_name": "localhost",
            "client_subject": "CN=worker-7",
        }
        said = await why(lb, request_id)
        assert "TLSv1.3 for localhost, the client's certificate is CN=worker-7\n" in said

        assert (await refused(lb))["reason"] == "plain_http"
        assert "The client speaks plain HTTP, and this port speaks TLS." in await why(lb, "--tls")
        counted, at = await lb.api("GET", "/metrics"), f'listener="{lb.address}"'
        assert (
            f'lb_tls_handshakes_total{{listener="{lb.address}",version="TLSv1.3",resumed="false"}} 1'
            in counted
        )
        assert f'lb_tls_handshake_failures_total{{{at},reason="plain_http"}} 1.0' in counted


async def refused(lb: Program) -> Any:
    """The newest refused handshake, after one that speaks plain HTTP."""
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{lb.address}/")).status_code == 400
    return (await lb.api("GET", "/handshakes"))["items"][0]


async def test_a_file_that_changes_is_served_without_a_word_of_anybody(tmp_path: Path) -> None:
    async def is_new() -> bool:
        items = (await lb.api("GET", "/certificates"))["items"]
        return bool(items[0]["names"] == ["localhost", "more.test"])

    async with program("--config", configured(tmp_path), listen=None) as lb:
        lasting("localhost", "more.test").write(tmp_path)
        await until(is_new)
        assert (await asked(lb, trusting(tmp_path))).status_code == 502
        assert b"gains more.test" in lb.said
