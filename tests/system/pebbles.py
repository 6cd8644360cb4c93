"""Pebble, the authority that Let's Encrypt tests with, and its challenge DNS, as processes.

Pebble refuses a share of good nonces, and each name is looked up in its own DNS, which says 127.0.0.1 of all.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from lb.acme.jose import new_key, to_pem
from tests.system.servers import free_ports, processes


class Place(NamedTuple):
    """The URL of its directory, and the ports at which it looks for proofs."""

    directory: str
    http_port: int
    tls_port: int


def own_authority(folder: Path) -> None:
    """A certificate for pebble's own TLS: ca.pem vouches for it."""
    key, now = new_key(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pebble of the tests")])
    address = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(to_pem(key))


@asynccontextmanager
async def pebble(folder: Path, **settings: Any) -> AsyncIterator[Place]:
    """Run it until the block ends, with these settings beside its own."""
    own_authority(folder)
    port, management, http_port, tls_port, dns, dns_management = free_ports(6)
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "ca.pem"),
        "privateKey": str(folder / "ca.key"),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config | settings}))
    names = [
        "pebble-challtestsrv",
        "-management",
        f"127.0.0.1:{dns_management}",
        "-dns01",
        f"127.0.0.1:{dns}",
    ]
    off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    run = ["pebble", "-strict", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    async with processes([[*names, *off], ["env", "PEBBLE_VA_NOSLEEP=1", *run]], [dns_management, port]):
        yield Place(f"https://localhost:{port}/dir", http_port, tls_port)
