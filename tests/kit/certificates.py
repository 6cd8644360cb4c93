"""Certificates for tests, as odd as a test needs them: authorities, chains, keys, days and usages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
DAY = 86400.0
NOW = datetime(2026, 11, 27, tzinfo=UTC).timestamp()
"""The instant at which tests look at certificates that do not go through OpenSSL."""
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
CRITICAL = (x509.BasicConstraints, x509.KeyUsage)
ALWAYS = (0.0, datetime(2120, 1, 1, tzinfo=UTC).timestamp())


def new_key(kind: str = "EC", bits: int = 2048) -> Key:
    if kind == "RSA":
        return rsa.generate_private_key(65537, bits)
    return (
        ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else ec.generate_private_key(ec.SECP256R1())
    )


@cache
def rsa_key(bits: int) -> Key:
    """One key of this size for all tests: to find the primes of a new one takes long."""
    return new_key("RSA", bits)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, and the certificates of those who have issued it, the root last."""

    certificate: x509.Certificate
    key: Key
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    @property
    def chain(self) -> str:
        """The certificate and its issuers up to the root, which is left out."""
        return "".join(pem(each) for each in (self.certificate, *self.issuers[:-1]))

    @property
    def key_pem(self) -> str:
        return self._key_pem(NoEncryption())

    @property
    def locked_key_pem(self) -> str:
        return self._key_pem(BestAvailableEncryption(b"secret"))

    def _key_pem(self, lock: NoEncryption | BestAvailableEncryption) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()

    def write(self, folder: Path, name: str = "www") -> tuple[str, str]:
        """The paths of chain and key, written to NAME.pem and NAME.key."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_text(self.chain)
        key.write_text(self.key_pem)
        key.chmod(0o600)
        return str(chain), str(key)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def authority(
    name: str = "Test Root", above: Issued | None = None, valid: tuple[float, float] = ALWAYS
) -> Issued:
    """A root, or an authority below another one."""
    return _issue(
        name, above, new_key(), valid, [x509.BasicConstraints(ca=True, path_length=None), SIGNS_CERTIFICATES]
    )


def certificate(
    *names: str,
    by: Issued | None = None,
    key: Key | None = None,
    valid: tuple[float, float] = ALWAYS,
    usages: Sequence[x509.ObjectIdentifier] = (SERVER,),
    says_issuer: bool = False,
    subject: str | None = None,
) -> Issued:
    """A leaf for these names, signed by itself unless an authority issues it."""
    extensions: list[x509.ExtensionType] = [x509.BasicConstraints(ca=False, path_length=None)]
    if names:
        extensions.append(x509.SubjectAlternativeName([_general(name) for name in names]))
    if usages:
        extensions.append(x509.ExtendedKeyUsage(usages))
    if says_issuer:
        where = x509.UniformResourceIdentifier("http://ca.test/issuer.der")
        about = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        extensions.append(x509.AuthorityInformationAccess([about]))
    name = subject or (names[0] if names else "nobody")
    return _issue(name, by, key or new_key(), valid, extensions)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issue(
    name: str,
    by: Issued | None,
    key: Key,
    valid: tuple[float, float],
    extensions: Sequence[x509.ExtensionType],
) -> Issued:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins, ends = (datetime.fromtimestamp(instant, UTC) for instant in valid)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    signer = by.key if by else key
    # Clients on CPython 3.13 are strict (RFC 5280 section 4.2.1): they ask for both identifiers.
    whose = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    for extension in (*extensions, own, whose):
        builder = builder.add_extension(extension, critical=isinstance(extension, CRITICAL))
    signed = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else SHA256())
    return Issued(signed, key, (by.certificate, *by.issuers) if by else ())
