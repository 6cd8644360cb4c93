"""The facts of one certificate: a leaf with its chain and its key, as two files or one hold them.

What makes it useless is a ConfigError: no certificate, no key, a key of another certificate. What a client or
an operator may stumble over is a warning, in a sentence that names the file.

Whether a chain is complete depends on what the client trusts, which we do not know. A leaf of a public
authority is never issued by a root, and says where its issuer's certificate is to be had; so a lone leaf that
says so lacks an intermediate. A lone leaf without such a hint is that of an authority of one's own.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from lb.errors import ConfigError
from lb.tls.pem_files import PemFile

PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.*?-----END \1-----\r?\n?", re.DOTALL)
ENCRYPTED = (b"BEGIN ENCRYPTED", b"Proc-Type: 4,ENCRYPTED")
WEAKEST_RSA = 2048
RSA_4096_MS = 4.25
"""One signature; it grows with the third power of the bits."""
NEAR_END = 0.25
DAY = 86400.0
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for certificates that break the rules, when it reads them or a part of them."""
KeyType = Literal["RSA", "EC", "Ed25519", "Ed448"]
"""OpenSSL keeps one certificate of each of these types in a context."""
Read = Callable[[str], PemFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What one certificate says. Instants are in seconds since 1970.

    `names` are those of its subjectAltName, in lower case: DNS names, of which a first label may be `*`, and
    IP addresses. `chain` holds the subjects of the certificates behind the leaf, `chain_ends` is the instant
    at which the first of them ends. `fingerprint` is the SHA-256 of the leaf.
    """

    chain_file: str
    key_file: str
    names: tuple[str, ...]
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: float
    not_after: float
    key_type: KeyType
    key_bits: int
    chain: tuple[str, ...]
    chain_ends: float | None
    is_in_order: bool
    is_complete: bool
    has_root: bool
    is_for_servers: bool
    is_for_clients: bool
    is_key_open: bool

    @property
    def is_slow(self) -> bool:
        """A signature takes milliseconds: 4 with an RSA key of 4096 bits, 0.3 with one of 2048."""
        return self.key_type == "RSA" and self.key_bits > WEAKEST_RSA

    def lifetime_left(self, now: float) -> float:
        """The share of its lifetime that is left, 0 to 1. Before it begins all of it is left."""
        lifetime = self.not_after - self.not_before
        left = (self.not_after - now) / lifetime if lifetime > 0 else 0.0
        return min(1.0, max(0.0, left))

    def days_left(self, now: float) -> float:
        """Days until it ends; less than 0 when it has ended."""
        return (self.not_after - now) / DAY


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate, and its chain and key as OpenSSL takes them; `files` are what it was read from.

    The key is a secret: it is never shown.
    """

    certificate: Certificate
    pem: bytes = field(repr=False)
    files: tuple[PemFile, PemFile] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The certificates of authorities, in PEM, and the file that they were read from."""

    pem: str = field(repr=False)
    file: PemFile = field(repr=False)


def load_certificate(
    chain_file: str, key_file: str | None, read: Read, there: Loaded | None = None
) -> Loaded:
    """The certificate in these files, where the key may be in the chain's.

    It is `there` if that was read from the same; then nothing is judged again. ConfigError, which begins with
    `chain` or `key`, names the file and says what was expected.
    """
    chain_pem = _from("chain", chain_file, read)
    key_pem = chain_pem if key_file in (None, chain_file) else _from("key", str(key_file), read)
    if there is not None and there.files == (chain_pem, key_pem):
        return there
    chain = _certificates(chain_pem)
    block, public = _private_key(key_pem, is_own_file=key_pem is not chain_pem)
    _judge_fit(chain, public, chain_pem, key_pem)
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain) + block
    try:
        return Loaded(_facts(chain, chain_pem, key_pem), pem, (chain_pem, key_pem))
    except UNREADABLE as exc:
        raise ConfigError(f"chain: {chain_file} holds a certificate that cannot be read: {exc}") from exc


def load_authorities(path: str, read: Read, there: Authorities | None = None) -> Authorities:
    """The certificates in a file of authorities; `there` if that was read from the same.

    ConfigError, which begins with `ca`, names the file.
    """
    found = _from("ca", path, read)
    if there is not None and there.file == found:
        return there
    pem = "".join(each.public_bytes(Encoding.PEM).decode() for each in _certificates(found, "ca"))
    return Authorities(pem, found)


def _from(key: str, path: str, read: Read) -> PemFile:
    try:
        return read(path)
    except ConfigError as exc:
        raise ConfigError(f"{key}: {exc}") from exc


def _certificates(file: PemFile, key: str = "chain") -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.data)
    except UNREADABLE as exc:
        what = "what is no certificate" if b"-----BEGIN CERTIFICATE-----" in file.data else "none"
        raise ConfigError(
            f"{key}: {file.path}: expected certificates in PEM (-----BEGIN CERTIFICATE-----), found {what}"
        ) from exc


def _private_key(file: PemFile, *, is_own_file: bool) -> tuple[bytes, bytes]:
    """The key's block of the file, and the public key that belongs to it."""
    found = PRIVATE_KEY.search(file.data)
    if found is None:
        hint = "" if is_own_file else ", since `key` names no other file"
        raise ConfigError(f"key: {file.path}: expected a private key in PEM{hint}, found none")
    block = found[0] if found[0].endswith(b"\n") else found[0] + b"\n"
    if any(mark in block for mark in ENCRYPTED):
        raise ConfigError(
            f"key: {file.path}: the key is encrypted, and expected is one without a passphrase: "
            f"openssl pkey -in {file.path}"
        )
    try:
        public = load_pem_private_key(block, None).public_key()
        return block, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigError(f"key: {file.path}: the private key in it cannot be read: {exc}") from exc


def _judge_fit(
    chain: Sequence[x509.Certificate], public: bytes, chain_pem: PemFile, key_pem: PemFile
) -> None:
    """ConfigError unless the key is that of the first certificate."""
    fits = [_public_key(each) == public for each in chain]
    if fits[0]:
        return
    if any(fits):
        place = fits.index(True) + 1
        raise ConfigError(
            f"chain: {chain_pem.path}: the certificate of the key is number {place}; expected it first, "
            "and then each one's issuer"
        )
    subject = name_of(chain[0].subject)
    raise ConfigError(f"key: {key_pem.path} is not the key of {subject} in {chain_pem.path}")


def _public_key(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _facts(chain: Sequence[x509.Certificate], chain_pem: PemFile, key_pem: PemFile) -> Certificate:
    leaf, *others = chain
    key_type, bits = _key(leaf)
    usages = _usages(leaf)
    return Certificate(
        chain_file=chain_pem.path,
        key_file=key_pem.path,
        names=names_of(leaf),
        subject=name_of(leaf.subject),
        issuer=name_of(leaf.issuer),
        serial=f"{leaf.serial_number:x}",
        fingerprint=sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        key_type=key_type,
        key_bits=bits,
        chain=tuple(name_of(each.subject) for each in others),
        chain_ends=min((each.not_valid_after_utc.timestamp() for each in others), default=None),
        is_in_order=all(_has_issued(above, below) for below, above in zip(chain, others, strict=False)),
        is_complete=bool(others) or _is_root(leaf) or not _names_its_issuer(leaf),
        has_root=any(_is_root(each) for each in others),
        is_for_servers=usages is None or ExtendedKeyUsageOID.SERVER_AUTH in usages,
        is_for_clients=usages is None or ExtendedKeyUsageOID.CLIENT_AUTH in usages,
        is_key_open=key_pem.is_open_to_others,
    )


def name_of(name: x509.Name) -> str:
    return name.rfc4514_string() or "(no subject)"


def names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = [name.lower().removesuffix(".") for name in found.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return tuple(dict.fromkeys((*dns, *addresses)))


def _key(leaf: x509.Certificate) -> tuple[KeyType, int]:
    match leaf.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            return "RSA", bits
        case ec.EllipticCurvePublicKey(key_size=bits):
            return "EC", bits
        case ed25519.Ed25519PublicKey():
            return "Ed25519", 256
        case ed448.Ed448PublicKey():
            return "Ed448", 456
        case other:
            raise ValueError(f"TLS has no use for a key such as {type(other).__name__}")


def _usages(leaf: x509.Certificate) -> frozenset[x509.ObjectIdentifier] | None:
    """What the certificate may be used for; None where it does not say."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return frozenset(found)


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names_its_issuer(leaf: x509.Certificate) -> bool:
    """Whether it says where the certificate of its issuer is to be had (RFC 5280 section 4.2.2.1)."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in found)


# -- warnings --------------------------------------------------------------------------------------------


def warnings(certificate: Certificate, now: float, *, is_ours_to_show: bool = True) -> Iterator[str]:
    """What is not as it should be, a sentence each, which begins with the file.

    `is_ours_to_show` is that of a certificate for clients; without it, it is the one that we show to
    backends.
    """
    yield from (f"{certificate.key_file}: {what}" for what in _of_the_key(certificate))
    yield from (f"{certificate.chain_file}: {what}" for what in _of_the_time(certificate, now))
    yield from (f"{certificate.chain_file}: {what}" for what in _of_the_chain(certificate))
    if is_ours_to_show and not certificate.is_for_servers:
        yield f"{certificate.chain_file}: it is not for servers (no serverAuth usage), so clients refuse it"
    if not is_ours_to_show and not certificate.is_for_clients:
        yield (
            f"{certificate.chain_file}: it is not for clients (no clientAuth usage), so backends refuse it; "
            "public authorities no longer issue such certificates"
        )


def _of_the_key(certificate: Certificate) -> Iterator[str]:
    bits = certificate.key_bits
    if certificate.is_key_open:
        yield f"others can read or change the key: chmod 600 {certificate.key_file}"
    if certificate.key_type == "RSA" and bits < WEAKEST_RSA:
        yield f"an RSA key of {bits} bits is weak, and clients refuse it; P-256 is strong and fast"
    if certificate.key_type == "RSA" and bits > WEAKEST_RSA:
        milliseconds = RSA_4096_MS * (bits / 4096) ** 3
        yield f"RSA {bits} takes {milliseconds:.0f} ms of a core for each new client; P-256 takes 0.02"


def _of_the_time(certificate: Certificate, now: float) -> Iterator[str]:
    ends, begins = day(certificate.not_after), day(certificate.not_before)
    left = certificate.lifetime_left(now)
    if now >= certificate.not_after:
        yield f"it ended on {ends}, so clients refuse it"
    elif now < certificate.not_before:
        yield f"it is not valid before {begins}, so clients refuse it"
    elif left < NEAR_END:
        days = certificate.days_left(now)
        yield f"it ends on {ends}: {days:.1f} days and {left:.0%} of its lifetime are left"
    if certificate.chain_ends is not None and now >= certificate.chain_ends:
        yield f"a certificate in its chain ended on {day(certificate.chain_ends)}, so clients refuse it"


def _of_the_chain(certificate: Certificate) -> Iterator[str]:
    if not certificate.is_complete:
        yield (
            f"the chain lacks the certificate of {certificate.issuer}, without which many clients refuse it; "
            "expected the leaf and then each one's issuer (certbot: fullchain.pem)"
        )
    if not certificate.is_in_order:
        yield "the chain is not in order; expected the leaf and then each one's issuer"
    if certificate.has_root:
        yield "the chain holds a root, which clients have or distrust; each handshake is longer for nothing"


def day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


def covers(name: str, server_name: str) -> bool:
    """Whether a certificate's name is that of the server: the same, or `*` for its first label alone."""
    if name == server_name:
        return True
    _first, dot, parent = server_name.partition(".")
    return bool(dot) and name == f"*.{parent}" and not is_address(server_name)


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
