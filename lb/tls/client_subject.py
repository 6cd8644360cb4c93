"""Whose a client's certificate is: its subject for people, and all by which an operator may name its owner.

A connection shows one certificate, and each of its requests is logged with it, so the last ones are kept.
"""

from functools import lru_cache
from hashlib import sha256

from cryptography import x509

from lb.tls.certificate import UNREADABLE, name_of, names_of

MOST_KEPT = 1024
LONGEST = 512
"""Characters of it. Whoever has issued the certificate chose how many there are."""


@lru_cache(MOST_KEPT)
def subject_of(certificate: bytes) -> str:
    """The subject in a certificate in DER, on one line."""
    try:
        subject = name_of(x509.load_der_x509_certificate(certificate).subject)
    except UNREADABLE as exc:  # OpenSSL takes some that cryptography does not
        return f"(not readable: {exc})"[:LONGEST]
    return subject[:LONGEST]


@lru_cache(MOST_KEPT)
def distinct_subject_of(certificate: bytes) -> str:
    """What tells the owner of a certificate in DER from others, and stays when it is renewed.

    The subject whole; the names of one that has none; the fingerprint of one that cannot be read.
    """
    owners = owners_of(certificate)
    subject = next((each for each in owners if each.startswith("subject:")), None)
    return subject or " ".join(sorted(owners)) or f"sha256:{sha256(certificate).hexdigest()}"


@lru_cache(MOST_KEPT)
def owners_of(certificate: bytes) -> frozenset[str]:
    """What names the owner of a certificate in DER: `subject:` and the subject whole, `san:` and each name.

    None where it cannot be read.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        names = [*names_of(read), *_more_names_of(read)]
        subject = read.subject.rfc4514_string()
    except UNREADABLE:
        return frozenset()
    return frozenset([*(f"san:{name}" for name in names), *([f"subject:{subject}"] if subject else [])])


def _more_names_of(certificate: x509.Certificate) -> list[str]:
    """Those that no server has."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *found.get_values_for_type(x509.RFC822Name),
        *found.get_values_for_type(x509.UniformResourceIdentifier),
    ]
