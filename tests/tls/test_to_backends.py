"""TLS to the backends of a pool, from its settings and their files."""

import ssl
from pathlib import Path

import pytest

from lb.errors import ConfigError
from lb.settings.pool_settings import BackendTls
from lb.tls.contexts import server_context, show
from lb.tls.to_backends import to_backends
from tests.kit.certificates import CLIENT, DAY, NOW, authority, certificate
from tests.kit.handshakes import handshake

ROOT = authority()
SERVED = certificate("app.test", by=ROOT)


def server(need_clients: bool = False) -> ssl.SSLContext:
    context = server_context(authorities=ROOT.pem if need_clients else None)
    show(context, (SERVED.chain + SERVED.key_pem).encode())
    return context


def ca_file(folder: Path) -> str:
    file = folder / "ca.pem"
    file.write_text(ROOT.pem)
    return str(file)


def test_the_name_is_that_of_the_url_or_of_the_settings(tmp_path: Path) -> None:
    ca = ca_file(tmp_path)
    assert to_backends(BackendTls(ca=ca)).server_name("10.0.0.1") == "10.0.0.1"
    named = to_backends(BackendTls(ca=ca, name="app.test"))
    assert named.server_name("10.0.0.1") == "app.test"
    handshake(named.context, server(), named.server_name("10.0.0.1"))


def test_our_certificate_is_shown(tmp_path: Path) -> None:
    mine = certificate("us", by=ROOT, usages=(CLIENT,))
    chain, key = mine.write(tmp_path)
    ours = to_backends(BackendTls(ca=ca_file(tmp_path), chain=chain, key=key))
    ended = handshake(ours.context, server(need_clients=True), "app.test")
    assert ended.server.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(mine.pem)
    assert ours.own is not None
    assert ours.own.subject == "CN=us"
    assert [*ours.warnings(NOW)] == []


def test_our_certificate_is_warned_of(tmp_path: Path) -> None:
    chain, key = certificate("us", by=ROOT, valid=(NOW - 2 * DAY, NOW - DAY)).write(tmp_path)
    ended, usage = to_backends(BackendTls(chain=chain, key=key)).warnings(NOW)
    assert "it ended on 2026-11-26" in ended
    assert "no clientAuth usage" in usage
    assert [*to_backends(BackendTls()).warnings(NOW)] == []


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^ca: /nowhere cannot be read"):
        to_backends(BackendTls(ca="/nowhere"))
    with pytest.raises(ConfigError, match=r"^chain: /nowhere cannot be read"):
        to_backends(BackendTls(chain="/nowhere"))
    chain, _key = SERVED.write(tmp_path)
    with pytest.raises(ConfigError, match=r"^key: .* found none"):
        to_backends(BackendTls(chain=chain))
