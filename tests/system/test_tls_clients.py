"""TLS with the clients and the tools of others: what they say of it, and what they get."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import requests
import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.kit.certificates import DAY
from tests.system.program import Program, program
from tests.system.secure import ASKS, NAME, Front
from tests.system.upgrades import HELLO, backend

SSLYZE = os.environ.get("SSLYZE")
"""The program, which has an environment of its own: `just tls-check` makes it where the network gives it."""
for_judges = pytest.mark.skipif("JUDGES" not in os.environ, reason="it takes minutes: just tls-check")
GROUPS = "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nGroups=X25519:P-256:P-384\n"
"""Python before 3.15 cannot say which groups are offered."""
NODE = """
const https = require("https"), url = process.argv[1];
https.get(url, {servername: "a.test"}, answer => {
  answer.on("data", data => process.stdout.write(data));
  answer.on("end", () => fetch(url).then(answer => answer.text()).then(text => process.stdout.write(text)));
});
"""


@asynccontextmanager
async def secure(folder: Path, env: dict[str, str] | None = None) -> AsyncIterator[tuple[Program, Front]]:
    """The program with https:// before one backend."""
    async with backend() as port:
        front = Front(folder, port)
        front.issue(valid=(time.time() - DAY, time.time() + 80 * DAY))  # as those of the public are
        async with program(*front.flags, listen=None, env=env) as lb:
            yield lb, front


