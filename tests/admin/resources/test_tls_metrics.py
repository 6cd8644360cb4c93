"""The metrics of TLS with clients."""

import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lb.control import Control
from lb.errors import ConfigError
from lb.tls.refusal import HandshakeReason
from tests.admin.kit import Api
from tests.admin.resources.test_metrics import FAMILIES, read
from tests.kit.certificates import certificate, rsa_key
from tests.kit.terminations import BELOW, lasting, refusal, terminating

OURS = {
    "lb_tls_certificate_expiry_timestamp_seconds",
    "lb_tls_certificate_lifetime_seconds",
    "lb_tls_handshakes",
    "lb_tls_handshake_failures",
    "lb_tls_handshake_seconds",
    "lb_tls_reloads",
}


@pytest.fixture
async def tls(control: Control, tmp_path: Path) -> Control:
    """Two certificates of one name, two handshakes, one of them refused, and a reload that failed."""
    begun, ends = 1_700_000_000.0, 1_900_000_000.0
    control.tls = made = terminating(
        tmp_path,
        certificate("www.test", by=BELOW, valid=(begun, ends)),
        certificate("www.test", by=BELOW, key=rsa_key(2048), valid=(begun, ends + 1)),
    )
    made.handshakes.succeeded("127.0.0.1:443", "TLSv1.3", True, 0.003)
    made.handshakes.refused(refusal(HandshakeReason.CLIENT_DISTRUSTS_US))
    (tmp_path / "0.key").write_text("no key")
    with capture_logs(), pytest.raises(ConfigError):
        await made.reload()
    return control


async def test_every_number_has_its_place(api: Api, tls: Control) -> None:
    seen = await read(api)
    expected = {
        ("lb_tls_certificate_expiry_timestamp_seconds", "www.test"): 1_900_000_000,
        ("lb_tls_certificate_expiry_timestamp_seconds", "www.test~rsa"): 1_900_000_001,
        ("lb_tls_certificate_lifetime_seconds", "www.test"): 200_000_000,
        ("lb_tls_handshakes_total", "127.0.0.1:443", "true", "TLSv1.3"): 1,
        ("lb_tls_handshake_failures_total", "127.0.0.1:443", "client_distrusts_us"): 1,
        ("lb_tls_handshake_seconds_sum",): 0.003,
        ("lb_tls_handshake_seconds_count",): 1,
        ("lb_tls_reloads_total", "success"): 0,
        ("lb_tls_reloads_total", "failure"): 1,
    }
    assert {key: seen.get(key) for key in expected} == expected


@pytest.mark.needs("promtool")
async def test_promtool_has_no_complaint(api: Api, tls: Control) -> None:
    text = (await api("GET", "/metrics")).body
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)  # noqa: ASYNC221
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


async def test_the_families_are_there_where_tls_is(api: Api, control: Control, tmp_path: Path) -> None:
    async def families() -> set[str]:
        lines = (await api("GET", "/metrics")).body.decode().splitlines()
        return {line.split()[2].removesuffix("_total") for line in lines if "# TYPE lb_" in line}

    assert await families() == FAMILIES
    control.tls = terminating(tmp_path, lasting("www.test"))
    assert await families() == FAMILIES | OURS
