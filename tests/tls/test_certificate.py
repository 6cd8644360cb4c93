"""The facts of a certificate, what makes it useless, and what it is warned of."""

import ssl
from pathlib import Path

import pytest

from lb.errors import ConfigError
from lb.tls.certificate import Certificate, Loaded, covers, load_authorities, load_certificate, warnings
from lb.tls.pem_files import read_pem
from tests.kit.certificates import (
    CLIENT,
    DAY,
    NOW,
    SERVER,
    Issued,
    authority,
    certificate,
    new_key,
    rsa_key,
)

ROOT = authority()
BELOW = authority("Test Intermediate", ROOT)
GOOD = (NOW - 10 * DAY, NOW + 80 * DAY)


def loaded(folder: Path, issued: Issued, chain: str | None = None, key: str | None = None) -> Loaded:
    """What is loaded from the files of this certificate, of which either may hold another text."""
    chain_file, key_file = issued.write(folder)
    if chain is not None:
        Path(chain_file).write_text(chain)
    if key is not None:
        Path(key_file).write_text(key)
    return load_certificate(chain_file, key_file, read_pem)


def facts(folder: Path, issued: Issued, chain: str | None = None) -> Certificate:
    return loaded(folder, issued, chain).certificate


def told(found: Certificate, now: float = NOW) -> str:
    return "\n".join(warnings(found, now))


def test_the_facts(tmp_path: Path) -> None:
    issued = certificate("Www.A.test", "*.b.test", "192.0.2.1", "2001:db8::1", by=BELOW, valid=GOOD)
    found = facts(tmp_path, issued)
    assert found.names == ("www.a.test", "*.b.test", "192.0.2.1", "2001:db8::1")
    assert found.subject == "CN=Www.A.test"
    assert found.issuer == "CN=Test Intermediate"
    assert int(found.serial, 16) == issued.certificate.serial_number
    assert (found.not_before, found.not_after) == GOOD
    assert (found.key_type, found.key_bits) == ("EC", 256)
    assert found.chain == ("CN=Test Intermediate",)
    assert len(found.fingerprint) == 64
    assert found.is_complete
    assert found.is_in_order
    assert found.is_for_servers
    assert not found.has_root
    assert not found.is_for_clients
    assert not found.is_key_open
    assert told(found) == ""


def test_what_is_left_of_its_life(tmp_path: Path) -> None:
    found = facts(tmp_path, certificate("a.test", by=ROOT, valid=GOOD))
    assert found.lifetime_left(NOW - 11 * DAY) == 1
    assert found.lifetime_left(NOW + 35 * DAY) == 0.5
    assert found.lifetime_left(NOW + 81 * DAY) == 0
    assert found.days_left(NOW) == 80


@pytest.mark.parametrize(
    ("kind", "bits", "known"), [("EC", 256, "EC"), ("RSA", 2048, "RSA"), ("Ed25519", 256, "Ed25519")]
)
def test_kinds_of_keys(tmp_path: Path, kind: str, bits: int, known: str) -> None:
    key = rsa_key(2048) if kind == "RSA" else new_key(kind)
    found = facts(tmp_path, certificate("a.test", by=ROOT, key=key, valid=GOOD))
    assert (found.key_type, found.key_bits) == (known, bits)
    assert told(found) == ""


def test_the_key_may_be_in_the_file_of_the_chain(tmp_path: Path) -> None:
    issued = certificate("a.test", by=BELOW, valid=GOOD)
    file = tmp_path / "both.pem"
    for text in (issued.key_pem + issued.chain, issued.chain + "a word\n" + issued.key_pem.rstrip()):
        file.write_text(text)
        file.chmod(0o600)
        found = load_certificate(str(file), None, read_pem)
        assert found.certificate.key_file == str(file)
        assert found.pem.decode() == issued.chain + issued.key_pem
        assert "PRIVATE" not in repr(found)
        assert told(found.certificate) == ""