async def said(*command: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> str:
    """All that a program says, whatever its exit code."""
    with trio.fail_after(280):
        done = await trio.run_process(
            command,
            stdin=stdin,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            env=env,
        )
    return bytes(done.stdout).decode("utf-8", "replace")


@pytest.mark.needs("curl")
@pytest.mark.parametrize("options", [["--tlsv1.3"], ["--tls-max", "1.2"], ["--http1.0"], ["--no-alpn"]])
async def test_curl(options: list[str], tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):
        url = f"https://{NAME}:{lb.address.rpartition(':')[2]}/"
        command = ["curl", "-sS", "--cacert", front.authorities, "--connect-to", f"::{lb.address}"]
        assert await said(*command, *options, url, url) == 2 * HELLO.decode()


async def test_requests(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):

        def ask() -> list[bytes]:
            with requests.Session() as session:
                url, ca = f"https://{lb.address}/", front.authorities
                return [session.get(url, timeout=20, verify=ca).content for _ in range(2)]

        assert await trio.to_thread.run_sync(ask) == [HELLO, HELLO]


@pytest.mark.needs("node")
async def test_node_by_https_and_by_fetch(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": front.authorities}
        heard = await said("node", "-e", NODE, f"https://{lb.address}/", env=environment)
        assert heard == 2 * HELLO.decode()


CHROMIUM = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@pytest.mark.needs("chromium")
async def test_chromium_shows_what_it_gets_where_it_trusts_the_key_and_nothing_elsewhere(
    tmp_path: Path,
) -> None:
    async with secure(tmp_path) as (lb, front):
        key = front.issued.certificate.public_key()
        shown = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        trusted = base64.b64encode(hashlib.sha256(shown).digest()).decode()
        for pins, is_shown in (
            (f"--ignore-certificate-errors-spki-list={trusted}", True),
            ("--incognito", False),
        ):
            where = (
                f"--user-data-dir={tmp_path}/{is_shown}",
                f"--host-resolver-rules=MAP {NAME} {lb.address}",
            )
            heard = await said(*CHROMIUM, *where, pins, "--dump-dom", f"https://{NAME}/")
            assert (HELLO.decode() in heard) is is_shown, heard
        refused = (await lb.api("GET", "/handshakes?refused=true"))["refused"]
        assert {each["reason"] for each in refused} == {"client_refused_certificate"}


SERVED = "HTTP/1.1 200 OK"
ODD = [
    (["-no_ticket"], SERVED),
    (["-tls1_2", "-no_ticket"], SERVED),
    (["-groups", "ffdhe2048"], SERVED),
    (["-groups", "brainpoolP256r1:P-384"], SERVED),  # there is no key share of ours in the first hello
    (["-status"], SERVED),
    (["-legacy_renegotiation", "-tls1_2"], SERVED),
    (["-max_send_frag", "512"], SERVED),
    (["-split_send_frag", "512", "-max_pipelines", "4"], SERVED),
    (["-maxfraglen", "512"], SERVED),
    (["-record_padding", "4096"], SERVED),
    (["-early_data", "{early}"], SERVED),
    (["-enable_pha"], SERVED),
    (["-no_middlebox"], SERVED),
    (["-psk", "1a2b3c"], SERVED),
    (["-servername", "A.TEST."], SERVED),
    (["-servername", "127.0.0.1"], SERVED),
    (["-noservername"], SERVED),
    (["-alpn", "h2,http/1.1"], SERVED),
    (["-alpn", "h2"], "no application protocol"),
    (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version"),
    (["-tls1_2", "-fallback_scsv"], "inappropriate fallback"),
    (["-tls1_2", "-cipher", "AES128-SHA"], "alert handshake failure"),
    (["-tls1_2", "-cipher", "aNULL@SECLEVEL=0"], "alert handshake failure"),
    (["-sigalgs", "RSA-PSS+SHA256"], "alert handshake failure"),
    (["-servername", "b.test"], "unrecognized name"),
    (["-servername", "a..test"], "unrecognized name"),
    (["-servername", "*.test"], "unrecognized name"),
]


@pytest.mark.needs("openssl")
async def test_openssl_with_every_odd_option(tmp_path: Path) -> None:
    (early := tmp_path / "early").write_bytes(ASKS)
    last = ASKS.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with secure(tmp_path) as (lb, front):
        command = ["openssl", "s_client", "-CAfile", front.authorities, "-connect", lb.address, "-ign_eof"]
        for options, expected in ODD:
            options = [option.format(early=early) for option in options]
            name = [] if {"-servername", "-noservername"} & {*options} else ["-servername", NAME]
            heard = await said(*command, *name, *options, stdin=last)
            assert expected in heard, (options, heard)
        again = await said(*command[:-1], "-servername", NAME, "-tls1_2", "-reconnect")
        assert len(re.findall("^Reused, TLSv1.2", again, re.MULTILINE)) == 5
        assert b"Traceback" not in lb.said


FINE = {"OK", "INFO"}
KNOWN = {
    "engine_problem",  # its own
    "DNS_CAArecord",  # the certificate's, which is for a test
    "OCSP_stapling",
    "cert_expirationStatus",
    "cert_revocation",
    "cert_trust",
    "cert_chain_of_trust",
    "cert_validityPeriod",
    "cert_extlifeSpan",
    "cert_caIssuers",
    "certificate_transparency",
    "overall_grade",
}


@for_judges
@pytest.mark.skipif(shutil.which("testssl") is None, reason="on Debian: apt install testssl.sh")
async def test_testssl_finds_nothing(tmp_path: Path) -> None:
    """Neither a weak suite, nor one of the attacks that have names."""
    async with secure(tmp_path) as (lb, front):
        found = tmp_path / "found.csv"
        what = ["--protocols", "--std", "--fs", "--server-defaults", "--vulnerable"]
        how = ["--quiet", "--warnings", "off", "--color", "0", "--add-ca", front.authorities]
        heard = await said(
            "testssl", *what, *how, "--csvfile", str(found), "--ip", "127.0.0.1", f"{lb.address}"
        )
        lines = [line.split('","') for line in found.read_text().splitlines()[1:]]
        assert len(lines) > 40, heard
        bad = [line for line in lines if line[3] not in FINE and line[0].strip('"') not in KNOWN]
        assert not bad, bad


@for_judges
@pytest.mark.skipif(SSLYZE is None, reason="pip could not install sslyze")
async def test_sslyze_holds_it_for_mozillas_intermediate(tmp_path: Path) -> None:
    (groups := tmp_path / "openssl.cnf").write_text(GROUPS)
    async with secure(tmp_path, env={**os.environ, "OPENSSL_CONF": str(groups)}) as (lb, front):
        assert SSLYZE is not None
        how = ["--mozilla_config=intermediate", f"--certinfo_ca_file={front.authorities}"]
        heard = await said(SSLYZE, *how, lb.address)
        _, said_so, judgement = heard.partition('against Mozilla\'s "intermediate"')
        assert said_so, heard
        mistakes = {*re.findall(r"^ +\* (\w+):", judgement, re.MULTILINE)}
        assert mistakes <= {"certificate_path_validation"}, judgement  # nobody trusts the authority of a test
