"""schemathesis asks the running API whatever its document allows, and what it does not.

Nothing may be an error of ours, or an answer that /openapi.json does not describe. What else is expected
stands in schemathesis.toml. Few examples, for they are in everybody's way, and always the same ones;
FUZZ_SECONDS asks for others for so long (`just fuzz-api`), and a report of a failure names their seed.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from admin.protocol.openapi import MERGE_PATCH
from tests.kit.certificates import certificate
from tests.system.program import Program, program

SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 500 if SECONDS else 5
SEED = random.randrange(1 << 32) if SECONDS else 1
SHORT = """
[[operations]]
include-name = "PATCH /pools/{name}"  # each bound of each setting, twice: a third of all requests
phases.coverage.enabled = false
"""
TOKENS = "boss admin b0ss\nroller drain r0ll\n"
BOSS = {"Authorization": "Bearer b0ss"}
CONFIG = """
listen = ["127.0.0.1:0", "https://127.0.0.1:0"]
tls.certificates = [{{ chain = "{chain}", key = "{key}" }}]
trusted_proxies = ["127.0.0.1/32"]
admin.tokens_file = "{tokens}"
routes = [{{ host = "steady.test", pool = "steady" }}]

[pools.default]
backends = [{{ url = "http://127.0.0.1:9" }}]

[pools.steady]
probe = {{ path = "/", interval = "1h" }}
backends = [{backends}]
"""


def test_every_answer_is_one_that_the_document_describes(tmp_path: Path) -> None:
    ran, logged = trio.run(asked, tmp_path)
    if ran.returncode:
        pytest.fail(ran.stdout.decode(), pytrace=False)
    assert "Traceback" not in logged, logged


async def asked(folder: Path) -> tuple[subprocess.CompletedProcess[bytes], str]:
    """What schemathesis found, and what the program has logged meanwhile."""
    arguments = ("--config", configured(folder), "--state", str(folder / "state.json"))
    async with program(*arguments, listen=None) as lb:
        async with httpx.AsyncClient() as client:
            await client.get(lb.url, headers={"X-Request-Id": "one"})
            [secure] = (await lb.api("GET", "/certificates", headers=BOSS))["listeners"]
            await client.get(f"http://{secure}")  # a refused handshake
        (folder / "openapi.json").write_text(json.dumps(await document(lb)))
        settings = Path(__file__).with_name("schemathesis.toml").read_text()
        (folder / "schemathesis.toml").write_text(settings + ("" if SECONDS else SHORT))
        ran = await trio.run_process(
            command(lb), cwd=folder, check=False, capture_stdout=True, stderr=subprocess.STDOUT
        )
    return ran, lb.said.decode()


def configured(folder: Path) -> str:
    """A file with two pools and TLS, and beside it one with the tokens and those of a certificate."""
    tokens, file = folder / "tokens", folder / "lb.toml"
    tokens.touch(mode=0o600)
    tokens.write_text(TOKENS)
    backends = ", ".join(f'{{ id = "web{n}", url = "http://127.0.0.1:9" }}' for n in range(1, 7))
    chain, key = certificate("www.test").write(folder)
    file.write_text(CONFIG.format(tokens=tokens, backends=backends, chain=chain, key=key))
    return str(file)


async def document(lb: Program) -> Any:
    """The document of a balancer that has tokens: whoever has none may not do what it may do elsewhere.

    Of the two types of JSON that a PATCH may have one is enough, for they are read alike.
    """
    described = await lb.api("GET", "/openapi.json", headers=BOSS)
    for methods in described["paths"].values():
        for operation in methods.values():
            operation["security"].remove({})
            operation.get("requestBody", {}).get("content", {}).pop(MERGE_PATCH, None)
    return described


def command(lb: Program) -> list[str]:
    chosen = ["--checks", "all", "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
    chosen += ["--max-time", str(SECONDS)] if SECONDS else []
    schemathesis = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"]
    return [*schemathesis, "run", "openapi.json", "--url", f"http://{lb.admin}", "--no-color", *chosen]