def test_a_key_behind_its_parameters(tmp_path: Path) -> None:
    """As `openssl ecparam -genkey` writes it."""
    issued = certificate("a.test", by=ROOT)
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert loaded(tmp_path, issued, key=parameters + issued.key_pem).pem.decode().count("BEGIN") == 2


def test_no_certificate(tmp_path: Path) -> None:
    issued = certificate("a.test", by=ROOT)
    with pytest.raises(ConfigError, match=r"^chain: .*/www.pem: expected certificates in PEM .*, found none"):
        loaded(tmp_path, issued, chain="hello")
    broken = issued.pem.replace("\n", "\nAAAA", 2)
    with pytest.raises(ConfigError, match=r"^chain: .*/www.pem: .* found what is no certificate"):
        loaded(tmp_path, issued, chain=broken)


def test_no_key(tmp_path: Path) -> None:
    issued = certificate("a.test", by=ROOT)
    with pytest.raises(ConfigError, match=r"^key: .*/www.key: expected a private key in PEM, found none"):
        loaded(tmp_path, issued, key=issued.pem)
    with pytest.raises(ConfigError, match=r"^key: .*/www.key: the key is encrypted.*openssl pkey -in"):
        loaded(tmp_path, issued, key=issued.locked_key_pem)
    with pytest.raises(ConfigError, match=r"^key: .*/www.key: the private key in it cannot be read"):
        loaded(tmp_path, issued, key=issued.key_pem.replace("\n", "\nAAAA", 2))
    with pytest.raises(ConfigError, match=r"^key: .*/www.pem: .* since `key` names no other file"):
        load_certificate(issued.write(tmp_path)[0], None, read_pem)


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    issued, other = certificate("a.test", by=BELOW), certificate("b.test", by=BELOW)
    with pytest.raises(ConfigError, match=r"^key: .*/www.key is not the key of CN=a.test in .*/www.pem"):
        loaded(tmp_path, issued, key=other.key_pem)
    with pytest.raises(
        ConfigError, match=r"^chain: .*/www.pem: the certificate of the key is number 2; expected it"
    ):
        loaded(tmp_path, issued, chain=BELOW.pem + issued.pem)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    chain, key = certificate("a.test").write(tmp_path)
    with pytest.raises(ConfigError, match=r"^chain: /nowhere cannot be read: No such file"):
        load_certificate("/nowhere", key, read_pem)
    with pytest.raises(ConfigError, match=r"^key: /nowhere cannot be read: No such file"):
        load_certificate(chain, "/nowhere", read_pem)
    with pytest.raises(ConfigError, match=r"^ca: /nowhere cannot be read: No such file"):
        load_authorities("/nowhere", read_pem)


def test_authorities(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("# two of them\n" + ROOT.pem + "\n" + BELOW.pem)
    assert load_authorities(str(file), read_pem).pem == ROOT.pem + BELOW.pem
    file.write_text("")
    with pytest.raises(ConfigError, match=r"^ca: .*/ca.pem: expected certificates in PEM"):
        load_authorities(str(file), read_pem)


def test_a_certificate_without_names(tmp_path: Path) -> None:
    assert facts(tmp_path, certificate(by=ROOT, valid=GOOD)).names == ()


# -- warnings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW - 11 * DAY, "it is not valid before 2026-11-17 00:00 UTC"),
        (NOW + 57 * DAY, ""),
        (NOW + 71 * DAY, "it ends on 2027-02-15 00:00 UTC: 9.0 days and 10% of its lifetime are left"),
        (NOW + 80 * DAY, "it ended on 2027-02-15 00:00 UTC, so clients refuse it"),
    ],
)
def test_warned_of_its_time(tmp_path: Path, now: float, said: str) -> None:
    text = told(facts(tmp_path, certificate("a.test", by=ROOT, valid=GOOD)), now)
    assert text == (f"{tmp_path}/www.pem: {text.partition(': ')[2]}" if said else "")
    assert said in text


