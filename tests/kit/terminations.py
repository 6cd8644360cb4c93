"""TLS with clients for tests of what is said about it: certificates in files, and a log of handshakes."""

import time
from collections.abc import Sequence
from pathlib import Path

from lb.certificate_files.termination import CertificateEvent, Termination
from lb.config.loader import build
from lb.settings.balancer_settings import Config
from lb.tls.refusal import HandshakeReason, Refusal
from tests.kit.certificates import DAY, Issued, authority, certificate

ROOT = authority("Test Root")
BELOW = authority("Test Intermediate", ROOT)


def lasting(*names: str, since: float = 30.0, left: float = 60.0, by: Issued = BELOW) -> Issued:
    """A certificate that is valid since so many days, and for so many from now on."""
    now = time.time()
    return certificate(*names, by=by, valid=(now - since * DAY, now + left * DAY))


def config(folder: Path, *issued: Issued, routes: Sequence[str] = ()) -> Config:
    """One TLS listener with these certificates, written to 0.pem, 1.pem ..., and routes for these hosts."""
    files = [each.write(folder, str(number)) for number, each in enumerate(issued)]
    return build(
        {
            "listen": ["https://127.0.0.1:0"],
            "tls": {"certificates": [{"chain": chain, "key": key} for chain, key in files]},
            "routes": [{"host": host, "pool": "default"} for host in routes],
            "pools": {"default": {}},
        }
    )


def terminating(folder: Path, *issued: Issued) -> Termination:
    return Termination(config(folder, *issued))


def listen(termination: Termination) -> list[CertificateEvent]:
    """What it tells from now on."""
    told: list[CertificateEvent] = []
    termination.subscribe(told.append)
    return told


def refusal(
    reason: HandshakeReason = HandshakeReason.UNKNOWN_NAME, listener: str = "127.0.0.1:443"
) -> Refusal:
    return Refusal(
        at=1_800_000_000.0,
        peer="192.0.2.1:5000",
        listener=listener,
        server_name="nobody.test",
        versions=("TLS 1.3", "TLS 1.2"),
        protocols=("h2", "http/1.1"),
        ciphers=("TLS_AES_128_GCM_SHA256",),
        reason=reason,
        sentence="There is no certificate for nobody.test.",
        help="Add one.",
    )
