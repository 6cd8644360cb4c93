"""Certificates that come beside the files of the settings, and are served as those are."""

from pathlib import Path

import pytest
import trio

from lb.certificate_files.ordered import Ordered
from lb.certificate_files.termination import CertificateEvent, Termination
from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.tls_settings import CertificateFiles, TlsSettings
from tests.kit.certificates import DAY, NOW, Issued, authority, certificate, rsa_key

ROOT = authority()
A, B = certificate("a.test", by=ROOT), certificate("b.test", by=ROOT)
SECURE = {"listen": ["https://127.0.0.1:0"]}
ACME = {"names": ["b.test", "a.test"], "storage": "/nowhere", "terms_agreed": True}


def data(issued: Issued) -> bytes:
    return (issued.key_pem + issued.chain).encode()


def test_what_is_there_is_read_from_no_file() -> None:
    ordered = Ordered()
    assert ordered.put("/nowhere/a.pem", data(A))
    assert not ordered.put("/nowhere/a.pem", data(A))
    both, files = ordered.added_to(TlsSettings(certificates=(CertificateFiles(chain="/etc/b.pem"),)))
    assert [each.chain for each in both.certificates] == ["/etc/b.pem", "/nowhere/a.pem"]
    assert {path: file.data for path, file in files.items()} == {"/nowhere/a.pem": data(A)}


def test_a_file_that_the_settings_name_is_not_there_twice() -> None:
    ordered = Ordered()
    ordered.put("/etc/a.pem", data(A))
    both, _ = ordered.added_to(TlsSettings(certificates=(CertificateFiles(chain="/etc/a.pem"),)))
    assert [each.chain for each in both.certificates] == ["/etc/a.pem"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (A.chain.encode(), "expected a private key"),
        (data(certificate("a.test", key=rsa_key(1024))), "OpenSSL does not take it"),
    ],
)
def test_one_that_cannot_be_used_is_refused_and_the_one_before_stays(bad: bytes, why: str) -> None:
    ordered = Ordered()
    ordered.put("/nowhere/a.pem", data(A))
    with pytest.raises(ConfigError, match=why):
        ordered.put("/nowhere/a.pem", bad)
    _, files = ordered.added_to(TlsSettings())
    assert files["/nowhere/a.pem"].data == data(A)


def test_those_that_are_wanted_no_more_are_forgotten() -> None:
    ordered = Ordered()
    ordered.put("/a", data(A))
    ordered.put("/b", data(B))
    assert ordered.keep({"/b"})
    assert not ordered.keep({"/b"})
    assert "/a" not in ordered
    assert "/b" in ordered


async def test_it_is_swapped_in_and_out_without_a_look_at_files(tmp_path: Path) -> None:
    """The default may be a name whose certificate is still to come."""
    chain, key = A.write(tmp_path)
    files = {"certificates": [{"chain": chain, "key": key}]}
    termination = Termination(build({**SECURE, "tls": {**files, "acme": ACME, "default": "b.test"}}))
    swaps: list[str] = []
    swapped = trio.Event()

    def hear(event: CertificateEvent) -> None:
        swaps.append(event.detail)
        swapped.set()

    termination.subscribe(hear)
    assert termination.certificates.find("b.test") is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(termination.run)
        termination.ordered.put("/nowhere/b.pem", data(B))
        termination.swap_soon()
        with trio.fail_after(4):  # before the files would be looked at
            await swapped.wait()
        for name in ("b.test", "c.test", ""):
            served = termination.certificates.find(name)
            assert served is not None
            assert served.certificates[0].names == ("b.test",)
        swapped = trio.Event()
        termination.ordered.keep(())
        termination.swap_soon()
        with trio.fail_after(4):
            await swapped.wait()
        nursery.cancel_scope.cancel()
    assert swaps == ["1 changed; gains b.test", "1 changed; loses b.test"]
    assert termination.certificates.find("a.test") is not None


async def test_of_two_with_a_name_the_one_that_ends_last_is_served(tmp_path: Path) -> None:
    now = NOW
    old = certificate("a.test", by=ROOT, valid=(now - DAY, now + 300 * DAY))
    new = certificate("a.test", by=ROOT, valid=(now - DAY, now + 400 * DAY))
    chain, key = old.write(tmp_path)
    files = {"certificates": [{"chain": chain, "key": key}]}
    termination = Termination(build({**SECURE, "tls": {**files, "acme": ACME}}))
    termination.ordered.put("/nowhere/a.pem", data(new))
    termination.swap_now()
    served = termination.certificates.find("a.test")
    assert served is not None
    assert served.certificates[0].chain_file == "/nowhere/a.pem"
