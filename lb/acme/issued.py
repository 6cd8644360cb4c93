"""Facts of a certificate that an authority has issued."""

from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lb.acme.jose import base64url
from lb.acme.storage import Pair
from lb.core.renewal import Validity


class Issued(NamedTuple):
    """What the leaf says. `id` is its name for ARI (RFC 9773 section 4.1), empty where it can have none."""

    names: tuple[str, ...]
    validity: Validity
    id: str


def read(pair: Pair) -> Issued:
    """The facts of this certificate; ValueError where chain and key are not those of one certificate."""
    try:
        leaf = x509.load_pem_x509_certificates(pair.chain)[0]
        key = serialization.load_pem_private_key(pair.key, None)
    except (ValueError, TypeError) as exc:  # TypeError: the key has a password
        raise ValueError(f"it has no certificate and key that can be read ({exc})") from exc
    if _public(key.public_key()) != _public(leaf.public_key()):
        raise ValueError("its key is not that of its first certificate")
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return Issued(_names(leaf), Validity(begins, ends), _id(leaf))


def tidied(chain: bytes) -> bytes:
    """The certificates of a chain as PEM, and nothing that stood between them; ValueError if it has none."""
    certificates = x509.load_pem_x509_certificates(chain)
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _public(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.value.get_values_for_type(x509.DNSName))


def _id(leaf: x509.Certificate) -> str:
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    number = leaf.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")  # as DER: a first bit of 0
    return "" if issuer is None else f"{base64url(issuer)}.{base64url(serial)}"