def test_warned_of_a_key_that_others_can_read(tmp_path: Path) -> None:
    chain, key = certificate("a.test", by=ROOT, valid=GOOD).write(tmp_path)
    for mode, said in ((0o640, ""), (0o644, f"{key}: others can read or change the key: chmod 600 {key}")):
        Path(key).chmod(mode)
        assert told(load_certificate(chain, key, read_pem).certificate) == said


@pytest.mark.parametrize(
    ("bits", "said"), [(1024, "1024 bits is weak"), (2048, ""), (4096, "RSA 4096 takes 4 ms of a core")]
)
def test_warned_of_rsa_keys(tmp_path: Path, bits: int, said: str) -> None:
    text = told(facts(tmp_path, certificate("a.test", by=ROOT, key=rsa_key(bits), valid=GOOD)))
    assert said in text
    assert bool(said) is bool(text)


@pytest.mark.parametrize(
    ("says_issuer", "chain", "said"),
    [
        (True, "leaf", "the chain lacks the certificate of CN=Test Intermediate"),
        (False, "leaf", ""),
        (True, "leaf below", ""),
        (True, "leaf below root", "the chain holds a root"),
        (True, "leaf root below", "the chain is not in order"),
    ],
)
def test_warned_of_the_chain(tmp_path: Path, says_issuer: bool, chain: str, said: str) -> None:
    issued = certificate("a.test", by=BELOW, valid=GOOD, says_issuer=says_issuer)
    texts = {"leaf": issued.pem, "below": BELOW.pem, "root": ROOT.pem}
    text = told(facts(tmp_path, issued, "".join(texts[name] for name in chain.split())))
    assert said in text
    assert bool(said) is bool(text)


def test_warned_of_an_issuer_that_has_ended(tmp_path: Path) -> None:
    below = authority("Old Intermediate", ROOT, valid=(0.0, NOW - DAY))
    text = told(facts(tmp_path, certificate("a.test", by=below, valid=GOOD)))
    assert text == (
        f"{tmp_path}/www.pem: a certificate in its chain ended on 2026-11-26 00:00 UTC, so clients refuse it"
    )


def test_a_certificate_of_its_own_is_complete_and_no_root_too_many(tmp_path: Path) -> None:
    assert told(facts(tmp_path, certificate("a.test", valid=GOOD))) == ""


def test_warned_of_the_usage(tmp_path: Path) -> None:
    found = facts(tmp_path, certificate("a.test", by=ROOT, valid=GOOD, usages=(CLIENT,)))
    assert "no serverAuth usage" in told(found)
    assert [*warnings(found, NOW, is_ours_to_show=False)] == []
    found = facts(tmp_path, certificate("a.test", by=ROOT, valid=GOOD, usages=(SERVER,)))
    assert "no clientAuth usage" in "".join(warnings(found, NOW, is_ours_to_show=False))
    found = facts(tmp_path, certificate("a.test", by=ROOT, valid=GOOD, usages=()))
    assert found.is_for_servers
    assert found.is_for_clients


@pytest.mark.parametrize(
    ("name", "server_name", "expected"),
    [
        ("a.test", "a.test", True),
        ("a.test", "b.a.test", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "a.test", False),
        ("*.a.test", "c.b.a.test", False),
        ("*.0.0.1", "10.0.0.1", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("*", "test", False),
    ],
)
def test_what_a_name_covers(name: str, server_name: str, expected: bool) -> None:
    assert covers(name, server_name) is expected


def test_a_certificate_that_says_one_thing_twice_cannot_be_read(tmp_path: Path) -> None:
    """The rules forbid it, and OpenSSL reads it all the same."""
    issued = certificate("a.test", by=ROOT, valid=GOOD)
    der = ssl.PEM_cert_to_DER_cert(issued.pem)
    usage, alternatives = b"\x55\x1d\x25", b"\x55\x1d\x11"  # of the same length
    assert der.count(usage) == 1
    text = ssl.DER_cert_to_PEM_cert(der.replace(usage, alternatives))
    with pytest.raises(ConfigError, match=r"^chain: .*www.pem holds a certificate that cannot be read: Dup"):
        loaded(tmp_path, issued, chain=text)
