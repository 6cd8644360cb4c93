"""The operator's side of the real program over TLS: tools, commands, a swap, an upgrade, workers."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.kit.operators import NAME, OTHERS, Office
from tests.system.program import Program, program
from tests.system.upgrades import upgradable

CONFIG = """
listen = ["127.0.0.1:0"]
workers = {workers}
pools.default = {{ backends = [{{ id = "web1", url = "http://127.0.0.1:9" }}] }}

[admin]
client_ca = "{client_ca}"
tokens_file = "{tokens}"

[[tls.certificates]]
chain = "{folder}/www.pem"
key = "{folder}/www.key"
"""
SECURE = ("--set", "admin.listen=https://127.0.0.1:0")


class Operator:
    """A client with a certificate of its own, or none."""

    def __init__(self, lb: Program, office: Office, subject: str | None = "alice") -> None:
        self._context = office.context(subject)
        self.url = f"https://{lb.admin}"

    async def __call__(self, method: str, path: str, expect: int = 200, **options: Any) -> Any:
        async with httpx.AsyncClient(verify=self._context, timeout=60) as client:
            response = await client.request(method, f"{self.url}{path}", **options)
        assert response.status_code == expect, response.text
        return response.json() if "json" in response.headers["content-type"] else response.text


def configured(folder: Path, workers: int = 1) -> Office:
    office = Office(folder)
    text = CONFIG.format(
        workers=workers, client_ca=office.client_ca, tokens=office.tokens, folder=office.folder
    )
    (folder / "lb.toml").write_text(text)
    return office


@asynccontextmanager
async def secure(folder: Path, workers: int = 1) -> AsyncIterator[tuple[Program, Office]]:
    office = configured(folder, workers)
    async with program("--config", str(folder / "lb.toml"), *SECURE, listen=None) as lb:
        yield lb, office


def lb_command(lb: Program, office: Office, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    chain, key = office.show("alice")
    named = {"LB_ADMIN": f"https://{lb.admin}", "LB_ADMIN_CA": str(office.ca)}
    named |= {"LB_ADMIN_CERT": chain, "LB_ADMIN_KEY": key} | more
    environment = {**os.environ, **{name: value for name, value in named.items() if value}}
    command = [sys.executable, "-m", "lb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize("workers", [1, 2])
async def test_operators_come_over_tls(tmp_path: Path, workers: int) -> None:
    async with secure(tmp_path, workers) as (lb, office):
        operator = Operator(lb, office)
        assert f"  admin       https://{lb.admin}\n".encode() in lb.said
        await operator("PATCH", "/backends/web1", json={"weight": 3})
        [act] = (await operator("GET", "/audit"))["items"]
        assert (act["who"], act["operation"]) == ("alice", "PATCH /backends/{id}")
        await Operator(lb, office, "rollout")("PATCH", "/backends/web1", 403, json={"weight": 4})
        await Operator(lb, office, None)("GET", "/backends", 401)
        found = await operator("GET", "/certificates")
        assert ([each["id"] for each in found["items"]], found["listeners"]) == ([NAME], [lb.admin])
        metrics = await operator("GET", "/metrics")
        assert (
            f'lb_tls_handshakes_total{{listener="{lb.admin}",version="TLSv1.3",resumed="false"}}' in metrics
        )
        listed = await trio.to_thread.run_sync(lb_command, lb, office, "backends")
        assert "web1" in listed.stdout, listed.stderr
    assert b"Traceback" not in lb.said


async def test_refused_operators_are_in_the_same_log(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, office):
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(verify=office.context("eve", by=OTHERS)) as client:
                await client.get(f"https://{lb.admin}/backends")
        chain, key = office.show("eve", by=OTHERS)
        refused = await trio.to_thread.run_sync(
            partial(lb_command, lb, office, "backends", LB_ADMIN_CERT=chain, LB_ADMIN_KEY=key)
        )
        assert "unknown ca" in refused.stderr
        assert "LB_ADMIN_CERT" in refused.stderr
        said = await trio.to_thread.run_sync(lb_command, lb, office, "why", "--tls")
        assert f"client_certificate_refused  at {lb.admin}" in said.stdout, said.stderr


async def test_what_is_wrong_is_said_with_what_would_help(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, office):
        run = partial(trio.to_thread.run_sync, lb_command, lb, office)
        distrusted = await run("backends", "--ca", office.show("nobody")[0])
        assert "--ca FILE or LB_ADMIN_CA names those who have issued its certificate" in distrusted.stderr
        plain = await run("backends", "--admin", f"http://{lb.admin}")
        assert f"http://{lb.admin} speaks TLS" in plain.stderr
        misnamed = await run("backends", "--admin", f"https://127.0.0.2:{lb.admin.rpartition(':')[2]}")
        assert misnamed.returncode == 1


@pytest.mark.needs("curl")
async def test_curl_gets_page_and_metrics(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, office):
        chain, key = office.show("alice")
        command = ["curl", "-sS", "--fail", "--cacert", str(office.ca), "--cert", chain, "--key", key]
        command += ["--connect-to", f"{NAME}:443:{lb.admin}"]
        for path, accept, text in (("/", "text/html", b"<title>"), ("/metrics", "*/*", b"lb_build_info")):
            done = await trio.run_process(
                [*command, "-H", f"Accept: {accept}", f"https://{NAME}{path}"], capture_stdout=True
            )
            assert text in done.stdout


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_certificate_is_swapped(tmp_path: Path, workers: int) -> None:
    async with secure(tmp_path, workers) as (lb, office):
        operator = Operator(lb, office)
        issued = office.issue()
        await operator("POST", "/certificates/reload")
        assert await shown(lb, office) == issued.certificate.serial_number


async def shown(lb: Program, office: Office) -> int:
    """The serial number of the certificate that operators get."""
    host, _, port = lb.admin.rpartition(":")
    stream = await trio.open_ssl_over_tcp_stream(host, int(port), ssl_context=office.context())
    async with stream:
        await stream.do_handshake()
        return int(str(stream.getpeercert()["serialNumber"]), 16)


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_upgrade_goes_on_with_tls(tmp_path: Path, workers: int) -> None:
    """With another certificate, which the new program reads; a call on its way is answered."""
    office = configured(tmp_path, workers)
    async with upgradable("--config", str(tmp_path / "lb.toml"), *SECURE, listen=None) as lb:
        operator = Operator(lb, office)
        pid, issued = (await operator("GET", "/info"))["pid"], office.issue()
        await operator("POST", "/upgrade")
        assert (await operator("GET", "/info"))["pid"] != pid
        assert await shown(lb, office) == issued.certificate.serial_number
    assert b"Traceback" not in lb.said
